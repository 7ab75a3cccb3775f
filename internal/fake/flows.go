package fake

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
)

var _ flow.Store = (*Store)(nil)

// put adds a record to one of the maps.
func put(in map[string][]byte, key string, record any) error {
	if in[key] != nil {
		return flow.ErrExists
	}
	in[key] = document(record)
	return nil
}

// linkKey cannot be confused: no id holds a zero byte.
func linkKey(tenant, id string) string { return tenant + "\x00" + id }

// PutLink implements [flow.Store].
func (s *Store) PutLink(_ context.Context, l flow.Link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deletedLinks[linkKey(l.Tenant, l.ID)] {
		return flow.ErrExists
	}
	return put(s.links, linkKey(l.Tenant, l.ID), l)
}

// GetLink implements [flow.Store].
func (s *Store) GetLink(_ context.Context, tenant, id string) (flow.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link(tenant, id)
}

func (s *Store) link(tenant, id string) (flow.Link, error) {
	var l flow.Link
	err := decode(s.links[linkKey(tenant, id)], &l, flow.ErrLinkUnknown)
	return l, err
}

// ClaimLink implements [flow.Store].
func (s *Store) ClaimLink(_ context.Context, tenant, id, browser string, now time.Time) (flow.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.link(tenant, id)
	switch {
	case err != nil:
		return flow.Link{}, err
	case !now.Before(l.ExpiresAt):
		return flow.Link{}, flow.ErrLinkExpired
	case l.Browser != "" && l.Browser != browser:
		return flow.Link{}, flow.ErrLinkClaimed
	}
	l.Browser = browser
	s.links[linkKey(tenant, id)] = document(l)
	return l, nil
}

// DeleteLink implements [flow.Store].
func (s *Store) DeleteLink(_ context.Context, tenant, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.link(tenant, id); err != nil {
		return err
	}
	s.deleteLink(tenant, id)
	return s.deleteSessions(func(v flow.Session) bool { return v.Tenant == tenant && v.LinkID == id })
}

func (s *Store) deleteLink(tenant, id string) {
	delete(s.links, linkKey(tenant, id))
	s.deletedLinks[linkKey(tenant, id)] = true
}

func (s *Store) deleteSessions(which func(flow.Session) bool) error {
	for hash := range s.sessions {
		v, err := s.session(hash)
		if err != nil {
			return err
		}
		if which(v) {
			delete(s.sessions, hash)
		}
	}
	return nil
}

// DeleteUser implements [flow.Store].
func (s *Store) DeleteUser(_ context.Context, tenant, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, doc := range s.links {
		var l flow.Link
		if err := decode(doc, &l, flow.ErrLinkUnknown); err != nil {
			return err
		}
		if l.Tenant == tenant && l.UserID == user {
			s.deleteLink(tenant, l.ID)
		}
	}
	return s.deleteSessions(func(v flow.Session) bool { return v.Tenant == tenant && v.UserID == user })
}

// PutSession implements [flow.Store].
func (s *Store) PutSession(_ context.Context, v flow.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.LinkID != "" {
		if _, err := s.link(v.Tenant, v.LinkID); err != nil {
			return err
		}
	}
	return put(s.sessions, v.Hash, v)
}

// GetSession implements [flow.Store].
func (s *Store) GetSession(_ context.Context, hash string) (flow.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session(hash)
}

// DeleteSession implements [flow.Store].
func (s *Store) DeleteSession(_ context.Context, hash string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, hash)
	return nil
}

func (s *Store) session(hash string) (flow.Session, error) {
	var v flow.Session
	err := decode(s.sessions[hash], &v, flow.ErrNoSession)
	return v, err
}

// PutFlow implements [flow.Store].
func (s *Store) PutFlow(_ context.Context, f flow.Flow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return put(s.flows, f.ID, f)
}

// GetFlow implements [flow.Store].
func (s *Store) GetFlow(_ context.Context, id string) (flow.Flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flow(id)
}

func (s *Store) flow(id string) (flow.Flow, error) {
	var f flow.Flow
	err := decode(s.flows[id], &f, flow.ErrFlowUnknown)
	return f, err
}

// UpdateFlow implements [flow.Store].
func (s *Store) UpdateFlow(_ context.Context, f flow.Flow) (flow.Flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.flow(f.ID)
	if err != nil {
		return flow.Flow{}, err
	}
	if stored.Revision != f.Revision {
		return flow.Flow{}, flow.ErrChanged
	}
	f.Revision++
	s.flows[f.ID] = document(f)
	return s.flow(f.ID)
}

// PutState implements [flow.Store]. A state that was taken cannot be put again.
func (s *Store) PutState(_ context.Context, v flow.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spent[v.Hash] {
		return flow.ErrExists
	}
	return put(s.states, v.Hash, v)
}

// TakeState implements [flow.Store].
func (s *Store) TakeState(_ context.Context, hash, browser string, now time.Time) (flow.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spent[hash] {
		return flow.State{}, flow.ErrStateUsed
	}
	var v flow.State
	err := decode(s.states[hash], &v, flow.ErrStateUnknown)
	switch {
	case err != nil:
		return flow.State{}, err
	case v.Browser != browser:
		return flow.State{}, flow.ErrStateBrowser
	case !now.Before(v.ExpiresAt):
		return flow.State{}, flow.ErrStateExpired
	}
	delete(s.states, hash)
	s.spent[hash] = true
	return v, nil
}
