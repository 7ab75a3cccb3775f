package runner

import (
	"bytes"
	"encoding/json"
)

// hintBytes is the longest answer in which a hint is looked for: an error is
// short, and a long document may well speak of invalid grants.
const hintBytes = 64 << 10

// hint finds the texts by which a server tells that it was refused, in the
// form that they have inside a JSON string.
type hint struct{ texts [][]byte }

// newHint returns nil if there is nothing to look for.
func newHint(texts []string) *hint {
	h := &hint{}
	for _, t := range texts {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if t != "" && enc.Encode(t) == nil {
			h.texts = append(h.texts, buf.Bytes()[1:buf.Len()-2]) // without the quotes and the line's end
		}
	}
	if len(h.texts) == 0 {
		return nil
	}
	return h
}

func (h *hint) in(raw []byte) bool {
	if len(raw) > hintBytes {
		return false
	}
	for _, t := range h.texts {
		if bytes.Contains(raw, t) {
			return true
		}
	}
	return false
}
