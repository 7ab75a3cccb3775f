package host

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/dense"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

// Errors of [Catalogues].
var (
	// ErrNoCatalogue: nothing is kept of the connection's server.
	ErrNoCatalogue = errors.New("the connection's server has not said what it offers")
	// ErrTooLarge: it is more than the store keeps in one record.
	ErrTooLarge = errors.New("the catalogue is too large to be kept")
)

// MaxCatalogue is what a store of catalogues must take at least, in bytes. It
// is a good part of what DynamoDB takes, 400 KB.
const MaxCatalogue = 380 << 10

// Catalogues keeps what connections' servers last said of themselves, packed.
type Catalogues interface {
	// PutCatalogue replaces what is kept for the connection. ErrTooLarge if it is
	// more than the store keeps, which is at least [MaxCatalogue] bytes.
	PutCatalogue(ctx context.Context, k connection.Key, packed []byte) error
	// Catalogue returns ErrNoCatalogue.
	Catalogue(ctx context.Context, k connection.Key) ([]byte, error)
	// DeleteCatalogue: removing one that is not there succeeds.
	DeleteCatalogue(ctx context.Context, k connection.Key) error
}

// said is what one connection's server said of itself.
type said struct {
	Catalogue mcp.Catalogue `json:"catalogue"`
	// At is when the task began that said it: from a grant after that on it is
	// worth nothing.
	At time.Time `json:"at"`
	// Runs is [presets.Server.Runs] of what said it.
	Runs string `json:"runs"`
}

const (
	// maxRemembered bounds what a process keeps of catalogues, in bytes.
	maxRemembered = 32 << 20
	// rememberedFor is how long it is kept without a look at the store, where
	// another process may have put a newer one: as long as clients keep a list.
	rememberedFor = mcp.ListTTL * time.Millisecond
)

var catalogueFormat = dense.New('c', "")

// catalogue is what is known of the connection's server without asking it: what
// it said itself when it last ran, else what its preset knows of it.
func (s *Service) catalogue(ctx context.Context, c connection.Connection) mcp.Catalogue {
	server, _ := s.Catalogue.Server(c.Server)
	k, ok := s.memory.get(c.Key, s.Now())
	if !ok {
		var err error
		if k, err = s.stored(ctx, c.Key); err != nil && !errors.Is(err, ErrNoCatalogue) {
			s.Logger.WarnContext(ctx, "a catalogue was not read", "connection", c.ID, "err", err)
		} else {
			s.memory.put(c.Key, k, s.Now())
		}
	}
	var known mcp.Catalogue
	if shipped := server.Known(); shipped != nil {
		known = *shipped
	}
	if own := k.Catalogue; own.Known() && !c.ConnectedAt.After(k.At) && k.Runs == server.Runs() {
		return mcp.Catalogue{
			Initialized: own.Initialized, Discovered: own.Discovered, Tools: or(own.Tools, known.Tools), Prompts: or(own.Prompts, known.Prompts),
			Resources: or(own.Resources, known.Resources), Templates: or(own.Templates, known.Templates),
		}
	}
	return known
}

// or is the list that the server gave, or else what its preset knows of it.
func or(own, known json.RawMessage) json.RawMessage {
	if own == nil {
		return known
	}
	return own
}

func (s *Service) stored(ctx context.Context, k connection.Key) (said, error) {
	var out said
	if s.Catalogues == nil {
		return out, ErrNoCatalogue
	}
	packed, err := s.Catalogues.Catalogue(ctx, k)
	if err != nil {
		return out, err
	}
	text, err := catalogueFormat.Unpack(packed, 2*mcp.MaxCatalogue)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(text, &out)
}

// learn keeps what the task's server said of itself.
func (s *Service) learn(ctx context.Context, t Task, c mcp.Catalogue) {
	server, ok := s.Catalogue.Server(t.Server)
	c, err := c.Tidy()
	if err != nil || !ok {
		s.Logger.WarnContext(ctx, "what a server says of itself is not kept", "server", t.Server, "connection", t.Connection.ID, "err", err)
		return
	}
	k := said{Catalogue: c, At: t.StartedAt, Runs: server.Runs()}
	s.memory.put(t.Connection, k, s.Now())
	k.Catalogue.Resources = nil // it may name the person's files: this process alone keeps it
	text, err := json.Marshal(k)
	if err == nil && s.Catalogues != nil {
		err = s.Catalogues.PutCatalogue(ctx, t.Connection, catalogueFormat.Pack(text))
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		if s.memory.first(t.Server) {
			s.Logger.WarnContext(ctx, "what a server lists is too large to be kept: the preset's catalogue answers while it does not run", "server", t.Server, "bytes", len(text))
		}
	case err != nil:
		s.Logger.WarnContext(ctx, "a catalogue was not kept", "connection", t.Connection.ID, "err", err)
	}
}

// forgetCatalogue forgets what the connection's server said.
func (s *Service) forgetCatalogue(ctx context.Context, k connection.Key) {
	s.memory.drop(k)
	if s.Catalogues == nil {
		return
	}
	if err := s.Catalogues.DeleteCatalogue(ctx, k); err != nil {
		s.Logger.WarnContext(ctx, "a catalogue was not removed", "connection", k.ID, "err", err)
	}
}

// memory keeps the catalogues that were used last, those that are not there
// included.
type memory struct {
	mu    sync.Mutex
	of    map[connection.Key]*remembered
	bytes int
	told  map[string]bool
}

type remembered struct {
	said
	size       int
	read, used time.Time
}

func (m *memory) get(k connection.Key, now time.Time) (said, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of[k]
	if r == nil || now.Sub(r.read) > rememberedFor {
		return said{}, false
	}
	r.used = now
	return r.said, true
}

func (m *memory) put(k connection.Key, what said, now time.Time) {
	c := what.Catalogue
	size := 500 + len(c.Initialized) + len(c.Discovered) + len(c.Tools) + len(c.Prompts) + len(c.Resources) + len(c.Templates)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(k)
	if m.of == nil {
		m.of = map[connection.Key]*remembered{}
	}
	m.of[k] = &remembered{what, size, now, now}
	m.bytes += size
	for m.bytes > maxRemembered {
		var oldest connection.Key
		for k, r := range m.of {
			if o := m.of[oldest]; o == nil || r.used.Before(o.used) {
				oldest = k
			}
		}
		m.remove(oldest)
	}
}

func (m *memory) drop(k connection.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(k)
}

func (m *memory) remove(k connection.Key) {
	if r := m.of[k]; r != nil {
		m.bytes -= r.size
		delete(m.of, k)
	}
}

// first reports whether it is asked of this server for the first time.
func (m *memory) first(server string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told == nil {
		m.told = map[string]bool{}
	}
	was := m.told[server]
	m.told[server] = true
	return !was
}
