package runner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// fileDir is where credential files without a path of their own are, below HOME.
const fileDir = ".lanyard"

// writeCurrent writes the credential files of the current set, and returns it.
func (r *run) writeCurrent() (token.Access, int64, error) {
	r.files.Lock()
	defer r.files.Unlock()
	access, edition := r.cred.latest()
	return access, edition, r.writeFiles(access)
}

// writeFiles renders every credential file.
func (r *run) writeFiles(access token.Access) error {
	data := r.data(access)
	for name, f := range r.claim.Recipe.Files {
		t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"json": quote}).Parse(f.Template)
		if err != nil {
			return fmt.Errorf("read the template of the credential file %s: %w", name, err)
		}
		var out bytes.Buffer
		if err := t.Execute(&out, data); err != nil {
			return fmt.Errorf("fill in the credential file %s: %w", name, err)
		}
		if err := r.home.write(r.filePath(name), out.Bytes()); err != nil {
			return fmt.Errorf("write the credential file %s: %w", name, err)
		}
	}
	return nil
}

// filePath is where a credential file is, relative to HOME.
func (r *run) filePath(name string) string {
	if p := r.claim.Recipe.Files[name].Path; p != "" {
		return filepath.FromSlash(p)
	}
	return filepath.Join(fileDir, name)
}

// quote is the template function json.
func quote(v any) (string, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// data is what a template sees: access_token, expires_at, expires_in and scopes
// of the main token, the same below the name of each other one, metadata by its
// path, values, parameters and, where the server asks it, broker.
func (r *run) data(access token.Access) map[string]any {
	out := map[string]any{"values": reveal(access.Values), "parameters": plain(r.claim.Recipe.Parameters)}
	for path, v := range access.Metadata {
		put(out, strings.Split(path, "."), v)
	}
	for name, t := range access.Tokens {
		fields := map[string]any{
			"access_token": t.AccessToken.Reveal(), "token_type": t.TokenType, "scopes": t.Scopes, "expires_at": t.ExpiresAt,
		}
		if !t.ExpiresAt.IsZero() {
			fields["expires_in"] = int(time.Until(t.ExpiresAt).Seconds())
		}
		for k, v := range fields {
			if name == "" {
				put(out, []string{k}, v)
			} else {
				put(out, []string{name, k}, v)
			}
		}
	}
	if r.broker != nil {
		out["broker"] = map[string]any{
			"token_url": r.broker.url + "/token", "introspect_url": r.broker.url + "/introspect",
			"client_id": brokerClient, "client_secret": r.broker.secret, "refresh_token": r.broker.handle,
		}
	}
	return out
}

// put sets a nested value. What is no map on the way gives way: our own names
// are put last.
func put(m map[string]any, path []string, v any) {
	for _, p := range path[:len(path)-1] {
		next, ok := m[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[p] = next
		}
		m = next
	}
	m[path[len(path)-1]] = v
}

func reveal(in map[string]token.Secret) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		out[k] = v.Reveal()
	}
	return out
}

func plain(in map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		out[k] = v
	}
	return out
}

// environment is everything that the server finds in its environment. Nothing
// is inherited.
func (r *run) environment(access token.Access) ([]string, error) {
	env := map[string]string{"HOME": r.home.dir, "TMPDIR": r.home.tmp, "PATH": r.cfg.Path, "LANG": r.cfg.Lang}
	for name, rel := range xdg {
		env[name] = r.home.path(rel)
	}
	maps.Copy(env, r.cfg.ExtraEnv)
	if r.broker != nil {
		// A proxy on its own loopback would be somebody else's.
		env["NO_PROXY"] = strings.TrimPrefix(env["NO_PROXY"]+",127.0.0.1,localhost", ",")
		env["no_proxy"] = env["NO_PROXY"]
	}
	maps.Copy(env, r.claim.Recipe.Env)
	for field, name := range r.claim.Recipe.Mapping {
		v, err := r.field(access, field)
		if err != nil {
			return nil, fmt.Errorf("set %s for the server: %w", name, err)
		}
		env[name] = v
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if env[name] != "" {
			out = append(out, name+"="+env[name])
		}
	}
	return out, nil
}

// field is the value of one field of a recipe's mapping.
func (r *run) field(access token.Access, field string) (string, error) {
	kind, name, _ := strings.Cut(field, ".")
	switch {
	case kind == "credential_files":
		if _, ok := r.claim.Recipe.Files[name]; ok {
			return r.home.path(r.filePath(name)), nil
		}
	case kind == "value":
		if v, ok := access.Values[name]; ok {
			return v.Reveal(), nil
		}
	default:
		if v, ok := tokenField(access, field); ok {
			return v, nil
		}
		if v, ok := access.Metadata[field]; ok {
			return v, nil
		}
	}
	return "", fmt.Errorf("the connection has no %s; connecting again may help if the preset was changed since", field)
}

// tokenField reads access_token or expires_at, of the main token or, as
// NAME.access_token, of another. A token without end has an empty expires_at.
func tokenField(access token.Access, field string) (string, bool) {
	name, leaf := "", field
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		name, leaf = field[:i], field[i+1:]
	}
	t, ok := access.Tokens[name]
	switch {
	case !ok:
		return "", false
	case leaf == "access_token":
		return t.AccessToken.Reveal(), true
	case leaf == "expires_at" && t.ExpiresAt.IsZero():
		return "", true
	case leaf == "expires_at":
		return strconv.FormatInt(t.ExpiresAt.Unix(), 10), true
	}
	return "", false
}
