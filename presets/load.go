package presets

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrInvalid is wrapped when preset files are wrong; the text lists what.
var ErrInvalid = errors.New("the presets are not valid")

// Catalogue is every preset of a deployment. It is not changed once loaded.
type Catalogue struct {
	servers   map[string]Server
	providers map[string]Provider
}

// Load reads the embedded presets, then each overlay, a directory that holds
// providers/, servers/ or both (and locks/ for npm and pypi servers). The last file of
// a name replaces the others whole. Anything that [Lint] would report of overlays
// is an error that wraps [ErrInvalid]; the embedded files are sound, which is tested.
func Load(overlays []string) (*Catalogue, error) { return load(overlays, false) }

// LoadForCatalogues is Load for whoever makes catalogues anew: what is wrong with
// those that are there is no error.
func LoadForCatalogues(overlays []string) (*Catalogue, error) { return load(overlays, true) }

func load(overlays []string, remaking bool) (*Catalogue, error) {
	r := reader{remaking: remaking, linted: true}
	c, findings := r.all(roots(overlays))
	if len(findings) == 0 {
		return c, nil
	}
	var text strings.Builder
	for _, f := range findings {
		text.WriteString("\n  " + f.String())
	}
	return nil, fmt.Errorf("%w:%s", ErrInvalid, text.String())
}

// Server returns the preset of a name.
func (c *Catalogue) Server(name string) (Server, bool) {
	s, ok := c.servers[name]
	return s, ok
}

// Servers returns all servers, by name.
func (c *Catalogue) Servers() []Server {
	out := make([]Server, 0, len(c.servers))
	for _, name := range slices.Sorted(maps.Keys(c.servers)) {
		out = append(out, c.servers[name])
	}
	return out
}

// Provider returns a provider as its file says. Resolve it before use:
// p.Resolve(variant, c.Provider).
func (c *Catalogue) Provider(id string) (Provider, bool) {
	p, ok := c.providers[id]
	return p, ok
}

// Providers returns all providers as their files say, by id.
func (c *Catalogue) Providers() []Provider {
	out := make([]Provider, 0, len(c.providers))
	for _, id := range slices.Sorted(maps.Keys(c.providers)) {
		out = append(out, c.providers[id])
	}
	return out
}

// root is one place that holds preset files.
type root struct {
	// label stands before a file's path in findings.
	label string
	fs    fs.FS
}

func roots(overlays []string) []root {
	out := []root{{"presets", files}}
	for _, dir := range overlays {
		out = append(out, root{dir, os.DirFS(dir)})
	}
	return out
}

// reader collects files and findings while the roots are read.
type reader struct {
	Catalogue
	serverPages   map[string]page
	providerPages map[string]page
	findings      []Finding
	// remaking: catalogues are made anew, so that those there are are not judged.
	remaking bool
	// linted: the embedded files were judged when the program was built. To judge
	// them takes longer than to read them, each time that the program starts. What an
	// overlay can spoil is judged again: all but the embedded locks and catalogues.
	linted bool
}

// all loads what it can and reports all that is wrong. Files are judged
// against each other only at the end: an overlay's server may name an embedded
// provider, and an overlay's provider replaces the one of an embedded server.
func (r *reader) all(roots []root) (*Catalogue, []Finding) {
	r.Catalogue = Catalogue{servers: map[string]Server{}, providers: map[string]Provider{}}
	r.serverPages, r.providerPages = map[string]page{}, map[string]page{}
	for i, here := range roots {
		providers := r.each(here, "providers", r.addProvider)
		servers := r.each(here, "servers", func(p page, name string) { r.addServer(p, name, roots[:i+1]) })
		if !providers && !servers {
			r.add(Finding{here.label, 1, "there is no directory providers or servers in it"})
		}
	}
	if !r.linted || len(roots) > 1 {
		r.checkProviders()
		r.checkServers()
	}
	slices.SortFunc(r.findings, compareFindings)
	return &r.Catalogue, slices.Compact(r.findings)
}

func (r *reader) add(f ...Finding) { r.findings = append(r.findings, f...) }

