package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
)

// asset is one static file. Its hash is part of the URL that the pages use.
type asset struct {
	body              []byte
	hash, contentType string
}

type assets map[string]asset

func loadAssets(fsys fs.FS) (assets, error) {
	types := map[string]string{
		".css": "text/css; charset=utf-8",
		".js":  "text/javascript; charset=utf-8",
		".svg": "image/svg+xml",
	}
	all := assets{}
	names, err := fs.Glob(fsys, "static/*")
	if err != nil {
		return nil, fmt.Errorf("list the static files: %w", err)
	}
	for _, name := range names {
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read a static file: %w", err)
		}
		sum := sha256.Sum256(body)
		all[path.Base(name)] = asset{body, hex.EncodeToString(sum[:6]), types[path.Ext(name)]}
	}
	return all, nil
}

// Static serves /static/{name} and /static/{hash}/{name}. The second may be
// kept for ever; with an old hash, as a page from before a deployment asks for
// it, it answers with the present file and a cache that asks again.
func (p *Pages) Static() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /static/{name}", p.serveAsset)
	mux.HandleFunc("GET /static/{hash}/{name}", p.serveAsset)
	return mux
}

func (p *Pages) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := p.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", `"`+a.hash+`"`)
	h.Set("Cache-Control", "public, no-cache")
	if r.PathValue("hash") == a.hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	// connect.js is meant for pages of other origins, with or without integrity.
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

// functions are what the templates may call.
func (all assets) functions() template.FuncMap {
	return template.FuncMap{
		// static is the URL of a static file; a file that is not there fails
		// the page, and so the tests.
		"static": func(name string) (string, error) {
			a, ok := all[name]
			if !ok {
				return "", fmt.Errorf("no static file %q", name)
			}
			return "/static/" + a.hash + "/" + name, nil
		},
		// segment makes a string one segment of a path: tool names may hold
		// slashes.
		"segment": url.PathEscape,
		"address": address,
		"program": ProgramURL,
		"initial": initial,
		"tone":    tone,
		"parted":  parted,
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"day":     func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	}
}

// scripts are the schemes of addresses that run, or hold, what they name.
var scripts = []string{"javascript", "vbscript", "data", "blob", "file", "filesystem", "about", "view-source"}

// address is a URL to be followed. html/template lets pass the web's schemes
// alone; an MCP client's own, which the operator has allowed, may pass, too.
func address(raw string) any {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || slices.Contains(scripts, u.Scheme) {
		return raw // as html/template sees fit
	}
	return template.URL(raw)
}

// parted is a text whose lines may end after "@" and ".", as those of an address
// that is too long for one do.
func parted(text string) template.HTML {
	// None of the two stands in what escaping makes.
	return template.HTML(strings.NewReplacer("@", "@<wbr>", ".", ".<wbr>").Replace(template.HTMLEscapeString(text)))
}

// initial is the letter on a server's tile.
func initial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "·"
}

// tone picks one of the six colours of tiles, the same for a name every time.
func tone(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32() % 6
}
