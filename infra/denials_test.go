package main

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rolesOfFunctions by the function's name.
var rolesOfFunctions = map[string]string{
	connect: "ConnectRole", callback: "CallbackRole", refresh: "RefreshRole", mcprun: "McprunRole", mcpremote: "McpremoteRole", authorizer: "AuthorizerRole",
}

// mayItem reports whether a role may do that to an item of the table.
func mayItem(t *testing.T, all []statement, role, action, pk string) (may bool) {
	t.Helper()
	// As insertLines has it: these keys, and no request that names none.
	const only, named = "ForAllValues:StringLike dynamodb:LeadingKeys ", ", Null dynamodb:LeadingKeys false"
	for _, s := range all {
		if s.holder != role || !slices.Contains(s.actions, action) || !slices.ContainsFunc(s.resources, isTable) {
			continue
		}
		const of = "ForAnyValue:StringLike dynamodb:LeadingKeys "
		keys, items := strings.CutPrefix(s.conditions, of)
		switch {
		case s.effect == "Allow" && s.conditions == "":
			may = true
		case s.effect == "Allow" && strings.HasPrefix(s.conditions, only) && strings.HasSuffix(s.conditions, named):
			may = may || keyLike(strings.TrimSuffix(strings.TrimPrefix(s.conditions, only), named), pk)
		case s.effect != "Deny" || !items:
			t.Fatalf("a statement that this test does not understand: %+v", s)
		case keyLike(keys, pk):
			return false
		}
	}
	return may
}

// keyLike reports whether the key is like one of those.
func keyLike(keys, pk string) bool {
	return slices.ContainsFunc(strings.Fields(keys), func(like string) bool { ok, _ := path.Match(like, pk); return ok })
}

func isTable(resource string) bool {
	return resource == "${data.TableArn}" || strings.HasSuffix(resource, ":table/lanyard-restored")
}

// kinds are the partition keys that package cloud documents.
func kinds(t *testing.T) (out []string) {
	t.Helper()
	doc, err := os.ReadFile("../internal/cloud/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^//\t([A-Z]+(?:#\S+)?) `).FindAllStringSubmatch(string(doc), -1) {
		out = append(out, m[1])
	}
	if len(out) < 15 {
		t.Fatalf("internal/cloud/doc.go lists only %v", out)
	}
	return out
}

// TestItems: who may do what to which kind of record, in a file that a reviewer
// reads. A new kind of record shows up there.
func TestItems(t *testing.T) {
	t.Parallel()
	actions := slices.Concat(tableReads, tableWrites)
	var before string
	for _, file := range []string{shipped, full} {
		all := allStatements(synth(t, file))
		lines := []string{"G GetItem, B BatchGetItem, Q Query, C ConditionCheckItem, P PutItem, I PartiQLInsert, D DeleteItem", "", fmt.Sprintf("%-28s", "")}
		for _, name := range functionNames {
			lines[2] += fmt.Sprintf(" %-10s", name)
		}
		for _, pk := range kinds(t) {
			line := fmt.Sprintf("%-28s", pk)
			for _, name := range functionNames {
				cell := ""
				for i, action := range actions {
					if mayItem(t, all, rolesOfFunctions[name], action, pk) {
						cell += "GBQCPID"[i : i+1]
					} else {
						cell += "-"
					}
				}
				line += fmt.Sprintf(" %-10s", cell)
			}
			lines = append(lines, strings.TrimRight(line, " "))
		}
		lines[2] = strings.TrimRight(lines[2], " ")
		golden(t, "table.txt", lines)
		if now := strings.Join(lines, "\n"); before != "" && now != before {
			t.Errorf("%s: other rights than with the deployment's own table", file)
		} else {
			before = now
		}
	}
}

