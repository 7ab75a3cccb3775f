package provider

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/presets"
)

// documented is what a provider's documents show of each request and its
// answers, in testdata/documented: ID.yaml, and ID.VARIANT.yaml for a variant.
// What they do not show has the reason why it is believed in Unverified.
type documented struct {
	// Params are what a person was asked, Metadata what earlier replies gave.
	Params   map[string]string `yaml:"params"`
	Metadata map[string]string `yaml:"metadata"`

	Authorize struct {
		Cited  `yaml:",inline"`
		Scopes Scopes            `yaml:"scopes"`
		URL    string            `yaml:"url"`
		Query  map[string]string `yaml:"query"` // all but state and the PKCE challenge
	} `yaml:"authorize"`
	Code       []exchangeCase `yaml:"code"`
	Refresh    []exchangeCase `yaml:"refresh"`
	Identity   []exchangeCase `yaml:"identity"`
	Discovery  []exchangeCase `yaml:"discovery"`
	Revocation []exchangeCase `yaml:"revocation"`
	Errors     []errorCase    `yaml:"errors"`
	// None says, by part, why there is nothing to show.
	None map[string]string `yaml:"none"`
}

// Cited is where a shape is documented, or why it is believed.
type Cited struct {
	Source     string `yaml:"source"`
	Unverified string `yaml:"unverified"`
}

func (c Cited) check(t *testing.T) {
	t.Helper()
	if !strings.HasPrefix(c.Source, "https://") {
		t.Errorf("cites no source: %q", c.Source)
	}
}

type exchangeCase struct {
	Cited    `yaml:",inline"`
	Token    string            `yaml:"token"`    // which one is refreshed
	Callback map[string]string `yaml:"callback"` // beside the code
	Sent     *sentShape        `yaml:"sent"`
	Status   int               `yaml:"status"`
	Body     string            `yaml:"body"`
	Want     wantShape         `yaml:"want"`
}

// sentShape is a whole request: parameters that it does not name are not sent.
type sentShape struct {
	Method        string            `yaml:"method"` // POST by default
	URL           string            `yaml:"url"`
	Authorization string            `yaml:"authorization"` // basic: our client; empty: no header
	Headers       map[string]string `yaml:"headers"`
	Encoding      string            `yaml:"encoding"` // form, json; empty: no body
	Params        map[string]string `yaml:"params"`   // VERIFIER is PKCE's
}

type wantShape struct {
	Tokens          map[string]string `yaml:"tokens"`
	Refresh         map[string]string `yaml:"refresh"`
	Lifetime        int               `yaml:"lifetime"` // seconds; 0: no end is known
	RefreshLifetime int               `yaml:"refresh_lifetime"`
	Scopes          []string          `yaml:"scopes"`
	Metadata        map[string]string `yaml:"metadata"`
	Subject         string            `yaml:"subject"`
	Label           string            `yaml:"label"`
	// Places are what a discovery finds, and Error is what it says of none.
	Places []placeShape `yaml:"places"`
	Error  string       `yaml:"error"`
}

type placeShape struct {
	ID       string            `yaml:"id"`
	Label    string            `yaml:"label"`
	Name     string            `yaml:"name"`
	Metadata map[string]string `yaml:"metadata"`
}

// errorCase is one reply of failures that differ in their code alone: CODE in
// the body stands for each.
type errorCase struct {
	Cited      `yaml:",inline"`
	Request    string             `yaml:"request"` // code, refresh, api, revocation
	Status     int                `yaml:"status"`
	Headers    map[string]string  `yaml:"headers"`
	Body       string             `yaml:"body"`
	RetryAfter int                `yaml:"retry_after"` // seconds
	Ambiguous  bool               `yaml:"ambiguous"`
	Verdicts   map[string]Verdict `yaml:"verdicts"` // by code
}

