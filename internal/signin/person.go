package signin

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
)

// maxUser bounds a user's id, in bytes.
const maxUser = 256

// google is an issuer whose verified addresses may belong to a domain that has
// never heard of the account.
const google = "https://accounts.google.com"

// claims are what an issuer says of a person. Hostile text.
type claims struct {
	issuer          string
	Subject         string   `json:"sub"`
	AuthorizedParty string   `json:"azp"`
	Email           string   `json:"email"`
	EmailVerified   verified `json:"email_verified"`
	// Domain is Google's: the Workspace that the account belongs to.
	Domain string `json:"hd"`
}

// verified is true, or "true", as some issuers write it. Whatever else is not.
type verified bool

func (v *verified) UnmarshalJSON(b []byte) error {
	*v = string(b) == "true" || string(b) == `"true"`
	return nil
}

// person is whom we let in.
type person struct{ user, name string }

// UserOf is the user's id of a subject at an issuer.
func UserOf(issuer, subject string) string { return "oidc:" + issuer + "#" + subject }

// admit returns who that is to the tenant; ErrNotAllowed if they may not come in.
func admit(in flow.SignIn, c claims) (person, error) {
	if !in.Anybody && !slices.Contains(in.Subjects, c.Subject) {
		domain, ok := c.domain()
		if len(in.Domains) == 0 || !ok || !slices.Contains(in.Domains, domain) {
			return person{}, ErrNotAllowed
		}
	}
	p := person{user: UserOf(c.issuer, c.Subject), name: provider.Clean(c.Email)}
	if in.UserClaim == flow.ClaimEmail {
		if _, ok := c.domain(); !ok {
			return person{}, fmt.Errorf("%w: the issuer has not verified its address", ErrNotAllowed)
		}
		p.user = "email:" + strings.ToLower(c.Email)
	}
	if len(p.user) > maxUser || strings.ContainsFunc(p.user, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return person{}, fmt.Errorf("%w: the issuer's name for the person is too long, or no text", ErrToken)
	}
	return p, nil
}

// domain is the domain of the person's address, in lower case, if the issuer
// vouches that it is theirs.
func (c claims) domain() (string, bool) {
	local, domain, ok := strings.Cut(c.Email, "@")
	// Of ASCII alone: letters of other alphabets have some of its own as their lower
	// case, and somebody else's address with them.
	if strings.ContainsFunc(c.Email, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", false
	}
	domain = strings.ToLower(domain)
	if !ok || local == "" || domain == "" || strings.ContainsAny(domain, "@ \t\r\n") || !bool(c.EmailVerified) {
		return "", false
	}
	// A Google account of one's own may have any address that was verified once;
	// Google is the authority for its own domain, and for that of a Workspace.
	if c.issuer == google && domain != "gmail.com" && !strings.EqualFold(c.Domain, domain) {
		return "", false
	}
	return domain, true
}
