package local

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// selection is a list being asked for: the rows of one table, or of a join with
// arguments of its own, in the order of their time and id.
type selection struct {
	table, time string
	newestFirst bool
	conditions  string
	args        []any
}

func (s *selection) where(condition string, args ...any) {
	if s.conditions != "" {
		s.conditions += " AND "
	}
	s.conditions += condition
	s.args = append(s.args, args...)
}

// whereSet adds the condition unless its value is empty.
func (s *selection) whereSet(condition, value string) {
	if value != "" {
		s.where(condition, value)
	}
}

// page calls add with at most limit documents after the cursor; add returns
// the cursor of the document. It returns the next page's cursor.
func (s *selection) page(ctx context.Context, q queryer, after string, limit int, add func(doc []byte) (string, error)) (string, error) {
	order, compare := "ASC", ">"
	if s.newestFirst {
		order, compare = "DESC", "<"
	}
	if after != "" {
		at, id, err := parseCursor(after)
		if err != nil {
			return "", err
		}
		s.where(fmt.Sprintf("(%s, id) %s (?, ?)", s.time, compare), at, id)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	query := fmt.Sprintf("SELECT doc FROM %s WHERE %s ORDER BY %s %s, id %s LIMIT ?",
		s.table, s.conditions, s.time, order, order)
	var last, next string
	n := 0
	err := each(ctx, q, func(doc []byte) (err error) {
		if n++; n > limit {
			next = last // one more row than asked for: there is a next page
			return nil
		}
		last, err = add(doc)
		return err
	}, query, append(s.args, limit+1)...)
	return next, err
}

// stamp writes a time so that the order of the strings is the order of times.
func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

const stampLayout = "2006-01-02T15:04:05.000000000Z"

// orNull is the stamp, or NULL for the zero time.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// cursor names the place of a row in a list ordered by time and id. Because it
// names the row and not its number, rows that come meanwhile shift nothing.
func cursor(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(stamp(at) + id))
}

// parseCursor returns the time and the id of a cursor.
func parseCursor(s string) (at, id string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < len(stampLayout) {
		return "", "", connection.ErrCursor
	}
	at, id = string(b[:len(stampLayout)]), string(b[len(stampLayout):])
	if _, err := time.Parse(stampLayout, at); err != nil {
		return "", "", connection.ErrCursor
	}
	return at, id, nil
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
