package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Current implements [flow.Clients].
func (o *operator) Current(context.Context, string, string) (provider.Client, error) {
	if o.client.ID == "" {
		return provider.Client{}, flow.ErrNoClient
	}
	client := o.client
	client.Secret = ""
	return client, nil
}

// Client implements [flow.Secrets].
func (o *operator) Client(context.Context, string, string, string) (provider.Client, error) {
	if o.client.ID == "" {
		return provider.Client{}, flow.ErrNoClient
	}
	return o.client, nil
}

// Tenant implements [flow.Tenants].
func (*operator) Tenant(context.Context, string) (flow.Tenant, error) { return flow.Tenant{}, nil }

// register does by hand what the error asks for, where the issuer has an endpoint
// for it: it makes a client with a secret, which nobody else may hold.
func (o *operator) register(ctx context.Context, s *flow.Starter, cause error) error {
	tested, _ := s.Catalogue.Server(server)
	found, _ := s.Find(ctx, flow.DefaultTenant, tested, nil, nil)
	if found.Issuer == "" {
		return cause
	}
	var metadata struct {
		Endpoint string   `json:"registration_endpoint"`
		Methods  []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := exchange(ctx, http.MethodGet, found.Issuer+"/.well-known/oauth-authorization-server", nil, &metadata); err != nil || metadata.Endpoint == "" || len(metadata.Methods) == 0 {
		return cause
	}
	body, err := json.Marshal(map[string]any{"client_name": "Lanyard, by its operator", "redirect_uris": []string{flow.RedirectURI(baseURL, nil)},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"token_endpoint_auth_method": metadata.Methods[0], "application_type": "native"})
	if err != nil {
		return err
	}
	var made struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := exchange(ctx, http.MethodPost, metadata.Endpoint, body, &made); err != nil {
		return err
	}
	o.client = provider.Client{ID: made.ID, Secret: token.Secret(made.Secret), Variant: found.Issuer}
	return nil
}

func exchange(ctx context.Context, method, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		return fmt.Errorf("the operator was answered %d", resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
