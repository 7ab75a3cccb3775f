package authserver_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/token"
)

// A code that is used twice ends what came of its first use.
func TestCodeReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	form := taking(c.ID, w.code(t, asking(c.ID)))
	a, err := w.Token(t.Context(), form, "")
	ok(t, err)
	w.wantLive(t, a.AccessToken, drive, true)
	for range 2 {
		_, err = w.Token(t.Context(), form, "")
		wantCode(t, err, "invalid_grant")
		w.wantLive(t, a.AccessToken, drive, false)
		_, err = w.Token(t.Context(), renewing(c.ID, a.RefreshToken), "")
		wantCode(t, err, "invalid_grant")
	}
}

func TestCodeReplayRaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	form := taking(c.ID, w.code(t, asking(c.ID)))
	var takers sync.WaitGroup
	answers := make(chan authserver.Answer, 16)
	for range cap(answers) {
		takers.Go(func() {
			if a, err := w.Token(t.Context(), form, ""); err == nil {
				answers <- a
			}
		})
	}
	takers.Wait()
	if len(answers) != 1 {
		t.Fatalf("%d got tokens", len(answers))
	}
	w.wantLive(t, (<-answers).AccessToken, drive, false) // the others were replays
}

// Whoever has the code and not the verifier gets nothing, and nobody does after.
func TestStolenCodeWithoutVerifier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for _, wrong := range []string{"", "short", strings.Repeat("x", 43), verifier + "x", strings.Repeat("x", 129)} {
		form := taking(c.ID, w.code(t, asking(c.ID)))
		_, err := w.Token(t.Context(), with(form, "code_verifier", wrong), "")
		wantCode(t, err, "invalid_grant")
		_, err = w.Token(t.Context(), form, "")
		wantCode(t, err, "invalid_grant")
	}
}

func TestStolenCodeOfAnotherClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, thief := w.enter(t, callback), w.enter(t, "https://evil.example/callback")
	form := taking(c.ID, w.code(t, asking(c.ID)))
	for _, change := range [][2]string{{"client_id", thief.ID}, {"redirect_uri", "https://evil.example/callback"}} {
		_, err := w.Token(t.Context(), with(form, change[0], change[1]), "")
		wantCode(t, err, "invalid_grant")
	}
	if grants, _ := w.store.Grants(t.Context(), "default", "ann"); len(grants) != 0 {
		t.Errorf("%d grants are left", len(grants))
	}
}

func TestCodeExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	early, late := taking(c.ID, w.code(t, asking(c.ID))), taking(c.ID, w.code(t, asking(c.ID)))
	w.pass(time.Minute - 1)
	_, err := w.Token(t.Context(), early, "")
	ok(t, err)
	w.pass(1)
	_, err = w.Token(t.Context(), late, "")
	wantCode(t, err, "invalid_grant")
}

// A token for one endpoint is none at another, and cannot be asked for.
func TestTokenOfAnotherServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	form := taking(c.ID, w.code(t, asking(c.ID)))
	_, err := w.Token(t.Context(), with(form, "resource", mail), "")
	wantCode(t, err, "invalid_target")
	a, err := w.Token(t.Context(), with(form, "resource", drive+"/"), "")
	ok(t, err)
	for _, resource := range []string{mail, base + "/mcp", base + "/t/acme/mcp/drive", drive + "/", "", base} {
		w.wantLive(t, a.AccessToken, resource, false)
	}
	_, err = w.Token(t.Context(), with(renewing(c.ID, a.RefreshToken), "resource", mail), "")
	wantCode(t, err, "invalid_target")
	b, err := w.Token(t.Context(), with(renewing(c.ID, a.RefreshToken), "resource", drive), "")
	ok(t, err)
	w.wantLive(t, b.AccessToken, mail, false)
	w.wantLive(t, b.AccessToken, drive, true)
}

// Tokens of others, and of another kind, are none.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, a := w.signIn(t)
	code := w.code(t, asking(id))
	grant := strings.Split(strings.TrimPrefix(a.AccessToken.Reveal(), "lat_"), ".")[0]
	for _, bearer := range []token.Secret{
		"", "ya29.a0AfH6SNgoogle", "xoxp-slack", "lat_", "lat_x.y", "lan_mcp_token",
		a.RefreshToken, token.Secret(code), token.Secret("lat_" + strings.TrimPrefix(a.RefreshToken.Reveal(), "lrt_")),
		token.Secret("lat_" + grant + "." + strings.Repeat("A", 43)), a.AccessToken + "x", "Bearer " + a.AccessToken,
		token.Secret("lat_gnt_" + strings.Repeat("a", 26) + "." + strings.Repeat("A", 43)), token.Secret("lat_" + strings.Repeat("x", 100_000)),
	} {
		w.wantLive(t, bearer, drive, false)
	}
	if !authserver.Accepts(a.AccessToken) || authserver.Accepts(a.RefreshToken) || authserver.Accepts("xoxp-slack") {
		t.Error("Accepts is wrong")
	}
	for _, refresh := range []token.Secret{"", a.AccessToken, token.Secret(code), token.Secret("lrt_" + strings.TrimPrefix(a.AccessToken.Reveal(), "lat_"))} {
		_, err := w.Token(t.Context(), renewing(id, refresh), "")
		wantCode(t, err, "invalid_grant")
	}
	w.wantLive(t, a.AccessToken, drive, true)
}

