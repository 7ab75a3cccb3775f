package local

import (
	"context"
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
		at, id, err := connection.ParseCursor(after)
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

// orNull is the stamp, or NULL for the zero time.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return connection.Stamp(t)
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
