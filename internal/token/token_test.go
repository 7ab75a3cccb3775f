package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// sample holds four secrets, each with the word "leak" in it.
func sample() token.Set {
	return token.Set{
		Grant: token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: "leak-refresh"}}},
		Access: token.Access{
			Tokens: map[string]token.Token{"": {AccessToken: "leak-access"}, "user": {AccessToken: "leak-user"}},
			Values: map[string]token.Secret{"BRAVE_API_KEY": "leak-value"},
		},
	}
}

func wantNoLeak(t *testing.T, how, printed string) {
	t.Helper()
	for _, form := range []string{"leak", fmt.Sprintf("%x", "leak"), fmt.Sprintf("%X", "leak"), fmt.Sprint([]byte("leak"))} {
		if strings.Contains(printed, strings.Trim(form, "[]")) {
			t.Errorf("%s prints a secret: %s", how, printed)
		}
	}
}

// TestNoVerbPrintsASecret leaves out %p and %w: for what is neither a pointer
// nor an error fmt ignores every method and prints the value. go vet refuses
// both.
func TestNoVerbPrintsASecret(t *testing.T) {
	t.Parallel()
	set := sample()
	secret := token.Secret("leak")
	for name, v := range map[string]any{
		"secret": secret, "pointer": &secret, "slice": []token.Secret{secret}, "map": map[string]token.Secret{"a": secret},
		"set": set, "set pointer": &set, "grant": set.Grant, "access": set.Access, "token": set.Access.Tokens[""],
		"renewable": set.Grant.Renewables[""], "in an error": fmt.Errorf("wrapped: %v", secret),
	} {
		for _, verb := range "vTtbcdoOqxXUeEfFgGs" {
			for _, flags := range []string{"", "+", "#", " ", "-20", "020", ".3"} {
				format := "%" + flags + string(verb)
				wantNoLeak(t, name+" "+format, fmt.Sprintf(format, v))
			}
		}
		wantNoLeak(t, name+" Sprint", fmt.Sprint(v)+fmt.Sprintln(v))
	}
	wantNoLeak(t, "String", secret.String()+secret.GoString())
}

func TestNoLogPrintsASecret(t *testing.T) {
	t.Parallel()
	set := sample()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		log := slog.New(handler(&out))
		log.Info("m", "secret", token.Secret("leak"), "set", set, "pointer", &set)
		log.With("set", set).WithGroup("g").Info("m", slog.Group("g", "secret", token.Secret("leak")))
		if out.Len() == 0 {
			t.Errorf("%s: nothing was logged", name)
		}
		wantNoLeak(t, name, out.String())
	}
}

func TestSetIsNotMarshalled(t *testing.T) {
	t.Parallel()
	set := sample()
	for _, v := range []any{set, &set, []token.Set{set}, struct{ Set token.Set }{set}} {
		b, err := json.Marshal(v)
		if err == nil {
			t.Errorf("marshalled %T", v)
		} else {
			wantNoLeak(t, "the error", err.Error())
		}
		wantNoLeak(t, "json", string(b))
	}
}

// TestPartsSurviveJSON: sealing relies on it.
func TestPartsSurviveJSON(t *testing.T) {
	t.Parallel()
	set := sample()
	grant, err := json.Marshal(set.Grant)
	access, err2 := json.Marshal(set.Access)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var back token.Set
	if err := errors.Join(json.Unmarshal(grant, &back.Grant), json.Unmarshal(access, &back.Access)); err != nil {
		t.Fatal(err)
	}
	if got := back.Grant.Renewables[""].RefreshToken.Reveal(); got != "leak-refresh" {
		t.Errorf("refresh token %q", got)
	}
	if len(back.Secrets()) != 4 || back.Access.Values["BRAVE_API_KEY"].Reveal() != "leak-value" {
		t.Errorf("%d of 4 secrets survived", len(back.Secrets()))
	}
}

func TestExpiresAt(t *testing.T) {
	t.Parallel()
	at := func(minutes int) time.Time { return time.Date(2026, 1, 1, 0, minutes, 0, 0, time.UTC) }
	for name, test := range map[string]struct {
		expiries []time.Time
		want     time.Time
	}{
		"none":          {nil, time.Time{}},
		"never":         {[]time.Time{{}}, time.Time{}},
		"one never":     {[]time.Time{{}, at(5)}, at(5)},
		"the first one": {[]time.Time{at(9), at(5), at(7)}, at(5)},
	} {
		a := token.Access{Tokens: map[string]token.Token{}}
		for i, e := range test.expiries {
			a.Tokens[fmt.Sprint(i)] = token.Token{ExpiresAt: e}
		}
		if got := a.ExpiresAt(); !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestRandomValues(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id, secret := token.NewID("con"), token.NewSecret()
		if seen[id] || seen[secret.Reveal()] {
			t.Fatal("a value came twice")
		}
		seen[id], seen[secret.Reveal()] = true, true
		if !strings.HasPrefix(id, "con_") || len(id) != len("con_")+26 || strings.ToLower(id) != id {
			t.Fatalf("id %q", id)
		}
		if len(secret.Reveal()) != 43 { // 32 bytes in base64url
			t.Fatalf("a secret of %d characters", len(secret.Reveal()))
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	hash := token.Hash("abc")
	// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
	if hash != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("hash %s", hash)
	}
	for s, want := range map[token.Secret]bool{"abc": true, "abd": false, "": false, token.Secret(hash): false} {
		if token.Matches(s, hash) != want {
			t.Errorf("Matches: %v, want %v", !want, want)
		}
	}
	if token.Matches("", "") {
		t.Error("an empty secret matches an empty hash")
	}
}
