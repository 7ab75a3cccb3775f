package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/presets"
)

// providersCommand tells what has to be registered where. It reads presets
// alone: no server is asked.
func (c *cli) providersCommand() *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return c.listProviders(cmd.OutOrStdout()) }
	cmd := &cobra.Command{
		Use:   "providers",
		Short: "List the OAuth providers, and what to register at each",
		Long: `List the OAuth providers that presets know, and what has to be registered at each
before anybody can connect: those that come with Lanyard, overlaid by the
directories in LANYARD_PRESETS.`,
		Example: `  lanyard providers
  lanyard providers show github`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List the providers", Example: "  lanyard providers list --json", Args: cobra.NoArgs, RunE: list,
	}, &cobra.Command{
		Use:   "show ID",
		Short: "Show what to register at a provider, and how it behaves",
		Example: `  lanyard providers show github
  LANYARD_BASE_URL=https://lanyard.example lanyard providers show slack`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.showProvider(cmd.OutOrStdout(), args[0]) },
	})
	return cmd
}

// providerEntry is a provider as an operator needs to know it.
type providerEntry struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	ConsoleURL   string            `json:"console_url,omitempty"`
	Help         string            `json:"help,omitempty"`
	Enable       []enabling        `json:"enable,omitempty"`
	RedirectURI  string            `json:"redirect_uri"`
	RedirectRule string            `json:"redirect_rule"`
	RedirectNote string            `json:"redirect_note,omitempty"`
	HTTPSOnly    bool              `json:"https_only"`
	Refused      string            `json:"refused,omitempty"` // why this redirect URI is
	Environment  []string          `json:"environment"`
	Command      string            `json:"command"`
	Variants     []string          `json:"variants,omitempty"`
	Asks         map[string]string `json:"asks,omitempty"`  // of people, by parameter
	Picks        string            `json:"picks,omitempty"` // what people pick, of several that they granted
	Parameters   []clientParameter `json:"client_parameters,omitempty"`
	Scopes       string            `json:"scopes,omitempty"`
	Renewal      string            `json:"renewal"`
	Issued       string            `json:"issued,omitempty"`
	Revocation   string            `json:"revocation"`
	VerifiedAt   string            `json:"verified_at,omitempty"`
	Sources      []string          `json:"sources,omitempty"`
}

// clientParameter is said with the client.
type clientParameter struct {
	Name     string `json:"name"`
	Default  string `json:"default,omitempty"`
	Help     string `json:"help,omitempty"`
	Variable string `json:"variable"`
	Flag     string `json:"flag"`
}

// enabling is what else has to be on there, and for which servers.
type enabling struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Servers []string `json:"servers"`
}

func (c *cli) providerEntry(p presets.Provider, catalogue *presets.Catalogue) (providerEntry, error) {
	variants := slices.Sorted(maps.Keys(p.Variants))
	p, err := p.Resolve("", catalogue.Provider)
	if err != nil {
		return providerEntry{}, err
	}
	prefix := flow.EnvPrefix(p.ID)
	e := providerEntry{
		ID: p.ID, Name: p.DisplayName, ConsoleURL: p.Registration.ConsoleURL, Help: p.Registration.Help,
		RedirectURI:  strings.TrimSuffix(firstOf(c.getenv("LANYARD_BASE_URL"), defaultURL), "/") + flow.CallbackPath,
		RedirectRule: p.RedirectRule(), RedirectNote: p.Registration.RedirectNote, HTTPSOnly: p.RedirectURI.HTTPSOnly,
		Environment: []string{prefix + "_CLIENT_ID", prefix + "_CLIENT_SECRET"},
		Command:     "lanyard client set " + p.ID + " --id ID < secret.txt",
		Variants:    variants, Asks: map[string]string{}, Scopes: p.ScopeRule(), Renewal: p.RenewalRule(), Issued: p.IssueRule(),
		Revocation: p.RevocationRule(), VerifiedAt: p.VerifiedAt, Sources: p.Sources,
	}
	for _, f := range presets.ToEnable(p.ID, catalogue.Servers()) {
		on := enabling{Name: f.Name, URL: f.URL}
		for _, s := range f.Servers {
			on.Servers = append(on.Servers, s.Name)
		}
		e.Enable = append(e.Enable, on)
	}
	if len(variants) > 0 {
		e.Environment = append(e.Environment, prefix+"_CLIENT_VARIANT")
	}
	if err := p.CheckRedirect(e.RedirectURI); err != nil {
		e.Refused = err.Error()
	}
	for _, name := range p.ClientParameters() {
		param := p.Parameters[name]
		e.Parameters = append(e.Parameters, clientParameter{name, param.Default, param.Help, flow.ClientVariable(p.ID, name), "--param " + name + "="})
	}
	for name, param := range p.Parameters {
		if param.Source == "" || param.Source == presets.SourceUser {
			e.Asks[name] = cmp.Or(param.Label, name)
		}
	}
	if p.Discovery != nil {
		e.Picks = p.Discovery.Kind
	}
	return e, nil
}

