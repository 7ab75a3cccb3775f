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

What Lanyard knows of each OAuth provider is one YAML file in [presets/providers](../presets/providers), and a file of yours in the folder ` + "`providers`" + ` of a directory that ` + "`LANYARD_PRESETS`" + ` names adds another, or replaces one of these. ` + "`lanyard providers show ID`" + ` prints what to register there, with the redirect URI of your deployment; the client then goes into ` + "`.env`" + ` (` + "`GITHUB_CLIENT_ID`" + `, ` + "`GITHUB_CLIENT_SECRET`" + `) on one machine, and into Secrets Manager with ` + "`lanyard client set ID`" + ` for a deployment.

## A host of your own

GitLab and GitHub are run by many, and an OAuth client is registered at one of them. Which one is said where the client is set, once:

| | GitLab of your own | GitHub Enterprise Server, or data residency |
|---|---|---|
| on one machine, in ` + "`.env`" + ` | ` + "`GITLAB_CLIENT_HOST=gitlab.example.com`" + ` | ` + "`GITHUB_CLIENT_HOST=github.example.com`" + `, or ` + "`octocorp.ghe.com`" + ` |
| for a deployment | ` + "`lanyard client set gitlab --id ID --param host=gitlab.example.com`" + ` | ` + "`lanyard client set github --id ID --param host=…`" + ` |

The authorization page, the token endpoint, the API and revocation follow, and so does the server that is connected: GitLab's is given that host's API. The package of the preset ` + "`github`" + ` has GitHub's own API built in, so that server is for github.com alone, and says so when the client is for another host; a server preset of yours that declares ` + "`parameters: {host: {source: client}, api: {source: client}}`" + ` is for the client's host, wherever that is, and may use ` + "`{host}`" + ` and ` + "`{api}`" + `.

A host is a name at https and its usual port, without a path: a GitLab below a path or at another port cannot be named. It must have a public address. Private and special networks are refused as they are for every provider, and there is no list of exceptions: a GitLab that only your network reaches cannot be used yet.

A grant is for the host that it was made at. Should the client be set for another one under the same id, nothing that was granted before is sent there: those connections ask to be reconnected, which keeps their ids, and are not revoked at the old host. A client of another id leaves them as they are in a deployment, which keeps the old one. To have two hosts at once, give the second a provider of its own, with a client of its own (` + "`GITLAB_ACME_CLIENT_ID`" + `) and a server preset that names it as ` + "`oauth_service`" + `:

` + "```yaml" + `
# my-presets/providers/gitlab-acme.yaml
id: gitlab-acme
display_name: GitLab at Acme
extends: gitlab
parameters: {host: {default: git.acme.example}}
` + "```" + `

Which host a client's secret goes to is never a person's choice: what people fill in has a pattern, and lint refuses one that lets them name a host of their own; a parameter with ` + "`source: client`" + ` is asked of nobody, and what a request says of it is dropped ([decision 0026](decisions/0026-hosts-come-with-the-client.md)).

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
		} else if source == presets.SourceClient {
			parts = append(parts, "the client's `"+name+"`, else "+p.Parameters[name].Default)
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
