package host

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// Warm is a task that was started for nobody yet: it has a key and an address,
// and waits for a ticket.
type Warm struct {
	ID     string `json:"id"`
	Server string `json:"server"`
	// IdentityHash is the hash of who registered; the ticket that it is given is
	// worth something to that very task alone.
	IdentityHash string `json:"identity_hash,omitempty"`
	// Address and KeyFingerprint are what the runner registered.
	Address        string    `json:"address,omitempty"`
	KeyFingerprint string    `json:"key_fingerprint,omitempty"`
	StartedAt      time.Time `json:"started_at"`
	Registered     bool      `json:"registered,omitempty"`
}

// Pool keeps the warm tasks.
type Pool interface {
	// AddWarm adds a record. ErrExists if one of that id is there.
	AddWarm(ctx context.Context, w Warm) error
	// ReadyWarm notes what the task registered, of which IdentityHash, Address
	// and KeyFingerprint are kept: once, ErrExists from then on. ErrNoTask if no
	// record has the id.
	ReadyWarm(ctx context.Context, w Warm) error
	// TakeWarm removes a registered record of the server and returns it,
	// atomically: of any number of callers each gets another one. ErrNoTask if
	// there is none.
	TakeWarm(ctx context.Context, server string) (Warm, error)
	// WarmTasks lists all records there are.
	WarmTasks(ctx context.Context) ([]Warm, error)
	// DropWarm removes a record. ErrNoTask if it is gone: whoever took it has the
	// task.
	DropWarm(ctx context.Context, id string) error
}

const (
	// warmAge is how long a task waits: with a new one come new images and
	// definitions.
	warmAge = 12 * time.Hour
	// assignTimeout is short: whoever waits can still have an ordinary start.
	assignTimeout = 5 * time.Second
)

// warmBearer is what the assignment of a ticket to a warm task shows: no
// connection's bearer, whose form has more parts.
func (s *Service) warmBearer(id string) token.Secret {
	mac := hmac.New(sha256.New, s.BearerKey)
	fmt.Fprintf(mac, "warm\x00%s", id)
	return token.Secret(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// Register takes a warm task's word that it is up, once, and from the very task
// that was started under that id.
func (s *Service) Register(ctx context.Context, identity token.Secret, r task.WarmRequest) (task.Warm, error) {
	if s.Pool == nil || s.Vouch == nil || r.Address == "" || r.KeyFingerprint == "" {
		return task.Warm{}, task.ErrRefused
	}
	if err := s.claimant(ctx, r.TaskID, identity); err != nil {
		return task.Warm{}, err
	}
	err := s.Pool.ReadyWarm(ctx, Warm{ID: r.TaskID, IdentityHash: token.Hash(identity), Address: r.Address, KeyFingerprint: r.KeyFingerprint})
	if errors.Is(err, ErrNoTask) || errors.Is(err, ErrExists) {
		return task.Warm{}, task.ErrRefused
	}
	if err != nil {
		return task.Warm{}, err
	}
	s.Logger.InfoContext(ctx, "warm task registered", "task", r.TaskID)
	return task.Warm{Bearer: s.warmBearer(r.TaskID)}, nil
}

// takeWarm is a task that waits for a connection of the server, if there is one.
func (s *Service) takeWarm(ctx context.Context, server string) (Warm, bool) {
	if s.Pool == nil || s.Warm[server] == 0 {
		return Warm{}, false
	}
	w, err := s.Pool.TakeWarm(ctx, server)
	if err != nil && !errors.Is(err, ErrNoTask) {
		s.Logger.WarnContext(ctx, "no warm task: the pool cannot be read", "server", server, "err", err)
	}
	return w, err == nil
}

// giveBack returns a task that was told nothing to the pool.
func (s *Service) giveBack(ctx context.Context, w Warm) {
	ctx = context.WithoutCancel(ctx)
	if err := s.Pool.AddWarm(ctx, w); err != nil {
		s.Logger.WarnContext(ctx, "a warm task was not given back", "task", w.ID, "err", err)
		s.stopWarm(ctx, w.ID)
	}
}

func (s *Service) stopWarm(ctx context.Context, id string) {
	if err := s.Launcher.Stop(ctx, id); err != nil {
		s.Logger.WarnContext(ctx, "a task did not stop", "task", id, "err", err)
	}
}

// assign gives a warm task its ticket. It may have arrived although there is an
// error.
func (s *Service) assign(ctx context.Context, w Warm, ticket token.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	body, err := json.Marshal(task.Assignment{Ticket: ticket})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, (&url.URL{Scheme: "https", Host: w.Address, Path: task.AssignPath}).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.warmBearer(w.ID).Reveal())
	req.Header.Set("Content-Type", "application/json")
	transport := pinned(w.KeyFingerprint)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the warm task answered %d", resp.StatusCode)
	}
	return nil
}

