package discover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
)

const (
	// maxDocument bounds what one answer says, in bytes.
	maxDocument = 256 << 10
	// fetchTimeout bounds one request, its answer included.
	fetchTimeout = 5 * time.Second
	// maxURL bounds a URL that a document names, in bytes.
	maxURL = 2048
	// userAgent is descriptive: some servers refuse the default one.
	userAgent = "Lanyard (+https://github.com/lanyardhq/lanyard)"
)

// fetcher asks those who are not known to be anybody.
type fetcher struct {
	http *http.Client
	// near: the server is on this machine, so that others on it may be asked.
	near bool
}

// answer is what somebody said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// errAbsent: there is no such document.
var errAbsent = errors.New("there is none")

// do sends a request, and reads its answer unless most, its length in bytes, is 0.
// What cannot be reached, or does not end, is ErrProviderDown; an address that
// nobody may be asked at is ErrDiscovery.
func (f fetcher) do(ctx context.Context, method string, u *url.URL, kind string, body []byte, most int64) (answer, error) {
	if err := provider.CheckURL(u, f.near); err != nil {
		return answer{}, fmt.Errorf("%w: %w", flow.ErrDiscovery, err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("%w: its address makes no request", flow.ErrDiscovery)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json")
	if kind != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", kind)
	}
	resp, err := f.http.Do(req)
	switch {
	case errors.Is(err, provider.ErrForbiddenAddress):
		return answer{}, fmt.Errorf("%w: %s is in a private or special network", flow.ErrDiscovery, u.Host)
	case err != nil:
		return answer{}, fmt.Errorf("%w: %s could not be reached", flow.ErrProviderDown, u.Host)
	}
	defer resp.Body.Close()
	out := answer{status: resp.StatusCode, header: resp.Header}
	if most == 0 {
		return out, nil
	}
	if out.body, err = io.ReadAll(io.LimitReader(resp.Body, most+1)); err != nil {
		return answer{}, fmt.Errorf("%w: the answer of %s did not end in time, or broke off", flow.ErrProviderDown, u.Host)
	}
	if int64(len(out.body)) > most {
		return answer{}, fmt.Errorf("%w: %s says more than %d KB at %s", flow.ErrDiscovery, u.Host, most>>10, u.Path)
	}
	return out, nil
}

// document reads a JSON object. Where there is none, errAbsent: a redirect is
// none, and neither is the page that some sites have for every address.
func (f fetcher) document(ctx context.Context, u *url.URL, into any) error {
	a, err := f.do(ctx, http.MethodGet, u, "", nil, maxDocument)
	switch {
	case err != nil:
		return err
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s answered %d", flow.ErrProviderDown, u.Host, a.status)
	case a.status != http.StatusOK || !bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{")):
		return errAbsent
	}
	if json.Unmarshal(a.body, into) != nil { // its error would quote what it read
		return fmt.Errorf("%w: what %s says at %s is malformed", flow.ErrDiscovery, u.Host, u.Path)
	}
	return nil
}

// at is a path of the origin of a URL.
func at(u *url.URL, path string) *url.URL {
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}
}

// trusted is a URL of a document that we may send people and tokens to: absolute,
// in plain characters, without user and fragment, and no template.
func (f fetcher) trusted(what, raw string) (*url.URL, error) {
	refused := func(why string) error { return fmt.Errorf("%w: its %s %s", flow.ErrDiscovery, what, why) }
	plain := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`{}"<>\^|`+"`", r) }
	if raw == "" || len(raw) > maxURL || strings.ContainsFunc(raw, plain) {
		return nil, refused("is missing, or no plain URL")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Fragment != "" || strings.Contains(raw, "#") || u.Opaque != "" {
		return nil, refused("is no URL without a fragment")
	}
	if err := provider.CheckURL(u, f.near); err != nil {
		return nil, fmt.Errorf("%w: its %s cannot be used: %w", flow.ErrDiscovery, what, err)
	}
	return u, nil
}
