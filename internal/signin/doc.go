// Package signin is how a person without a page session gets one, where their
// tenant has a login of its own: at an OpenID Connect issuer, or by the
// tenant's backend.
//
// A sign-in is an [Attempt], which belongs to the browser that began it and is
// taken once. What takes it is a secret that only the right way round brings
// back to that browser:
//
//	step                                 function  who may                then
//	GET  /oauth/sign-in                  connect   anybody                Attempt, bound to the browser; on to the login
//
//	oidc: the secret is a part of the state
//	GET  /oauth/sign-in/callback         callback  that browser           Attempt taken, code exchanged, id token checked; session
//
//	login_url: the secret is made when the backend confirms
//	POST /api/v1/sign-ins/{id}/confirm   connect   the tenant's API key   Attempt: whose it is; the address to go on at
//	GET  /oauth/sign-ins/{id}?proof=     connect   that browser           Attempt taken; session
//
// Both proofs are needed. Somebody who lets another person finish an attempt of
// theirs has the browser and not the secret; whoever sees the address has the
// secret and not the browser.
//
// The session is [flow.Session.Proven]: nobody has to confirm what such a person
// connects.
//
// # Who that is
//
// A subject is unique at its issuer only (OpenID Connect Core 1.0 §2), so that a
// user's id is "oidc:", the issuer, "#" and the subject; or "email:" and the
// address in lower case, where the tenant's claim is that. No other than these
// begin so, unless a backend itself names them, which may act for any user of
// its tenant: see [UserOf].
package signin
