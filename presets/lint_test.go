package presets_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/presets"
)

// The presets that the rules are tried on: each is valid as it stands.
const (
	oauthServer = `name: acme
display_name: Acme
description: Does things.
auth_type: oauth
oauth_service: slack
oauth_scopes:
  - read
  - {scope: write, why: Write things, param: user_scope, for: [put]}
oauth_to_env_mapping:
  access_token: ACME_TOKEN
  user.access_token: ACME_USER_TOKEN
  team.id: ACME_TEAM
credential_files:
  state: {path: .config/acme/state.json, template: '{"team": {{json .team.id}}, "user": {{json .user.access_token}}}'}
env: {ACME_MODE: "{mode}", ACME_JSON: '{"a": 1}'}
parameters:
  mode: {label: Mode, pattern: "^[a-z]+$"}
server: {registry: command, command: [acme]}
rotation: restart
auth_failure: [token_expired]
tools: [get, put]
`
	fileServer = `name: acme
display_name: Acme
description: Does things.
auth_type: oauth
oauth_service: google
oauth_to_env_mapping:
  credential_files.token: ACME_FILE
credential_files:
  token: '{{json .access_token}}'
server: {registry: command, command: [acme]}
rotation: file
`
	brokerServer = `name: acme
display_name: Acme
description: Does things.
auth_type: oauth
oauth_service: google
oauth_to_env_mapping:
  credential_files.adc: ACME_FILE
credential_files:
  adc: '{{json .broker.token_url}}'
server: {registry: command, command: [acme]}
rotation: broker
`
	keyServer = `name: acme
display_name: Acme
description: Does things.
auth_type: api_key
env_values:
  - {name: ACME_KEY, label: Key, secret: true, help_url: "https://acme.example/keys"}
oauth_to_env_mapping:
  credential_files.key: ACME_FILE
credential_files:
  key: '{{json .values.ACME_KEY}}'
server: {registry: command, command: [acme]}
`
	remoteServer = `name: acme
display_name: Acme
description: Does things.
auth_type: oauth
oauth_service: google
server:
  registry: remote
  url: https://acme.example/mcp
`
	npmServer = `name: acme
display_name: Acme
description: Does things.
auth_type: none
server:
  registry: npm
  package: "@acme/server"
  version: 1.2.3
`
	npmManifest = `{"dependencies": {"@acme/server": "1.2.3"}}`
	npmLockfile = `{"lockfileVersion": 3, "packages": {
		"": {}, "node_modules/@acme/server": {"version": "1.2.3", "integrity": "sha512-AA==", "bin": {"server": "dist/index.js"}},
		"node_modules/x": {"version": "1.0.0", "inBundle": true}}}`
)

// The same server from PyPI.
const (
	pypiServer = `name: acme
display_name: Acme
description: Does things.
auth_type: none
server:
  registry: pypi
  package: Acme.Server
  version: 1.2rc1
`
	pypiHash     = "--hash=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	pypiManifest = "# The server itself.\nAcme.Server==1.2rc1\nmcp<2\n"
	pypiLockfile = "acme-server==1.2rc1 \\\n    " + pypiHash + " \\\n    " + pypiHash + "\n    # via -r requirements.in\n" +
		"mcp==1.30.0 ; python_full_version >= '3.11' and sys_platform != 'win32' \\\n    " + pypiHash + "\n"
)

// lockFiles is what lies beside a preset that is tried out.
func lockFiles() map[string]string {
	return map[string]string{"locks/acme/package.json": npmManifest, "locks/acme/package-lock.json": npmLockfile,
		"locks/acme/requirements.in": pypiManifest, "locks/acme/requirements.txt": pypiLockfile}
}

type rule struct {
	name string
	base string
	// change replaces the first text by the second: a pair.
	change [2]string
	// want is line: start of message, one a finding.
	want []string
}

