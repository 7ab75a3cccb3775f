package signin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
)

// ttl is how long a person has to sign in.
const ttl = 10 * time.Minute

type oneTenant struct{ flow.SignIn }

func (o oneTenant) Tenant(context.Context, string) (flow.Tenant, error) {
	return flow.Tenant{SignIn: o.SignIn}, nil
}

// TestAttemptExpires in ten minutes, to the moment.
func TestAttemptExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fake.New()
		tenants := oneTenant{flow.SignIn{Method: flow.LoginURL, LoginURL: "https://app.example/login"}}
		s := &signin.Starter{Store: store, Tenants: tenants, Sessions: &flow.Starter{Store: store, Tenants: tenants, Now: time.Now}, BaseURL: "https://l.example", Now: time.Now}
		for _, wait := range []time.Duration{ttl - 1, ttl} {
			to, err := s.Begin(t.Context(), flow.DefaultTenant, "browser", "/mcp/servers")
			if err != nil {
				t.Fatal(err)
			}
			_, id, _ := strings.Cut(to, "flow_id=")
			if _, _, err := s.Confirm(t.Context(), flow.DefaultTenant, id, "ada", "proof"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait) // of the bubble's clock
			signed, err := s.Continue(t.Context(), id, "browser", "proof")
			if wait < ttl && (err != nil || !signed.Session.Proven || !signed.Session.ExpiresAt.Equal(time.Now().Add(12*time.Hour))) || wait == ttl && !errors.Is(err, signin.ErrExpired) {
				t.Errorf("after %v: %+v, %v", wait, signed.Session, err)
			}
		}
		if _, err := s.Begin(t.Context(), flow.DefaultTenant, "", "/mcp/servers"); !errors.Is(err, signin.ErrBrowser) {
			t.Errorf("bound to no browser: %v", err)
		}
	})
}
