package cloud

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// dueKey writes a time so that the order of the keys is that of times, to the
// nanosecond, in 13 characters. They come after those of rows that were written
// when keys began with the year: those are due at once, and get a new one.
func dueKey(at time.Time) string {
	first, last := time.Unix(0, 0), time.Unix(0, math.MaxInt64) // 2262
	switch {
	case at.Before(first):
		at = first
	case at.After(last):
		at = last
	}
	return strconv.FormatUint(uint64(at.UnixNano())|1<<63, 32)
}

// dueRow is an entry of the index.
type dueRow struct {
	at, pk string
}

// Due implements [connection.Store], from an index that may lag behind the
// rows. Each shard is asked for its part of what is wanted, and again only if
// it may still have some of the earliest.
func (t *Table) Due(ctx context.Context, now time.Time, limit int) ([]connection.Key, error) {
	if limit <= 0 {
		return nil, nil
	}
	shards := make([]dueShard, dueShards)
	var all []dueRow
	for again := true; again; {
		group, ctx := errgroup.WithContext(ctx)
		for n := range shards {
			if s := &shards[n]; s.wanted(all, limit) {
				group.Go(func() error { return t.moreDue(ctx, fmt.Sprint(n), s, now, limit/dueShards+1) })
			}
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		all, again = nil, false
		for _, s := range shards {
			all = append(all, s.rows...)
		}
		slices.SortFunc(all, func(a, b dueRow) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.pk, b.pk)) })
		all = all[:min(limit, len(all))]
		for _, s := range shards {
			again = again || s.wanted(all, limit)
		}
	}
	var out []connection.Key
	for _, due := range all {
		k, err := keyOf(at(due.pk, only))
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// dueShard is what was read of a shard of the index, the earliest first.
type dueShard struct {
	rows []dueRow
	next item // where to go on
	end  bool
}

// wanted reports whether the rest of the shard may hold some of the earliest
// entries, of which those are known that all the shards have read.
func (s *dueShard) wanted(all []dueRow, limit int) bool {
	return !s.end && (len(s.rows) == 0 || len(all) < limit || s.rows[len(s.rows)-1].at <= all[len(all)-1].at)
}

// moreDue reads at least n more entries of a shard, if it has them.
func (t *Table) moreDue(ctx context.Context, name string, s *dueShard, now time.Time, n int) error {
	in := &dynamodb.QueryInput{
		TableName: &t.Name, IndexName: aws.String(dueIndex), ExclusiveStartKey: s.next, Limit: aws.Int32(int32(min(n, 10_000))),
		KeyConditionExpression:    aws.String("due_shard = :shard AND due_at <= :now"),
		ExpressionAttributeValues: item{":shard": text(name), ":now": text(dueKey(now))},
	}
	for n > 0 && !s.end {
		page, err := t.API.Query(ctx, in)
		if err != nil {
			return failed(err)
		}
		for _, it := range page.Items {
			s.rows = append(s.rows, dueRow{textOf(it, "due_at"), textOf(it, "pk")})
		}
		n -= len(page.Items)
		s.next, s.end = page.LastEvaluatedKey, len(page.LastEvaluatedKey) == 0
		in.ExclusiveStartKey = s.next
	}
	return nil
}
