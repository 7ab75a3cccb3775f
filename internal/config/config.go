// Package config reads the settings, once, at the start.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Config is every setting of a server on one machine. Each is an environment
// variable, which a file .env in the working directory may set.
type Config struct {
	// Addr is LANYARD_ADDR, where to listen: 127.0.0.1:8080.
	Addr string
	// DemoAddr is LANYARD_DEMO_ADDR, where the demo provider listens: the port
	// after Addr's, or any free one if that is taken. "off" leaves it out.
	DemoAddr string
	// DataDir is LANYARD_DATA, where everything is kept: ./.lanyard.
	DataDir string
	// BaseURL is LANYARD_BASE_URL, the public URL: http://Addr.
	BaseURL string
	// APIKey is LANYARD_API_KEY; empty: the one in DataDir/api-key.
	APIKey token.Secret
	// Presets is LANYARD_PRESETS, overlay directories separated by ":".
	Presets []string
	// ReturnURLs is LANYARD_RETURN_URLS, where people may be sent back to,
	// separated by spaces. An entry that ends in a slash is a prefix.
	ReturnURLs []string
	// Confirm is LANYARD_CONFIRM (on, off): connections that began from a link
	// or the API wait for the tenant's confirmation. On, unless the base URL is
	// loopback: links to a public one can be mailed to anybody.
	Confirm bool
	// SignIn is how people sign in: LANYARD_SIGN_IN (local, link, oidc or
	// login_url), with LANYARD_OIDC_ISSUER, LANYARD_OIDC_DOMAINS and
	// LANYARD_OIDC_SUBJECTS (separated by commas), LANYARD_OIDC_ANYBODY (on, off),
	// LANYARD_OIDC_USER (sub, email) and LANYARD_LOGIN_URL. By themselves: local
	// where the pages are this machine's alone, else link.
	SignIn flow.SignIn
	// OAuthRedirects is LANYARD_OAUTH_REDIRECTS: redirect URIs with a scheme of
	// their own that MCP clients may have beside those that are known, separated
	// by spaces.
	OAuthRedirects []string
	// ServerEnv is LANYARD_SERVER_ENV: names of variables, separated by
	// commas, that MCP servers get from our own environment, such as
	// HTTPS_PROXY and NODE_EXTRA_CA_CERTS.
	ServerEnv map[string]string
	// ServerRead is LANYARD_SERVER_READ: files and directories, separated by
	// ":", that MCP servers may read beside their own.
	ServerRead []string
	// IdleStop is LANYARD_IDLE_STOP: how long a server runs without a call.
	IdleStop time.Duration
	// MaxLife is LANYARD_MAX_LIFE: how long it runs however many there are.
	MaxLife time.Duration
	// StartOn is LANYARD_START_ON, what starts a server: [StartOnList] or
	// [StartOnCall].
	StartOn string
	// KeepFresh is LANYARD_KEEP_FRESH: for how long after its last use a
	// connection's tokens are renewed before they expire, 168h. Afterwards
	// they are renewed when somebody uses them, and the refresh token is kept
	// alive all the same.
	KeepFresh time.Duration
	// WebhookURL is LANYARD_WEBHOOK_URL, where to tell of changes in
	// connections' health; empty: nowhere. Plain http is for loopback alone.
	WebhookURL string
	// WebhookSecret is LANYARD_WEBHOOK_SECRET, which signs what is sent there;
	// empty: the one in DataDir/webhook-secret.
	WebhookSecret token.Secret
	// WebhookReturnURL is LANYARD_WEBHOOK_RETURN_URL, where a person is sent
	// after reconnecting by the link in a webhook. It must be one of ReturnURLs.
	WebhookReturnURL string

	getenv func(string) string
	// unfinished says what clients lack that count as not there, by their names in
	// the environment: GOOGLE.
	unfinished map[string]string
}

// ErrInvalid: a setting cannot be used; the text names it.
var ErrInvalid = errors.New("setting not usable")