var nameRules = []rule{
	{"reserved name", strings.Replace(notes, "name: notes", "name: oauth", 1), [2]string{}, []string{`1: "oauth" is reserved`, `1: name must be`}},
	{"bad name", strings.Replace(notes, "name: notes", "name: -Notes", 1), [2]string{}, []string{`1: must be 1 to 63`, `1: name must be`}},
	{"no display name", oauthServer, [2]string{"display_name: Acme\n", ""}, []string{`1: display_name is missing`}},
	{"no description", oauthServer, [2]string{"description: Does things.\n", ""}, []string{`1: description is missing`}},
	{"short hint", oauthServer, [2]string{"[token_expired]", "[token_expired, no]"}, []string{`20: must have at least 8`}},
	{"tool twice", oauthServer, [2]string{"[get, put]", "[get, put, get]"}, []string{`21: a tool is named once`}},
	{"auth type", notes, [2]string{"auth_type: none", "auth_type: magic"}, []string{`4: must be oauth, api_key or none`}},
}

var programRules = []rule{
	{"no registry", notes, [2]string{"registry: command", "registry: docker"}, []string{`6: must be npm, pypi, command or remote`}},
	{"no command", notes, [2]string{"[notes-server]", "[]"}, []string{`7: command is missing`}},
	{"package of a command", notes, [2]string{"[notes-server]", "[a]\n  package: b\n  version: 1.0.0\n  bin: c\n  args: [d]\n  url: https://a.example"},
		[]string{`8: means nothing with registry command`, `9: means`, `10: means`, `11: means`, `12: means`}},
	{"plain http", remoteServer, [2]string{"https://acme", "http://acme"}, []string{`8: must be an https URL`}},
	{"user in URL", remoteServer, [2]string{"https://acme", "https://u:p@acme"}, []string{`8: must be an https URL`}},
	{"http on another machine", remoteServer, [2]string{"https://acme.example", "http://127.0.0.1.example.com"}, []string{`8: must be an https URL`}},
	{"http on this machine", remoteServer, [2]string{"https://acme.example", "http://127.0.0.1:8080"}, nil},
	{"host of anybody's", remoteServer, [2]string{"https://acme.example/mcp", "https://acme.{shop}/mcp\nparameters: {shop: {label: Shop, pattern: '^[a-z]+$'}}"}, []string{`8: must end its host`}},
	{"host of one's own label", remoteServer, [2]string{"https://acme.example/mcp", "https://{shop}.acme.example/mcp\nparameters: {shop: {label: Shop, pattern: '^[a-z]+$'}}"}, nil},
	{"top level domain", remoteServer, [2]string{"https://acme.example/mcp", "https://{shop}.example/mcp\nparameters: {shop: {label: Shop, pattern: '^[a-z]+$'}}"}, []string{`8: must end its host`}},
	{"URL of anybody's", remoteServer, [2]string{"https://acme.example/mcp", "\"{shop}/mcp\"\nparameters: {shop: {label: Shop, pattern: '^[a-z]+$'}}"}, []string{`8: must be an https URL`}},
	{"variables of a remote", remoteServer, [2]string{"server:", "oauth_to_env_mapping: {access_token: TOKEN}\nenv: {A: b}\nauth_failure: [token_expired]\nserver:"}, []string{`6: means nothing with registry remote`, `7: means nothing with registry remote`, `8: means nothing with registry remote`}},
	{"provider is found", remoteServer, [2]string{"oauth_service: google", "oauth_service: discover"}, nil},
	{"scopes of a provider that is found", remoteServer, [2]string{"oauth_service: google", "oauth_service: discover\noauth_scopes: [read]"}, nil},
	{"provider is found for a program", fileServer, [2]string{"oauth_service: google", "oauth_service: discover"}, []string{`5: discover is for registry remote`}},
	{"parameter of a provider that is found", strings.Replace(remoteServer, "google", "discover", 1), [2]string{"acme.example/mcp", "acme.example/{more}"}, []string{`8: {more} is not declared`}},
	{"no url", remoteServer, [2]string{"  url: https://acme.example/mcp\n", ""}, []string{`6: must be an https URL`}},
	{"rotation of a remote", remoteServer, [2]string{"server:", "rotation: restart\nserver:"}, []string{`6: means nothing with registry remote`}},
	{"clients", notes, [2]string{"command: [", "clients: some\n  command: ["}, []string{`7: must be shared or each`}},
	{"no Fargate pair", notes, [2]string{"command: [", "resources: {cpu: 0.5, memory: 512}\n  command: ["}, []string{`7: must be a pair that Fargate runs`}},
	{"odd memory", notes, [2]string{"command: [", "resources: {cpu: 1, memory: 3000}\n  command: ["}, []string{`7: must be a pair`}},
	{"half a pair", notes, [2]string{"command: [", "resources: {cpu: 1}\n  command: ["}, []string{`7: must be a pair`}},
	{"largest pair", notes, [2]string{"command: [", "resources: {cpu: 4, memory: 30720}\n  command: ["}, nil},
	{"package name", npmServer, [2]string{"@acme/server", "../server"}, []string{`7: must be the name of an npm package`, `8: the lock does not fit`}},
	{"range", npmServer, [2]string{"1.2.3", "^1.2.3"}, []string{`8: must be one exact version`, `8: the lock does not fit`}},
	{"tag", npmServer, [2]string{"1.2.3", "latest"}, []string{`8: must be one exact version`, `8: the lock does not fit`}},
	{"no version", npmServer, [2]string{"  version: 1.2.3\n", ""}, []string{`5: must be one exact version`, `5: the lock does not fit`}},
	{"other version than the lock's", npmServer, [2]string{"1.2.3", "1.2.4"}, []string{`8: the lock does not fit: locks/acme/package.json must depend on @acme/server 1.2.4`}},
	{"no such program", npmServer, [2]string{"version: 1.2.3", "version: 1.2.3\n  bin: setup"}, []string{`9: no program to start: the lock of @acme/server knows no program "setup", but these: server`}},
	{"PyPI package's name", pypiServer, [2]string{"Acme.Server", "acme/server"}, []string{`7: must be the name of a PyPI package`, `8: the lock does not fit`}},
	{"PyPI range", pypiServer, [2]string{"1.2rc1", "~=1.2"}, []string{`8: must be one exact version`, `8: the lock does not fit`}},
	{"PyPI wildcard", pypiServer, [2]string{"1.2rc1", "1.2.*"}, []string{`8: must be one exact version`, `8: the lock does not fit`}},
	{"PyPI program's path", pypiServer, [2]string{"version: 1.2rc1", "version: 1.2rc1\n  bin: ../sh"}, []string{`9: must be the name of one of the package's programs`}},
	{"PyPI command", pypiServer, [2]string{"version: 1.2rc1", "version: 1.2rc1\n  command: [a]\n  url: https://a.example"}, []string{`9: means nothing`, `10: means nothing`}},
	{"PyPI version that is no text", pypiServer, [2]string{"1.2rc1", "1.20"}, []string{`8: the lock does not fit`}},
	{"command of a package", npmServer, [2]string{"version: 1.2.3", "version: 1.2.3\n  command: [a]\n  url: https://a.example"}, []string{`9: means nothing`, `10: means nothing`}},
}

