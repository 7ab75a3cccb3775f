package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Vault stores: where a deployment puts new grants.
const (
	StoreSecretsManager = "secretsmanager"
	StoreDynamoDB       = "dynamodb"
)

// Function is every setting of a deployed function: environment variables that
// the deployment sets. None is a secret. Which of the optional ones a function
// needs, it says itself with [Function.Need].
type Function struct {
	// BaseURL is LANYARD_BASE_URL, the public URL: needed.
	BaseURL string
	// Table is LANYARD_TABLE, the DynamoDB table: needed.
	Table string
	// KMSKey is LANYARD_KMS_KEY, the key that wraps data keys.
	KMSKey string
	// VaultStore is LANYARD_VAULT_STORE: where new grants are put. Grants are
	// read from wherever their row says.
	VaultStore string
	// Secrets is LANYARD_SECRETS, what our names in Secrets Manager begin with:
	// lanyard.
	Secrets string
	// Presets is LANYARD_PRESETS, overlay directories separated by ":".
	Presets []string
	// Servers is LANYARD_SERVERS, the names of the servers that are offered,
	// separated by commas; none: all.
	Servers []string
	// OAuthRedirects is LANYARD_OAUTH_REDIRECTS: see [Config.OAuthRedirects].
	OAuthRedirects []string
	// AuditDays is LANYARD_AUDIT_DAYS: how many days audit lines are kept, 400.
	AuditDays int
	// KeepFresh is LANYARD_KEEP_FRESH: see [Config.KeepFresh].
	KeepFresh time.Duration
	// QueueURL is LANYARD_QUEUE_URL, the queue of connections that need
	// attention.
	QueueURL string
	// RefreshFunction is LANYARD_REFRESH_FUNCTION, whom mcprun asks for tokens.
	RefreshFunction string
	// RemoteFunction is LANYARD_REMOTE_FUNCTION, who reaches remote servers.
	RemoteFunction string
	// ControlURL is LANYARD_CONTROL_URL, what tasks call.
	ControlURL string
	// Cluster, Subnets, TaskSecurityGroup and TaskFamily are LANYARD_CLUSTER,
	// LANYARD_SUBNETS, LANYARD_TASK_SECURITY_GROUP and LANYARD_TASK_FAMILY:
	// where and as what tasks run. The task definition of a server is the
	// family, a hyphen and the server's name.
	Cluster           string
	Subnets           []string
	TaskSecurityGroup string
	TaskFamily        string
	// ServerDir is LANYARD_SERVER_DIR: where a task's image keeps the installed
	// packages, a directory for each server.
	ServerDir string
	// IdleStop is LANYARD_IDLE_STOP: how long a server runs without a call.
	IdleStop time.Duration
	// MaxLife is LANYARD_MAX_LIFE: how long it runs however many there are.
	MaxLife time.Duration
	// StartOn is LANYARD_START_ON: see [Config.StartOn].
	StartOn string
	// WarmPool is LANYARD_WARM_POOL, how many tasks of a server wait for
	// connections: google-drive=1,slack=2. Of those that are not named, none.
	WarmPool map[string]int
	// Emulated: AWS_ENDPOINT_URL is loopback, so that what answers is no AWS
	// but an emulator on this machine. Only then providers may be on loopback.
	Emulated bool

	getenv func(string) string
}

