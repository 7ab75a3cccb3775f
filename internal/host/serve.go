package host

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

// maxRequest bounds a client's message, in bytes.
const maxRequest = 8 << 20

var (
	// ErrNoStream: the endpoint offers no stream for GET.
	ErrNoStream = errors.New("this endpoint offers no stream for GET")
	// ErrTooLong: the request took longer than it can be held here, so that nobody
	// knows what became of it.
	ErrTooLong = errors.New("the request took longer than it can be held here")
	// errCancelled ends a request that its client has cancelled: it gets no answer.
	errCancelled = errors.New("cancelled by the client")
)

// Visit is a request of an MCP client that has shown its bearer.
type Visit struct {
	Connection connection.Connection
	// Holder is the client, and its person.
	Holder
	// Refused is why the connection cannot be used now; nil: it can. What its
	// server offers is said all the same, so that the client shows it.
	Refused error
	// Say puts an error into words for the person, and names it for programs.
	Say func(error) (text, code string)
	// Deny answers in the words of HTTP a request that is none of MCP's.
	Deny func(http.ResponseWriter, error)
	// Challenge is what WWW-Authenticate says at this endpoint (RFC 6750 §3.1);
	// nil: clients cannot sign in.
	Challenge func(code, description string, scopes []string) string
}

// exchange is one request and the answer to it.
type exchange struct {
	Visit
	service *Service
	r       *http.Request
	reply
	m mcp.Message
	// version is the revision that a request of the modern era names; empty: it is
	// of the era that has sessions, and of this one.
	version string
	session *session
	// asked is what the client's person was asked before by this very request, and
	// accepted that they went there. appearing is the connection of a server of which
	// there was none.
	asked     claims
	accepted  bool
	appearing func(context.Context) (connection.Connection, error)
}

// Serve is the MCP endpoint of a connection, in both eras of Streamable HTTP.
// What the connection's server says of itself is answered from its catalogue;
// whatever else needs the server waits for it, and has it started.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request, v Visit) {
	x := &exchange{service: s, Visit: v, r: r, reply: reply{w: w, streams: mcp.AcceptsStream(r)}}
	switch r.Method {
	case http.MethodPost:
		x.post()
	case http.MethodGet:
		x.listen()
	case http.MethodDelete:
		x.end()
	default:
		w.Header().Set("Allow", "POST, GET, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (x *exchange) post() {
	if !x.read() || !x.belongs() {
		return
	}
	switch {
	case !x.m.Request():
		x.note()
	case x.m.Method == "ping" && x.version == "":
		x.finish(http.StatusOK, mcp.Reply(x.id(), []byte(`{}`)))
	case x.version != "" && mcp.Past(x.m.Method):
		x.finish(http.StatusNotFound, mcp.Failure(x.id(), mcp.CodeNoMethod, x.m.Method+" is no method of "+mcp.Modern))
	case x.m.Method == "tools/list" && !x.Connection.Tools.All():
		x.listOffered()
	case x.m.Method == "tools/call" && !x.Connection.Tools.All() && x.withholds():
	case x.m.Method == "initialize", x.m.Method == "server/discover", listed(x.m.Method):
		x.offer()
	case x.m.Method == "subscriptions/listen" && x.version != "":
		x.subscribe()
	default:
		x.call()
	}
}

// id is the request's, raw; nil if it has none.
func (x *exchange) id() []byte {
	if !x.m.ID.Present() {
		return nil
	}
	return x.m.Bytes(x.m.ID)
}

// read reads the message, or answers why it cannot be one.
func (x *exchange) read() bool {
	if kind, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type")); kind != "application/json" {
		x.finish(http.StatusUnsupportedMediaType, mcp.Failure(nil, mcp.CodeInvalid, "the body must be application/json"))
		return false
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxRequest))
	if err != nil {
		x.Deny(x.w, err)
		return false
	}
	m, no := mcp.Read(body)
	if no == nil && m.Method != "" && !m.ID.Present() && !strings.HasPrefix(m.Method, "notifications/") {
		// Servers that act upon it all the same would do what nobody has looked at.
		no = &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeInvalid, Text: "a request needs an id"}
	}
	if no != nil {
		x.finish(no.Status, no.Answer(nil))
		return false
	}
	x.m = m
	if x.version, err = m.Version(); err != nil {
		x.finish(http.StatusBadRequest, mcp.Failure(x.id(), mcp.CodeInvalid, err.Error()))
		return false
	}
	if no := mcp.Check(x.r.Header, m, x.version); no != nil {
		x.finish(no.Status, no.Answer(x.id()))
		return false
	}
	return true
}