var parameterRules = []rule{
	{"not declared", oauthServer, [2]string{"command: [acme]", `command: [acme, "--x={more}"]`}, []string{`18: {more} is not declared`}},
	{"not declared in env", oauthServer, [2]string{`"{mode}"`, `"{mode} {more}"`}, []string{`15: {more} is not declared`}},
	{"not declared in url", remoteServer, [2]string{"acme.example/mcp", "acme.example/{more}"}, []string{`8: {more} is not declared`}},
	{"not declared in args", npmServer, [2]string{"version: 1.2.3", `version: 1.2.3` + "\n  args:\n    - ok\n    - \"{more}\""}, []string{`11: {more} is not declared`}},
	{"pattern does not compile", oauthServer, [2]string{"^[a-z]+$", "^[a-z$"}, []string{`17: does not compile`}},
	{"pattern not anchored", oauthServer, [2]string{"^[a-z]+$", "[a-z]+"}, []string{`17: must be anchored`}},
	{"no pattern", oauthServer, [2]string{`, pattern: "^[a-z]+$"`, ""}, []string{`17: pattern is missing`}},
	{"enum for a pattern", oauthServer, [2]string{`pattern: "^[a-z]+$"`, "enum: [a, b]"}, nil},
	{"no label", oauthServer, [2]string{"label: Mode, ", ""}, []string{`17: label is missing`}},
	{"deployment needs neither", oauthServer, [2]string{`{label: Mode, pattern: "^[a-z]+$"}`, "{source: deployment}"}, nil},
	{"source", oauthServer, [2]string{`label: Mode`, "label: Mode, source: callback"}, []string{`17: must be user, deployment or client`}},
	{"of the client", strings.ReplaceAll(fileServer, "google", "gitlab"), [2]string{"rotation: file", "rotation: file\nparameters: {host: {source: client}}"}, nil},
	{"derived from the client's", strings.ReplaceAll(fileServer, "google", "github"), [2]string{"rotation: file", "rotation: file\nparameters: {api: {source: client}}"}, nil},
	{"of the client, not declared", strings.ReplaceAll(fileServer, "google", "gitlab"), [2]string{"command: [acme]", `command: [acme, "{host}"]`}, []string{`10: {host} is not declared`}},
	{"of a client that has none", strings.ReplaceAll(fileServer, "google", "gitlab"), [2]string{"rotation: file", "rotation: file\nparameters: {shop: {source: client}}"}, []string{`12: source client: the provider has no parameter shop`}},
	{"of nobody's client", notes, [2]string{"server:", "parameters: {host: {source: client}}\nserver:"}, []string{`5: source client: the provider has no`}},
	{"a person's as the client's", strings.ReplaceAll(fileServer, "google", "salesforce"), [2]string{"rotation: file", "rotation: file\nparameters: {host: {source: client}}"}, []string{`12: source client: the provider has no`}},
	{"the client's named again", strings.ReplaceAll(fileServer, "google", "gitlab"), [2]string{"rotation: file", "rotation: file\nparameters: {host: {source: client, default: gitlab.com}}"}, []string{`12: the provider's file has it`}},
	{"parameter's name", oauthServer, [2]string{"  mode: {label", "  M.ode: {label: M, pattern: ^a$}\n  mode: {label"}, []string{`17: must be lower-case`}},
	{"a provider's deployment value", strings.ReplaceAll(fileServer, "google", "demo"), [2]string{"command: [acme]", `command: [acme, "{base}"]`}, []string{`10: {base} is not declared`}},
}

