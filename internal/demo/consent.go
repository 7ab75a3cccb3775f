package demo

import (
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// cookiePrefix names the cookies that bind a consent page to its browser. Each
// page has a cookie of its own, so that two tabs do not spoil each other.
// Cookies do not know ports: the name must not clash with other local servers.
const cookiePrefix = "lanyard_demo_consent_"

type consentPage struct {
	Token    string
	Redirect string // host of the app that will be answered
	Accounts []account
	Scopes   []scope
	Notice   string
}

// showConsent remembers the request and asks the person. The form holds a
// one-time token; the token works only with the cookie set here.
func (p *Provider) showConsent(w http.ResponseWriter, r *http.Request, req authRequest, notice string) {
	token, secret := newToken(""), newToken("")
	now := p.now()
	err := p.store.change(now, func(s *state) bool {
		s.Consents[hash(token)] = consent{Request: req, Cookie: hash(secret), Expires: now.Add(consentTTL)}
		return true
	})
	if err != nil {
		p.cannotSave(w, r, err)
		return
	}
	page := consentPage{Token: token, Redirect: hostOf(req.RedirectURI), Accounts: accounts(), Notice: notice}
	for _, s := range scopes() {
		if slices.Contains(req.Scopes, s.Name) {
			page.Scopes = append(page.Scopes, s)
		}
	}
	http.SetCookie(w, p.cookie(token, secret, int(consentTTL/time.Second)))
	p.render(w, http.StatusOK, "consent.html", page)
}

// decide is POST /authorize, where the consent form goes.
func (p *Provider) decide(w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		p.message(w, http.StatusForbidden, "Not from this page",
			"The decision did not come from this provider's own page, so nothing was granted. Go back to the app and start again.")
		return
	}
	form, err := readForm(w, r)
	if err != nil {
		p.badRequest(w, "The form cannot be read.")
		return
	}
	token := form.Get("consent")
	c, err := p.takeConsent(r, token)
	switch {
	case errors.Is(err, errSave):
		p.cannotSave(w, r, err)
		return
	case err != nil:
		p.message(w, http.StatusBadRequest, "This page is no longer good",
			"It was answered already, is older than ten minutes or was opened in another browser. Nothing was granted. Go back to the app and start again.")
		return
	}
	http.SetCookie(w, p.cookie(token, "", -1))
	switch form.Get("decision") {
	case "allow":
		p.allow(w, r, c.Request, form)
	case "deny":
		p.answer(w, r, http.StatusSeeOther, c.Request,
			url.Values{"error": {"access_denied"}, "error_description": {"the person did not allow it"}})
	default:
		p.showConsent(w, r, c.Request, "Choose Allow or Deny.")
	}
}

// allow answers with a code for what the person granted, which may be less
// than was asked for but never more.
func (p *Provider) allow(w http.ResponseWriter, r *http.Request, req authRequest, form url.Values) {
	who, ok := accountOf(form.Get("account"))
	if !ok {
		p.showConsent(w, r, req, "Choose an account.")
		return
	}
	granted := slices.DeleteFunc(slices.Clone(req.Scopes), func(s string) bool {
		return !slices.Contains(form["scope"], s)
	})
	if len(granted) == 0 {
		p.showConsent(w, r, req, "Choose at least one permission, or Deny.")
		return
	}
	req.Scopes = granted
	value, err := p.newCode(req, who)
	if err != nil {
		p.cannotSave(w, r, err)
		return
	}
	p.log.InfoContext(r.Context(), "consent given", "account", who.Sub, "scopes", granted)
	p.answer(w, r, http.StatusSeeOther, req, url.Values{"code": {value}})
}

func (p *Provider) newCode(req authRequest, who account) (string, error) {
	value, now := newToken("demo_code_"), p.now()
	return value, p.store.change(now, func(s *state) bool {
		s.Codes[hash(value)] = code{Request: req, Account: who.Sub, Expires: now.Add(codeTTL)}
		return true
	})
}

var errNoConsent = errors.New("no such consent page in this browser")

// takeConsent removes and returns what the page was about, if this browser
// was shown it. A request from another browser does not spend it.
func (p *Provider) takeConsent(r *http.Request, token string) (consent, error) {
	cookie, err := r.Cookie(p.cookie(token, "", 0).Name)
	if err != nil {
		return consent{}, errNoConsent
	}
	var taken consent
	var found bool
	now, key := p.now(), hash(token)
	err = p.store.change(now, func(s *state) bool {
		taken, found = s.Consents[key]
		found = found && now.Before(taken.Expires) &&
			subtle.ConstantTimeCompare([]byte(hash(cookie.Value)), []byte(taken.Cookie)) == 1
		if found {
			delete(s.Consents, key)
		}
		return found
	})
	if err == nil && !found {
		err = errNoConsent
	}
	return taken, err
}

// cookie of a consent page. Its name holds part of a hash, not of the token.
func (p *Provider) cookie(token, value string, maxAge int) *http.Cookie {
	name := cookiePrefix + hash(token)[:16]
	if p.secure {
		name = "__Host-" + name
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: p.secure, SameSite: http.SameSiteStrictMode}
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(body))
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