// TestDocumented plays what is documented of every provider that comes with
// Lanyard. A provider without a fixture, a fixture without a part and a code that
// a preset knows and no fixture shows all fail.
func TestDocumented(t *testing.T) {
	t.Parallel()
	all := shippedProviders(t)
	for name, p := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := readDocumented(t, name)
			d.checkParts(t, p)
			t.Run("authorize", func(t *testing.T) { d.authorize(t, p) })
			for part, cases := range d.parts() {
				for i, c := range cases {
					t.Run(part+"/"+strconv.Itoa(i), func(t *testing.T) { d.play(t, p, part, c) })
				}
			}
			for i, c := range d.Errors {
				t.Run("errors/"+strconv.Itoa(i), func(t *testing.T) { d.fail(t, p, c) })
			}
		})
	}
	onDisk, err := filepath.Glob("testdata/documented/*.yaml")
	if err != nil || len(onDisk) != len(all) {
		t.Errorf("%d fixtures for %d providers and variants: %v", len(onDisk), len(all), err)
	}
}

// shippedProviders are the providers and their variants, resolved, by the name of
// their fixture.
func shippedProviders(t *testing.T) map[string]presets.Provider {
	t.Helper()
	catalogue, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]presets.Provider{}
	for _, p := range catalogue.Providers() {
		for _, variant := range append([]string{""}, names(p.Variants)...) {
			resolved, err := p.Resolve(variant, catalogue.Provider)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimSuffix(p.ID+"."+variant, ".")] = resolved
		}
	}
	if len(all) < 23 {
		t.Fatalf("%d providers", len(all))
	}
	return all
}

func readDocumented(t *testing.T, name string) documented {
	t.Helper()
	data, err := os.ReadFile("testdata/documented/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d documented
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

func (d documented) parts() map[string][]exchangeCase {
	return map[string][]exchangeCase{
		"code": d.Code, "refresh": d.Refresh, "identity": d.Identity, "discovery": d.Discovery, "revocation": d.Revocation,
	}
}

// checkParts wants every part, or a reason; and none where the preset has it.
func (d documented) checkParts(t *testing.T, p presets.Provider) {
	t.Helper()
	has := map[string]bool{
		"code": true, "errors": true, "identity": p.Identity.From != "",
		"refresh":    p.Refresh.Grant != presets.GrantNone,
		"discovery":  p.Discovery != nil,
		"revocation": p.Revocation.Mode != "" && p.Revocation.Mode != "none",
	}
	count := map[string]int{"errors": len(d.Errors)}
	for part, cases := range d.parts() {
		count[part] = len(cases)
		if whole := slices.ContainsFunc(cases, func(c exchangeCase) bool { return c.Sent != nil }); len(cases) > 0 && !whole {
			t.Errorf("%s: no case shows the whole request", part)
		}
	}
	if p.Identity.From == presets.IdentityTokenResponse {
		count["identity"] = len(d.Code) // there, with what it is asked for
	}
	for part, shown := range count {
		switch {
		case has[part] && (shown == 0 || d.None[part] != ""):
			t.Errorf("%s: the preset has it, the fixture does not show it", part)
		case !has[part] && shown > 0:
			t.Errorf("%s: the fixture shows it, the preset does not have it", part)
		case !has[part] && d.None[part] == "" && part != "discovery":
			t.Errorf("%s: the fixture does not say why there is none", part)
		}
	}
	var codes []string
	for _, e := range d.Errors {
		codes = append(codes, names(e.Verdicts)...)
	}
	for _, rule := range p.Errors {
		for _, code := range rule.When.Code {
			if !slices.Contains(codes, code) {
				t.Errorf("errors: no fixture shows the code %s, which the preset knows", code)
			}
		}
	}
	for _, code := range p.Revocation.Gone {
		if !slices.ContainsFunc(d.Revocation, func(c exchangeCase) bool { return strings.Contains(c.Body, `"`+code+`"`) }) {
			t.Errorf("revocation: no fixture shows the code %s, which the preset knows", code)
		}
	}
	for _, status := range p.Revocation.GoneStatus {
		if !slices.ContainsFunc(d.Revocation, func(c exchangeCase) bool { return strconv.Itoa(c.Status) == status }) {
			t.Errorf("revocation: no fixture shows the status %s, which the preset knows", status)
		}
	}
}
