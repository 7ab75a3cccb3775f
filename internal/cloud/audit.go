package cloud

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Audit is the audit of a [Table]. A line is one item of its own, and no index
// has it once more: every use of a secret writes one, so that its price is
// that of the whole. It lies in the month that it was written in, spread over
// shards by its connection: a list reads the months backwards.
type Audit struct{ t *Table }

var _ vault.Audit = (*Audit)(nil)

// Audit returns the audit.
func (t *Table) Audit() *Audit { return &Audit{t} }

// auditShards spreads a tenant's lines: a partition takes 1,000 writes a second.
const auditShards = 16

func auditShard(connection string) int {
	h := fnv.New32a()
	h.Write([]byte(connection))
	return int(h.Sum32() % auditShards)
}

func auditPK(tenant string, month time.Time, shard int) string {
	return join("AUD", tenant, month.UTC().Format("2006-01"), fmt.Sprint(shard))
}

// Append implements [vault.Audit].
func (a *Audit) Append(ctx context.Context, l vault.Line) error {
	it := document(auditPK(l.Tenant, l.At, auditShard(l.Connection)), join(connection.Stamp(l.At), l.ID), l)
	it["connection_id"], it["user_id"] = text(l.Connection), text(l.UserID)
	it["ttl"] = number(l.At.AddDate(0, 0, a.t.AuditDays).Unix())
	err := a.t.insert(ctx, it)
	if _, ok := refusal(err); ok {
		return fmt.Errorf("there is an audit line %s already", l.ID)
	}
	return err
}

// List returns a page of lines, the newest first, and the cursor of the next
// page, empty at the end.
func (a *Audit) List(ctx context.Context, tenant string, f struct{ Connection, User string }, after string, limit int) ([]vault.Line, string, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	before, month := "", monthOf(a.t.Now())
	if after != "" {
		stamp, id, err := connection.ParseCursor(after)
		if err != nil {
			return nil, "", err
		}
		last, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return nil, "", connection.ErrCursor
		}
		before, month = join(stamp, id), monthOf(last)
	} else {
		month = month.AddDate(0, 1, 0) // clocks differ
	}
	oldest := monthOf(a.t.Now().AddDate(0, 0, -a.t.AuditDays))
	var found []vault.Line
	for ; len(found) <= limit && !month.Before(oldest); month = month.AddDate(0, -1, 0) {
		lines, err := a.month(ctx, tenant, month, f, before, limit+1)
		if err != nil {
			return nil, "", err
		}
		found = append(found, lines...)
	}
	if len(found) <= limit {
		return found, "", nil
	}
	last := found[limit-1]
	return found[:limit], connection.Cursor(last.At, last.ID), nil
}

func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// month returns at most n lines of one month that come before the given one,
// the newest first.
func (a *Audit) month(ctx context.Context, tenant string, month time.Time, f struct{ Connection, User string }, before string, n int) ([]vault.Line, error) {
	filter := condition{values: item{}}
	var filters []string
	shards := make([]int, auditShards)
	for i := range shards {
		shards[i] = i
	}
	if f.Connection != "" {
		filters, filter.values[":connection"] = append(filters, "connection_id = :connection"), text(f.Connection)
		shards = []int{auditShard(f.Connection)}
	}
	if f.User != "" {
		filters, filter.values[":user"] = append(filters, "user_id = :user"), text(f.User)
	}
	filter.expression = strings.Join(filters, " AND ")
	lines := make([][]vault.Line, auditShards)
	group, ctx := errgroup.WithContext(ctx)
	for _, shard := range shards {
		group.Go(func() error {
			q := query{pk: auditPK(tenant, month, shard), after: before, backwards: true, filter: filter}
			return a.t.query(ctx, q, func(it item) (bool, error) {
				var l vault.Line
				err := decode(it, &l, errNoLine)
				lines[shard] = append(lines[shard], l)
				return len(lines[shard]) < n, err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(lines...)
	rank := func(l vault.Line) string { return connection.Stamp(l.At) + l.ID }
	slices.SortFunc(all, func(x, y vault.Line) int { return strings.Compare(rank(y), rank(x)) })
	return all[:min(n, len(all))], nil
}

// errNoLine: an item of the audit holds none.
var errNoLine = errors.New("an audit item without its line")