var environmentRules = []rule{
	{"env name", oauthServer, [2]string{"ACME_MODE", "ACME-MODE"}, []string{`15: "ACME-MODE" is no name`}},
	{"empty env name", oauthServer, [2]string{"team.id: ACME_TEAM", `team.id: ""`}, []string{`12: "" is no name`}},
	{"env value with NUL", oauthServer, [2]string{`"{mode}"`, `"{mode}\0"`}, []string{`15: holds a NUL`}},
	{"set twice", oauthServer, [2]string{"ACME_TEAM", "ACME_MODE"}, []string{`12: ACME_MODE is set twice`}},
	{"unknown metadata", oauthServer, [2]string{"team.id: ACME", "team.di: ACME"}, []string{`12: must be access_token`}},
	{"unknown token", oauthServer, [2]string{"user.access_token: ACME", "admin.access_token: ACME"}, []string{`11: provider slack has no second token "admin"`}},
	{"unknown file", fileServer, [2]string{"credential_files.token: ACME", "credential_files.tokens: ACME"}, []string{`7: there is no credential_files.tokens`, `9: nothing tells the server`}},
	{"unknown value", keyServer, [2]string{"credential_files.key: ACME_FILE", "credential_files.key: ACME_FILE\n  value.OTHER: OTHER"}, []string{`9: there is no OTHER in env_values`}},
	{"token of an api key", keyServer, [2]string{"credential_files.key: ACME_FILE", "credential_files.key: ACME_FILE\n  access_token: OTHER"}, []string{`9: only credential_files.NAME`}},
	{"value without label", keyServer, [2]string{"label: Key, ", ""}, []string{`6: label is missing`}},
	{"help url", keyServer, [2]string{"https://acme.example/keys", "javascript:alert(1)"}, []string{`6: must be an https URL`}},
	{"no values", keyServer, [2]string{"  - {name: ACME_KEY, label: Key, secret: true, help_url: \"https://acme.example/keys\"}\n", ""}, []string{`5: env_values is missing`, `9: cannot be filled in`}},
	{"oauth of an api key", keyServer, [2]string{"auth_type: api_key", "auth_type: api_key\noauth_service: slack\noauth_scopes: [a]\nshare_refresh_token: true\nrotation: restart"},
		[]string{`5: means nothing with auth_type api_key`, `6: means`, `7: means`, `8: means`}},
	{"values of an oauth server", fileServer, [2]string{"rotation: file", "rotation: file\nenv_values: [{name: A, label: A}]"}, []string{`12: means nothing with auth_type oauth`}},
	{"mapping of none", notes, [2]string{"server:", "env_values: [{name: A, label: A}]\noauth_to_env_mapping: {value.A: B}\nserver:"}, []string{`5: means nothing`, `6: means nothing`}},
}