// LoadFunction reads the settings of a function from the environment.
func LoadFunction(getenv func(string) string) (Function, error) {
	get := func(name string) string { return strings.TrimSpace(getenv(name)) }
	or := func(name, otherwise string) string {
		if v := get(name); v != "" {
			return v
		}
		return otherwise
	}
	f := Function{
		BaseURL: strings.TrimSuffix(get("LANYARD_BASE_URL"), "/"), Table: get("LANYARD_TABLE"), KMSKey: get("LANYARD_KMS_KEY"),
		VaultStore: or("LANYARD_VAULT_STORE", StoreSecretsManager), Secrets: or("LANYARD_SECRETS", "lanyard"),
		Presets: split(get("LANYARD_PRESETS"), ":"), Servers: split(get("LANYARD_SERVERS"), ","),
		QueueURL: get("LANYARD_QUEUE_URL"), RefreshFunction: get("LANYARD_REFRESH_FUNCTION"), RemoteFunction: get("LANYARD_REMOTE_FUNCTION"), ControlURL: get("LANYARD_CONTROL_URL"),
		Cluster: get("LANYARD_CLUSTER"), Subnets: split(get("LANYARD_SUBNETS"), ","), TaskSecurityGroup: get("LANYARD_TASK_SECURITY_GROUP"),
		TaskFamily: get("LANYARD_TASK_FAMILY"), ServerDir: or("LANYARD_SERVER_DIR", "/opt/lanyard/servers"), getenv: getenv,
	}
	if err := f.Need("LANYARD_BASE_URL", "LANYARD_TABLE"); err != nil {
		return f, err
	}
	if err := checkBaseURL(f.BaseURL); err != nil {
		return f, err
	}
	if f.VaultStore != StoreSecretsManager && f.VaultStore != StoreDynamoDB {
		return f, fmt.Errorf("%w: LANYARD_VAULT_STORE must be %s or %s", ErrInvalid, StoreSecretsManager, StoreDynamoDB)
	}
	var err error
	if f.AuditDays, err = strconv.Atoi(or("LANYARD_AUDIT_DAYS", "400")); err != nil || f.AuditDays < 1 || f.AuditDays > 3660 {
		return f, fmt.Errorf("%w: LANYARD_AUDIT_DAYS must be a number of days from 1 to 3660", ErrInvalid)
	}
	if f.IdleStop, err = time.ParseDuration(or("LANYARD_IDLE_STOP", "10m")); err != nil || f.IdleStop < time.Second {
		return f, fmt.Errorf("%w: LANYARD_IDLE_STOP must be a duration of a second or more, such as 10m", ErrInvalid)
	}
	if f.MaxLife, err = maxLife(or("LANYARD_MAX_LIFE", defaultMaxLife)); err != nil {
		return f, err
	}
	if f.StartOn, err = startOn(or("LANYARD_START_ON", StartOnList)); err != nil {
		return f, err
	}
	if f.KeepFresh, err = keepFresh(or("LANYARD_KEEP_FRESH", defaultKeepFresh)); err != nil {
		return f, err
	}
	if f.OAuthRedirects, err = oauthRedirects(get("LANYARD_OAUTH_REDIRECTS")); err != nil {
		return f, err
	}
	if f.WarmPool, err = warmPool(get("LANYARD_WARM_POOL")); err != nil {
		return f, err
	}
	if u, err := url.Parse(get("AWS_ENDPOINT_URL")); err == nil {
		f.Emulated = u.Hostname() != "" && Loopback(u.Hostname())
	}
	return f, nil
}

// MaxWarm bounds the tasks of one server that wait: each costs money all day.
const MaxWarm = 20

func warmPool(text string) (map[string]int, error) {
	out := map[string]int{}
	for _, part := range split(text, ",") {
		server, count, _ := strings.Cut(part, "=")
		n, err := strconv.Atoi(count)
		if _, twice := out[server]; err != nil || n < 0 || n > MaxWarm || server == "" || twice {
			return nil, fmt.Errorf("%w: LANYARD_WARM_POOL must be servers, each once, with a number from 0 to %d, such as google-drive=1,slack=2", ErrInvalid, MaxWarm)
		}
		out[server] = n
	}
	return out, nil
}

// Need reports the first of the named settings that is empty.
func (f Function) Need(names ...string) error {
	for _, name := range names {
		if strings.TrimSpace(f.getenv(name)) == "" {
			return fmt.Errorf("%w: %s is not set; the deployment sets it: deploy again", ErrInvalid, name)
		}
	}
	return nil
}
