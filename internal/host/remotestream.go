package host

import (
	"bytes"
	"io"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// answered ends a remote server's stream of events after the answer to the one
// request that it was opened for. Streamable HTTP has servers end it then; one
// that does not would hold a function of ours for as long as it likes.
type answered struct {
	io.ReadCloser
	// line is what was read of the line that has not ended, data that of the event.
	line, data []byte
	over       bool
}

// Read implements [io.Reader].
func (a *answered) Read(p []byte) (int, error) {
	if a.over {
		return 0, io.EOF
	}
	n, err := a.ReadCloser.Read(p)
	for at := 0; at < n; {
		end := bytes.IndexByte(p[at:n], '\n')
		if end < 0 {
			a.line = a.keep(a.line, p[at:n])
			break
		}
		a.line = a.keep(a.line, p[at:at+end])
		at += end + 1
		if a.ends() {
			a.over = true
			return at, nil
		}
	}
	return n, err
}

// keep appends, unless what is kept would be more than any answer.
func (a *answered) keep(to, more []byte) []byte {
	if len(to)+len(more) > maxRemoteAnswer {
		return to
	}
	return append(to, more...)
}

// ends takes the line, and reports whether it ends the event that is the answer.
func (a *answered) ends() bool {
	line := bytes.TrimSuffix(a.line, []byte("\r"))
	a.line = a.line[:0]
	if text, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		a.data = append(a.keep(a.data, text), '\n')
		return false
	}
	if len(line) > 0 || len(a.data) == 0 {
		return false
	}
	m, err := mcp.Parse(a.data)
	a.data = a.data[:0]
	return err == nil && m.Response()
}
