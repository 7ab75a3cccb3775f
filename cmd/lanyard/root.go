package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/token"
)

const defaultURL = "http://127.0.0.1:8080"

// cli is what all commands share.
type cli struct {
	getenv func(string) string
	// url, key and json are the flags.
	url, key string
	json     bool
	// started is set once the command line was understood.
	started bool
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lanyard",
		Short: "One-click OAuth for MCP servers",
		Long: `One-click OAuth for MCP servers.

"lanyard dev" serves Lanyard on this machine. The other commands call a Lanyard
that runs: on this machine, or the deployment that --url names. Those of an
operator (client, keys, tenants, vault, webhooks set) act on a deployment in an AWS
account.

Exit codes:
  0  it worked
  1  it failed, or there are findings
  2  the command line is wrong
  3  the server, or AWS, cannot be reached
  4  not authorised: no API key or AWS credentials, or not good ones
  5  not found`,
		Example: `  lanyard dev
  lanyard link --user alice --server google-drive
  lanyard servers --user alice
  GOOGLE_TOKEN=$(lanyard connections token con_1234)`,
		// report prints errors, and says how to get help instead of giving it.
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(*cobra.Command, []string) { c.started = true },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.url, "url", "", "the `URL` of Lanyard (LANYARD_URL, else "+defaultURL+")")
	flags.StringVar(&c.key, "key", "", "the API `key`; others on this machine can see a command line, so LANYARD_API_KEY is better\n"+
		"(without either, for a server on loopback: the file api-key in LANYARD_DATA, else in ./.lanyard)")
	flags.BoolVar(&c.json, "json", false, "print JSON: the API's own, for what comes from the API")
	root.AddCommand(devCommand(), c.linkCommand(), c.serversCommand(), c.connectionsCommand(), c.presetsCommand(), c.providersCommand(),
		c.oauthClientsCommand(), c.clientCommand(), c.keysCommand(), c.tenantsCommand(), c.vaultCommand(), c.drillCommand(), c.webhooksCommand(), bridgeCommand(), c.versionCommand(), taskCommand(), sandboxCommand(), demoServerCommand(), redditServerCommand(), spotifyServerCommand())
	plainArguments(root)
	return root
}

// errNoKey: there is no API key to show.
var errNoKey = errors.New("there is no API key")

// client returns a client of the server that the flags and the environment name.
func (c *cli) client() (*client.Client, error) {
	base := firstOf(c.url, c.getenv("LANYARD_URL"), defaultURL)
	if err := client.CheckURL(base); err != nil {
		return nil, usageError{err}
	}
	key := token.Secret(firstOf(c.key, c.getenv("LANYARD_API_KEY")))
	if key == "" {
		var err error
		if key, err = c.keyFile(base); err != nil {
			return nil, err
		}
	}
	api, err := client.New(base, key)
	if errors.Is(err, client.ErrKey) {
		return nil, usageError{err}
	}
	return api, err
}

// keyFile reads the API key that a server on this machine keeps. It is shown
// to no other server: that one would learn the key of this.
func (c *cli) keyFile(base string) (token.Secret, error) {
	if u, err := url.Parse(base); err != nil || !config.Loopback(u.Hostname()) {
		return "", fmt.Errorf("%w for a server on another machine", errNoKey)
	}
	path := filepath.Join(firstOf(c.getenv("LANYARD_DATA"), ".lanyard"), "api-key")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s does not exist", errNoKey, path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoKey, err)
	}
	return token.Secret(strings.TrimSpace(string(data))), nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return ""
}
