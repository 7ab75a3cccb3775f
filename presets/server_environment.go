package presets

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Variables that a preset may not set. They make a program load code or trust
// somebody else's certificates, divert its traffic, or move the private home
// that the runner made for it.
var (
	refusedVariables = []string{
		"PATH", "HOME", "TMPDIR", "SHELL", "ENV", "BASH_ENV", "IFS",
		"NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED",
		"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PERL5LIB", "PERL5OPT",
		"RUBYLIB", "RUBYOPT", "JAVA_TOOL_OPTIONS", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPLIB2_CA_CERTS",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
	}
	refusedPrefixes = []string{"LD_", "DYLD_", "XDG_", "NPM_CONFIG_", "LANYARD_"}
)

// refusedVariable ignores case, as programs do for some of these names.
func refusedVariable(name string) bool {
	name = strings.ToUpper(name)
	return slices.Contains(refusedVariables, name) ||
		slices.ContainsFunc(refusedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// checkEnvironment judges every variable that the server gets, wherever it
// comes from.
func (c *serverCheck) checkEnvironment() {
	seen := map[string]bool{}
	variable := func(path, name string) {
		switch {
		case !environmentName.MatchString(name):
			c.add(path, "%q is no name of an environment variable", name)
		case refusedVariable(name):
			c.add(path, "%s may not be set by a preset: it changes how programs run, not what they know", name)
		case seen[name]:
			c.add(path, "%s is set twice", name)
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		variable(under("$.env", name), name)
		if strings.ContainsRune(c.Env[name], 0) {
			c.add(under("$.env", name), "holds a NUL, which no environment variable can")
		}
	}
	for _, field := range slices.Sorted(maps.Keys(c.OAuthToEnvMapping)) {
		path := under("$.oauth_to_env_mapping", field)
		variable(path, c.OAuthToEnvMapping[field])
		c.checkField(path, field)
	}
	for i, v := range c.EnvValues {
		path := fmt.Sprintf("$.env_values[%d]", i)
		variable(path+".name", v.Name)
		if v.Label == "" {
			c.add(path, "label is missing: it is what the person is asked for")
		}
		if u, err := url.Parse(v.HelpURL); v.HelpURL != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			c.add(path+".help_url", "must be an https URL")
		}
	}
}

// checkField judges the left side of oauth_to_env_mapping.
func (c *serverCheck) checkField(path, field string) {
	head, rest, dotted := strings.Cut(field, ".")
	switch {
	case head == "credential_files" && dotted:
		if _, ok := c.CredentialFiles[rest]; !ok {
			c.add(path, "there is no credential_files.%s", rest)
		}
	case head == "value" && dotted:
		if !slices.ContainsFunc(c.EnvValues, func(v EnvValue) bool { return v.Name == rest }) {
			c.add(path, "there is no %s in env_values", rest)
		}
	case c.AuthType != TypeOAuth:
		c.add(path, "only credential_files.NAME and value.NAME can be mapped without auth_type oauth")
	case field == "access_token" || field == "expires_at" || c.provider == nil:
	case rest == "access_token" || rest == "expires_at":
		if !slices.ContainsFunc(c.provider.Response.Tokens, func(t TokenRoot) bool { return t.Name == head }) {
			c.add(path, "provider %s has no second token %q", c.provider.ID, head)
		}
	case !slices.Contains(c.provider.kept(), field):
		c.add(path, "must be access_token, expires_at, NAME.access_token, credential_files.NAME, or what provider %s keeps: %s",
			c.provider.ID, strings.Join(c.provider.kept(), ", "))
	}
}

// kept are the names of the metadata that come with this provider's tokens.
func (p *Provider) kept() []string {
	names := append(slices.Clone(p.Response.Metadata), p.Callback.Capture...)
	if p.Discovery != nil {
		names = append(names, slices.Sorted(maps.Keys(p.Discovery.Metadata))...)
	}
	return names
}
