package connection

import (
	"encoding/base64"
	"time"
)

// stampLayout is of one length, so that the order of the strings is the order
// of the times.
const stampLayout = "2006-01-02T15:04:05.000000000Z"

// Stamp writes a time so that the order of the strings is the order of times.
func Stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// Cursor names the place of a row in a list ordered by time and id. Because it
// names the row and not its number, rows that come meanwhile shift nothing.
func Cursor(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(Stamp(at) + id))
}

// ParseCursor returns the stamp and the id that a cursor was made of, or
// [ErrCursor].
func ParseCursor(s string) (at, id string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < len(stampLayout) {
		return "", "", ErrCursor
	}
	at, id = string(b[:len(stampLayout)]), string(b[len(stampLayout):])
	if _, err := time.Parse(stampLayout, at); err != nil {
		return "", "", ErrCursor
	}
	return at, id, nil
}
