package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"time"
)

// How long things live.
const (
	consentTTL = 10 * time.Minute
	codeTTL    = time.Minute
	refreshTTL = 30 * 24 * time.Hour
	// spentMemory is how long a spent code or refresh token is remembered, to
	// notice that it comes back.
	spentMemory = 7 * 24 * time.Hour
)

// maxConsents bounds how many unanswered consent pages are remembered.
const maxConsents = 200

// state is everything that the provider knows, and the format of its file:
//
//	{"version": 1,
//	 "consents": {H: {"request": …, "cookie": H, "expires": …}},
//	 "codes":    {H: {"request": …, "account": A, "expires": …, "spent": …, "grant": G}},
//	 "grants":   {G: {"account": A, "scopes": […], "created": …}},
//	 "access":   {H: {"grant": G, "scopes": […], "expires": …}},
//	 "refresh":  {H: {"grant": G, "expires": …, "spent": …, "spent_at": …}},
//	 "notes":    {A: [{"id": …, "text": …, "created_at": …}]}, "next_note": 7}
//
// H is a SHA-256 hash in hex, never the token itself; G a grant's random id; A
// an account's sub. Values and slices in it are replaced, never changed in
// place, so that clone may be shallow.
type state struct {
	Version  int                     `json:"version"`
	Consents map[string]consent      `json:"consents"`
	Codes    map[string]code         `json:"codes"`
	Grants   map[string]grant        `json:"grants"`
	Access   map[string]accessToken  `json:"access"`
	Refresh  map[string]refreshToken `json:"refresh"`
	Notes    map[string][]note       `json:"notes"`
	NextNote int                     `json:"next_note"`
}

// consent is an authorization request that waits for a person's decision.
type consent struct {
	Request authRequest `json:"request"`
	// Cookie is the hash of what the browser that saw the page must present.
	Cookie  string    `json:"cookie"`
	Expires time.Time `json:"expires"`
}

type code struct {
	Request authRequest `json:"request"`
	Account string      `json:"account"`
	Expires time.Time   `json:"expires"`
	Spent   bool        `json:"spent,omitempty"`
	// Grant is what the code yielded, once it did.
	Grant string `json:"grant,omitempty"`
}

type grant struct {
	Account string    `json:"account"`
	Scopes  []string  `json:"scopes"`
	Created time.Time `json:"created"`
}

type accessToken struct {
	Grant   string    `json:"grant"`
	Scopes  []string  `json:"scopes"`
	Expires time.Time `json:"expires"`
}

type refreshToken struct {
	Grant   string    `json:"grant"`
	Expires time.Time `json:"expires"`
	Spent   bool      `json:"spent,omitempty"`
	SpentAt time.Time `json:"spent_at,omitzero"`
}

type note struct {
	ID        string    `json:"id"`
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"created_at"`
}

func emptyState() state {
	return state{
		Version:  1,
		Consents: map[string]consent{},
		Codes:    map[string]code{},
		Grants:   map[string]grant{},
		Access:   map[string]accessToken{},
		Refresh:  map[string]refreshToken{},
		Notes:    map[string][]note{},
	}
}

// newState is what a fresh provider starts with: sample notes.
func newState(now time.Time) state {
	s := emptyState()
	for _, a := range accounts() {
		for _, text := range a.samples {
			s.addNote(a.Sub, text, now)
		}
	}
	return s
}

func (s state) clone() state {
	s.Consents = maps.Clone(s.Consents)
	s.Codes = maps.Clone(s.Codes)
	s.Grants = maps.Clone(s.Grants)
	s.Access = maps.Clone(s.Access)
	s.Refresh = maps.Clone(s.Refresh)
	s.Notes = maps.Clone(s.Notes)
	return s
}

// prune forgets what can no longer matter.
func (s *state) prune(now time.Time) {
	maps.DeleteFunc(s.Consents, func(_ string, c consent) bool { return !now.Before(c.Expires) })
	for len(s.Consents) > maxConsents {
		delete(s.Consents, s.oldestConsent())
	}
	maps.DeleteFunc(s.Codes, func(_ string, c code) bool {
		if c.Spent {
			return !now.Before(c.Expires.Add(spentMemory))
		}
		return !now.Before(c.Expires)
	})
	maps.DeleteFunc(s.Access, func(_ string, t accessToken) bool { return !now.Before(t.Expires) })
	maps.DeleteFunc(s.Refresh, func(_ string, t refreshToken) bool { return !now.Before(t.Expires) })
	alive := map[string]bool{}
	for _, t := range s.Access {
		alive[t.Grant] = true
	}
	for _, t := range s.Refresh {
		alive[t.Grant] = alive[t.Grant] || !t.Spent
	}
	maps.DeleteFunc(s.Grants, func(id string, _ grant) bool { return !alive[id] })
}

func (s *state) oldestConsent() string {
	var oldest string
	for k, c := range s.Consents {
		if oldest == "" || c.Expires.Before(s.Consents[oldest].Expires) {
			oldest = k
		}
	}
	return oldest
}

// refreshPrefix begins every refresh token.
const refreshPrefix = "demo_rt_"

// issue adds a new access token of the scopes to a grant, and the refresh token
// unless it is empty or there already.
func (s *state) issue(grantID string, scopes []string, refresh string, now time.Time, accessTTL time.Duration) (access string) {
	access = newToken("demo_at_")
	s.Access[hash(access)] = accessToken{Grant: grantID, Scopes: scopes, Expires: now.Add(accessTTL)}
	if _, there := s.Refresh[hash(refresh)]; refresh != "" && !there {
		s.Refresh[hash(refresh)] = refreshToken{Grant: grantID, Expires: now.Add(refreshTTL)}
	}
	return access
}

// endGrant removes a grant with every token that it led to.
func (s *state) endGrant(id string) {
	delete(s.Grants, id)
	maps.DeleteFunc(s.Access, func(_ string, t accessToken) bool { return t.Grant == id })
	maps.DeleteFunc(s.Refresh, func(_ string, t refreshToken) bool { return t.Grant == id })
}

// grantOf finds the grant that a token of either kind belongs to.
func (s *state) grantOf(token string) (id string, ok bool) {
	key := hash(token)
	if t, found := s.Access[key]; found {
		return t.Grant, true
	}
	t, found := s.Refresh[key]
	return t.Grant, found
}

func (s *state) addNote(account, text string, now time.Time) note {
	s.NextNote++
	n := note{ID: strconv.Itoa(s.NextNote), Text: text, CreatedAt: now.UTC().Truncate(time.Second)}
	s.Notes[account] = append(slices.Clone(s.Notes[account]), n)
	return n
}

// newToken makes 256 random bits behind a prefix that secret scanners and
// people can tell.
func newToken(prefix string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// hash is how a secret is remembered. The secrets are random and long, so a
// plain SHA-256 cannot be searched.
func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