var credentialRules = []rule{
	{"no service", fileServer, [2]string{"oauth_service: google\n", ""}, []string{`1: oauth_service is missing`}},
	{"enable", fileServer, [2]string{"rotation: file", "rotation: file\noauth_enable: [{name: API, url: https://acme.example/api}]"}, nil},
	{"enable without a name", fileServer, [2]string{"rotation: file", "rotation: file\noauth_enable: [{url: https://acme.example/api}]"}, []string{`12: name is missing`}},
	{"enable over http", fileServer, [2]string{"rotation: file", "rotation: file\noauth_enable:\n  - {name: API, url: http://acme.example/api}"}, []string{`13: must be an https URL`}},
	{"enable nowhere", fileServer, [2]string{"rotation: file", "rotation: file\noauth_enable: [{name: API, url: 'https:///api'}]"}, []string{`12: must be an https URL`}},
	{"enable by a script", fileServer, [2]string{"rotation: file", "rotation: file\noauth_enable: [{name: API, url: 'javascript:alert(1)'}]"}, []string{`12: must be an https URL`}},
	{"enable twice", fileServer, [2]string{"rotation: file", "rotation: file\noauth_enable:\n  - {name: API, url: https://acme.example/api}\n  - {name: B, url: https://acme.example/api}"}, []string{`14: is there twice`}},
	{"enable of an api key", keyServer, [2]string{"auth_type: api_key", "auth_type: api_key\noauth_enable: [{name: API, url: https://acme.example/api}]"}, []string{`5: means nothing with auth_type api_key`}},
	{"scope with a space", oauthServer, [2]string{"- read", "- read all"}, []string{`7: must be one scope`}},
	{"scope twice", oauthServer, [2]string{"- read", "- read\n  - read"}, []string{`8: scope read is there twice`}},
	{"scope parameter", oauthServer, [2]string{"param: user_scope", "param: bot_scope"}, []string{`8: provider slack has no scope parameter`}},
	{"scope for no tool", oauthServer, [2]string{"for: [put]", "for: [putt]"}, []string{`8: "putt" is no tool of the server's`}},
	{"no rotation", oauthServer, [2]string{"rotation: restart\n", ""}, []string{`1: must be broker, file or restart`}},
	{"no such rotation", oauthServer, [2]string{"rotation: restart", "rotation: none"}, []string{`19: must be broker, file or restart`}},
	{"token goes stale", oauthServer, [2]string{"rotation: restart", "rotation: file"}, []string{`10: goes stale`, `11: goes stale`}},
	{"broker without its address", fileServer, [2]string{"rotation: file", "rotation: broker"}, []string{`11: broker needs a credential file that names .broker.token_url`}},
	{"broker's address without broker", brokerServer, [2]string{"rotation: broker", "rotation: file"}, []string{`9: cannot be filled in`}},
	{"file without a file", fileServer, [2]string{"credential_files:\n  token: '{{json .access_token}}'\n", ""}, []string{`7: there is no credential_files.token`, `9: file needs a credential file`}},
	{"nothing gives the token", brokerServer, [2]string{"oauth_to_env_mapping:\n  credential_files.adc: ACME_FILE\ncredential_files:\n  adc: '{{json .broker.token_url}}'\n", ""},
		[]string{`1: nothing gives the server its token`, `7: broker needs`}},
	{"absolute path", oauthServer, [2]string{".config/acme", "/etc/acme"}, []string{`14: must be a plain path`}},
	{"path upwards", oauthServer, [2]string{".config/acme", "a/../../acme"}, []string{`14: must be a plain path`}},
	{"path not clean", oauthServer, [2]string{".config/acme", "a/../acme"}, []string{`14: must be a plain path`}},
	{"one path for two files", oauthServer, [2]string{"credential_files:\n", "credential_files:\n  again: {path: .config/acme/state.json, template: x}\n"}, []string{`15: is the path of again, too`}},
	{"file's name", fileServer, [2]string{"  token: '", "  To/ken: {path: a, template: b}\n  token: '"}, []string{`9: must be lower-case`}},
	{"no template", oauthServer, [2]string{`, template: '{"team": {{json .team.id}}, "user": {{json .user.access_token}}}'`, ""}, []string{`14: template is missing`}},
	{"template does not parse", fileServer, [2]string{"{{json .access_token}}", "{{json .access_token"}, []string{`9: is no template`}},
	{"template's function", fileServer, [2]string{"{{json", "{{yaml"}, []string{`9: is no template`}},
	{"template's field", fileServer, [2]string{".access_token", ".acces_token"}, []string{`9: cannot be filled in`}},
	{"template wants a refresh token", fileServer, [2]string{".access_token", ".refresh_token"}, []string{`9: cannot be filled in`}},
	{"shared and rotating", oauthServer, [2]string{"rotation: restart", "rotation: restart\nshare_refresh_token: true"}, []string{`20: provider slack rotates`}},
	{"shared and not rotating", fileServer, [2]string{"rotation: file", "rotation: file\nshare_refresh_token: true"}, []string{`12: is not supported`}},
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, base := range []string{notes, oauthServer, fileServer, brokerServer, keyServer, remoteServer, npmServer, pypiServer} {
		checkRule(t, rule{base: base})
	}
	for group, rules := range map[string][]rule{"name": nameRules, "program": programRules, "parameter": parameterRules,
		"environment": environmentRules, "credential": credentialRules} {
		for _, r := range rules {
			t.Run(group+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				checkRule(t, r)
			})
		}
	}
}