// belongs finds the session that a request of its era belongs to, or begins
// one, or answers why there is none.
func (x *exchange) belongs() bool {
	if x.version != "" || x.modern() {
		return true
	}
	if x.m.Request() && x.m.Method == "initialize" {
		in, err := newSession(x.m.Bytes(x.m.Params))
		if err != nil {
			x.finish(http.StatusBadRequest, mcp.Failure(x.id(), mcp.CodeParams, err.Error()))
			return false
		}
		x.session = &in
		x.w.Header().Set(mcp.SessionHeader, x.service.sealSession(x.Connection.Key, x.Application, in))
		return true
	}
	return x.resumes()
}

// modern reports whether the request says by its header that it is of the
// modern era, in which messages other than requests say so nowhere else.
func (x *exchange) modern() bool { return x.r.Header.Get(mcp.VersionHeader) == mcp.Modern }

// resumes opens the session of the request, or answers why it cannot.
func (x *exchange) resumes() bool {
	if !mcp.IsLegacy(x.r.Header.Get(mcp.VersionHeader)) {
		x.finish(http.StatusBadRequest, mcp.Failure(x.id(), mcp.CodeInvalid, "the protocol version in the "+mcp.VersionHeader+" header is not supported"))
		return false
	}
	id := x.r.Header.Get(mcp.SessionHeader)
	if id == "" {
		x.finish(http.StatusBadRequest, mcp.Failure(x.id(), mcp.CodeInvalid, "the "+mcp.SessionHeader+" header is missing: send initialize first"))
		return false
	}
	in, err := x.service.openSession(x.Connection.Key, x.Application, id)
	if err == nil && x.service.departed.has(in.inner) {
		err = ErrNoSession
	}
	if err != nil {
		x.finish(http.StatusNotFound, mcp.Failure(x.id(), mcp.CodeServer, err.Error()))
		return false
	}
	x.session = &in
	return true
}

// fail answers with an error.
func (x *exchange) fail(err error) {
	text, code := x.Say(err)
	x.finish(http.StatusOK, (&mcp.Refusal{Code: mcp.CodeServer, Text: text, Data: map[string]string{"error": code}}).Answer(x.id()))
}

// noteTimeout bounds what is passed on that nobody waits for.
const noteTimeout = 10 * time.Second

// note passes on a notification, or a client's answer to what its server asked.
// Neither is a reason to start a server: one that does not run has asked nothing
// and does nothing that could be cancelled.
func (x *exchange) note() {
	if x.m.Method == "notifications/cancelled" {
		x.cancelPending()
	}
	// Of initialize, the server hears when it is started.
	if x.m.Method != "notifications/initialized" {
		x.tell(http.MethodPost)
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// tell passes on what needs no answer, to a server that runs.
func (x *exchange) tell(method string) {
	if x.Refused != nil {
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), noteTimeout)
	defer cancel()
	if resp, err := x.send(ctx, x.service.asItIs(x.Connection), method); err == nil {
		resp.Body.Close()
	}
}

// end ends a session, here and at a server that runs.
func (x *exchange) end() {
	if x.modern() {
		x.Deny(x.w, ErrNoStream)
		return
	}
	if !x.resumes() {
		return
	}
	x.tell(http.MethodDelete)
	x.service.departed.add(x.session.inner)
	x.w.WriteHeader(http.StatusNoContent)
}
