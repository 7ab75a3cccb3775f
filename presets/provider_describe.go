package presets

import (
	"fmt"
	"strings"
)

// RedirectRule says in some words which redirect URIs the provider takes.
func (p Provider) RedirectRule() string {
	rule := "https, or http on loopback"
	switch {
	case p.RedirectURI.HTTPSOnly || p.RedirectURI.Loopback == LoopbackNone:
		rule = "https only"
	case p.RedirectURI.Loopback == LoopbackIP:
		rule = "https, or http on 127.0.0.1"
	}
	if p.RedirectURI.Single {
		rule += "; one for a client"
	}
	return rule
}

// ScopeRule says which scopes are asked for beside those of a server, or that
// none can be.
func (p Provider) ScopeRule() string {
	if p.Scope.Param == "none" {
		return "set at the provider"
	}
	var parts []string
	if len(p.Scope.Offline) > 0 {
		parts = append(parts, "always "+strings.Join(p.Scope.Offline, ", "))
	}
	if len(p.Scope.Default) > 0 {
		parts = append(parts, "otherwise "+strings.Join(p.Scope.Default, ", "))
	}
	return strings.Join(parts, "; ")
}

// RenewalRule says how access tokens are renewed, and what becomes of the
// refresh token.
func (p Provider) RenewalRule() string {
	r := p.Refresh
	if r.Grant == GrantNone {
		return "none: tokens do not expire"
	}
	var parts []string
	if r.AccessTokenTTL != "" {
		parts = append(parts, fmt.Sprintf("after %s", r.AccessTokenTTL))
	}
	if r.TTLIfAbsent == "refresh_on_401" {
		parts = append(parts, "when it is refused")
	}
	if r.Grant == GrantExchange {
		return strings.Join(append(parts, "by a living access token"), ", ")
	}
	switch r.Rotation {
	case RotationAlways:
		parts = append(parts, "refresh token rotates")
	case RotationNever:
		parts = append(parts, "refresh token stays")
	default:
		parts = append(parts, "refresh token may rotate")
	}
	if r.ReuseGrace != "" {
		parts = append(parts, fmt.Sprintf("the old one works for %s", r.ReuseGrace))
	}
	if r.OnReuse.Family == "revoked" || r.OnReuse.Family == "all" {
		parts = append(parts, "reuse ends the grant")
	}
	if r.OnReuse.OldAccessToken == OldDies {
		parts = append(parts, "the old access token ends")
	}
	if r.IdleTTL != "" {
		parts = append(parts, fmt.Sprintf("ends after %s unused", r.IdleTTL))
	}
	if r.AbsoluteTTL != "" {
		parts = append(parts, fmt.Sprintf("ends after %s", r.AbsoluteTTL))
	}
	return strings.Join(parts, ", ")
}

// RevocationRule says what a revocation ends.
func (p Provider) RevocationRule() string {
	if p.Revocation.Mode == "" || p.Revocation.Mode == "none" {
		return "by the person, at the provider"
	}
	switch p.Revocation.Revokes {
	case RevokesGrant:
		return "the grant"
	case RevokesAppInstall:
		return "the app, for everybody there"
	}
	return "the token"
}

// IssueRule says on what it depends whether refresh tokens come at all.
func (p Provider) IssueRule() string {
	if p.Refresh.Grant == GrantNone {
		return ""
	}
	switch p.Refresh.Issued {
	case "app_setting":
		return "refresh tokens are a setting of the app"
	case "partner":
		return "refresh tokens are for approved partners"
	}
	return ""
}