// each parses every preset file in a directory of a root. It reports whether
// the directory is there.
func (r *reader) each(from root, dir string, use func(p page, name string)) bool {
	entries, err := fs.ReadDir(from.fs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		r.add(Finding{filepath.Join(from.label, dir), 1, "cannot be read: " + err.Error()})
	}
	for _, entry := range entries {
		file := filepath.Join(from.label, dir, entry.Name())
		name, ok := strings.CutSuffix(entry.Name(), ".yaml")
		if strings.HasSuffix(entry.Name(), ".yml") {
			r.add(Finding{file, 1, "is not read: rename it to .yaml"})
		}
		if !ok {
			continue
		}
		data, err := fs.ReadFile(from.fs, path.Join(dir, entry.Name()))
		if err != nil {
			r.add(Finding{file, 1, "cannot be read: " + err.Error()})
			continue
		}
		p, findings := parse(file, data)
		r.add(findings...)
		if len(findings) == 0 {
			use(p, name)
		}
	}
	return true
}

func (r *reader) addProvider(p page, name string) {
	var provider Provider
	findings, ok := p.decode(&provider)
	r.add(findings...)
	if !ok {
		return
	}
	if provider.ID != name {
		r.add(Finding{p.file, p.line("$.id"), fmt.Sprintf("id must be %q, as the file is named", name)})
	}
	r.providers[name], r.providerPages[name] = provider, p
}

func (r *reader) addServer(p page, name string, roots []root) {
	var server Server
	findings, ok := p.decode(&server)
	r.add(findings...)
	if !ok {
		return
	}
	if server.Name != name {
		r.add(Finding{p.file, p.line("$.name"), fmt.Sprintf("name must be %q, as the file is named", name)})
	}
	r.add(p.unquoted("env", server.Env)...)
	server = server.withDefaults()
	shipped := len(roots) == 1
	judged := !r.linted || !shipped
	if server.Server.Packaged() {
		var err error
		if server.Lock, err = findLock(roots, name, server.Server.Registry); err != nil {
			r.add(Finding{p.file, p.line("$.server.package"), err.Error()})
		} else if judged {
			r.judgeLock(server, p)
		}
	}
	if !r.remaking {
		server.addCatalogue(roots)
	}
	if judged {
		r.judgeCatalogue(server, p, shipped)
		r.add(p.problems(server.checkTools())...)
	}
	r.servers[name], r.serverPages[name] = server, p
}

func (r *reader) judgeLock(s Server, p page) {
	if err := s.checkLock(); err != nil {
		r.add(Finding{p.file, p.line("$.server.version"), fmt.Sprintf("the lock does not fit: locks/%s/%v", s.Name, err)})
		return
	}
	if _, err := s.npmScript(); s.Server.Registry == RegistryNPM && err != nil {
		r.add(Finding{p.file, p.line("$.server.bin"), err.Error()})
	}
}

func (r *reader) checkProviders() {
	for _, id := range slices.Sorted(maps.Keys(r.providers)) {
		p, page := r.providers[id], r.providerPages[id]
		problems := p.Check()
		r.add(page.problems(problems)...)
		if len(problems) > 0 || p.Extends == "" {
			continue // Resolve would only repeat what Check has said, of the variants, too
		}
		if _, err := p.Resolve("", r.Provider); err != nil {
			r.add(Finding{page.file, page.line("$.extends"), err.Error()})
		}
		for _, variant := range slices.Sorted(maps.Keys(p.Variants)) {
			if _, err := p.Resolve(variant, r.Provider); err != nil {
				r.add(Finding{page.file, page.line("$.variants.'" + variant + "'"), err.Error()})
			}
		}
	}
}

func (r *reader) checkServers() {
	for _, name := range slices.Sorted(maps.Keys(r.servers)) {
		s, page := r.servers[name], r.serverPages[name]
		var provider *Provider
		if p, ok := r.Provider(s.OAuthService); ok {
			// What does not resolve is reported at the provider's own file.
			if resolved, err := p.Resolve("", r.Provider); err == nil {
				provider = &resolved
			}
		} else if s.Discovers() {
			if _, taken := r.Provider(name); taken {
				r.add(Finding{page.file, page.line("$.name"), fmt.Sprintf("%q is the id of a provider, too: with oauth_service discover a server's name stands for who grants access to it", name)})
			}
		} else if s.OAuthService != "" {
			r.add(Finding{page.file, page.line("$.oauth_service"), fmt.Sprintf("there is no provider %q: add providers/%[1]s.yaml", s.OAuthService)})
		}
		r.add(page.problems(s.Check(provider))...)
	}
}
