package main

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"
)

// statement is one that stands in a template, with where.
type statement struct {
	holder                  string
	sid, effect, conditions string
	principal               string
	actions, resources      []string
}

func texts(v any) (out []string) {
	if list, ok := v.([]any); ok {
		for _, x := range list {
			out = append(out, flat(x))
		}
	} else if v != nil {
		out = append(out, flat(v))
	}
	return out
}

func statementsOf(holder string, document any) (out []statement) {
	doc, _ := document.(map[string]any)
	list, _ := doc["Statement"].([]any)
	for _, x := range list {
		m := x.(map[string]any)
		out = append(out, statement{holder: holder, sid: flat(m["Sid"]), effect: flat(m["Effect"]), conditions: conditions(m["Condition"]),
			principal: principal(m["Principal"]), actions: texts(m["Action"]), resources: texts(m["Resource"])})
	}
	return out
}

func principal(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return flat(v)
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(m)) {
		out = append(out, kind+" "+flat(m[kind]))
	}
	return strings.Join(out, ", ")
}

func conditions(v any) string {
	var out []string
	m, _ := v.(map[string]any)
	for _, operator := range slices.Sorted(maps.Keys(m)) {
		keys := m[operator].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			out = append(out, fmt.Sprintf("%s %s %s", operator, key, flat(keys[key])))
		}
	}
	return strings.Join(out, ", ")
}

// allStatements are those of roles and policies, and of what has a policy of its
// own: keys, queues, topics.
func allStatements(a assembly) (out []statement) {
	for _, t := range []template{a.data, a.service} {
		for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
			r := t.Resources[id]
			switch r.Type {
			case "AWS::IAM::Role":
				out = append(out, statementsOf(plain(id)+" (trust)", r.at("AssumeRolePolicyDocument"))...)
				policies, _ := r.at("Policies").([]any)
				for _, p := range policies {
					out = append(out, statementsOf(plain(id), p.(map[string]any)["PolicyDocument"])...)
				}
				for _, arn := range texts(r.at("ManagedPolicyArns")) {
					out = append(out, statement{holder: plain(id), effect: "Managed", resources: []string{arn}})
				}
			case "AWS::IAM::Policy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy":
				out = append(out, statementsOf(plain(id), r.at("PolicyDocument"))...)
			case "AWS::KMS::Key":
				out = append(out, statementsOf(plain(id), r.at("KeyPolicy"))...)
			case "AWS::Lambda::Permission":
				out = append(out, statement{holder: flat(r.at("FunctionName")) + " (permission)", effect: "Allow", principal: flat(r.at("Principal")), actions: texts(r.at("Action")),
					resources: texts(r.at("FunctionName")), conditions: "source " + flat(r.at("SourceArn"))})
			}
		}
	}
	return out
}

// TestStatements: who may do what, in a file that a reviewer reads.
func TestStatements(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, s := range allStatements(synth(t, shipped)) {
		sort.Strings(s.actions)
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s  %s %s", s.holder, s.effect, s.sid)))
		if s.principal != "" {
			lines = append(lines, "    who   "+s.principal)
		}
		for _, a := range s.actions {
			lines = append(lines, "    may   "+a)
		}
		for _, r := range s.resources {
			lines = append(lines, "    on    "+r)
		}
		if s.conditions != "" {
			lines = append(lines, "    when  "+s.conditions)
		}
	}
	golden(t, "iam.txt", lines)
}

// TestNoWildcard: a * stands in no action, and only in resources that are
// listed with a reason.
func TestNoWildcard(t *testing.T) {
	t.Parallel()
	for _, file := range []string{shipped, full} {
		a := synth(t, file)
		// A resource policy's statements are about the resource that has it.
		own := []string{"Key", "QueuePolicy", "DeadLettersPolicy", "AlarmsPolicy"}
		used := map[string]bool{}
		for _, s := range allStatements(a) {
			for _, action := range s.actions {
				if strings.Contains(action, "*") && !slices.Contains(own, s.holder) {
					t.Errorf("%s %s: action %s", s.holder, s.sid, action)
				}
			}
			if s.effect != "Allow" {
				continue
			}
			for _, r := range s.resources {
				if !strings.Contains(r, "*") || slices.Contains(own, s.holder) {
					continue
				}
				i := slices.IndexFunc(a.settings.wildcards(), func(w wildcard) bool {
					role, _, _ := strings.Cut(w.role, "/")
					return strings.HasPrefix(s.holder, role) && (r == w.text || strings.HasSuffix(r, "${AWS::AccountId}:"+w.text))
				})
				if i < 0 {
					t.Errorf("%s %s: resource %s is not listed in nag.go with a reason", s.holder, s.sid, r)
					continue
				}
				used[fmt.Sprint(i)] = true
			}
		}
		for i, w := range a.settings.wildcards() {
			if !used[fmt.Sprint(i)] {
				t.Errorf("nag.go lists %s %s, which no statement has", w.role, w.text)
			}
			if len(w.reason) < 20 {
				t.Errorf("%s %s: the reason is too short: %q", w.role, w.text, w.reason)
			}
		}
	}
}

// TestWhoReadsSecrets: connect and the authorizer read none, only callback and
// refresh get to grants, clients and the key, and no task gets to any.
func TestWhoReadsSecrets(t *testing.T) {
	t.Parallel()
	got := map[string][]string{}
	for _, s := range allStatements(synth(t, full)) {
		for _, action := range s.actions {
			if s.effect == "Allow" && s.principal == "" && (strings.HasPrefix(action, "secretsmanager:Get") || strings.HasPrefix(action, "kms:")) {
				for _, r := range s.resources {
					name := r[strings.LastIndex(r, ":")+1:]
					if !slices.Contains(got[s.holder], name) {
						got[s.holder] = append(got[s.holder], name)
					}
				}
			}
		}
	}
	want := map[string][]string{
		"CallbackRole":  {"${data.KeyArn}", "full/grants/*", "full/clients/*"},
		"RefreshRole":   {"${data.KeyArn}", "full/grants/*", "full/clients/*", "full/webhooks/*", "full/api-key-??????"},
		"McprunRole":    {"full/task-bearers-??????"},
		"McpremoteRole": {"full/task-bearers-??????"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
