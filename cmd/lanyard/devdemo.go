package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

// startDemo makes the demo provider and its client. Its port follows ours, so
// that it is the same at every start unless somebody else has it.
func (m *machine) startDemo(keys *local.KeyFile, deployment map[string]string) (*config.Clients, error) {
	none := m.cfg.Clients(nil)
	if m.cfg.DemoAddr == "off" {
		return none, nil
	}
	ln, err := m.listenDemo()
	if err != nil {
		return none, fmt.Errorf("listen for the demo provider: %w: set LANYARD_DEMO_ADDR to a free address, or to off", err)
	}
	base := "http://" + ln.Addr().String()
	client := demoClient(keys)
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
	return m.cfg.Clients(map[string]provider.Client{demo.ProviderID: client}), nil
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
