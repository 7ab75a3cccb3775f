package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/presets"
)

// Settings are what a deployment may choose; settings.yaml says what each means.
type Settings struct {
	Name                string         `yaml:"name"`
	Domain              string         `yaml:"domain"`
	Certificate         string         `yaml:"certificate"`
	Presets             []string       `yaml:"presets"`
	Servers             []string       `yaml:"servers"`
	OAuthRedirects      []string       `yaml:"oauth_redirects"`
	VaultStore          string         `yaml:"vault_store"`
	Table               string         `yaml:"table"`
	StartOn             string         `yaml:"start_on"`
	IdleStop            string         `yaml:"idle_stop"`
	MaxLife             string         `yaml:"max_life"`
	WarmPool            map[string]int `yaml:"warm_pool"`
	LogRetentionDays    int            `yaml:"log_retention_days"`
	AuditDays           int            `yaml:"audit_days"`
	KeepFresh           string         `yaml:"keep_fresh"`
	AlarmEmail          string         `yaml:"alarm_email"`
	WAF                 bool           `yaml:"waf"`
	Throttle            Throttle       `yaml:"throttle"`
	ReservedConcurrency map[string]int `yaml:"reserved_concurrency"`

	// enabled are the presets of Servers that run in tasks, remotes the names of
	// those that run elsewhere.
	enabled []presets.Server
	remotes []string
	// offered are all of them.
	offered []presets.Server
}

// Throttle bounds the requests of the whole API.
type Throttle struct {
	// Rate is in requests a second, Burst in requests.
	Rate  int `yaml:"rate"`
	Burst int `yaml:"burst"`
}

// errSettings: a setting cannot be used. The text is one line that names it.
var errSettings = errors.New("settings not usable")

// defaults are the values of settings.yaml as it is shipped.
func defaults() Settings {
	return Settings{
		Name: "lanyard", VaultStore: config.StoreSecretsManager, StartOn: config.StartOnList, IdleStop: "10m", MaxLife: "12h", LogRetentionDays: 30, AuditDays: 400, KeepFresh: "168h",
		WarmPool: map[string]int{}, Throttle: Throttle{Rate: 100, Burst: 200},
		ReservedConcurrency: map[string]int{connect: 20, callback: 20, refresh: 30, mcprun: 100, mcpremote: 30, authorizer: 30},
	}
}

// LoadSettings reads a settings file, and the presets that it names.
func LoadSettings(file string) (Settings, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Settings{}, fmt.Errorf("%w: %w", errSettings, err)
	}
	s, bad := decode(data)
	if bad == nil {
		bad = s.check(filepath.Dir(file))
	}
	if bad != nil {
		return s, fmt.Errorf("%w: %s:%d: %s", errSettings, file, max(1, bad.line(data)), bad.text)
	}
	return s, nil
}

// problem is what is wrong with a setting.
type problem struct {
	// at is the line, 0 where key tells it.
	at   int
	key  string
	text string
}

func badf(key, format string, args ...any) *problem {
	return &problem{key: key, text: key + " " + fmt.Sprintf(format, args...)}
}

// line is where the problem is: of the key, if it is in the file.
func (p *problem) line(data []byte) int {
	if p.at != 0 || p.key == "" {
		return p.at
	}
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, p.key+":") {
			return i + 1
		}
	}
	return 1
}

