package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// errSave means that the data file could not be written; nothing changed.
var errSave = errors.New("the demo provider could not save its data")

// store is the state, in memory and in its file.
type store struct {
	path string // empty: memory only

	mu    sync.Mutex
	state state
}

func openStore(path string, now time.Time) (*store, error) {
	s := &store{path: path, state: newState(now)}
	if path == "" {
		return s, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// Written at once: a directory that cannot be written to should fail
		// at the start, not in the middle of a first connection.
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("%w: %w", errSave, err)
		}
		return s, s.save(s.state)
	}
	if err != nil {
		return nil, fmt.Errorf("read the demo provider's data: %w", err)
	}
	loaded := emptyState()
	if err := json.Unmarshal(data, &loaded); err != nil {
		return nil, fmt.Errorf("the demo provider's data in %s is damaged (%w): move the file away to start afresh", path, err)
	}
	if loaded.Version != 1 {
		return nil, fmt.Errorf("the demo provider's data in %s has format %d, not 1: move the file away to start afresh", path, loaded.Version)
	}
	s.state = loaded
	return s, nil
}

// view reads the state, which fn must neither keep nor change.
func (s *store) view(fn func(state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.state)
}

// change lets fn change a copy of the state and, when fn reports that it did,
// makes that copy durable and then current. Changes happen one at a time. On
// an error, which wraps [errSave], nothing has changed.
func (s *store) change(now time.Time, fn func(*state) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state.clone()
	if !fn(&next) {
		return nil
	}
	next.prune(now)
	if err := s.save(next); err != nil {
		return err
	}
	s.state = next
	return nil
}

func (s *store) save(next state) error {
	if s.path == "" {
		return nil
	}
	data, err := json.Marshal(next)
	if err == nil {
		err = replaceFile(s.path, data)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errSave, err)
	}
	return nil
}

// replaceFile makes path hold data, or leaves it alone: the bytes are on disk
// under another name before the rename, and the rename is before the return.
func replaceFile(path string, data []byte) error {
	temp := path + ".new"
	if err := writeSynced(temp, data); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
}
