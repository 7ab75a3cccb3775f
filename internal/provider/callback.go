package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"strings"
)

// CheckCallback tells whether a callback, successful or not, can be from the
// target's provider. It is checked before anything in it is believed: iss by
// exact comparison (RFC 9207 §2.4), the signature and the parameters that must
// repeat the flow's where the provider's file says so. The state is the
// caller's affair.
func (e *Engine) CheckCallback(t Target, callback url.Values) error {
	p := t.Provider
	for _, name := range []string{"code", "state", "iss", "error"} {
		if len(callback[name]) > 1 {
			return fmt.Errorf("%w: it has %s twice (RFC 6749 §3.1)", ErrCallback, name)
		}
	}
	f, err := e.fill(t, nil)
	if err != nil {
		return err
	}
	if err := checkIssuer(p.Issuer, p.Callback.ISS == "required", callback, f); err != nil {
		return err
	}
	for name, param := range p.Callback.Match {
		if len(callback[name]) != 1 || callback.Get(name) != f.values[param] {
			return fmt.Errorf("%w: its %s is not the one that was connected", ErrCallback, name)
		}
	}
	if p.Callback.Verify.Type == "" {
		return nil
	}
	signed := maps.Clone(callback)
	signed.Del(p.Callback.Verify.Param)
	mac := hmac.New(sha256.New, []byte(t.Client.Secret.Reveal()))
	mac.Write([]byte(signed.Encode()))
	given, err := hex.DecodeString(callback.Get(p.Callback.Verify.Param))
	if t.Client.Secret == "" || err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return fmt.Errorf("%w: its signature does not match: start connecting again", ErrCallback)
	}
	return nil
}

// checkIssuer compares iss. A provider whose file names no issuer gives nothing
// to compare with; its flow is still bound to it by the state.
func checkIssuer(template string, required bool, callback url.Values, f fill) error {
	if template == "" || !callback.Has("iss") && !required {
		return nil
	}
	if !callback.Has("iss") {
		return fmt.Errorf("%w: it does not name the provider (RFC 9207): start connecting again", ErrCallback)
	}
	issuer := template
	if strings.Contains(template, "{") {
		u, err := f.url(template)
		if err != nil {
			return err
		}
		issuer = u.String()
	}
	if callback.Get("iss") != issuer {
		return fmt.Errorf("%w: it names another provider (RFC 9207): start connecting again", ErrCallback)
	}
	return nil
}

// captured are the callback's parameters that are kept as metadata.
func captured(names []string, callback url.Values, into map[string]string) {
	for _, name := range names {
		if value := clean(callback.Get(name), maxMetadata, nil); value != "" {
			into[name] = value
		}
	}
}
