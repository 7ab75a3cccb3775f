package scale

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The index.
const (
	dueIndex, dueShard, dueAt = "due", "due_shard", "due_at"
	// coarse is how many characters of a due_at, nanoseconds in base 32, name
	// half a minute: what is due together is kept together.
	coarse = 6
)

// index is the index "due": by shard, then by the beginning of due_at, the
// entries.
type index struct {
	mu     sync.Mutex
	shards map[string]map[string]map[entry]struct{}
}

// entry is an item's place in a shard, and whose it is.
type entry struct{ at, pk, sk string }

func (e entry) compare(o entry) int {
	return cmp.Or(strings.Compare(e.at, o.at), strings.Compare(e.pk, o.pk), strings.Compare(e.sk, o.sk))
}

func begin(at string) string { return at[:min(coarse, len(at))] }

// entryOf is where the index has an item; false: nowhere.
func entryOf(it item) (shard string, e entry, ok bool) {
	e.pk, e.sk = keyOf(it)
	shard, e.at = textOf(it, dueShard), textOf(it, dueAt)
	return shard, e, shard != "" && e.at != ""
}

// change brings the index up to date and returns what that costs.
func (x *index) change(before, after item) (units float64) {
	wasIn, was, there := entryOf(before)
	isIn, is, stays := entryOf(after)
	if wasIn == isIn && was.at == is.at {
		return 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if there {
		entries := x.shards[wasIn][begin(was.at)]
		if delete(entries, was); len(entries) == 0 {
			delete(x.shards[wasIn], begin(was.at))
		}
		units += writeUnits(sizeOf(projected(before)))
	}
	if stays {
		shard := x.shards[isIn]
		if shard == nil {
			shard = map[string]map[entry]struct{}{}
			x.shards[isIn] = shard
		}
		if shard[begin(is.at)] == nil {
			shard[begin(is.at)] = map[entry]struct{}{}
		}
		shard[begin(is.at)][is] = struct{}{}
		units += writeUnits(sizeOf(projected(after)))
	}
	return units
}

// projected is what the index holds of an item: its keys.
func projected(it item) item {
	return item{"pk": it["pk"], "sk": it["sk"], dueShard: it[dueShard], dueAt: it[dueAt]}
}

// query returns at most limit entries of a shard after the given one, in order,
// up to the first one that does not match.
func (x *index) query(matches func(item) bool, shard string, start item, limit int) (found []item) {
	_, after, _ := entryOf(start)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, part := range slices.Sorted(maps.Keys(x.shards[shard])) {
		if part < begin(after.at) {
			continue
		}
		for _, e := range slices.SortedFunc(maps.Keys(x.shards[shard][part]), entry.compare) {
			if start != nil && e.compare(after) <= 0 {
				continue
			}
			it := item{"pk": &types.AttributeValueMemberS{Value: e.pk}, "sk": &types.AttributeValueMemberS{Value: e.sk},
				dueShard: &types.AttributeValueMemberS{Value: shard}, dueAt: &types.AttributeValueMemberS{Value: e.at}}
			if !matches(it) || len(found) == limit {
				return found
			}
			found = append(found, it)
		}
	}
	return found
}