func checkRule(t *testing.T, r rule) {
	t.Helper()
	text := r.base
	if r.change != [2]string{} {
		text = strings.Replace(text, r.change[0], r.change[1], 1)
		if text == r.base {
			t.Fatalf("%q is not in the preset", r.change[0])
		}
	}
	file := "servers/acme.yaml"
	if !strings.HasPrefix(text, "name: acme\n") {
		file = "servers/notes.yaml"
	}
	files := lockFiles()
	files[file] = text
	dir := overlay(t, files)
	expect(t, presets.Lint([]string{dir}), filepath.Join(dir, filepath.FromSlash(file)), r.want)
}

// TestRefusedVariables: no preset may set what changes how a program runs,
// wherever the name is given and however it is written.
func TestRefusedVariables(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "NODE_OPTIONS", "PATH", "HOME", "PYTHONPATH",
		"BASH_ENV", "ENV", "NODE_TLS_REJECT_UNAUTHORIZED", "NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "https_proxy", "XDG_CONFIG_HOME",
		"npm_config_registry", "LANYARD_API_KEY", "TMPDIR"} {
		checkRule(t, rule{base: notes, change: [2]string{"server:", "env: {" + name + ": x}\nserver:"}, want: []string{"5: " + name + " may not be set"}})
		checkRule(t, rule{base: oauthServer, change: [2]string{"ACME_TEAM", name}, want: []string{"12: " + name + " may not be set"}})
		checkRule(t, rule{base: keyServer, change: [2]string{"name: ACME_KEY", "name: " + name},
			want: []string{"6: " + name + " may not be set", "10: cannot be filled in"}})
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) string { return strings.Replace(npmLockfile, old, with, 1) }
	tests := map[string]struct{ manifest, lockfile, want string }{
		"fits":               {npmManifest, npmLockfile, ""},
		"missing":            {"", "", "7: an npm server needs locks/acme/package.json"},
		"no lockfile":        {npmManifest, "", "7: an npm server needs locks/acme"},
		"manifest no JSON":   {"{", npmLockfile, "8: the lock does not fit: locks/acme/package.json: "},
		"a range":            {`{"dependencies": {"@acme/server": "^1.2.3"}}`, npmLockfile, "8: the lock does not fit: locks/acme/package.json must depend"},
		"a second package":   {`{"dependencies": {"@acme/server": "1.2.3", "x": "1.0.0"}}`, npmLockfile, "8: the lock does not fit: locks/acme/package.json must depend"},
		"lockfile no JSON":   {npmManifest, "[]", "8: the lock does not fit: locks/acme/package-lock.json: "},
		"old format":         {npmManifest, replace(": 3", ": 1"), "8: the lock does not fit: locks/acme/package-lock.json needs lockfileVersion"},
		"other version":      {npmManifest, replace("1.2.3", "1.2.2"), `8: the lock does not fit: locks/acme/package-lock.json locks @acme/server "1.2.2"`},
		"no integrity":       {npmManifest, replace(`, "integrity": "sha512-AA=="`, ""), "8: the lock does not fit: locks/acme/package-lock.json has no sha512 integrity for node_modules/@acme/server"},
		"weak integrity":     {npmManifest, replace("sha512-", "sha1-"), "8: the lock does not fit: locks/acme/package-lock.json has no sha512"},
		"a link":             {npmManifest, replace(`"integrity"`, `"link": true, "integrity"`), "8: the lock does not fit: locks/acme/package-lock.json has no sha512"},
		"a package outside":  {npmManifest, replace(`"inBundle": true`, `"resolved": "git+ssh://git@x.example/x.git"`), "8: the lock does not fit: locks/acme/package-lock.json has no sha512 integrity for node_modules/x"},
		"lock of other name": {`{"dependencies": {"server": "1.2.3"}}`, npmLockfile, "8: the lock does not fit: locks/acme/package.json must depend on @acme/server"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"servers/acme.yaml": npmServer}
			if test.manifest != "" {
				files["locks/acme/package.json"] = test.manifest
			}
			if test.lockfile != "" {
				files["locks/acme/package-lock.json"] = test.lockfile
			}
			dir := overlay(t, files)
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			expect(t, presets.Lint([]string{dir}), filepath.Join(dir, "servers", "acme.yaml"), want)
		})
	}
}

