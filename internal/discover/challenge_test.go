package discover

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/provider"
)

func TestChallenge(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ header, want string }{
		{`Bearer`, "map[]"},
		{`Bearer realm="x", resource_metadata="https://a/b"`, "map[realm:x resource_metadata:https://a/b]"},
		{`bearer RESOURCE_METADATA=https://a/b,scope="a b"`, "map[resource_metadata:https://a/b scope:a b]"},
		{`Basic realm="x, Bearer scope=\"y\"", Bearer scope="z"`, "map[scope:z]"},
		{`Negotiate dG9rZW4=, Bearer scope="z", Digest scope="w"`, "map[scope:z]"},
		{`Bearer scope="a", scope="b"`, "map[scope:a]"},
		{`Bearer scope = "a" , error = x`, "map[error:x scope:a]"},
		{`Bearer scope="a\"b\\c"`, `map[scope:a"b\c]`},
		{`Bearer scope="unended`, "map[scope:unended]"},
		{`Basic realm="x"`, "map[]"},
		{``, "map[]"},
		{`, ,Bearer ,scope=a,`, "map[scope:a]"},
	} {
		if got := fmt.Sprint(challenge([]string{test.header})); got != test.want {
			t.Errorf("%s: %s, want %s", test.header, got, test.want)
		}
	}
	if got := challenge([]string{`Basic realm="x"`, `Bearer scope="z"`})["scope"]; got != "z" {
		t.Errorf("two headers: %q", got)
	}
}

// FuzzChallenge: whatever is in it, it is read, and what is found was there.
func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{`Bearer scope="a"`, `Bearer a=b,c="d\"e"`, `x y=z, Bearer`, `"`, `\`, `Bearer ==,`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for name, value := range challenge([]string{header}) {
			if !strings.Contains(strings.ToLower(header), name) || len(value) > len(header) {
				t.Errorf("%q: %q = %q", header, name, value)
			}
		}
	})
}

// TestDialled: also a name that resolves to this machine gets nowhere, whatever
// its URL looks like: the address is checked when it is dialled.
func TestDialled(t *testing.T) {
	t.Parallel()
	reached := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer server.Close()
	client := provider.GuardedClient(nil, false)
	_, err := client.Get(strings.Replace(server.URL, "127.0.0.1", "localhost", 1))
	if !errors.Is(err, provider.ErrForbiddenAddress) || reached {
		t.Errorf("reached %v: %v", reached, err)
	}
}
