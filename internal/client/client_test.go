package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

const key = token.Secret("lyk_a-key-of-this-test")

// serve answers every request with a status and a body, and tells what came.
func serve(t *testing.T, status int, body string) (*Client, chan string) {
	t.Helper()
	came := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer "+key.Reveal() {
			t.Errorf("the key is not shown")
		}
		if len(in) > 0 && r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("content type %q", r.Header.Get("Content-Type"))
		}
		came <- strings.TrimSpace(r.Method + " " + r.RequestURI + " " + string(in))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	c, err := New(srv.URL+"/", key)
	if err != nil {
		t.Fatal(err)
	}
	return c, came
}

// Each call is the request that the API documents, and keeps the answer.
func TestCalls(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want string
		call func(context.Context, *Client) (Answer, error)
	}{
		{`POST /api/v1/links {"user_id":"a","servers":["s"],"return_url":"https://r.example","ttl":60,"params":{"shop":"x"}}`,
			func(ctx context.Context, c *Client) (Answer, error) {
				out, err := c.CreateLink(ctx, LinkRequest{UserID: "a", Servers: []string{"s"}, ReturnURL: "https://r.example", TTL: 60, Params: map[string]string{"shop": "x"}})
				return out.Answer, err
			}},
		{`POST /api/v1/links {"user_id":"a"}`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.CreateLink(ctx, LinkRequest{UserID: "a", Params: map[string]string{}})
			return out.Answer, err
		}},
		{`GET /api/v1/mcp/servers?user_id=a+%26b`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.Servers(ctx, "a &b")
			return out.Answer, err
		}},
		{`GET /api/v1/connections?cursor=n&limit=3&server=s&user_id=u`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.Connections(ctx, ConnectionFilter{User: "u", Server: "s", Cursor: "n", Limit: 3})
			return out.Answer, err
		}},
		{`GET /api/v1/connections/a%2Fb%3Fc`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.Connection(ctx, "a/b?c")
			return out.Answer, err
		}},
		{`PATCH /api/v1/connections/con_1 {"label":""}`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.Rename(ctx, "con_1", "")
			return out.Answer, err
		}},
		{`PATCH /api/v1/connections/con_1 {"tools":{"allow":["list_*"],"deny":null}}`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.OfferTools(ctx, "con_1", []string{"list_*"}, nil)
			return out.Answer, err
		}},
		{`GET /api/v1/connections/con_1/token?min_ttl=90&name=user`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.Token(ctx, "con_1", "user", 90*time.Second)
			return out.Answer, err
		}},
		{`DELETE /api/v1/connections/con_1`, func(ctx context.Context, c *Client) (Answer, error) {
			out, err := c.Disconnect(ctx, "con_1")
			return out.Answer, err
		}},
	} {
		t.Run(tc.want, func(t *testing.T) {
			t.Parallel()
			c, came := serve(t, 200, `{"new_field": 1}`)
			answer, err := tc.call(t.Context(), c)
			if err != nil || answer.Raw.Reveal() != `{"new_field": 1}` {
				t.Errorf("answer %q, %v", answer.Raw.Reveal(), err)
			}
			if got := <-came; got != tc.want {
				t.Errorf("requested %s", got)
			}
		})
	}
}

func TestAnswerThatFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   error
		text   string
	}{
		{"refusal", 404, `{"error":"connection_unknown","error_description":"gone","hint":"Look."}`, &Error{404, "connection_unknown", "gone", "Look."}, "connection_unknown: gone"},
		{"no description", 401, `{"error":"unauthorized"}`, &Error{Status: 401, Code: "unauthorized"}, "unauthorized"},
		{"page of another program", 404, `<html>secret`, ErrNotLanyard, "answered 404"},
		{"JSON of another program", 502, `{"message":"secret"}`, ErrNotLanyard, "answered 502"},
		{"success of another program", 200, `<html>secret`, ErrNotLanyard, "without the JSON"},
		{"redirect", 307, `{}`, ErrNotLanyard, "answered 307"},
		{"endless", 200, strings.Repeat(" ", maxAnswer+1), ErrNotLanyard, "more than 16 MB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, came := serve(t, tc.status, tc.body)
			_, err := c.Connection(t.Context(), "con_1")
			var refused, want *Error
			switch {
			case errors.As(tc.want, &want):
				if !errors.As(err, &refused) || *refused != *want {
					t.Errorf("%v", err)
				}
			case !errors.Is(err, tc.want):
				t.Errorf("%v, want %v", err, tc.want)
			}
			if !strings.Contains(fmt.Sprint(err), tc.text) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("%v, want %s", err, tc.text)
			}
			if len(came) != 1 {
				t.Errorf("%d requests: redirects must not be followed", len(came))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"half":`)
	}))
	defer broken.Close()
	for _, base := range []string{gone.URL, broken.URL} {
		c, err := New(base, key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Servers(t.Context(), "alice@example.com")
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), base) || strings.Contains(err.Error(), "alice") {
			t.Errorf("%v", err)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		base string
		key  token.Secret
		want error
	}{
		{"https://connect.example.com", key, nil},
		{"https://connect.example.com/", key, nil},
		{"http://127.0.0.1:8080", key, nil},
		{"http://[::1]:8080", key, nil},
		{"http://localhost:8080", key, nil},
		{"http://connect.example.com", key, ErrURL},
		{"http://127.0.0.1.example.com", key, ErrURL},
		{"https://user:hunter2@connect.example.com", key, ErrURL},
		{"https://connect.example.com/path", key, ErrURL},
		{"https://connect.example.com?hunter2", key, ErrURL},
		{"ftp://connect.example.com", key, ErrURL},
		{"connect.example.com", key, ErrURL},
		{"://hunter2", key, ErrURL},
		{"https://connect.example.com", "", ErrKey},
		{"https://connect.example.com", "hunter2\nX: y", ErrKey},
		{"https://connect.example.com", "hunter2 é", ErrKey},
	} {
		_, err := New(tc.base, tc.key)
		if !errors.Is(err, tc.want) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v, want %v", tc.base, err, tc.want)
		}
	}
}

// An id must not become another path.
func TestID(t *testing.T) {
	t.Parallel()
	c, came := serve(t, 200, `{}`)
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Disconnect(t.Context(), id); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if len(came) != 0 {
		t.Errorf("requested %s", <-came)
	}
}

func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, 200, `{"access_token":"hunter2"}`)
	got, err := c.Token(t.Context(), "con_1", "", 0)
	if err != nil || got.AccessToken.Reveal() != "hunter2" {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %+v", got, got, got, c); strings.Contains(text, "hunter2") || strings.Contains(text, key.Reveal()) {
		t.Errorf("printed: %s", text)
	}
}