func TestPyPILocks(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) string { return strings.Replace(pypiLockfile, old, with, 1) }
	const (
		unfit = "8: the lock does not fit: locks/acme/"
		// no pins no package with hashes by it.
		no = unfit + "requirements.txt pins no package with sha256 hashes by "
	)
	tests := map[string]struct{ manifest, lockfile, want string }{
		"fits":              {pypiManifest, pypiLockfile, ""},
		"tight marker":      {pypiManifest, replace(" ; python", "; python"), ""},
		"missing":           {"", "", "7: a pypi server needs locks/acme/requirements.in and requirements.txt: lanyard presets lock acme makes them"},
		"no lockfile":       {pypiManifest, "", "7: a pypi server needs locks/acme"},
		"asks for another":  {"acme-server==1.2rc1\n", pypiLockfile, unfit + "requirements.in must ask for Acme.Server==1.2rc1"},
		"asks for a range":  {"Acme.Server>=1.2rc1\n", pypiLockfile, unfit + "requirements.in must ask"},
		"only a comment":    {"# Acme.Server==1.2rc1\n", pypiLockfile, unfit + "requirements.in must ask"},
		"other version":     {pypiManifest, replace("1.2rc1", "1.2"), unfit + "requirements.txt locks acme-server==1.2, the preset wants 1.2rc1"},
		"not always":        {pypiManifest, replace("1.2rc1 ", "1.2rc1 ; sys_platform == 'linux' "), unfit + "requirements.txt locks acme-server==1.2rc1 ; sys_platform"},
		"not there":         {pypiManifest, replace("acme-server", "acme"), unfit + "requirements.txt does not lock Acme.Server"},
		"no hash":           {pypiManifest, "acme-server==1.2rc1\n", no + `"acme-server==1.2rc1"`},
		"no hash of one":    {pypiManifest, pypiLockfile + "idna==3.20\n", no + `"idna==3.20"`},
		"weak hash":         {pypiManifest, pypiLockfile + "idna==3.20 --hash=md5:0123456789abcdef0123456789abcdef\n", no},
		"short hash":        {pypiManifest, pypiLockfile + "idna==3.20 --hash=sha256:0123\n", no},
		"a range":           {pypiManifest, pypiLockfile + "idna>=3 " + pypiHash + "\n", no},
		"a wildcard":        {pypiManifest, pypiLockfile + "idna==3.* " + pypiHash + "\n", no},
		"an address":        {pypiManifest, pypiLockfile + "idna @ https://a.example/idna.whl " + pypiHash + "\n", no},
		"a path":            {pypiManifest, pypiLockfile + "./idna.whl " + pypiHash + "\n", no},
		"an index":          {pypiManifest, "--index-url https://a.example/simple\n" + pypiLockfile, no + `"--index-url`},
		"another file":      {pypiManifest, pypiLockfile + "-r more.txt\n", no + `"-r more.txt"`},
		"a marker's option": {pypiManifest, pypiLockfile + "idna==3.20 ; --pre " + pypiHash + "\n", no},
		"a line for pip":    {pypiManifest, pypiLockfile + "idna==3.20 ; a\x1c--pre " + pypiHash + "\n", no},
		"an option at last": {pypiManifest, pypiLockfile + "idna==3.20 " + pypiHash + " --config-settings=a=b\n", no},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"servers/acme.yaml": pypiServer}
			if test.manifest != "" {
				files["locks/acme/requirements.in"] = test.manifest
			}
			if test.lockfile != "" {
				files["locks/acme/requirements.txt"] = test.lockfile
			}
			dir := overlay(t, files)
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			expect(t, presets.Lint([]string{dir}), filepath.Join(dir, "servers", "acme.yaml"), want)
		})
	}
}

