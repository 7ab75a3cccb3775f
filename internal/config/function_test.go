package config_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
)

func TestFunctionDefaults(t *testing.T) {
	t.Parallel()
	f, err := config.LoadFunction(environment("LANYARD_BASE_URL", "https://d1.cloudfront.net/", "LANYARD_TABLE", "lanyard"))
	if err != nil {
		t.Fatal(err)
	}
	if f.BaseURL != "https://d1.cloudfront.net" || f.VaultStore != config.StoreSecretsManager || f.Secrets != "lanyard" || f.AuditDays != 400 ||
		f.StartOn != config.StartOnList || f.IdleStop != 10*time.Minute || f.MaxLife != 12*time.Hour || f.KeepFresh != 7*24*time.Hour || f.ServerDir != "/opt/lanyard/servers" || f.Emulated || len(f.Servers) != 0 || len(f.WarmPool) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestFunctionSettings(t *testing.T) {
	t.Parallel()
	f, err := config.LoadFunction(environment("LANYARD_BASE_URL", "https://connect.example.com", "LANYARD_TABLE", "t", "LANYARD_KMS_KEY", "arn", "LANYARD_VAULT_STORE", "dynamodb",
		"LANYARD_SECRETS", "acme", "LANYARD_PRESETS", "/var/task/presets", "LANYARD_SERVERS", "google-drive, slack,,", "LANYARD_AUDIT_DAYS", "30",
		"LANYARD_QUEUE_URL", "q", "LANYARD_REFRESH_FUNCTION", "r", "LANYARD_REMOTE_FUNCTION", "m", "LANYARD_CONTROL_URL", "c", "LANYARD_CLUSTER", "l", "LANYARD_SUBNETS", "s1,s2",
		"LANYARD_TASK_SECURITY_GROUP", "g", "LANYARD_TASK_FAMILY", "f", "LANYARD_SERVER_DIR", "/srv", "LANYARD_START_ON", "call", "LANYARD_IDLE_STOP", "5m", "LANYARD_MAX_LIFE", "3h", "LANYARD_KEEP_FRESH", "24h", "LANYARD_WARM_POOL", "google-drive=1, slack=2"))
	if err != nil {
		t.Fatal(err)
	}
	if f.KMSKey != "arn" || f.VaultStore != config.StoreDynamoDB || f.Secrets != "acme" || !slices.Equal(f.Presets, []string{"/var/task/presets"}) ||
		!slices.Equal(f.Servers, []string{"google-drive", "slack"}) || f.AuditDays != 30 || f.QueueURL != "q" || f.RefreshFunction != "r" || f.RemoteFunction != "m" || f.ControlURL != "c" ||
		f.Cluster != "l" || !slices.Equal(f.Subnets, []string{"s1", "s2"}) || f.TaskSecurityGroup != "g" || f.TaskFamily != "f" || f.ServerDir != "/srv" || f.StartOn != config.StartOnCall || f.IdleStop != 5*time.Minute || f.MaxLife != 3*time.Hour || f.KeepFresh != 24*time.Hour ||
		len(f.WarmPool) != 2 || f.WarmPool["google-drive"] != 1 || f.WarmPool["slack"] != 2 {
		t.Errorf("%+v", f)
	}
}

// TestEmulated: providers on loopback are for emulators on this machine, and no
// setting of ours turns them on in an account.
func TestEmulated(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]bool{
		"": false, "https://dynamodb.eu-central-1.amazonaws.com": false, "http://127.0.0.1:5000": true, "http://localhost:5000": true, "http://[::1]:5000": true,
		"http://127.0.0.1.example.com": false, "http://169.254.169.254": false, "localhost": false, "%zz": false,
	} {
		f, err := config.LoadFunction(environment("LANYARD_BASE_URL", "https://d1.cloudfront.net", "LANYARD_TABLE", "t", "AWS_ENDPOINT_URL", endpoint))
		if err != nil || f.Emulated != want {
			t.Errorf("%q: emulated %v, %v", endpoint, f.Emulated, err)
		}
	}
}

// TestBadFunctionSettings: each stops the function at its start, by its name.
func TestBadFunctionSettings(t *testing.T) {
	t.Parallel()
	good := []string{"LANYARD_BASE_URL", "https://d1.cloudfront.net", "LANYARD_TABLE", "t"}
	for _, test := range []struct{ name, value string }{
		{"LANYARD_BASE_URL", ""}, {"LANYARD_BASE_URL", "http://d1.cloudfront.net"}, {"LANYARD_BASE_URL", "d1.cloudfront.net"}, {"LANYARD_BASE_URL", "https://d1.cloudfront.net/prod"},
		{"LANYARD_TABLE", " "}, {"LANYARD_VAULT_STORE", "s3"}, {"LANYARD_AUDIT_DAYS", "0"}, {"LANYARD_AUDIT_DAYS", "a year"}, {"LANYARD_AUDIT_DAYS", "99999"},
		{"LANYARD_START_ON", "never"}, {"LANYARD_IDLE_STOP", "10"}, {"LANYARD_IDLE_STOP", "0s"}, {"LANYARD_MAX_LIFE", "12"}, {"LANYARD_MAX_LIFE", "337h"}, {"LANYARD_KEEP_FRESH", "a week"}, {"LANYARD_KEEP_FRESH", "1s"}, {"LANYARD_KEEP_FRESH", "10000h"},
		{"LANYARD_WARM_POOL", "slack"}, {"LANYARD_WARM_POOL", "slack=-1"}, {"LANYARD_WARM_POOL", "slack=21"}, {"LANYARD_WARM_POOL", "slack=1,slack=2"}, {"LANYARD_WARM_POOL", "=1"}, {"LANYARD_WARM_POOL", "slack=one"},
	} {
		_, err := config.LoadFunction(environment(append([]string{test.name, test.value}, good...)...))
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.name) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s=%q: %v", test.name, test.value, err)
		}
	}
	f, err := config.LoadFunction(environment(good...))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Need("LANYARD_TABLE", "LANYARD_KMS_KEY", "LANYARD_QUEUE_URL"); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "LANYARD_KMS_KEY") {
		t.Errorf("a setting that is needed and missing: %v", err)
	}
}
