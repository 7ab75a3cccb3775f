package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// startDemo makes the demo provider and its client. Its port follows ours, so
// that it is the same at every start unless somebody else has it. Where another
// process works with the data directory, its provider serves both: two would not
// know each other's grants, and overwrite each other's file.
func (m *machine) startDemo(keys *local.KeyFile, catalogue *presets.Catalogue, deployment map[string]string) (*config.Clients, error) {
	clients := func(own map[string]provider.Client) *config.Clients {
		return m.cfg.Clients(func(id string) []string { return flow.ClientParameters(catalogue, id) }, own)
	}
	none := clients(nil)
	if m.cfg.DemoAddr == "off" {
		return none, nil
	}
	client := demoClient(keys)
	if base := m.otherDemo(client); base != "" {
		m.logger.Warn("another \"lanyard dev\" works with this data directory: the demo provider is the other one's, and is connected there; for one of its own, set LANYARD_DATA to another directory",
			"data", m.cfg.DataDir, "demo", base)
		deployment["base"], deployment["demo_base"] = base, base
		return clients(map[string]provider.Client{demo.ProviderID: client}), nil
	}
	ln, err := m.listenDemo()
	if err != nil {
		return none, fmt.Errorf("listen for the demo provider: %w: set LANYARD_DEMO_ADDR to a free address, or to off", err)
	}
	base := "http://" + ln.Addr().String()
	p, err := demo.New(demo.Config{BaseURL: base, ClientID: client.ID, ClientSecret: client.Secret.Reveal(),
		RedirectURIs: []string{m.cfg.BaseURL + flow.CallbackPath}, DataFile: filepath.Join(m.cfg.DataDir, "demo.json"), Logger: m.logger})
	if err != nil {
		ln.Close()
		return none, err
	}
	m.demoURLFile = filepath.Join(m.cfg.DataDir, demoURLFile)
	if err := os.WriteFile(m.demoURLFile, []byte(base+"\n"), 0o600); err != nil {
		ln.Close()
		return none, fmt.Errorf("note where the demo provider is: %w", err)
	}
	deployment["base"], deployment["demo_base"] = base, base
	m.demoListener, m.demo = ln, &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	return clients(map[string]provider.Client{demo.ProviderID: client}), nil
}

// askOther is how long a demo provider has to say that it runs.
const askOther = 2 * time.Second

// otherDemo is where the demo provider of another process runs with this data
// directory; "" if none does. One that was killed has left its address, at which
// nobody may listen now, or another program: it has to answer as a provider whose
// client is ours.
func (m *machine) otherDemo(client provider.Client) string {
	data, err := os.ReadFile(filepath.Join(m.cfg.DataDir, demoURLFile))
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), askOther)
	defer cancel()
	other := drillSite{strings.TrimSpace(string(data)), client.ID, client.Secret}
	if _, _, err := other.ask(ctx, http.MethodGet, nil); err != nil {
		return ""
	}
	return other.base
}

// demoURLFile says, in the data directory, where the demo provider is.
const demoURLFile = "demo-url"

// demoClient is the machine's client at the demo provider.
func demoClient(keys *local.KeyFile) provider.Client {
	return provider.Client{ID: "lanyard", Secret: token.Secret(hex.EncodeToString(keys.Derive("demo client")))}
}

func (m *machine) listenDemo() (net.Listener, error) {
	if m.cfg.DemoAddr != "" {
		return net.Listen("tcp", m.cfg.DemoAddr)
	}
	_, port, err := net.SplitHostPort(m.cfg.Addr)
	if n, convErr := strconv.Atoi(port); err == nil && convErr == nil && n > 0 && n < 65535 {
		if ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n+1))); err == nil {
			return ln, nil
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}
