package host

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// ErrNoSession: the id of a session is not one that was made for this
// connection, or is too old. Its client initializes again.
var ErrNoSession = errors.New("the session has ended: send initialize again")

var errInitialize = errors.New("initialize needs params with a protocolVersion")

// sessionTTL is how long a session may be used.
const sessionTTL = 30 * 24 * time.Hour

// session is a client of the era that has sessions, as its server hears of it.
// Nothing of it is stored: the client keeps it, sealed, as its session's id.
type session struct {
	// inner is the id that the server's side knows.
	inner string
	// params are what the client said at initialize, as far as [compact] keeps
	// it: a JSON object.
	params []byte
}

// sealer is AES-256-GCM, with a nonce of 12 bytes before what it seals, under a key
// that is derived when it is first used. Each has a label of its own.
type sealer struct {
	once sync.Once
	aead cipher.AEAD
}

const (
	sessionVersion = 1
	innerSize      = 16
	madeSize       = 8
)

// sessionLabel and stateLabel tell the keys apart that are derived from one
// secret.
const (
	sessionLabel = "lanyard mcp session 1"
	stateLabel   = "lanyard mcp request state 1"
)

// with returns the cipher under the key of that label that is derived from
// secret.
func (s *sealer) with(secret []byte, label string) cipher.AEAD {
	s.once.Do(func() {
		key, err := hkdf.Key(sha256.New, secret, nil, label, 32)
		if err != nil {
			panic(err) // only for a length that SHA-256 does not give
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err)
		}
		if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
			panic(err)
		}
	})
	return s.aead
}

func sessionContext(k connection.Key, application string) []byte {
	to := fmt.Appendf([]byte{sessionVersion}, "%q %q", k.Tenant, k.ID)
	if application != "" {
		to = fmt.Appendf(to, " %q", application)
	}
	return to
}

// newSession begins a session for a client that sent these params of initialize.
func newSession(params []byte) (session, error) {
	kept, err := compact(params)
	if err != nil {
		return session{}, err
	}
	inner := make([]byte, innerSize)
	_, _ = rand.Read(inner) // never fails: it ends the program instead
	return session{base64.RawURLEncoding.EncodeToString(inner), kept}, nil
}

// sealSession makes the id by which the client of the connection brings the
// session with each request:
//
//	base64url( 1 | nonce, 12 bytes | AES-256-GCM of: made, 8 bytes | inner, 16 bytes | params )
//
// The first byte is the format's version. It, the tenant, the connection and, of
// a client that has signed in, its client_id are the additional data, so that an
// id is worth nothing at another connection or to another application. Signing
// in again, for more scopes say, does not end a session.
func (s *Service) sealSession(k connection.Key, application string, in session) string {
	inner, err := base64.RawURLEncoding.DecodeString(in.inner)
	if err != nil || len(inner) != innerSize {
		panic("host: the session was not made by newSession")
	}
	text := binary.BigEndian.AppendUint64(nil, uint64(s.Now().Unix()))
	text = append(append(text, inner...), in.params...)
	return base64.RawURLEncoding.EncodeToString(s.sessions.with(s.BearerKey, sessionLabel).Seal([]byte{sessionVersion}, nil, text, sessionContext(k, application)))
}

// openSession returns the session of an id, or ErrNoSession.
func (s *Service) openSession(k connection.Key, application, id string) (session, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(sealed) == 0 || sealed[0] != sessionVersion {
		return session{}, ErrNoSession
	}
	text, err := s.sessions.with(s.BearerKey, sessionLabel).Open(nil, nil, sealed[1:], sessionContext(k, application))
	if err != nil || len(text) < madeSize+innerSize {
		return session{}, ErrNoSession
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(text)), 0)
	if s.Now().Sub(made) > sessionTTL {
		return session{}, ErrNoSession
	}
	inner, params := text[madeSize:madeSize+innerSize], text[madeSize+innerSize:]
	return session{base64.RawURLEncoding.EncodeToString(inner), params}, nil
}

// Bounds of what a session keeps of its client's own words, in bytes. With them
// an id is at most 1.3 KB, of the 8 KB and more that servers and proxies take
// for all headers together.
const (
	maxRevision = 32
	maxName     = 128
	maxRelease  = 64
)

// capabilities are those of a client that servers know what to do with, as MCP
// 2025-11-25 has them (schema, ClientCapabilities). Experimental ones are not
// kept.
type capabilities struct {
	Roots *struct {
		ListChanged bool `json:"listChanged,omitempty"`
	} `json:"roots,omitempty"`
	Sampling *struct {
		Context *struct{} `json:"context,omitempty"`
		Tools   *struct{} `json:"tools,omitempty"`
	} `json:"sampling,omitempty"`
	Elicitation *struct {
		Form *struct{} `json:"form,omitempty"`
		URL  *struct{} `json:"url,omitempty"`
	} `json:"elicitation,omitempty"`
	Tasks *struct {
		List     *struct{} `json:"list,omitempty"`
		Cancel   *struct{} `json:"cancel,omitempty"`
		Requests *struct {
			Sampling *struct {
				CreateMessage *struct{} `json:"createMessage,omitempty"`
			} `json:"sampling,omitempty"`
			Elicitation *struct {
				Create *struct{} `json:"create,omitempty"`
			} `json:"elicitation,omitempty"`
		} `json:"requests,omitempty"`
	} `json:"tasks,omitempty"`
}

// compact is what a session keeps of the params of initialize: what is known,
// and of texts no more than their bounds. A part of another type than it must
// have is left out.
func compact(params []byte) ([]byte, error) {
	var p struct {
		ProtocolVersion string       `json:"protocolVersion"`
		Capabilities    capabilities `json:"capabilities"`
		ClientInfo      struct {
			Name    string `json:"name"`
			Title   string `json:"title,omitempty"`
			Version string `json:"version"`
		} `json:"clientInfo"`
	}
	var mistyped *json.UnmarshalTypeError
	if err := json.Unmarshal(params, &p); err != nil && !errors.As(err, &mistyped) {
		return nil, errInitialize
	}
	p.ProtocolVersion = clip(p.ProtocolVersion, maxRevision)
	if p.ProtocolVersion == "" {
		return nil, errInitialize
	}
	p.ClientInfo.Name, p.ClientInfo.Title = clip(p.ClientInfo.Name, maxName), clip(p.ClientInfo.Title, maxName)
	p.ClientInfo.Version = clip(p.ClientInfo.Version, maxRelease)
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // it would make six bytes of one
	if err := e.Encode(p); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// clip is s without what cannot be seen, and no longer than most bytes.
func clip(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '"' || r == '\\' || r == utf8.RuneError {
			return -1 // and what JSON would spell longer
		}
		return r
	}, s)
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// maxEnded is how many sessions that were ended are remembered.
const maxEnded = 10_000

// ended remembers which sessions their clients have ended: their ids would open
// as before. Where several processes serve one endpoint, another one does not
// know; nothing depends on it but that a client learns of its own mistake.
type ended struct {
	mu    sync.Mutex
	known map[string]bool
	order []string // oldest first
}

func (e *ended) add(inner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == nil {
		e.known = map[string]bool{}
	}
	if e.known[inner] {
		return
	}
	e.known[inner] = true
	if e.order = append(e.order, inner); len(e.order) > maxEnded {
		delete(e.known, e.order[0])
		e.order = e.order[1:]
	}
}

func (e *ended) has(inner string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known[inner]
}