// Load reads the settings from the environment.
func Load(getenv func(string) string) (Config, error) {
	or := func(name, otherwise string) string {
		if v := strings.TrimSpace(getenv(name)); v != "" {
			return v
		}
		return otherwise
	}
	c := Config{
		Addr: or("LANYARD_ADDR", "127.0.0.1:8080"), DataDir: or("LANYARD_DATA", ".lanyard"),
		APIKey: token.Secret(or("LANYARD_API_KEY", "")), Presets: split(getenv("LANYARD_PRESETS"), ":"),
		ReturnURLs: strings.Fields(getenv("LANYARD_RETURN_URLS")), ServerRead: split(getenv("LANYARD_SERVER_READ"), ":"),
		WebhookURL: or("LANYARD_WEBHOOK_URL", ""), WebhookSecret: token.Secret(or("LANYARD_WEBHOOK_SECRET", "")),
		WebhookReturnURL: or("LANYARD_WEBHOOK_RETURN_URL", ""), ServerEnv: map[string]string{}, getenv: getenv,
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		return c, fmt.Errorf("%w: LANYARD_ADDR must be HOST:PORT, such as 127.0.0.1:8080", ErrInvalid)
	}
	if host == "" {
		return c, fmt.Errorf("%w: LANYARD_ADDR must name the address to listen on: 127.0.0.1:%s is this machine alone", ErrInvalid, port)
	}
	c.BaseURL = strings.TrimSuffix(or("LANYARD_BASE_URL", "http://"+c.Addr), "/")
	if err := checkBaseURL(c.BaseURL); err != nil {
		return c, err
	}
	c.DemoAddr = or("LANYARD_DEMO_ADDR", "")
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return c, fmt.Errorf("%w: LANYARD_DATA: %w", ErrInvalid, err)
	}
	switch or("LANYARD_CONFIRM", "") {
	case "on":
		c.Confirm = true
	case "off":
	case "":
		c.Confirm = !c.Personal()
	default:
		return c, fmt.Errorf("%w: LANYARD_CONFIRM must be on or off", ErrInvalid)
	}
	for _, raw := range c.ReturnURLs {
		if err := CheckReturnURL(raw); err != nil {
			return c, fmt.Errorf("%w: LANYARD_RETURN_URLS: %w", ErrInvalid, err)
		}
	}
	if c.SignIn, err = c.signIn(or); err != nil {
		return c, err
	}
	if c.OAuthRedirects, err = oauthRedirects(getenv("LANYARD_OAUTH_REDIRECTS")); err != nil {
		return c, err
	}
	for _, name := range split(getenv("LANYARD_SERVER_ENV"), ",") {
		if v := getenv(name); v != "" {
			c.ServerEnv[name] = v
		}
	}
	if c.KeepFresh, err = keepFresh(or("LANYARD_KEEP_FRESH", defaultKeepFresh)); err != nil {
		return c, err
	}
	if c.MaxLife, err = maxLife(or("LANYARD_MAX_LIFE", defaultMaxLife)); err != nil {
		return c, err
	}
	if c.StartOn, err = startOn(or("LANYARD_START_ON", StartOnList)); err != nil {
		return c, err
	}
	if c.IdleStop, err = time.ParseDuration(or("LANYARD_IDLE_STOP", "10m")); err != nil || c.IdleStop < time.Second {
		return c, fmt.Errorf("%w: LANYARD_IDLE_STOP must be a duration of a second or more, such as 10m", ErrInvalid)
	}
	return c, nil
}

// What starts a server, which is answered for until it runs.
const (
	// StartOnList: a client that begins or asks what there is, so that the server
	// runs when its first call comes.
	StartOnList = "list"
	// StartOnCall: what needs the server, and nothing else.
	StartOnCall = "call"
)

func startOn(text string) (string, error) {
	if text != StartOnList && text != StartOnCall {
		return "", fmt.Errorf("%w: LANYARD_START_ON must be %s or %s", ErrInvalid, StartOnList, StartOnCall)
	}
	return text, nil
}

const defaultKeepFresh = "168h"

func keepFresh(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Minute || d > 366*24*time.Hour {
		return 0, fmt.Errorf("%w: LANYARD_KEEP_FRESH must be a duration from a minute to a year, such as 168h", ErrInvalid)
	}
	return d, nil
}

const defaultMaxLife = "12h"

func maxLife(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 14*24*time.Hour {
		return 0, fmt.Errorf("%w: LANYARD_MAX_LIFE must be a duration up to two weeks, such as 12h", ErrInvalid)
	}
	return d, nil
}

// CheckReturnURL reports an entry of a tenant's list of return URLs that could
// match none.
func CheckReturnURL(raw string) error {
	if u, err := url.Parse(raw); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is not an http(s) URL", raw)
	}
	return nil
}

func checkBaseURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "":
		return fmt.Errorf("%w: LANYARD_BASE_URL must be a scheme and a host, such as https://connect.example.com", ErrInvalid)
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return fmt.Errorf("%w: LANYARD_BASE_URL must be https, except on loopback", ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: LANYARD_BASE_URL must be https", ErrInvalid)
	}
	return nil
}

// Loopback reports whether a host name is this machine alone.
func Loopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Personal reports whether both the listener and the base URL are loopback, so
// that whoever opens the page sits at this machine.
func (c Config) Personal() bool {
	host, _, _ := net.SplitHostPort(c.Addr)
	u, err := url.Parse(c.BaseURL)
	return err == nil && Loopback(host) && Loopback(u.Hostname())
}

func split(s, sep string) []string {
	var out []string
	for _, part := range strings.Split(s, sep) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
