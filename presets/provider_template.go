package presets

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

// Expand fills the {names} of a template.
func Expand(template string, values map[string]string) (string, error) {
	return expand(template, values, func(s string) string { return s })
}

// ExpandURL fills the {names} of a URL. A name that opens the template is a
// base URL and goes in as it is; every other value is escaped, so it can be
// part of a host label, a path segment or a query value and never more.
func ExpandURL(template string, values map[string]string) (*url.URL, error) {
	if m := placeholder.FindStringSubmatchIndex(template); m != nil && m[0] == 0 {
		base, ok := values[template[m[2]:m[3]]]
		if !ok {
			return nil, fmt.Errorf("%w: %s has no value", ErrParameter, template[m[2]:m[3]])
		}
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(base, "?#{}") {
			return nil, fmt.Errorf("%w: %s is not a base URL", ErrParameter, template[m[2]:m[3]])
		}
		template = strings.TrimSuffix(base, "/") + template[m[1]:]
	}
	text, err := expand(template, values, func(s string) string {
		return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	})
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		// The parse error would repeat the URL, which may hold a token.
		return nil, fmt.Errorf("%w: the values do not make a URL", ErrParameter)
	}
	return u, nil
}

func expand(template string, values map[string]string, escape func(string) string) (string, error) {
	var missing error
	out := placeholder.ReplaceAllStringFunc(template, func(match string) string {
		name := match[1 : len(match)-1]
		value, ok := values[name]
		if !ok {
			missing = fmt.Errorf("%w: %s has no value", ErrParameter, name)
		}
		return escape(value)
	})
	return out, missing
}

// placeholders are the names that a template uses.
func placeholders(template string) []string {
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(template, -1) {
		names = append(names, m[1])
	}
	return names
}

// Allows reports why a value is not allowed, in words for who typed it. It
// never repeats the value.
func (p Parameter) Allows(value string) error {
	if len(value) > 512 {
		return errors.New("the value is longer than 512 bytes")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return errors.New("the value holds spaces or control characters")
	}
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
		return fmt.Errorf("the value must be one of: %s", strings.Join(p.Enum, ", "))
	}
	if p.Pattern == "" {
		return nil
	}
	// The pattern is wrapped although Check wants it anchored: ^a|b$ is anchored
	// to the eye alone.
	re, err := regexp.Compile(`\A(?:` + p.Pattern + `)\z`)
	if err != nil {
		return fmt.Errorf("the pattern does not compile: %w", err)
	}
	if !re.MatchString(value) {
		return fmt.Errorf("the value must match %s", p.Pattern)
	}
	return nil
}

// CheckRedirect reports why the provider would refuse our redirect URI, in
// words for the operator.
func (p Provider) CheckRedirect(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil {
		return errors.New("the redirect URI is not an absolute URL without fragment (RFC 6749 §3.1.2)")
	}
	if u.Scheme == "https" {
		return nil
	}
	if p.RedirectURI.HTTPSOnly {
		return fmt.Errorf("%s accepts https redirect URIs only: set LANYARD_BASE_URL to an https tunnel to this machine", p.DisplayName)
	}
	host := u.Hostname()
	isIP := host == "127.0.0.1" || host == "::1"
	switch {
	case u.Scheme != "http" || !isIP && host != "localhost":
		return errors.New("the redirect URI must be https, or http on loopback")
	case p.RedirectURI.Loopback == LoopbackNone:
		return fmt.Errorf("%s accepts no loopback redirect URI: set LANYARD_BASE_URL to an https tunnel to this machine", p.DisplayName)
	case p.RedirectURI.Loopback == LoopbackIP && !isIP:
		return fmt.Errorf("%s accepts 127.0.0.1 but not the name localhost: set LANYARD_BASE_URL to http://127.0.0.1 with the port", p.DisplayName)
	}
	return nil
}
