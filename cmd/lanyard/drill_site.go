package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/token"
)

// drillSecret is the environment variable of the client's secret at a provider
// that "drill serve" serves. A flag could be seen by others on the machine.
const drillSecret = "LANYARD_DRILL_SECRET"

const drillHelp = `

It is the demo provider of the "lanyard dev" whose data lie in LANYARD_DATA
(./.lanyard), or else the one that --provider names, which "lanyard drill serve"
serves: then ` + drillSecret + ` has to hold the secret of its client.`

// drillPlace names a demo provider.
type drillPlace struct{ provider, clientID string }

func (p *drillPlace) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.provider, "provider", "", "the `URL` of a provider that \"lanyard drill serve\" serves")
	cmd.Flags().StringVar(&p.clientID, "client-id", "lanyard", "the `id` of its client")
}

// drillSite is a demo provider and what opens its drills.
type drillSite struct {
	base, clientID string
	secret         token.Secret
}

func (c *cli) drillSite(at drillPlace) (drillSite, error) {
	if at.provider == "" {
		return c.drillAtHome()
	}
	s := drillSite{strings.TrimSuffix(at.provider, "/"), at.clientID, token.Secret(c.getenv(drillSecret))}
	if err := client.CheckURL(s.base); err != nil {
		return s, usagef("--provider: %w", err)
	}
	if s.secret == "" {
		return s, drillError{errors.New("there is no secret to sign in with"),
			"Set " + drillSecret + " to the secret of the provider's client.", exitUnauthorised}
	}
	return s, nil
}

// drillAtHome finds the demo provider of this machine.
func (c *cli) drillAtHome() (drillSite, error) {
	dir := firstOf(c.getenv("LANYARD_DATA"), ".lanyard")
	address, err := os.ReadFile(filepath.Join(dir, demoURLFile))
	if errors.Is(err, fs.ErrNotExist) {
		return drillSite{}, drillError{fmt.Errorf("no demo provider runs with the data directory %s", dir),
			"Start it with \"lanyard dev\" (and LANYARD_DEMO_ADDR not off), name its directory with LANYARD_DATA, or name another provider with --provider.", exitUnreachable}
	}
	if err != nil {
		return drillSite{}, err
	}
	keys, err := local.OpenKeys(filepath.Join(dir, "vault-key"))
	if err != nil {
		return drillSite{}, err
	}
	s := drillSite{base: strings.TrimSpace(string(address))}
	home := demoClient(keys)
	s.clientID, s.secret = home.ID, home.Secret
	return s, client.CheckURL(s.base)
}

// ask sends one request about the provider's drill.
func (s drillSite) ask(ctx context.Context, method string, body any) (status demo.DrillStatus, answer []byte, err error) {
	var sent []byte
	if body != nil {
		if sent, err = json.Marshal(body); err != nil {
			return status, nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.base+"/drill", bytes.NewReader(sent))
	if err != nil {
		return status, nil, err
	}
	r.SetBasicAuth(url.QueryEscape(s.clientID), url.QueryEscape(s.secret.Reveal())) // RFC 6749 §2.3.1
	r.Header.Set("Content-Type", "application/json")
	asker := http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := asker.Do(r)
	if err != nil {
		return status, nil, drillError{fmt.Errorf("no answer from %s: %w", s.base, err), "Is it still running? \"lanyard dev\" and \"lanyard drill serve\" start one.", exitUnreachable}
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err != nil {
		return status, nil, drillError{fmt.Errorf("no answer from %s: %w", s.base, err), "", exitUnreachable}
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return status, nil, drillError{fmt.Errorf("%s refuses the client %q or its secret", s.base, s.clientID),
			"The id and the secret are those that \"lanyard drill serve\" was started with: --client-id and " + drillSecret + ".", exitUnauthorised}
	case resp.StatusCode == http.StatusBadRequest:
		var refused struct {
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(answer, &refused)
		return status, nil, fmt.Errorf("the provider refuses the drill: %s", refused.Description)
	case resp.StatusCode != http.StatusOK || json.Unmarshal(answer, &status) != nil:
		return status, nil, drillError{fmt.Errorf("%s is not a demo provider: it answered with status %d", s.base, resp.StatusCode),
			"Another program may listen there.", exitFailed}
	}
	return status, answer, nil
}