func (c *cli) listProviders(w io.Writer) error {
	catalogue, err := c.catalogue()
	if err != nil {
		return err
	}
	all := []providerEntry{}
	for _, p := range catalogue.Providers() {
		e, err := c.providerEntry(p, catalogue)
		if err != nil {
			return err
		}
		all = append(all, e)
	}
	if c.json {
		return json.NewEncoder(w).Encode(map[string]any{"providers": all})
	}
	t := newTable(w)
	t.row("PROVIDER", "NAME", "CLIENT IN", "REDIRECT URI", "ASKS FOR", "REGISTER AT")
	for _, e := range all {
		t.row(e.ID, e.Name, e.Environment[0], e.RedirectRule, strings.Join(slices.Sorted(maps.Keys(e.Asks)), ", "), e.ConsoleURL)
	}
	return t.flush()
}

func (c *cli) showProvider(w io.Writer, id string) error {
	catalogue, err := c.catalogue()
	if err != nil {
		return err
	}
	p, ok := catalogue.Provider(id)
	if !ok {
		return usagef("no preset knows a provider %q: \"lanyard providers\" lists them", id)
	}
	e, err := c.providerEntry(p, catalogue)
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(w).Encode(e)
	}
	t := newTable(w)
	row := func(name string, values ...string) {
		for _, value := range values {
			if value != "" {
				t.row(name, value)
				name = " "
			}
		}
	}
	row("Provider", e.Name)
	row("Register at", e.ConsoleURL)
	row("Register", e.Help)
	var on []string
	for _, f := range e.Enable {
		on = append(on, fmt.Sprintf("%s, for %s: %s", f.Name, strings.Join(f.Servers, ", "), f.URL))
	}
	row("Enable", on...)
	row("Redirect URI", e.RedirectURI, e.RedirectRule, e.RedirectNote)
	if e.Refused != "" {
		row("", "! "+e.Refused)
	}
	row("On one machine", strings.Join(e.Environment, ", ")+": in the environment or .env")
	row("For a deployment", e.Command)
	if len(e.Variants) > 0 {
		row("Kinds of client", "--variant "+strings.Join(e.Variants, ", --variant "))
	}
	for _, param := range e.Parameters {
		row("The client's "+param.Name, fmt.Sprintf("%s or %s…; else %s", param.Variable, param.Flag, cmp.Or(param.Default, "none")), param.Help)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Asks)) {
		row("People are asked", fmt.Sprintf("%s (%s)", e.Asks[name], name))
	}
	if e.Picks != "" {
		row("People pick", "a "+e.Picks+", once they have granted access to several")
	}
	row("Scopes", e.Scopes)
	row("Renewal", e.Renewal, e.Issued)
	row("Revocation ends", e.Revocation)
	row("Verified", e.VerifiedAt)
	row("Sources", e.Sources...)
	return t.flush()
}
