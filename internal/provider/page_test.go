package provider

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/presets"
)

var update = flag.Bool("update", false, "write docs/providers.md")

const pageHead = `# Providers

What Lanyard knows of each OAuth provider is one YAML file in [presets/providers](../presets/providers), and a file of yours in the folder ` + "`providers`" + ` of a directory that ` + "`LANYARD_PRESETS`" + ` names adds another, or replaces one of these. ` + "`lanyard providers show ID`" + ` prints what to register there, with the redirect URI of your deployment; the client then goes into ` + "`.env`" + ` (` + "`GITHUB_CLIENT_ID`" + `, ` + "`GITHUB_CLIENT_SECRET`" + `) on one machine, and into Secrets Manager with ` + "`lanyard client set ID`" + ` for a deployment. A provider of another host (GitLab or GitHub of one's own) is four lines:

` + "```yaml" + `
# my-presets/providers/gitlab-acme.yaml
id: gitlab-acme
display_name: GitLab at Acme
extends: gitlab
parameters: {host: {default: git.acme.example}}
` + "```" + `

Which host a client's secret goes to is never a person's choice: a parameter that people fill in has a pattern, and lint refuses one that lets them name a host of their own.

## Each of them

The last column counts the shapes that tests play: the authorization URL with all its parameters, each token request in full, its reply, each error with the verdict on it, identity and revocation. A shape counts as *documented* when a page or code of the provider's own, or the RFC that it follows, is cited for it without reservation; the others are listed below with the reason why they are believed. The table is written by ` + "`make providers`" + ` from the presets and from [internal/provider/testdata/documented](../internal/provider/testdata/documented), where each shape cites its source. No test asks a provider itself: before you rely on one, connect an account of your own.

| Provider | Needs | Renewal | Revocation ends | Documented |
|---|---|---|---|---|
`

// TestProvidersPage: docs/providers.md is what presets and fixtures say.
func TestProvidersPage(t *testing.T) {
	t.Parallel()
	var page, doubts strings.Builder
	page.WriteString(pageHead)
	all := shippedProviders(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p, d := all[name], readDocumented(t, name)
		id, variant, _ := strings.Cut(name, ".")
		shown := "`" + id + "` " + p.DisplayName
		if variant != "" {
			shown += ", variant `" + variant + "`"
		}
		total, unverified := d.doubts()
		fmt.Fprintf(&page, "| %s | %s | %s | %s | %d of %d |\n", shown, needs(p), p.RenewalRule(), p.RevocationRule(), total-len(unverified), total)
		if len(unverified) > 0 {
			fmt.Fprintf(&doubts, "- **%s**\n", strings.TrimPrefix(shown, "`"+id+"` "))
			for _, doubt := range unverified {
				fmt.Fprintf(&doubts, "  - %s\n", doubt)
			}
		}
	}
	page.WriteString("\n## What else to turn on\n\nBeside the client, servers use these, which are off at the provider until somebody enables them.\n\n" + features(t))
	page.WriteString("\n## What is believed for another reason\n\n" + doubts.String())
	const file = "../../docs/providers.md"
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != page.String() {
		t.Errorf("docs/providers.md is not what `make providers` writes: %v", err)
	}
}

// features lists what the shipped servers want to be on.
func features(t *testing.T) string {
	t.Helper()
	c, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, p := range c.Providers() {
		for _, f := range presets.ToEnable(p.ID, c.Servers()) {
			var servers []string
			for _, s := range f.Servers {
				servers = append(servers, "`"+s.Name+"`")
			}
			fmt.Fprintf(&out, "- %s: [%s](%s), for %s\n", p.DisplayName, f.Name, f.URL, strings.Join(servers, ", "))
		}
	}
	return out.String()
}

// needs is what has to be there before somebody can connect.
func needs(p presets.Provider) string {
	var parts []string
	if url := p.Registration.ConsoleURL; url != "" {
		parts = append(parts, "a [client]("+url+")")
	}
	parts = append(parts, p.RedirectRule())
	for _, name := range names(p.Parameters) {
		if source := p.Parameters[name].Source; source == "" || source == presets.SourceUser {
			parts = append(parts, "asks for `"+name+"`")
		}
	}
	if d := p.Discovery; d != nil {
		parts = append(parts, "of several, a "+d.Kind+" is picked after the grant")
	}
	for _, rule := range []string{p.ScopeRule(), p.IssueRule()} {
		if rule != "" {
			parts = append(parts, strings.Replace(strings.Replace(rule, "always ", "scope ", 1), "set at the provider", "scopes are set there", 1))
		}
	}
	return strings.Join(parts, "; ")
}

// doubts counts the shapes of a fixture, and names those that are not documented
// with the reason.
func (d documented) doubts() (total int, unverified []string) {
	note := func(part string, c Cited) {
		if total++; c.Unverified != "" {
			unverified = append(unverified, part+": "+c.Unverified)
		}
	}
	note("authorization URL", d.Authorize.Cited)
	parts := d.parts()
	for _, part := range []string{"code", "refresh", "identity", "discovery", "revocation"} {
		for _, c := range parts[part] {
			note(part, c.Cited)
		}
	}
	for _, e := range d.Errors {
		note("error of "+e.Request, e.Cited)
	}
	return total, unverified
}