// renew renews and reports a failure.
func (w *world) renew(t *testing.T, client string, refresh token.Secret) authserver.Answer {
	t.Helper()
	a, err := w.Token(t.Context(), renewing(client, refresh), "")
	ok(t, err)
	return a
}

// A refresh token whose successor is in use ends the family, whoever brings it.
func TestRefreshReuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, first := w.signIn(t)
	second := w.renew(t, id, first.RefreshToken)
	third := w.renew(t, id, second.RefreshToken)
	_, err := w.Token(t.Context(), renewing(id, first.RefreshToken), "")
	wantCode(t, err, "invalid_grant")
	for _, a := range []authserver.Answer{first, second, third} {
		w.wantLive(t, a.AccessToken, drive, false)
		_, err := w.Token(t.Context(), renewing(id, a.RefreshToken), "")
		wantCode(t, err, "invalid_grant")
	}
}

// However often the thief asks, the owner's token is known for one that was
// replaced.
func TestRefreshReuseAfterAFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, first := w.signIn(t)
	owners := w.renew(t, id, first.RefreshToken)
	var thiefs authserver.Answer
	for range 200 {
		thiefs = w.renew(t, id, first.RefreshToken)
	}
	_, err := w.Token(t.Context(), renewing(id, owners.RefreshToken), "")
	wantCode(t, err, "invalid_grant")
	w.wantLive(t, thiefs.AccessToken, drive, false)
}

// A client whose answer was lost asks again, until it has used one.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, first := w.signIn(t)
	for range 3 {
		w.renew(t, id, first.RefreshToken)
		w.pass(time.Hour)
	}
	second := w.renew(t, id, first.RefreshToken)
	third := w.renew(t, id, second.RefreshToken)
	w.wantLive(t, third.AccessToken, drive, true)
	w.renew(t, id, second.RefreshToken) // lost again
}

// Two processes of a client that renew at once both get an answer; that the one
// of them that is not kept is never used, makes no difference.
func TestParallelRefreshes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, first := w.signIn(t)
	var all sync.WaitGroup
	answers := make(chan authserver.Answer, 4)
	for range cap(answers) {
		all.Go(func() {
			a, err := w.Token(t.Context(), renewing(id, first.RefreshToken), "")
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	all.Wait()
	kept, other := <-answers, <-answers
	w.wantLive(t, other.AccessToken, drive, true)
	next := w.renew(t, id, kept.RefreshToken)
	w.wantLive(t, next.AccessToken, drive, true)
	// But there are not two who go on: one of them has stolen it.
	_, err := w.Token(t.Context(), renewing(id, other.RefreshToken), "")
	wantCode(t, err, "invalid_grant")
	w.wantLive(t, next.AccessToken, drive, false)
}

// Who knows a grant's id and guesses the rest ends nothing.
func TestGuessedTokenEndsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, a := w.signIn(t)
	grant := strings.Split(strings.TrimPrefix(a.AccessToken.Reveal(), "lat_"), ".")[0]
	guess := strings.Repeat("A", 43)
	for _, form := range []url.Values{
		renewing(id, token.Secret("lrt_"+grant+"."+guess+"~"+guess)),
		taking(id, "lac_"+grant+"."+guess),
	} {
		_, err := w.Token(t.Context(), form, "")
		wantCode(t, err, "invalid_grant")
	}
	ok(t, w.Revoke(t.Context(), url.Values{"client_id": {id}, "token": {"lat_" + grant + "." + guess}}, ""))
	ok(t, w.Revoke(t.Context(), url.Values{"client_id": {id}, "token": {"lrt_" + grant + "." + guess + "~" + guess}}, ""))
	w.wantLive(t, a.AccessToken, drive, true)
	w.renew(t, id, a.RefreshToken)
}

// A refresh token in another client's hands was stolen.
func TestRefreshTokenOfAnotherClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.signIn(t)
	thief := w.enter(t, callback)
	_, err := w.Token(t.Context(), renewing(thief.ID, a.RefreshToken), "")
	wantCode(t, err, "invalid_grant")
	w.wantLive(t, a.AccessToken, drive, false)
}

