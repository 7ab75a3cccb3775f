package connection

import (
	"errors"
	"slices"
	"time"
)

// What a transition may answer. Stores add [ErrNotFound] and [ErrExists].
var (
	ErrNotFound = errors.New("no such connection")
	ErrExists   = errors.New("the connection exists already")
	// ErrLeased: somebody else is renewing right now.
	ErrLeased = errors.New("the connection is being renewed by somebody else")
	// ErrFenced: the lease was lost; what was done under it must not be published.
	ErrFenced = errors.New("the lease was lost")
	// ErrNoProposal: there is nothing to confirm or to pick a place for, or it ran
	// out.
	ErrNoProposal = errors.New("nothing is waiting to be confirmed")
	// ErrCursor: a page was asked for with a cursor that no list returned.
	ErrCursor = errors.New("the cursor is not one that a list returned")
	// ErrUnavailable: what keeps our records did not answer, or is being asked
	// too much. Any call of any store may fail with it; the same call may
	// succeed in a moment.
	ErrUnavailable = errors.New("our own storage does not answer")
	// ErrGone: the connection is being deleted.
	ErrGone = errors.New("the connection is being deleted")
)

// Lease says who may renew, and until when.
type Lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

// Intent is recorded before a refresh token is spent, so that whoever finds it
// after a crash knows what may have happened.
type Intent struct {
	// ID is the version id that the next grant will have.
	ID string `json:"id"`
	// TokenHash is of the refresh tokens about to be spent: that of their set.
	TokenHash string    `json:"token_hash"`
	At        time.Time `json:"at"`
	// Attempt counts the exchanges that were begun with this token. One whose
	// answer was lost is followed by another, after a growing pause, until the
	// provider answers; by none where reusing a spent token ends other grants.
	Attempt int `json:"attempt"`
}

// Claim is a held lease: the fence that later steps must still match.
type Claim struct {
	Key
	Holder string
	Fence  int64
}

// LeasedAt reports whether somebody holds the lease then.
func (c Connection) LeasedAt(now time.Time) bool { return c.Lease != nil && now.Before(c.Lease.Until) }

// Acquire takes the lease unless somebody holds it.
func (c *Connection) Acquire(holder string, now time.Time, ttl time.Duration) (Claim, error) {
	if c.Lease != nil && now.Before(c.Lease.Until) && c.Lease.Holder != holder {
		return Claim{}, ErrLeased
	}
	c.Fence++
	c.Lease = &Lease{Holder: holder, Until: now.Add(ttl)}
	return Claim{Key: c.Key, Holder: holder, Fence: c.Fence}, nil
}

func (c *Connection) holds(l Claim) error {
	if err := c.leased(l); err != nil {
		return err
	}
	if c.Status == Deleting {
		return ErrGone
	}
	return nil
}

func (c *Connection) leased(l Claim) error {
	if c.Fence != l.Fence || c.Lease == nil || c.Lease.Holder != l.Holder {
		return ErrFenced
	}
	return nil
}

// Record notes the intent to spend a refresh token and prolongs the lease.
func (c *Connection) Record(l Claim, intent Intent, until time.Time) error {
	if err := c.holds(l); err != nil {
		return err
	}
	c.Intent, c.Lease.Until = &intent, until
	return nil
}

// Adopt makes a grant current that a renewal had stored before it was
// interrupted; hash is of its tokens. The access token that came with it is lost.
func (c *Connection) Adopt(l Claim, version, hash string) error {
	if err := c.holds(l); err != nil {
		return err
	}
	c.Set.GrantVersion, c.Set.TokenHash, c.Intent = version, hash, nil
	return nil
}

// Release gives the lease back, changing nothing else.
func (c *Connection) Release(l Claim) error {
	if err := c.leased(l); err != nil {
		return err
	}
	c.Lease = nil
	return nil
}

// maxLost bounds the scopes that a row says were lost: a provider that names
// others each time must not let it grow without end.
const maxLost = 100

