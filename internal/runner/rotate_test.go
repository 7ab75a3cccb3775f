package runner

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// rotating runs the renewing loop of a file task by a fake clock.
func rotating(t *testing.T, lives time.Duration, next func(int, task.TokenRequest) (token.Access, error), check func(*run, *control)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newControl(task.Claim{Access: access("token-0", lives), Recipe: task.Recipe{
			Server: "drive", Rotation: task.RotateFile, OldTokenDies: true, Files: map[string]task.File{"f": {Template: "{{.access_token}}"}},
		}, ReconnectURL: "https://lanyard.test/mcp/connections/c1"})
		n := 0
		c.next = func(r task.TokenRequest) (token.Access, error) { n++; return next(n, r) }
		h, err := newHome(dir, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{log: slog.New(slog.DiscardHandler), claim: c.claim, home: h, cred: newCredentials(c, "t", c.claim),
			reports: make(chan task.Report, 16), hints: make(chan struct{}, 1), doubts: newDoubts()}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.rotate(ctx) }()
		check(r, c)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestRenewsInTime(t *testing.T) {
	t.Parallel()
	for lives, latest := range map[time.Duration]time.Duration{10 * time.Second: 2500 * time.Millisecond, time.Hour: 5 * time.Minute, 24 * time.Hour: 5 * time.Minute} {
		rotating(t, lives, func(_ int, r task.TokenRequest) (token.Access, error) {
			return access("token-"+time.Now().String(), lives), nil
		}, func(r *run, c *control) {
			time.Sleep(10 * lives)
			if n := len(c.requests()); n < 10 || n > 16 {
				t.Errorf("%s: renewed %d times in ten lives", lives, n)
			}
			// One second more than what is left, up to a fifth of jitter.
			for _, q := range c.requests() {
				if q.MinTTL < seconds(latest) || q.MinTTL > seconds(latest*6/5)+1 {
					t.Errorf("%s: asked for %d s", lives, q.MinTTL)
				}
			}
			if got, _ := os.ReadFile(r.home.path(".lanyard/f")); string(got) != r.cred.current().Tokens[""].AccessToken.Reveal() {
				t.Errorf("the file has %s", got)
			}
		})
	}
}

// Failures are retried ever more slowly, before the token ends and after.
func TestRetries(t *testing.T) {
	t.Parallel()
	rotating(t, time.Hour, func(n int, _ task.TokenRequest) (token.Access, error) {
		if n <= 8 {
			return token.Access{}, errors.New("away")
		}
		return access("token-1", time.Hour), nil
	}, func(r *run, c *control) {
		time.Sleep(56 * time.Minute)
		if n := len(c.requests()); n < 5 || n > 8 {
			t.Errorf("%d tries", n)
		}
		time.Sleep(10 * time.Minute)
		if got, _ := os.ReadFile(r.home.path(".lanyard/f")); string(got) != "token-1" || len(c.requests()) != 9 {
			t.Errorf("%s after %d tries", got, len(c.requests()))
		}
	})
}

// mcprun that keeps answering with the old token is not asked all the time.
func TestSameTokenIsNoRenewal(t *testing.T) {
	t.Parallel()
	old := access("token-0", time.Hour)
	rotating(t, time.Hour, func(int, task.TokenRequest) (token.Access, error) {
		old.Tokens[""] = token.Token{AccessToken: "token-0", ExpiresAt: time.Now().Add(time.Minute).Truncate(24 * time.Hour)}
		return old, nil
	}, func(_ *run, c *control) {
		time.Sleep(2 * time.Hour)
		if n := len(c.requests()); n > 120 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestReconnectIsReportedOnce(t *testing.T) {
	t.Parallel()
	rotating(t, time.Hour, func(n int, _ task.TokenRequest) (token.Access, error) {
		if n <= 5 {
			return token.Access{}, task.ErrReconnect
		}
		return access("token-1", time.Hour), nil
	}, func(r *run, _ *control) {
		time.Sleep(61 * time.Minute)
		if n := len(r.reports); n != 1 {
			t.Fatalf("%d reports", n)
		}
		if got := <-r.reports; got.State != task.Ready || got.Detail == "" {
			t.Errorf("%+v", got)
		}
		time.Sleep(30 * time.Minute)
		if got := <-r.reports; got.State != task.Ready || got.Detail != "" {
			t.Errorf("after the reconnect: %+v", got)
		}
	})
}

func TestHintsAreRateLimited(t *testing.T) {
	t.Parallel()
	rotating(t, 24*time.Hour, func(int, task.TokenRequest) (token.Access, error) {
		return token.Access{}, errors.New("away")
	}, func(r *run, c *control) {
		for range 120 {
			select {
			case r.hints <- struct{}{}:
			default:
			}
			time.Sleep(time.Second)
		}
		if n := len(c.requests()); n < 3 || n > 5 {
			t.Errorf("%d requests in two minutes of hints", n)
		}
	})
}