// What pip reads of a lock is what was checked. For pip, a comment ends at more
// than the end of its line, and a backslash does not join it with the next.
func TestPipGetsWhatWasChecked(t *testing.T) {
	t.Parallel()
	s := presets.Server{Name: "acme", Server: presets.Program{Registry: presets.RegistryPyPI}}
	pin := "acme-server==1.2rc1 " + pypiHash
	for _, comment := range []string{"# a \\\n--no-binary=:all:", "# a\x0c--no-binary=:all:", "# a\r--no-binary=:all:", "# coding: utf-7", "# a\u2028--pre"} {
		s.Lock.Lockfile = []byte(comment + "\n" + strings.Replace(pin, " ", " \\\n    ", 1) + "\n    # via x\n")
		if got := string(s.LockFiles()["requirements.txt"]); got != pin+"\n" {
			t.Errorf("%q: pip gets %q", comment, got)
		}
	}
}

// TestNameOfAProvider: the server's name stands for the provider that is found.
func TestNameOfAProvider(t *testing.T) {
	t.Parallel()
	server := strings.Replace(strings.Replace(remoteServer, "google", "discover", 1), "name: acme", "name: slack", 1)
	dir := overlay(t, map[string]string{"servers/slack.yaml": server})
	if got := presets.Lint([]string{dir}); len(got) != 1 || got[0].Line != 1 || !strings.Contains(got[0].Message, "is the id of a provider, too") {
		t.Errorf("%v", got)
	}
}
