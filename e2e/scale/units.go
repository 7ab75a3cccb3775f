package scale

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Units is what DynamoDB asks money for, by what it was used for: "CON#tenant",
// the kind of an item and its tenant. The rules are AWS's ("Read and write
// capacity", "Item sizes and formats"):
//
//   - a write is a unit for each started KB of the item before or after, of
//     which the larger counts; one whose condition fails, of the item that is
//     there; twice that in a transaction;
//   - an index whose keys change is written twice, for the entry that goes and
//     the one that comes; once, if there is only one of them; not at all, if
//     nothing that it holds changes;
//   - a strongly consistent read is a unit for each started 4 KB of the item, a
//     query of all that it read together; an eventually consistent one half of
//     that, and the least is one unit, or a half.
type Units struct {
	mu sync.Mutex
	by map[string]*Used
}

// Used are units of one kind.
type Used struct {
	Reads, Writes, Index float64
	// Requests counts them.
	Requests int
}

func (u *Units) add(pk string, used Used) {
	kind := kindOf(pk)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by == nil {
		u.by = map[string]*Used{}
	}
	if u.by[kind] == nil {
		u.by[kind] = &Used{}
	}
	u.by[kind].plus(used)
}

func (u *Used) plus(other Used) {
	u.Reads += other.Reads
	u.Writes += other.Writes
	u.Index += other.Index
	u.Requests += other.Requests
}

// kindOf is the first two parts of a key, or all of one that has fewer.
func kindOf(pk string) string {
	if i := strings.IndexByte(pk, '#'); i >= 0 {
		if j := strings.IndexByte(pk[i+1:], '#'); j >= 0 {
			return pk[:i+1+j]
		}
	}
	return pk
}

// Take returns what was used since the last time.
func (u *Units) Take() map[string]Used {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := map[string]Used{}
	for kind, used := range u.by {
		out[kind] = *used
	}
	u.by = nil
	return out
}

// total adds up the kinds that end with the suffix.
func total(by map[string]Used, suffix string) (sum Used) {
	for kind, used := range by {
		if strings.HasSuffix(kind, suffix) {
			sum.plus(used)
		}
	}
	return sum
}

// String lists the kinds, for a person who looks for what is expensive.
func list(by map[string]Used, per float64) string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		u := by[kind]
		fmt.Fprintf(&b, "%-16s %5.2f read, %5.2f write, %5.2f index\n", kind, u.Reads/per, u.Writes/per, u.Index/per)
	}
	return b.String()
}

// sizeOf is an item's size in bytes, as AWS reckons it.
func sizeOf(it item) (size int) {
	for name, value := range it {
		size += len(name)
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			size += len(v.Value)
		case *types.AttributeValueMemberB:
			size += len(v.Value)
		case *types.AttributeValueMemberN:
			size += sizeOfNumber(v.Value)
		default:
			size++
		}
	}
	return size
}

// sizeOfNumber is a byte for each two significant digits, one more, and one
// for a sign.
func sizeOfNumber(n string) int {
	negative := strings.HasPrefix(n, "-")
	digits := strings.Trim(strings.ReplaceAll(strings.TrimLeft(n, "-+"), ".", ""), "0")
	size := (len(digits)+1)/2 + 1
	if negative {
		size++
	}
	return size
}

func compareNumbers(a, b string) int {
	m, err := strconv.ParseInt(a, 10, 64)
	n, err2 := strconv.ParseInt(b, 10, 64)
	if err == nil && err2 == nil {
		return cmp.Compare(m, n)
	}
	x, _ := new(big.Rat).SetString(a)
	y, _ := new(big.Rat).SetString(b)
	if x == nil || y == nil {
		return strings.Compare(a, b)
	}
	return x.Cmp(y)
}

func writeUnits(size int) float64 { return float64(max(1, (size+1023)/1024)) }
func readUnits(size int) float64  { return float64(max(1, (size+4095)/4096)) }

// kindTenant is the tenant of a kind.
func kindTenant(kind string) string {
	_, tenant, _ := strings.Cut(kind, "#")
	return tenant
}
