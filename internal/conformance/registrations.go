package conformance

import (
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/discover"
)

// Registrations is the suite of discover.Registrations.
func Registrations(t *testing.T, newStore func(*testing.T) discover.Registrations) {
	for name, check := range map[string]func(*testing.T, discover.Registrations){
		"RegistrationUnknown":         registrationUnknown,
		"RegistrationKeepsEveryField": registrationKeepsEveryField,
		"RegistrationsAreApart":       registrationsAreApart,
		"PutRegistrationReplaces":     putRegistrationReplaces,
		"PutRegistrationOfManyAtOnce": putRegistrationRaced,
		"RegistrationAtALongIssuer":   registrationAtALongIssuer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

func madeClient(tenant, issuer, id string) discover.Registration {
	return discover.Registration{Tenant: tenant, Issuer: issuer, ClientID: id, RedirectURI: "https://lanyard.example/cb", CreatedAt: epoch}
}

func wantRegistration(t *testing.T, s discover.Registrations, want discover.Registration) {
	t.Helper()
	got, err := s.Registration(t.Context(), want.Tenant, want.Issuer)
	ok(t, err)
	same(t, got, want)
}

func registrationUnknown(t *testing.T, s discover.Registrations) {
	_, err := s.Registration(t.Context(), tenant, "https://issuer.example")
	wantErr(t, err, discover.ErrNoRegistration)
}

func registrationKeepsEveryField(t *testing.T, s discover.Registrations) {
	r := madeClient(tenant, "https://issuer.example/t%20x", "id \u2028<b>\"")
	ok(t, s.PutRegistration(t.Context(), r))
	wantRegistration(t, s, r)
}

// registrationsAreApart: a client is one tenant's, at one issuer, to the letter.
func registrationsAreApart(t *testing.T, s discover.Registrations) {
	all := []discover.Registration{
		madeClient(tenant, "https://issuer.example", "a"), madeClient("other", "https://issuer.example", "b"),
		madeClient(tenant, "https://issuer.example/", "c"), madeClient(tenant, "https://ISSUER.example", "d"),
		madeClient(tenant+"#https://issuer.example", "x", "e"),
	}
	for _, r := range all {
		ok(t, s.PutRegistration(t.Context(), r))
	}
	for _, r := range all {
		wantRegistration(t, s, r)
	}
	_, err := s.Registration(t.Context(), "nobody", "https://issuer.example")
	wantErr(t, err, discover.ErrNoRegistration)
}

func putRegistrationReplaces(t *testing.T, s discover.Registrations) {
	ok(t, s.PutRegistration(t.Context(), madeClient(tenant, "https://issuer.example", "old")))
	ok(t, s.PutRegistration(t.Context(), madeClient(tenant, "https://issuer.example", "new")))
	wantRegistration(t, s, madeClient(tenant, "https://issuer.example", "new"))
}

// putRegistrationRaced: of several at once, one is whole.
func putRegistrationRaced(t *testing.T, s discover.Registrations) {
	race(8, func(i int) {
		if err := s.PutRegistration(t.Context(), madeClient(tenant, "https://issuer.example", strings.Repeat("x", i+1))); err != nil {
			t.Error(err)
		}
	})
	got, err := s.Registration(t.Context(), tenant, "https://issuer.example")
	ok(t, err)
	if n := len(got.ClientID); n < 1 || n > 8 || strings.Trim(got.ClientID, "x") != "" {
		t.Errorf("kept %+v", got)
	}
}

func registrationAtALongIssuer(t *testing.T, s discover.Registrations) {
	r := madeClient(tenant, "https://issuer.example/"+strings.Repeat("a", 976), "id")
	ok(t, s.PutRegistration(t.Context(), r))
	wantRegistration(t, s, r)
}