// A client that rests for 90 days, or is a year old, has to ask again.
func TestGrantEnds(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	w := newWorld(t)
	id, a := w.signIn(t)
	for range 4 {
		w.pass(90*day - 1)
		a = w.renew(t, id, a.RefreshToken)
	}
	w.pass(5*day + 4)
	_, err := w.Token(t.Context(), renewing(id, a.RefreshToken), "")
	wantCode(t, err, "invalid_grant")

	id, a = w.signIn(t)
	w.pass(90 * day)
	_, err = w.Token(t.Context(), renewing(id, a.RefreshToken), "")
	wantCode(t, err, "invalid_grant")
}

// A grant stays small, however often it is renewed.
func TestGrantIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, a := w.signIn(t)
	first := a
	for range 50 {
		for range 10 {
			w.renew(t, id, a.RefreshToken)
		}
		a = w.renew(t, id, a.RefreshToken)
	}
	grants, err := w.store.Grants(t.Context(), "default", "ann")
	ok(t, err)
	if g := grants[0]; len(g.Access) != 8 || len(g.Refresh.Next) != 8 {
		t.Errorf("%d access tokens, %d refresh tokens", len(g.Access), len(g.Refresh.Next))
	}
	w.wantLive(t, first.AccessToken, drive, false)
	w.wantLive(t, a.AccessToken, drive, true)
	w.pass(time.Hour)
	w.renew(t, id, a.RefreshToken)
	grants, err = w.store.Grants(t.Context(), "default", "ann")
	ok(t, err)
	if n := len(grants[0].Access); n != 1 {
		t.Errorf("%d access tokens live", n)
	}
}

func TestRefreshScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, a := w.signIn(t)
	_, err := w.Token(t.Context(), with(renewing(id, a.RefreshToken), "scope", "files.read admin"), "")
	wantCode(t, err, "invalid_scope")
	b, err := w.Token(t.Context(), with(renewing(id, a.RefreshToken), "scope", "files.read"), "")
	ok(t, err)
	if len(b.Scopes) != 2 {
		t.Errorf("scopes %v", b.Scopes)
	}
}

func TestGrantType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.signIn(t)
	for kind, want := range map[string]string{
		"": "invalid_request", "password": "unsupported_grant_type", "client_credentials": "unsupported_grant_type",
		"urn:ietf:params:oauth:grant-type:jwt-bearer": "unsupported_grant_type", "implicit": "unsupported_grant_type",
	} {
		_, err := w.Token(t.Context(), url.Values{"grant_type": {kind}, "client_id": {id}}, "")
		wantCode(t, err, want)
	}
}

// Either token ends the grant at once; another client's ends nothing.
func TestRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.enter(t, callback)
	for _, pick := range []func(authserver.Answer) token.Secret{
		func(a authserver.Answer) token.Secret { return a.AccessToken },
		func(a authserver.Answer) token.Secret { return a.RefreshToken },
	} {
		id, a := w.signIn(t)
		form := url.Values{"client_id": {id}, "token": {pick(a).Reveal()}, "token_type_hint": {"anything"}}
		ok(t, w.Revoke(t.Context(), with(form, "client_id", other.ID), ""))
		ok(t, w.Revoke(t.Context(), with(form, "token", "none of ours"), ""))
		w.wantLive(t, a.AccessToken, drive, true)
		wantCode(t, w.Revoke(t.Context(), with(form, "client_id", "unknown"), ""), "invalid_client")
		wantCode(t, w.Revoke(t.Context(), with(form, "token"), ""), "invalid_request")
		for range 2 {
			ok(t, w.Revoke(t.Context(), form, ""))
			w.wantLive(t, a.AccessToken, drive, false)
			_, err := w.Token(t.Context(), renewing(id, a.RefreshToken), "")
			wantCode(t, err, "invalid_grant")
		}
	}
}

// A store that fails is no reason to say that access has ended, and a theft is
// not hushed up by it.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, a := w.signIn(t)
	second := w.renew(t, id, a.RefreshToken)
	w.renew(t, id, second.RefreshToken)
	broken := errors.New("the disk is full")
	w.Store = failing{w.store, broken}
	_, err := w.Token(t.Context(), renewing(id, a.RefreshToken), "")
	wantErr(t, err, broken)
}

type failing struct {
	authserver.Store
	err error
}

func (f failing) DeleteGrant(context.Context, string) error { return f.err }
