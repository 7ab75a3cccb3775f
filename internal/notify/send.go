package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/provider"
)

const (
	// timeout is for a whole exchange: a receiver stores what it gets, and works
	// on it afterwards.
	timeout = 15 * time.Second
	// maxAnswer is how much of an answer is read, in bytes. Nothing is made of it.
	maxAnswer = 16 << 10
	maxURL    = 2048
)

var (
	// ErrURL: webhooks are not sent to this URL.
	ErrURL = errors.New("this cannot be the URL of a webhook endpoint")
	// ErrUnreachable: there was no answer.
	ErrUnreachable = errors.New("the webhook endpoint cannot be reached")
	// ErrRefused: the answer was no success. It is a [*Refusal].
	ErrRefused = errors.New("the webhook endpoint did not take the event")
)

// Refusal is an answer that is no success: any but a 2xx, redirects included.
type Refusal struct{ Status int }

func (e *Refusal) Error() string { return fmt.Sprintf("%v: it answered %d", ErrRefused, e.Status) }

func (e *Refusal) Unwrap() error { return ErrRefused }

// CheckURL says, with ErrURL, why webhooks cannot be sent to a URL. Its path and
// query may hold secrets, and are not quoted.
func CheckURL(raw string, allowLoopback bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("%w: it is not a URL", ErrURL)
	case len(raw) > maxURL:
		return fmt.Errorf("%w: it is longer than %d characters", ErrURL, maxURL)
	case u.Fragment != "" || u.Opaque != "":
		return fmt.Errorf("%w: it must be https://HOST/PATH, without a fragment", ErrURL)
	}
	if err := provider.CheckURL(u, allowLoopback); err != nil {
		return fmt.Errorf("%w: %w", ErrURL, err)
	}
	return nil
}

// hostOf is what may be logged of a URL.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// send posts the body once, and returns the status if it is a success.
func (s *Service) send(ctx context.Context, to Endpoint, id string, body []byte) (int, error) {
	if err := CheckURL(to.URL, s.AllowLoopback); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	now := s.Now()
	signature, err := sign(to.Secrets, id, now, body)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return 0, ErrUnreachable // its text has the URL
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "lanyard")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Webhook-Signature", signature)
	answer, err := s.http().Do(r)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	if answer.StatusCode/100 != 2 {
		return 0, &Refusal{answer.StatusCode}
	}
	return answer.StatusCode, nil
}

var errAnswer = errors.New("its answer is not HTTP, or not TLS")

// cause is what may be told of an exchange that failed: not the URL, nor what
// came from the receiver, who may repeat the URL and write without end.
func cause(err error) error {
	var exchange *url.Error
	if errors.As(err, &exchange) {
		err = exchange.Err
	}
	var network net.Error // of the dial, of the connection, or of the time that it took
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, provider.ErrForbiddenAddress), errors.Is(err, context.Canceled), errors.Is(err, io.EOF), errors.As(err, &network):
		return err
	case errors.As(err, &certificate):
		return errors.New("its certificate has expired, is for another name, or is issued by nobody who is known")
	}
	return errAnswer
}

func (s *Service) http() *http.Client {
	s.once.Do(func() {
		transport := s.Transport
		if transport == nil {
			transport = provider.GuardedTransport(s.AllowLoopback)
		}
		s.client = &http.Client{
			Transport: transport, Timeout: timeout,
			// A redirect is an answer like others: who could redirect us could have
			// us ask anybody.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return s.client
}
