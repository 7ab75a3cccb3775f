package bridge

import (
	"context"
	"io"
)

// Start starts a server. The context bounds the starting, not the server's
// life.
type Start func(ctx context.Context) (Child, error)

// Child is a running MCP server that speaks JSON-RPC, one message a line.
type Child interface {
	// Write writes to the server's standard input. One goroutine at a time calls it,
	// or TryWrite.
	io.Writer
	// TryWrite writes as much as the server's standard input takes without waiting,
	// which may be nothing.
	TryWrite(p []byte) (int, error)
	// Await calls try, in this goroutine, at once and then each time that the
	// server's standard output may have more, until try reports true or there is
	// nothing to wait for any more, which is an error. The output must end soon after
	// the server does, even where the server left processes behind that keep the pipe
	// open. One goroutine calls it.
	Await(try func() bool) error
	// TryRead reads what is there of the server's standard output, which may be
	// nothing: 0 and no error. At its end it returns [io.EOF]. One goroutine at a time
	// calls it, which may be another one than waits in Await.
	TryRead(p []byte) (int, error)
	// CloseOutput gives standard output up.
	CloseOutput()
	// Noise takes a line of standard output that is no message, for [Tail].
	Noise(line []byte)
	// Tail is the end of what the server printed, without secrets, for a person.
	Tail() string
	// Stop ends the server and everything that it started, waits until they
	// are gone, and says how the server ended: nil for exit status 0. Calling
	// it again waits and answers the same.
	Stop() error
}