// Renewed publishes the set that a renewal made, if the lease still holds.
func (c *Connection) Renewed(l Claim, set Set, scopes []string, now time.Time) error {
	if err := c.holds(l); err != nil {
		return err
	}
	c.Set, c.LastRefreshAt = set, now
	if scopes != nil {
		granted := func(scope string) bool { return slices.Contains(scopes, scope) }
		c.ScopesLost = slices.DeleteFunc(append(slices.Clone(c.ScopesLost), c.Scopes...), granted)
		c.ScopesLost = c.ScopesLost[:min(maxLost, len(c.ScopesLost))] // those that were lost first
		slices.Sort(c.ScopesLost)
		c.ScopesLost, c.Scopes = slices.Compact(c.ScopesLost), scopes
	}
	c.Status, c.Failure, c.RetryAt = Connected, nil, time.Time{}
	c.Lease, c.Intent = nil, nil
	c.assess(now)
	return nil
}

// Failed notes a renewal that did not work. A dead grant turns the connection
// to reconnect_needed; anything else leaves its status alone. The intent stays
// when the token may have been spent without our seeing the answer.
func (c *Connection) Failed(l Claim, f Failure, dead, ambiguous bool, retryAt time.Time) error {
	if err := c.holds(l); err != nil {
		return err
	}
	if c.Failure != nil {
		f.Count = c.Failure.Count
	}
	f.Count++
	c.Failure, c.RetryAt, c.Lease = &f, retryAt, nil
	if dead {
		c.Status = ReconnectNeeded
	}
	if !ambiguous {
		c.Intent = nil
	}
	c.assess(f.At)
	return nil
}

// Propose stores a grant that waits for [Connection.Promote]. An earlier
// proposal that nobody confirmed is retired.
func (c *Connection) Propose(p Proposal) error {
	if c.Status == Deleting {
		return ErrGone
	}
	c.dropProposal()
	c.Proposal = &p
	return nil
}

// Promote puts the proposal of that flow in force. Whoever is renewing the old
// set is fenced out; the old set is retired.
func (c *Connection) Promote(flowID string, now time.Time) error {
	p := c.Proposal
	switch {
	case c.Status == Deleting:
		return ErrGone
	case p == nil || p.FlowID != flowID || now.After(p.ConfirmBy) || len(p.Places) > 0:
		return ErrNoProposal
	}
	if c.InUse() {
		c.Retired = append(c.Retired, Retired{Set: c.Set, Granted: c.Granted})
	}
	c.Set, c.Granted, c.Proposal = p.Set, p.Granted, nil
	c.Status, c.Failure, c.RetryAt, c.ConnectedAt = Connected, nil, time.Time{}, now
	// Its first attendance plans the renewals.
	c.ScopesLost = nil
	c.RenewAt, c.EndsAt, c.NoticeAt, c.EndAnnounced = now, time.Time{}, time.Time{}, time.Time{}
	c.Fence++
	c.Lease, c.Intent = nil, nil
	c.assess(now)
	return nil
}

// Expire drops a proposal that nobody confirmed in time. A connection that
// never had another set is deleted with it.
func (c *Connection) Expire(now time.Time) error {
	if c.Proposal == nil || !now.After(c.Proposal.ConfirmBy) {
		return ErrNoProposal
	}
	c.dropProposal()
	c.leave()
	return nil
}

func (c *Connection) dropProposal() {
	if c.Proposal == nil {
		return
	}
	c.Retired = append(c.Retired, Retired{Set: c.Proposal.Set, Granted: c.Proposal.Granted})
	c.Proposal = nil
}

// BeginDelete marks the connection so that nobody uses or renews it any more,
// and returns the lease under which it is taken down. The intent stays: what an
// interrupted renewal has stored under its id is what there is to revoke.
func (c *Connection) BeginDelete(holder string, now time.Time, ttl time.Duration) (Claim, error) {
	l, err := c.Acquire(holder, now, ttl)
	if err != nil {
		return Claim{}, err
	}
	c.dropProposal()
	c.Status = Deleting
	return l, nil
}

// Forget removes a retired set from the row once nothing of it is left.
func (c *Connection) Forget(s Set) error {
	for i, r := range c.Retired {
		if r.Set.GrantVersion == s.GrantVersion && r.Set.AccessVersion == s.AccessVersion {
			c.Retired = append(c.Retired[:i:i], c.Retired[i+1:]...)
			break
		}
	}
	return nil
}
