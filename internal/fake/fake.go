// Package fake keeps everything in memory, for unit tests: the same contracts
// as the real stores, proved by the same suites, and as strict.
//
// Records are kept as the JSON that a database would hold. What goes in and
// what comes out is therefore always a copy, and a field that does not survive
// JSON is missed in a unit test already.
package fake

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Store implements connection.Store, flow.Store, signin.Store, host.Store,
// host.Pool, host.Catalogues, refresh.Gates and discover.Registrations; see also
// [Store.Grants], [Store.Slots], [Store.Audit], [Store.AuthServer] and [NewKeys].
// Make one with [New].
type Store struct {
	mu sync.Mutex

	connections map[connection.Key][]byte
	revisions   map[connection.Key]int64 // of connections

	links, sessions, flows, states map[string][]byte
	spent                          map[string]bool // states that were taken
	deletedLinks                   map[string]bool
	attempts                       map[string][]byte // nil: taken

	grants map[connection.Key]map[string][]byte
	slots  map[connection.Key]map[string]slot
	lines  []vault.Line
	// lineIDs are those of lines.
	lineIDs map[string]bool

	tasks       map[string][]byte
	taskOf      map[connection.Key]string
	generations map[connection.Key]int64
	warm        map[string]host.Warm
	tokens      map[string]host.MCPToken
	// deletedTokens holds the ids and the hashes of those that were deleted.
	deletedTokens map[string]bool
	gates         map[string][]byte
	catalogues    map[connection.Key][]byte
	registrations map[[2]string][]byte // by tenant and issuer

	authServer *AuthServer
}

// New returns an empty store.
func New() *Store {
	return &Store{
		connections: map[connection.Key][]byte{},
		revisions:   map[connection.Key]int64{},
		links:       map[string][]byte{},
		sessions:    map[string][]byte{},
		flows:       map[string][]byte{},
		states:      map[string][]byte{},
		spent:       map[string]bool{},
		grants:      map[connection.Key]map[string][]byte{},
		lineIDs:     map[string]bool{},
		slots:       map[connection.Key]map[string]slot{},
		tasks:       map[string][]byte{},
		taskOf:      map[connection.Key]string{},
		generations: map[connection.Key]int64{},
		warm:        map[string]host.Warm{},
		tokens:      map[string]host.MCPToken{},

		deletedLinks:  map[string]bool{},
		attempts:      map[string][]byte{},
		deletedTokens: map[string]bool{},
		gates:         map[string][]byte{},
		catalogues:    map[connection.Key][]byte{},
		registrations: map[[2]string][]byte{},

		authServer: newAuthServer(),
	}
}

// document is the stored form of a record. The records are plain data, which
// json.Marshal never refuses.
func document(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	return b
}

// decode reads a document, or returns absent if there is none.
func decode(doc []byte, record any, absent error) error {
	if doc == nil {
		return absent
	}
	return json.Unmarshal(doc, record)
}

// stamp writes a time so that the order of the strings is the order of times.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// page is the part of a list that follows the cursor: the index of its first
// row and of its end, and the next cursor. Each row has a rank, by which the
// list is ordered: ascending, or descending when sign is -1.
func page(ranks []string, sign int, after string, limit int) (from, to int, next string, err error) {
	if after != "" {
		rank, err := hex.DecodeString(after)
		if err != nil {
			return 0, 0, "", connection.ErrCursor
		}
		for from < len(ranks) && sign*strings.Compare(ranks[from], string(rank)) <= 0 {
			from++
		}
	}
	if limit <= 0 {
		limit = 100
	}
	to = min(from+limit, len(ranks))
	if to < len(ranks) {
		next = hex.EncodeToString([]byte(ranks[to-1]))
	}
	return from, to, next, nil
}
