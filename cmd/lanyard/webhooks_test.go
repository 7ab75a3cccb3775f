package main

import (
	"context"
	"errors"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lanyardhq/lanyard/internal/notify"
)

// webhook TENANT URL FILE...: the tenant's endpoint is at the URL and signs with
// the secrets that the files hold; with "!" the tenant has none.
func webhookCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg != (len(args) == 1) || !neg && len(args) < 3 {
		ts.Fatalf("usage: webhook TENANT URL FILE...")
	}
	got, err := deploymentOf(ts).webhooks().Endpoint(context.Background(), args[0])
	if neg {
		if !errors.Is(err, notify.ErrNoEndpoint) {
			ts.Fatalf("the endpoint is at %s, %v", got.URL, err)
		}
		return
	}
	ts.Check(err)
	if got.URL != args[1] || len(got.Secrets) != len(args)-2 {
		ts.Fatalf("the endpoint is at %s, with %d secrets", got.URL, len(got.Secrets))
	}
	for i, file := range args[2:] {
		if got.Secrets[i].Reveal() != strings.TrimSpace(ts.ReadFile(file)) {
			ts.Fatalf("secret %d is another one", i)
		}
	}
}