// decode reads the file strictly. What is left out keeps its default.
func decode(data []byte) (Settings, *problem) {
	s := defaults()
	err := yaml.UnmarshalWithOptions(data, &s, yaml.Strict())
	var placed yaml.Error
	switch {
	case errors.As(err, &placed):
		line := 0
		if t := placed.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
		return s, &problem{at: line, text: firstLine(placed.GetMessage())}
	case err != nil:
		return s, &problem{text: firstLine(err.Error())}
	case reflect.ValueOf(s).IsZero(): // nothing but comments
		return defaults(), nil
	}
	return s, nil
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

var (
	validName        = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)
	validDomain      = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$`)
	validCertificate = regexp.MustCompile(`^arn:aws:acm:us-east-1:\d{12}:certificate/[0-9a-f-]+$`)
	validEmail       = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
	validTable       = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)
	retentionDays    = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)

// check judges the values and loads the presets; dir is the settings file's.
func (s *Settings) check(dir string) *problem {
	keep, keepErr := time.ParseDuration(s.KeepFresh)
	life, lifeErr := time.ParseDuration(s.MaxLife)
	switch idle, err := time.ParseDuration(s.IdleStop); {
	case !validName.MatchString(s.Name):
		return badf("name", "must be 1 to 20 lower-case letters, digits and hyphens, and begin with a letter")
	case (s.Domain == "") != (s.Certificate == ""):
		return badf("domain", "and certificate belong together: give both or none")
	case s.Domain != "" && !validDomain.MatchString(s.Domain):
		return badf("domain", "must be a host name alone, such as connect.example.com")
	case s.Certificate != "" && !validCertificate.MatchString(s.Certificate):
		return badf("certificate", "must be the ARN of a certificate in us-east-1, where CloudFront looks for it: arn:aws:acm:us-east-1:…")
	case s.VaultStore != config.StoreSecretsManager && s.VaultStore != config.StoreDynamoDB:
		return badf("vault_store", "must be %s or %s", config.StoreSecretsManager, config.StoreDynamoDB)
	case s.Table != "" && !validTable.MatchString(s.Table):
		return badf("table", "must be the name of a DynamoDB table")
	case s.StartOn != config.StartOnList && s.StartOn != config.StartOnCall:
		return badf("start_on", "must be %s or %s", config.StartOnList, config.StartOnCall)
	case err != nil || idle < time.Minute:
		return badf("idle_stop", "must be a duration of a minute or more, such as 10m")
	case lifeErr != nil || life < time.Hour || life > 14*24*time.Hour:
		return badf("max_life", "must be a duration from an hour to two weeks, such as 12h")
	case !slices.Contains(retentionDays, s.LogRetentionDays):
		return badf("log_retention_days", "must be one of the numbers that CloudWatch has: %s", strings.Trim(fmt.Sprint(retentionDays), "[]"))
	case keepErr != nil || keep < time.Minute || keep > 366*24*time.Hour:
		return badf("keep_fresh", "must be a duration from a minute to a year, such as 168h")
	case s.AuditDays < 1 || s.AuditDays > 3660:
		return badf("audit_days", "must be a number of days from 1 to 3660")
	case s.AlarmEmail != "" && !validEmail.MatchString(s.AlarmEmail):
		return badf("alarm_email", "must be an address, such as ops@example.com")
	case s.Throttle.Rate < 1 || s.Throttle.Burst < 1:
		return badf("throttle", "needs a rate and a burst of 1 or more")
	}
	for _, raw := range s.OAuthRedirects {
		if err := config.CheckOAuthRedirect(raw); err != nil {
			return badf("oauth_redirects", "cannot be used: %s", err)
		}
	}
	for name, n := range s.ReservedConcurrency {
		if !slices.Contains(functionNames, name) || n < 0 {
			return badf("reserved_concurrency", "holds a number, 0 or more, for any of %s; not %s: %d", strings.Join(functionNames, ", "), name, n)
		}
	}
	return s.loadServers(dir)
}

// loadServers finds the presets of the servers that are offered.
func (s *Settings) loadServers(dir string) *problem {
	for i, p := range s.Presets {
		if !filepath.IsAbs(p) {
			s.Presets[i] = filepath.Join(dir, p)
		}
		if info, err := os.Stat(s.Presets[i]); err != nil || !info.IsDir() {
			return badf("presets", "names %s, which is no directory", p)
		}
	}
	catalogue, err := presets.Load(s.Presets)
	if err != nil {
		return badf("presets", "has findings, which `lanyard presets lint` lists: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	if len(s.Servers) == 0 {
		for _, server := range catalogue.Servers() {
			if server.Server.Packaged() || server.Remote() || server.Own() {
				s.Servers = append(s.Servers, server.Name)
			}
		}
	}
	for i, name := range s.Servers {
		server, ok := catalogue.Server(name)
		switch {
		case !ok:
			return badf("servers", "names %q, of which there is no preset", name)
		case slices.Contains(s.Servers[:i], name):
			return badf("servers", "names %q twice", name)
		case server.Remote() && !strings.HasPrefix(server.Server.URL, "https://"):
			return badf("servers", "names %q, whose url is on somebody's own machine", name)
		case server.Remote():
			s.remotes = append(s.remotes, name)
		case !server.Server.Packaged() && !server.Own():
			return badf("servers", "names %q, which comes from registry %s: only what npm or pip installs, and servers of our own, can be put into a task's image", name, server.Server.Registry)
		default:
			s.enabled = append(s.enabled, server)
		}
		s.offered = append(s.offered, server)
	}
	for name, n := range s.WarmPool {
		if !slices.Contains(s.Servers, name) || slices.Contains(s.remotes, name) || n < 0 || n > config.MaxWarm {
			return badf("warm_pool", "holds a number from 0 to %d for servers that are offered and run in tasks; not %s: %d", config.MaxWarm, name, n)
		}
	}
	if len(s.Servers) == 0 {
		return badf("servers", "leaves none to offer")
	}
	return nil
}
