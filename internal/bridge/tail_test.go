package bridge

import (
	"strings"
	"testing"
)

func TestTail(t *testing.T) {
	t.Parallel()
	secret := "s3cr3t/" + strings.Repeat("k", 40)
	tail := &Tail{Secrets: func() []string { return []string{secret, "me"} }}
	write := func(s string) { _, _ = tail.Write([]byte(s)) }
	write("a " + secret + " b s3cr3t%2F" + strings.Repeat("k", 40) + " me Authorization: Bearer abcdefghijkl\n")
	write(`{"access_token":"zzz"} eyJhbGciOiJI.eyJzdWIiOiIx.c2ln xoxb-12-ab` + "\n")
	tail.Noise([]byte("Starting"))
	got := tail.String()
	for _, leak := range []string{"kkkk", "abcdefghijkl", "zzz", "eyJ", "xoxb-12"} {
		if strings.Contains(got, leak) {
			t.Errorf("%q shows in %q", leak, got)
		}
	}
	if !strings.Contains(got, " me ") || !strings.Contains(got, "Starting\n(1 lines") {
		t.Errorf("lost what may be shown: %q", got)
	}
	// However the cut falls, no half of a secret shows.
	for n := range 60 {
		tail := &Tail{Secrets: func() []string { return []string{secret} }}
		_, _ = tail.Write([]byte(secret + strings.Repeat(".", keptBytes-n)))
		if s := tail.String(); strings.Contains(s, "kk") || len(s) > tailBytes+64 {
			t.Fatalf("cut at %d: %.80s", n, s)
		}
	}
}
