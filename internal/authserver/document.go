package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// maxPerHost and maxDocuments are how many documents are fetched in an hour,
	// of one host and of all: whoever opens /oauth/authorize decides the URL, and
	// must not make of us a means to flood somebody. What was fetched is kept, and
	// does not count; neither does what is fetched anew, or who uses up an hour
	// of a host's would keep everybody out of that host's clients.
	maxPerHost   = 60
	maxDocuments = 2000
	// justFetched is for how long a document is not fetched twice.
	justFetched = time.Minute
)

// readDocument fetches the metadata of a client whose id is its URL (Client ID
// Metadata Document), and keeps it. known: there was one at that URL a while ago.
// Its errors wrap ErrNoClient, or are an [*Error], or the store's.
func (s *Server) readDocument(ctx context.Context, id string, known bool) (Client, error) {
	u, problem := plainURL(id)
	switch {
	case problem != "":
		return Client{}, fmt.Errorf("%w: its URL is not taken: %s", ErrNoClient, problem)
	case u.Scheme != "https" && !(u.Scheme == "http" && s.AllowLoopback && loopback(u)):
		return Client{}, fmt.Errorf("%w: its URL is not https", ErrNoClient)
	case u.Path == "" || u.Path == "/":
		return Client{}, fmt.Errorf("%w: its URL has no path", ErrNoClient)
	}
	admit := func(ctx context.Context) error {
		if known {
			return nil
		}
		if err := s.admit(ctx, "documents of "+hostOf(id), maxPerHost); err != nil {
			return err
		}
		return s.admit(ctx, "documents", maxDocuments)
	}
	got, err := s.fetch(ctx, id, justFetched, admit)
	if err != nil {
		return Client{}, err
	}
	c, err := documentClient(id, got.body, s.Redirects)
	if err != nil {
		return Client{}, err
	}
	c.CreatedAt, c.ExpiresAt = got.at, got.at.Add(got.life)
	if !got.first {
		return c, nil // who fetched it keeps it
	}
	if err := s.Store.SaveClient(ctx, c); err != nil {
		return Client{}, fmt.Errorf("keep the client's metadata: %w", err)
	}
	return c, nil
}

// documentClient is the client of a document. It cannot have a secret: everybody
// reads the document.
func documentClient(id string, body []byte, own []string) (Client, error) {
	var d struct {
		metadata
		ID            string          `json:"client_id"`
		Secret        json.RawMessage `json:"client_secret"`
		SecretExpires json.RawMessage `json:"client_secret_expires_at"`
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return Client{}, fmt.Errorf("%w: its metadata is no JSON of that form", ErrNoClient)
	}
	if d.AuthMethod == "" {
		d.AuthMethod = AuthNone // no secret can be meant, as RFC 7591's default does
	}
	switch {
	case d.ID != id:
		return Client{}, fmt.Errorf("%w: its metadata names another client_id than the URL that it is at", ErrNoClient)
	case d.Secret != nil || d.SecretExpires != nil:
		return Client{}, fmt.Errorf("%w: its metadata has a client_secret, which everybody could read", ErrNoClient)
	case d.AuthMethod != AuthNone && d.AuthMethod != AuthKeyJWT:
		return Client{}, fmt.Errorf("%w: its metadata wants a token_endpoint_auth_method with a secret", ErrNoClient)
	}
	c, problem := d.client(own)
	if problem != nil {
		return Client{}, fmt.Errorf("%w: its metadata is not taken: %s", ErrNoClient, problem.Description)
	}
	c.ID, c.Kind = id, Document
	return c, nil
}

// hostOf is the host of a URL that was found good.
func hostOf(raw string) string {
	u, _ := plainURL(raw)
	return u.Host
}

// admit lets one more of a kind in, of at most so many an hour.
func (s *Server) admit(ctx context.Context, what string, most int) error {
	hour := s.Now().Truncate(time.Hour)
	err := s.Store.Admit(ctx, what+" "+hour.UTC().Format(time.RFC3339), most, hour.Add(time.Hour))
	if errors.Is(err, ErrTooMany) {
		return tooMany("there are too many new clients at the moment; try again in an hour")
	}
	return err
}
