package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Drill is a rehearsal of failures: for a while, the requests that renew a token
// are answered as one of the [Behaviours] says. It is kept in memory alone, so
// that it ends with the process at the latest.
type Drill struct {
	// Behaviours are played one after the other.
	Behaviours []string `json:"behaviours"`
	// Times is for how many requests each is played, Seconds for how long. One
	// of them at most is set; with neither, the only behaviour is played until
	// the drill is stopped.
	Times   int `json:"times,omitempty"`
	Seconds int `json:"seconds,omitempty"`
	// Account limits the drill to the grants of one account ("ada").
	Account string `json:"account,omitempty"`
}

// Bounds of a drill.
const (
	maxPlays     = 64
	maxTimes     = 1_000_000
	maxSeconds   = 7 * 24 * 60 * 60
	maxDrillBody = 4 << 10
)

// DrillStatus is how a drill goes.
type DrillStatus struct {
	Drill
	// Now is what the next request is answered with; empty when there is no
	// drill, or when it is over.
	Now string `json:"now"`
	// Played counts the requests that the drill has answered.
	Played int `json:"played"`
	// Until is when a drill that was given a time ends.
	Until time.Time `json:"until,omitzero"`
}

// Check says what is wrong with a drill.
func (d Drill) Check() error {
	switch n := len(d.Behaviours); {
	case n == 0:
		return errors.New("behaviours is missing: name one at least")
	case n > maxPlays:
		return fmt.Errorf("a drill plays %d behaviours at most", maxPlays)
	case d.Times < 0 || d.Times > maxTimes:
		return fmt.Errorf("times must be between 1 and %d", maxTimes)
	case d.Seconds < 0 || d.Seconds > maxSeconds:
		return fmt.Errorf("seconds must be between 1 and %d, which is a week", maxSeconds)
	case d.Times > 0 && d.Seconds > 0:
		return errors.New("give times or seconds, not both")
	case n > 1 && d.Times == 0 && d.Seconds == 0:
		return errors.New("several behaviours follow each other: say after how many times or seconds")
	}
	for _, name := range d.Behaviours {
		if _, ok := behaviourOf(name); !ok {
			return fmt.Errorf("there is no behaviour %.40q", name)
		}
	}
	if _, ok := accountOf(d.Account); d.Account != "" && !ok {
		return fmt.Errorf("there is no account %.40q", d.Account)
	}
	return nil
}

// drills keeps the drill that is on.
type drills struct {
	mu      sync.Mutex
	drill   Drill
	started time.Time
	played  int
}

// current is what is played now, if anything is.
func (d *drills) current(now time.Time) (Behaviour, bool) {
	i := 0
	switch {
	case d.drill.Times > 0:
		i = d.played / d.drill.Times
	case d.drill.Seconds > 0:
		i = int(max(0, now.Sub(d.started)) / d.each())
	}
	if i >= len(d.drill.Behaviours) {
		return Behaviour{}, false
	}
	return behaviourOf(d.drill.Behaviours[i])
}

func (d *drills) each() time.Duration { return time.Duration(d.drill.Seconds) * time.Second }

func (d *drills) status(now time.Time) DrillStatus {
	b, _ := d.current(now)
	s := DrillStatus{Drill: d.drill, Now: b.Name, Played: d.played}
	if d.drill.Seconds > 0 {
		s.Until = d.started.Add(time.Duration(len(d.drill.Behaviours)) * d.each())
	}
	return s
}

// StartDrill begins a drill, in place of the one that is on.
func (p *Provider) StartDrill(d Drill) (DrillStatus, error) {
	if err := d.Check(); err != nil {
		return DrillStatus{}, fmt.Errorf("drill: %w", err)
	}
	d.Behaviours = slices.Clone(d.Behaviours)
	p.drills.mu.Lock()
	defer p.drills.mu.Unlock()
	p.drills.drill, p.drills.started, p.drills.played = d, p.now(), 0
	return p.drills.status(p.now()), nil
}

// StopDrill ends the drill that is on, and returns how it went.
func (p *Provider) StopDrill() DrillStatus {
	p.drills.mu.Lock()
	defer p.drills.mu.Unlock()
	s := p.drills.status(p.now())
	p.drills.drill, p.drills.played = Drill{}, 0
	s.Now = ""
	return s
}

// DrillStatus returns how the drill goes.
func (p *Provider) DrillStatus() DrillStatus {
	p.drills.mu.Lock()
	defer p.drills.mu.Unlock()
	return p.drills.status(p.now())
}

// drilled is how a renewal is to be answered, which counts as played.
func (p *Provider) drilled(r *http.Request, form params) Behaviour {
	account := p.accountBehind(form["refresh_token"])
	p.drills.mu.Lock()
	defer p.drills.mu.Unlock()
	b, ok := p.drills.current(p.now())
	if of := p.drills.drill.Account; !ok || of != "" && of != account {
		b, _ = behaviourOf(Rotates)
		return b
	}
	p.drills.played++
	p.log.InfoContext(r.Context(), "drill", "behaviour", b.Name, "played", p.drills.played)
	return b
}

func (p *Provider) accountBehind(token string) (account string) {
	p.store.view(func(s state) {
		if id, ok := s.grantOf(token); ok {
			account = s.Grants[id].Account
		}
	})
	return account
}

// showDrill is GET /drill, startDrill PUT and stopDrill DELETE. Each answers
// with a [DrillStatus].
func (p *Provider) showDrill(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, p.DrillStatus())
}

func (p *Provider) startDrill(w http.ResponseWriter, r *http.Request) {
	d, err := readDrill(w, r)
	if err != nil {
		writeRefusal(w, refuse("invalid_request", err.Error()))
		return
	}
	s, err := p.StartDrill(d)
	if err != nil {
		writeRefusal(w, refuse("invalid_request", err.Error()))
		return
	}
	p.log.InfoContext(r.Context(), "drill started", "behaviours", d.Behaviours)
	writeJSON(w, http.StatusOK, s)
}

func (p *Provider) stopDrill(w http.ResponseWriter, r *http.Request) {
	s := p.StopDrill()
	p.log.InfoContext(r.Context(), "drill stopped", "played", s.Played)
	writeJSON(w, http.StatusOK, s)
}

// readDrill reads one JSON document that holds a drill and nothing else.
func readDrill(w http.ResponseWriter, r *http.Request) (Drill, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return Drill{}, errors.New("the body must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDrillBody))
	if err != nil {
		return Drill{}, errors.New("the body cannot be read or is too long")
	}
	return parseDrill(body)
}

func parseDrill(body []byte) (d Drill, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&d) != nil {
		return Drill{}, errors.New("the body is not a drill: {\"behaviours\": [NAME…], \"times\": N or \"seconds\": N, \"account\": NAME}")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Drill{}, errors.New("something follows the drill")
	}
	return d, nil
}