// TestWithheld: what whoever takes over a function must not get.
func TestWithheld(t *testing.T) {
	t.Parallel()
	everybody := functionNames
	// The statement that inserts is for audit lines alone.
	insertsApart := list{"dynamodb:PutItem", "dynamodb:DeleteItem"}
	for _, file := range []string{shipped, full} {
		all := allStatements(synth(t, file))
		for _, test := range []struct {
			pk      string
			actions list
			only    list
		}{
			{"KEY#0f3a", insertsApart, list{refresh}},
			{"KEYS#default", insertsApart, list{refresh}},
			{"KEY#0f3a", list{"dynamodb:GetItem"}, everybody},
			{"TEN", tableWrites, nil},
			{"CLI#default", tableWrites, nil},
			{"AUD#default#2026-01#3", list{"dynamodb:PutItem"}, list{callback, refresh}},
			{"AUD#default#2026-01#3", list{"dynamodb:PartiQLInsert"}, list{refresh}},
			{"AUD#default#2026-01#3", list{"dynamodb:DeleteItem"}, nil},
			{"AUD#default#2026-01#3", list{"dynamodb:Query"}, everybody},
			{"GRT#default#con_1", insertsApart, list{callback, refresh}},
			{"GRT#default#con_1", tableReads[:1], list{callback, refresh}},
			{"GRT#default#con_1", tableReads[1:2], list{callback, refresh}},
			{"GRT#default#con_1", tableReads[2:3], list{callback, refresh}},
			{"GRT#default#con_1", tableReads[3:], list{callback, refresh}},
			{"GATE#google.0f3a", insertsApart, list{refresh}},
			{"LST#default#con_1", insertsApart, list{refresh, mcprun}},
			{"LST#default#con_1", list{"dynamodb:GetItem"}, list{refresh, mcprun}},
			{"LST#default#con_1", list{"dynamodb:PartiQLInsert"}, nil},
			{"CON#default#con_1", insertsApart, list{connect, callback, refresh, mcprun}},
			{"CON#default#con_1", list{"dynamodb:PartiQLInsert"}, nil},
			{"KEY#0f3a", list{"dynamodb:PartiQLInsert"}, nil},
			{"GRT#default#con_1", list{"dynamodb:PartiQLInsert"}, nil},
			{"MCT#0f3a", insertsApart, list{connect, callback, refresh, mcprun}},
			{"FLO#flo_1", list{"dynamodb:PutItem"}, list{connect, callback, refresh, mcprun, mcpremote}},
			{"FLO#flo_1", list{"dynamodb:DeleteItem"}, list{connect, callback, refresh, mcprun}},
			{"FLO#flo_1", list{"dynamodb:PartiQLInsert"}, nil},
			{"OAC#0f3a", insertsApart, list{connect}},
			{"OAC#0f3a", list{"dynamodb:GetItem"}, list{connect, refresh}},
			{"OACS", insertsApart, list{connect}},
			{"OAR#req_1", insertsApart, list{connect}},
			{"OAG#gnt_1", insertsApart, list{connect, refresh, mcprun}},
			{"OAG#gnt_1", list{"dynamodb:GetItem"}, list{connect, refresh, mcprun, mcpremote, authorizer}},
			{"OAGS#default#ada", list{"dynamodb:PutItem"}, list{connect, refresh, mcprun}},
			{"OAN#default#ada", insertsApart, list{connect, refresh, mcprun}},
			{"OAX#0f3a", insertsApart, list{connect}},
			{"OAW#registrations", insertsApart, list{connect}},
			{"STA#0f3a", insertsApart, list{connect, callback, refresh, mcprun}},
		} {
			for _, name := range functionNames {
				for _, action := range test.actions {
					got, want := mayItem(t, all, rolesOfFunctions[name], action, test.pk), slices.Contains(test.only, name)
					if got != want {
						t.Errorf("%s: %s %s %s: %v", file, name, action, test.pk, got)
					}
				}
			}
		}
		// No other way to an item stands beside those that are denied.
		for _, s := range all {
			for _, action := range s.actions {
				if strings.HasPrefix(action, "dynamodb:") && !slices.Contains(tableReads, action) && !slices.Contains(tableWrites, action) {
					t.Errorf("%s: %s %s has %s, which withhold does not deny", file, s.holder, s.sid, action)
				}
			}
		}
	}
}
