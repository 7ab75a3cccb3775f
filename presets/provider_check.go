package presets

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Check reports everything that is wrong with the provider by itself, in the
// order of the file, and every setting that the engine cannot honour: nothing
// in a file is silently ignored. A file that extends another is checked as far
// as it goes; [Provider.Resolve] checks the whole.
func (p *Provider) Check() []Problem {
	c := &checker{p: p, partial: p.Extends != ""}
	c.identity()
	c.parameters()
	c.endpoints()
	c.client()
	c.callback()
	c.requests()
	c.response()
	c.refresh()
	c.errors()
	c.apiRequests()
	c.discovery()
	c.revocation()
	c.later()
	c.variants()
	return c.problems
}

type checker struct {
	p        *Provider
	partial  bool // keys may come from the file that this one extends
	problems []Problem
}

func (c *checker) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: "$." + path, Message: fmt.Sprintf(format, args...)})
}

// oneOf wants an empty value or one of those that the engine can do.
func (c *checker) oneOf(path, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.add(path, "%q is not supported: use %s", value, strings.Join(allowed, ", "))
	}
}

func (c *checker) date(path, value string) {
	if _, err := time.Parse(time.DateOnly, value); value != "" && err != nil {
		c.add(path, "%q is not a day like 2026-01-31", value)
	}
}

var identifier = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func (c *checker) identity() {
	p := c.p
	if strings.ReplaceAll(p.ID, "_", "-") == SignInClient {
		c.add("id", "%q is reserved", p.ID)
	}
	if !identifier.MatchString(p.ID) {
		c.add("id", "an id is lower-case letters, digits, - and _, 63 at most")
	}
	if p.ID == OAuthDiscover {
		c.add("id", "%q is reserved: a server that names it has its provider found", OAuthDiscover)
	}
	if p.DisplayName == "" && !c.partial {
		c.add("display_name", "required")
	}
	c.date("verified_at", p.VerifiedAt)
	for i, source := range p.Sources {
		if u, err := url.Parse(source); err != nil || u.Scheme != "https" {
			c.add(fmt.Sprintf("sources[%d]", i), "a source is an https URL")
		}
	}
	c.oneOf("lifecycle.status", p.Lifecycle.Status, "active", "deprecated", "sunset")
	c.date("lifecycle.date", p.Lifecycle.Date)
	if s := p.Lifecycle.Status; (s == "deprecated" || s == "sunset") && (p.Lifecycle.Date == "" || p.Lifecycle.Replacement == "") {
		c.add("lifecycle", "a provider that goes away names the date and the replacement")
	}
	if u, err := url.Parse(p.Registration.ConsoleURL); p.Registration.ConsoleURL != "" && (err != nil || u.Scheme != "https") {
		c.add("registration.console_url", "must be an https URL")
	}
}

// SignInClient is no provider's id: our client at a tenant's own issuer, where
// its people sign in, is kept under it. Neither is sign_in, which has the same
// name in the environment.
const SignInClient = "sign-in"

// reservedNames are those that the engine fills in templates.
var reservedNames = []string{"client_id", "client_secret", "redirect_uri", "access_token", "token"}

func (c *checker) endpoints() {
	p := c.p
	for _, e := range []struct {
		path, value string
		required    bool
	}{
		{"authorization_endpoint", p.AuthorizationEndpoint, true},
		{"token_endpoint", p.TokenEndpoint, true},
		{"refresh_endpoint", p.RefreshEndpoint, false},
		{"issuer", p.Issuer, false},
	} {
		if e.value == "" {
			if e.required && !c.partial {
				c.add(e.path, "required")
			}
			continue
		}
		c.url(e.path, e.value, "client_id")
	}
}

// url checks a URL template: its names are declared, its host can be nobody
// else's, and what a person types cannot lead to a host that they choose.
func (c *checker) url(path, template string, names ...string) {
	c.names(path, template, names...)
	found := placeholders(template)
	if len(found) > 0 && strings.HasPrefix(template, "{"+found[0]+"}") {
		c.stranger(path, found[0], "https://attacker.example", "http://169.254.169.254", "https://user@attacker.example", "https://localhost")
		return
	}
	rest, secure := strings.CutPrefix(template, "https://")
	if !secure {
		u, err := url.Parse(template)
		if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
			c.add(path, "must be https (http is for loopback, on one machine)")
		}
		return
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host := rest[:end]
	if host == "" || strings.Contains(host, "@") {
		c.add(path, "names no host, or a user in it")
	}
	for _, name := range placeholders(host) {
		if strings.HasSuffix(host, "{"+name+"}") {
			c.stranger(path, name, "attacker.example", "169.254.169.254", "localhost", "x.attacker.example")
		}
	}
	for _, name := range found {
		c.hostile(path, name, "a/b", "a@b", "a?b", "a#b", "a\\b", "..", "a:1")
	}
}

// stranger wants the parameter to refuse each value, which names somebody else's
// host. What is said with the client is not covered: where it is registered,
// whoever runs Lanyard knows alone.
func (c *checker) stranger(path, name string, values ...string) {
	if source := c.p.Parameters[name].Source; source != SourceClient && source != SourceDerived {
		c.hostile(path, name, values...)
	}
}

// hostile wants the parameter to refuse each value. It covers what people,
// replies and settings give; what Lanyard fills in is trusted, and what is derived
// is held by what it is derived from.
func (c *checker) hostile(path, name string, values ...string) {
	param, ok := c.p.Parameters[name]
	if !ok || param.Source == SourceDeployment || param.Source == SourceDerived {
		return
	}
	for _, value := range values {
		if param.Allows(value) == nil {
			c.add("parameters."+name, "allows %q, which would change where %s leads: narrow the pattern", value, path)
			return
		}
	}
}

// names wants every {name} of a template to be declared.
func (c *checker) names(path, template string, extra ...string) {
	if c.partial {
		return
	}
	for _, name := range placeholders(template) {
		if _, ok := c.p.Parameters[name]; !ok && !slices.Contains(extra, name) {
			c.add(path, "uses {%s}, which parameters does not declare", name)
		}
	}
}

func (c *checker) nameMap(path string, templates map[string]string, extra ...string) {
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		c.names(path+"."+key, templates[key], extra...)
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (c *checker) variants() {
	base := *c.p
	base.Variants = nil
	if c.partial || len(c.problems) > 0 {
		return // one mistake would be reported once more for every variant
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Variants)) {
		over, path := c.p.Variants[name], "variants."+name
		if over.ID != "" || over.Extends != "" || len(over.Variants) > 0 {
			c.add(path, "a variant has no id, extends or variants of its own")
			continue
		}
		merged, err := overlay(base, over)
		if err != nil {
			c.add(path, "%v", err)
			continue
		}
		for _, problem := range merged.Check() {
			c.add(path, "%s: %s", strings.TrimPrefix(problem.Path, "$."), problem.Message)
		}
	}
}
