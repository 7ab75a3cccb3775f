package flow_test

import (
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
)

func TestSignInCheck(t *testing.T) {
	t.Parallel()
	const issuer = "https://accounts.example"
	for name, test := range map[string]struct {
		in             flow.SignIn
		cloud, machine bool // whether it is good there
	}{
		"nothing said":                {flow.SignIn{}, true, true},
		"link":                        {flow.SignIn{Method: flow.ByLink}, true, true},
		"local":                       {flow.SignIn{Method: flow.Local}, true, true},
		"another method":              {flow.SignIn{Method: "password"}, false, false},
		"domains":                     {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Domains: []string{"example.com"}}, true, true},
		"subjects":                    {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Subjects: []string{"1"}, UserClaim: "sub"}, true, true},
		"both":                        {flow.SignIn{Method: flow.OIDC, Issuer: issuer + "/x", Subjects: []string{"1"}, Domains: []string{"example.com"}, UserClaim: "email"}, true, true},
		"anybody":                     {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Anybody: true}, true, true},
		"neither":                     {flow.SignIn{Method: flow.OIDC, Issuer: issuer}, false, false},
		"anybody and a list":          {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Anybody: true, Domains: []string{"example.com"}}, false, false},
		"no issuer":                   {flow.SignIn{Method: flow.OIDC, Anybody: true}, false, false},
		"an issuer in http":           {flow.SignIn{Method: flow.OIDC, Issuer: "http://accounts.example", Anybody: true}, false, false},
		"an issuer here":              {flow.SignIn{Method: flow.OIDC, Issuer: "http://127.0.0.1:1", Anybody: true}, false, true},
		"an issuer that is not here":  {flow.SignIn{Method: flow.OIDC, Issuer: "http://127.0.0.1.example", Anybody: true}, false, false},
		"an issuer with a user":       {flow.SignIn{Method: flow.OIDC, Issuer: "https://x@accounts.example", Anybody: true}, false, false},
		"an issuer with a query":      {flow.SignIn{Method: flow.OIDC, Issuer: issuer + "?x", Anybody: true}, false, false},
		"an issuer with a fragment":   {flow.SignIn{Method: flow.OIDC, Issuer: issuer + "#x", Anybody: true}, false, false},
		"an empty fragment":           {flow.SignIn{Method: flow.OIDC, Issuer: issuer + "#", Anybody: true}, false, false},
		"an address as a domain":      {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Domains: []string{"ada@example.com"}}, false, false},
		"any domain":                  {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Domains: []string{"*"}}, false, false},
		"a domain in capitals":        {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Domains: []string{"Example.com"}}, false, false},
		"an empty domain":             {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Domains: []string{""}}, false, false},
		"an empty subject":            {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Subjects: []string{""}}, false, false},
		"another claim":               {flow.SignIn{Method: flow.OIDC, Issuer: issuer, Anybody: true, UserClaim: "name"}, false, false},
		"a login":                     {flow.SignIn{Method: flow.LoginURL, LoginURL: "https://app.example/login?x=1"}, true, true},
		"a login here":                {flow.SignIn{Method: flow.LoginURL, LoginURL: "http://localhost:1/login"}, false, true},
		"a login that is a script":    {flow.SignIn{Method: flow.LoginURL, LoginURL: "javascript:alert(1)"}, false, false},
		"no login":                    {flow.SignIn{Method: flow.LoginURL}, false, false},
		"an issuer of another method": {flow.SignIn{Issuer: issuer}, false, false},
		"a login of another method":   {flow.SignIn{Method: flow.ByLink, LoginURL: "https://app.example/"}, false, false},
	} {
		if err := test.in.Check(false); (err == nil) != test.cloud {
			t.Errorf("%s: %v", name, err)
		}
		if err := test.in.Check(true); (err == nil) != test.machine {
			t.Errorf("%s, on a machine: %v", name, err)
		}
	}
}
