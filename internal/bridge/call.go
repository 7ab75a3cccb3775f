package bridge

import "github.com/lanyardhq/lanyard/internal/mcp"

// call is one request on its way to the server and back.
type call struct {
	session *session
	// id and token are the client's own, raw; token is nil if there is none.
	id, token []byte
	number    uint64
	process   *process
	// done gets the answer, once.
	done chan answer
	// begin is [Config.Begin] for a call that may be sent again, and again what
	// it said of this one.
	begin func(Child) Again
	again Again
	// side holds what must reach the client before the answer; nil when nothing
	// can or when the client takes no event stream.
	side *mailbox
	// level is the least level of the log messages that a modern client wants to
	// see of its call, counted from 1; 0: none.
	level int
	// endless: it is a subscription. heard gets word when it is acknowledged, and
	// over is called when the server answers it.
	endless bool
	heard   chan struct{}
	over    func(*call)
	// questions are what the server asks the client of a modern call; nil if it
	// cannot be asked.
	questions *questions
}

// answer is the server's response or the reason why there is none.
type answer struct {
	msg mcp.Message
	err error
	// note is for the person, beside an error of the server's.
	note string
	// server is the raw serverInfo of who answered.
	server []byte
}