// fill makes the pool what the settings say: it drops what is too old, too many
// or dead, and starts what is missing. It returns the records that it found.
func (s *Service) fill(ctx context.Context) []Warm {
	if s.Pool == nil {
		return nil
	}
	all, err := s.Pool.WarmTasks(ctx)
	if err != nil {
		s.Logger.WarnContext(ctx, "warm tasks not listed", "err", err)
		return nil
	}
	// Where there are too many, those are kept that are up, and the youngest.
	slices.SortFunc(all, func(a, b Warm) int {
		if a.Registered != b.Registered {
			return map[bool]int{true: -1, false: 1}[a.Registered]
		}
		return b.StartedAt.Compare(a.StartedAt)
	})
	running := s.running(ctx, all)
	waiting := map[string]int{}
	for _, w := range all {
		age := s.Now().Sub(w.StartedAt)
		server, known := s.Catalogue.Server(w.Server)
		late := !w.Registered && age > startTimeout
		if late {
			s.Logger.ErrorContext(ctx, "a warm task never came up", "task", w.ID, "server", w.Server)
		}
		switch {
		case age > warmAge, late,
			w.Registered && age > orphanAge && !running(w.ID),
			!known || !hosted(server), waiting[w.Server] >= s.Warm[w.Server]:
			s.dropWarm(ctx, w)
		default:
			waiting[w.Server]++
		}
	}
	for name, wanted := range s.Warm {
		server, ok := s.Catalogue.Server(name)
		if !ok || !hosted(server) {
			s.Logger.WarnContext(ctx, "the pool names a server that is not hosted", "server", name)
			continue
		}
		for range wanted - waiting[name] {
			s.startWarm(ctx, server)
		}
	}
	return all
}

func hosted(server presets.Server) bool { return server.Server.Registry != presets.RegistryRemote }

// running tells which tasks the platform still runs; where it cannot say, all.
func (s *Service) running(ctx context.Context, all []Warm) func(id string) bool {
	every := func(string) bool { return true }
	roll, ok := s.Launcher.(Roll)
	if !ok || len(all) == 0 {
		return every
	}
	ids, err := roll.Started(ctx, s.Now())
	if err != nil {
		s.Logger.WarnContext(ctx, "running tasks not listed", "err", err)
		return every
	}
	return func(id string) bool { return slices.Contains(ids, id) }
}

// dropWarm ends a warm task, unless a connection was given it at this moment.
func (s *Service) dropWarm(ctx context.Context, w Warm) {
	switch err := s.Pool.DropWarm(ctx, w.ID); {
	case errors.Is(err, ErrNoTask):
	case err != nil:
		s.Logger.WarnContext(ctx, "a warm task's record was not removed", "task", w.ID, "err", err)
	default:
		s.Logger.InfoContext(ctx, "warm task ended", "task", w.ID, "server", w.Server, "registered", w.Registered)
		s.stopWarm(ctx, w.ID)
	}
}

// startWarm starts a task for whoever comes. Its record is there before it, so
// that it is nobody's orphan.
func (s *Service) startWarm(ctx context.Context, server presets.Server) {
	w := Warm{ID: token.NewID("tsk"), Server: server.Name, StartedAt: s.Now().UTC()}
	err := s.Pool.AddWarm(ctx, w)
	if err == nil {
		err = s.Launcher.Launch(ctx, Start{TaskID: w.ID, Warm: true, ControlURL: s.ControlURL, Server: server})
		if err != nil { // it may run although there is an error
			s.dropWarm(ctx, w)
		}
	}
	if err != nil {
		s.Logger.ErrorContext(ctx, "a warm task could not be started", "server", server.Name, "err", err)
	}
}

// waits reports whether the task waits in the pool, or nobody knows.
func (s *Service) waits(ctx context.Context, id string) bool {
	if s.Pool == nil {
		return false
	}
	all, err := s.Pool.WarmTasks(ctx)
	return err != nil || slices.ContainsFunc(all, func(w Warm) bool { return w.ID == id })
}
