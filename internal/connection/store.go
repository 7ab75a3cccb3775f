package connection

import (
	"context"
	"slices"
	"time"
)

// Filter selects connections of one tenant; an empty field selects all.
type Filter struct {
	UserID, Server, Provider string
	// Subjects selects the connections with a grant, in force or proposed, of
	// one of these accounts; "" is an account that the provider did not name.
	Subjects []string
}

// Matches reports whether the filter selects c.
func (f Filter) Matches(c Connection) bool {
	return (f.UserID == "" || f.UserID == c.UserID) &&
		(f.Server == "" || f.Server == c.Server) &&
		(f.Provider == "" || f.Provider == c.Provider) &&
		(len(f.Subjects) == 0 ||
			c.InUse() && slices.Contains(f.Subjects, c.Account.Subject) ||
			c.Proposal != nil && slices.Contains(f.Subjects, c.Proposal.Granted.Account.Subject))
}

// Page is a slice of a list: at most Limit rows after Cursor, which is opaque.
// Limit 0 leaves the length to the store.
type Page struct {
	Cursor string
	Limit  int
}

// Store keeps connections. Every write is durable when it returns, and every
// read sees every write that returned before it began. Any call may also fail
// with [ErrUnavailable].
type Store interface {
	// Create adds a connection; ErrExists if its key is taken.
	Create(ctx context.Context, c Connection) error
	// Get returns ErrNotFound for a key that is not there.
	Get(ctx context.Context, k Key) (Connection, error)
	// Update applies change to the row as it is, atomically: no other write
	// comes between what change saw and what is stored. It may call change
	// several times, each time on a fresh copy. An error from change is
	// returned as it is and leaves the row alone. Update increments Revision,
	// and keeps the key whatever change does; ErrNotFound as Get. A change
	// function must not call the store.
	Update(ctx context.Context, k Key, change func(*Connection) error) (Connection, error)
	// UpdateFrom is Update for a caller who has just read or written the row:
	// change may first be called on seen, as it was returned by this store, and
	// what it makes is stored if nobody has written since; an error of change may
	// be about seen. It saves a read.
	UpdateFrom(ctx context.Context, seen Connection, change func(*Connection) error) (Connection, error)
	// Delete removes the row if check, called on the row as it is, returns
	// nil; atomic like Update. ErrNotFound if it is not there.
	Delete(ctx context.Context, k Key, check func(Connection) error) error
	// List returns a page in the order of CreatedAt, then ID, oldest first,
	// and the cursor of the next page, empty at the end. Rows that come or go
	// between two pages neither hide nor repeat another.
	List(ctx context.Context, tenant string, f Filter, p Page) ([]Connection, string, error)
	// Due returns up to limit keys of any tenant whose AttentionAt is not
	// zero and not after now, the earliest first. Unlike the other reads it may
	// lag behind the rows by seconds: its caller looks at each row again.
	Due(ctx context.Context, now time.Time, limit int) ([]Key, error)
}
