package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Call is how another function asks this one for access tokens. What carries
// it proves who asks: on AWS, that only mcprun may invoke refresh.
type Call struct {
	Caller     vault.Caller   `json:"caller"`
	Connection connection.Key `json:"connection"`
	MinTTL     time.Duration  `json:"min_ttl"` // nanoseconds
	Purpose    string         `json:"purpose"`
	// Check: the server seems to have been refused, see [Service.Check].
	Check bool  `json:"check,omitempty"`
	Doubt Doubt `json:"doubt,omitzero"`
}

// Answer is what a [Call] gets: tokens, or why there are none. A grant is never
// in it.
type Answer struct {
	Access     token.Access          `json:"access"`
	Connection connection.Connection `json:"connection"`
	Error      *AnswerError          `json:"error,omitempty"`
}

// AnswerError is an error on its way to another function.
type AnswerError struct {
	Code string `json:"code"`
	// Detail is for a person and holds no secret.
	Detail     string              `json:"detail,omitempty"`
	Failure    *connection.Failure `json:"failure,omitempty"`
	RetryAfter time.Duration       `json:"retry_after,omitempty"`
}

// carried are the errors that keep their identity on the way.
var carried = map[string]error{
	"reconnect":   ErrReconnect,
	"pending":     ErrPending,
	"busy":        ErrBusy,
	"not_found":   connection.ErrNotFound,
	"gone":        connection.ErrGone,
	"unavailable": connection.ErrUnavailable,
	"audit":       vault.ErrAudit,
	"sealed":      vault.ErrSealed,
	"forbidden":   vault.ErrForbidden,
}

// Serve answers a call. What went wrong on our side is logged here and not told.
func (s *Service) Serve(ctx context.Context, c Call) Answer {
	var out Answer
	var err error
	if c.Check {
		out.Access, out.Connection, err = s.Check(ctx, c.Caller, c.Connection, c.Doubt, c.Purpose)
	} else {
		out.Access, out.Connection, err = s.Token(ctx, c.Caller, c.Connection, c.MinTTL, c.Purpose)
	}
	if err == nil {
		// The sealed sets are nobody's business over there.
		out.Connection.Set.Access, out.Connection.Proposal, out.Connection.Retired, out.Connection.Events = nil, nil, nil, nil
		return out
	}
	var down *Unavailable
	if errors.As(err, &down) {
		return Answer{Error: &AnswerError{Code: "token_unavailable", Failure: &down.Failure, RetryAfter: down.RetryAfter}}
	}
	for code, known := range carried {
		if errors.Is(err, known) {
			s.Logger.InfoContext(ctx, "no token for another function", "connection", c.Connection.ID, "err", err)
			return Answer{Error: &AnswerError{Code: code, Detail: detailOf(err, known)}}
		}
	}
	s.Logger.ErrorContext(ctx, "no token for another function", "connection", c.Connection.ID, "err", err)
	return Answer{Error: &AnswerError{Code: "internal"}}
}

// detailOf is what an error says beside the one that it is. Only what a
// provider said of a grant is for others; other causes are ours.
func detailOf(err, known error) string {
	if known != ErrReconnect || err.Error() == known.Error() {
		return ""
	}
	return err.Error()
}

// Remote asks a [Service] in another function. It is what mcprun has in place
// of one.
type Remote struct {
	// Invoke carries a call there and its answer back, both JSON.
	Invoke func(ctx context.Context, call []byte) ([]byte, error)
}

// Token is [Service.Token].
func (r *Remote) Token(ctx context.Context, caller vault.Caller, k connection.Key, minTTL time.Duration, purpose string) (token.Access, connection.Connection, error) {
	return r.call(ctx, Call{Caller: caller, Connection: k, MinTTL: minTTL, Purpose: purpose})
}

// Check is [Service.Check].
func (r *Remote) Check(ctx context.Context, caller vault.Caller, k connection.Key, d Doubt, purpose string) (token.Access, connection.Connection, error) {
	return r.call(ctx, Call{Caller: caller, Connection: k, Purpose: purpose, Check: true, Doubt: d})
}

func (r *Remote) call(ctx context.Context, c Call) (token.Access, connection.Connection, error) {
	var none token.Access
	body, err := json.Marshal(c)
	if err != nil {
		return none, connection.Connection{}, err
	}
	data, err := r.Invoke(ctx, body)
	if err != nil {
		return none, connection.Connection{}, fmt.Errorf("ask refresh for a token: %w", err)
	}
	var a Answer
	if json.Unmarshal(data, &a) != nil {
		// The cause could quote a token.
		return none, connection.Connection{}, errors.New("ask refresh for a token: its answer is not the JSON that was expected")
	}
	if a.Error == nil {
		return a.Access, a.Connection, nil
	}
	return none, connection.Connection{}, a.Error.err()
}

func (e *AnswerError) err() error {
	if e.Code == "token_unavailable" && e.Failure != nil {
		return &Unavailable{Failure: *e.Failure, RetryAfter: e.RetryAfter}
	}
	known, ok := carried[e.Code]
	switch {
	case !ok:
		return errors.New("refresh failed; its log says why")
	case e.Detail != "":
		return &carriedError{known, e.Detail}
	}
	return known
}

// carriedError is an error of the other function, with its own text.
type carriedError struct {
	known error
	text  string
}

func (e *carriedError) Error() string { return e.text }
func (e *carriedError) Unwrap() error { return e.known }
