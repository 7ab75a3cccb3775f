package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// maxSession is the cookie's life in seconds; the stored session decides.
const maxSession = 30 * 24 * 60 * 60

// canonical sends a browser that used another name of this machine to the base
// URL: cookies belong to a host name, and the provider will come back to that
// one.
func (s *Site) canonical(w http.ResponseWriter, r *http.Request) bool {
	u, err := url.Parse(s.BaseURL)
	if err != nil || !s.Local || r.Host == u.Host {
		return false
	}
	http.Redirect(w, r, s.BaseURL+r.URL.RequestURI(), http.StatusFound)
	return true
}

// person returns the page session, signing the owner of this machine in.
func (s *Site) person(w http.ResponseWriter, r *http.Request) (Principal, error) {
	browser, _ := s.browser(w, r)
	if ses, err := s.Sessions.Session(r.Context(), s.cookie(r, "session"), browser); err == nil {
		return Principal{Tenant: ses.Tenant, User: ses.UserID, Browser: browser, Session: ses}, nil
	} else if !errors.Is(err, flow.ErrNoSession) {
		return Principal{}, err
	}
	// Only a navigation: a page that fetches or embeds ours gets no session.
	dest := r.Header.Get("Sec-Fetch-Dest")
	if s.Owner == "" || dest != "" && dest != "document" || s.Foreign != nil && s.Foreign(r) {
		return Principal{}, flow.ErrNoSession
	}
	ses, secret, err := s.Sessions.OpenSession(r.Context(), flow.Session{Tenant: flow.DefaultTenant, UserID: s.Owner, Owner: true, Browser: browser})
	if err != nil {
		return Principal{}, err
	}
	s.setCookie(w, "session", secret, maxSession)
	// For the rest of this request the browser has it already.
	r.AddCookie(&http.Cookie{Name: s.cookieName("session"), Value: secret.Reveal()})
	return Principal{Tenant: ses.Tenant, User: ses.UserID, Browser: browser, Session: ses}, nil
}

// visitor is principal for a page that somebody may open first of all: an address
// that they kept leads the owner of this machine there, too.
func (s *Site) visitor(w http.ResponseWriter, r *http.Request) (Principal, error) {
	p, err := s.principal(r)
	if errors.Is(err, flow.ErrNoSession) {
		return s.person(w, r)
	}
	return p, err
}
