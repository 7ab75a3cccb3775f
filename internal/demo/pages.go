package demo

import (
	"bytes"
	"embed"
	"net/http"
)

//go:embed pages
var files embed.FS

// contentSecurityPolicy: nothing but our own stylesheet. Chromium applies
// form-action to every redirect that follows the form, so it must let the
// consent form lead back to the client, and on from there; it names schemes
// alone.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; form-action 'self' http: https:; " +
	"base-uri 'none'; frame-ancestors 'none'"

type messagePage struct{ Title, Text string }

func (p *Provider) message(w http.ResponseWriter, status int, title, text string) {
	p.render(w, status, "message.html", messagePage{title, text})
}

func (p *Provider) home(w http.ResponseWriter, _ *http.Request) {
	p.message(w, http.StatusOK, "Demo provider",
		"It stands in for Google, Slack and the others, with two people and their notes. Connect it from Lanyard's page.")
}

func (p *Provider) cannotSave(w http.ResponseWriter, r *http.Request, err error) {
	p.log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "err", err)
	p.message(w, http.StatusInternalServerError, "Could not save",
		"The demo provider could not write its data file. Nothing was granted. Make room on the disk, see the log, then start again from the app.")
}

func (p *Provider) render(w http.ResponseWriter, status int, name string, page any) {
	var buf bytes.Buffer
	if err := p.pages.ExecuteTemplate(&buf, name, page); err != nil {
		p.log.Error("render page", "page", name, "err", err)
		http.Error(w, "The demo provider could not make this page. See its log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = buf.WriteTo(w) // the browser has gone; there is nobody to tell
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, files, "pages/style.css")
}
