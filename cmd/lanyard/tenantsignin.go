package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// signInFlags say how a tenant's people sign in.
type signInFlags struct {
	method, issuer, user, loginURL string
	domains, subjects              []string
	anybody                        bool
}

// ofSignIn are the flags that mean something beside --sign-in alone.
var ofSignIn = []string{"oidc-issuer", "oidc-domain", "oidc-subject", "oidc-anybody", "oidc-user", "login-url"}

func (f *signInFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.method, "sign-in", "", "how people sign in: `link` (connect links alone), oidc (an OpenID Connect issuer) or\nlogin_url (your own login, whose backend confirms)")
	flags.StringVar(&f.issuer, "oidc-issuer", "", "the issuer's `URL`, exactly as it names itself")
	flags.StringArrayVar(&f.domains, "oidc-domain", nil, "let in whose verified address is of this `domain`; may be repeated")
	flags.StringArrayVar(&f.subjects, "oidc-subject", nil, "let in the person with this `sub`; may be repeated")
	flags.BoolVar(&f.anybody, "oidc-anybody", false, "let in everybody whom the issuer knows")
	flags.StringVar(&f.user, "oidc-user", "", "the `claim` that is the user's id: sub (the usual) or email, if it is verified")
	flags.StringVar(&f.loginURL, "login-url", "", "your own login's `URL`, which is given flow_id")
}

func (f *signInFlags) changed(cmd *cobra.Command) bool { return cmd.Flags().Changed("sign-in") }

// apply changes how people sign in, as a whole: what is left of another issuer
// would let in its people.
func (f *signInFlags) apply(cmd *cobra.Command) (func(*flow.SignIn), error) {
	if !f.changed(cmd) {
		if i := slices.IndexFunc(ofSignIn, cmd.Flags().Changed); i >= 0 {
			return nil, usagef("--%s is a part of --sign-in: name all of it together", ofSignIn[i])
		}
		return func(*flow.SignIn) {}, nil
	}
	in := flow.SignIn{Method: flow.Method(f.method), Issuer: f.issuer, Domains: f.domains, Subjects: f.subjects,
		Anybody: f.anybody, UserClaim: f.user, LoginURL: f.loginURL}
	if f.method == "" || in.Method == flow.Local {
		return nil, usagef("--sign-in must be %s, %s or %s", flow.ByLink, flow.OIDC, flow.LoginURL)
	}
	if err := in.Check(false); err != nil {
		return nil, usagef("--sign-in %s: %w (--oidc-issuer, --oidc-domain, --oidc-subject, --oidc-anybody, --login-url)", f.method, err)
	}
	return func(v *flow.SignIn) { *v = in }, nil
}
