package scale

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
)

// asAuthority has this program be the providers, in a process of their own:
// what they cost is not ours.
const asAuthority = "SCALE_AUTHORITY"

func TestMain(m *testing.M) {
	if os.Getenv(asAuthority) != "" {
		serveAuthorities()
		return
	}
	_ = os.Setenv("AWS_REGION", "eu-central-1")
	os.Exit(m.Run())
}

// mostConnections is how many the providers of that process know.
const mostConnections = 1 << 17

// serveAuthorities says where it serves, and ends with its standard input.
func serveAuthorities() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/"+keeping+"/token", newAuthority(false, refreshSize, mostConnections))
	mux.Handle("/"+rotating+"/token", newAuthority(true, refreshSize, mostConnections))
	go func() { _ = http.Serve(listener, mux) }()
	fmt.Println("http://" + listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// authorities starts that process and returns its address.
func authorities(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), asAuthority+"=1"), os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// number is a setting of a run, or what it is in an ordinary test.
func number(t *testing.T, variable string, small int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q: it has to be a number", variable, text)
	}
	return n
}

// spent is what something cost: time, and this process's processor time.
type spent struct{ wall, cpu time.Duration }

func measure(what func()) spent {
	start, before := time.Now(), cpuTime()
	what()
	return spent{time.Since(start), cpuTime() - before}
}

// cpuTime is what this process has used, in user and in kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bench is one store's runs: rounds of the exchange alone and of the refresher,
// by turns, with connections of both providers.
type bench struct {
	t      *testing.T
	stores stores
	base   string
	engine *provider.Engine
	// n connections of each provider in each round.
	n   int
	now atomic.Int64
	// first is the number of the first connection here.
	first   int
	service *refresh.Service
	swapped atomic.Int64
	// requests asks the store what a renewal asks it, and does nothing else; sent
	// counts the requests of the store's own.
	requests func(i int)
	sent     *atomic.Int64
	// batch is how many connections the function is given at once; 0: all of
	// them, as on one machine.
	batch int
}

func (b *bench) clock() time.Time { return time.Unix(0, b.now.Load()) }

// newBench connects the connections.
func newBench(t *testing.T, base string, first, n int, open func(now func() time.Time) stores) *bench {
	t.Helper()
	b := &bench{t: t, base: base, n: n, first: first, sent: &atomic.Int64{}}
	b.now.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixNano())
	b.engine = &provider.Engine{AllowLoopback: true, Now: b.clock} // as a deployment's, but for where it may go
	b.stores = open(b.clock)
	b.service = process(b.stores, b.engine, base, b.clock)
	b.service.Window = 100 * 365 * 24 * time.Hour
	b.service.AtStep = func(s refresh.Step) {
		if s == refresh.StepSwapped {
			b.swapped.Add(1)
		}
	}
	for _, a := range []*authority{newAuthority(false, refreshSize, 0), newAuthority(true, refreshSize, 0)} {
		each(n, func(i int) {
			k := key(tenantOf(a.rotates), first+i)
			if _, err := connect(t.Context(), b.stores, b.service.Vault, a, k, first+i, b.clock()); err != nil {
				t.Error(err)
			}
		})
	}
	return b
}

func tenantOf(rotates bool) string {
	if rotates {
		return rotating
	}
	return keeping
}

// perMessage is how many connections a message of the queue names; a function is
// given ten messages at a time.
const perMessage = 10

// atOnce is as many as a process of refresh attends beside each other.
const atOnce = 50

// each calls f with the numbers below n, as many at once as the refresher.
func each(n int, f func(int)) {
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// refresh attends all connections of a provider, whose tokens have ended.
func (b *bench) refresh(rotates bool) spent {
	b.t.Helper()
	keys := make([]connection.Key, b.n)
	for i := range keys {
		keys[i] = key(tenantOf(rotates), b.first+i)
	}
	b.swapped.Store(0)
	out := measure(func() {
		if b.batch == 0 {
			b.attend(keys)
			return
		}
		for batch := range slices.Chunk(keys, b.batch) {
			var wg sync.WaitGroup
			for message := range slices.Chunk(batch, perMessage) {
				wg.Go(func() { b.attend(message) })
			}
			wg.Wait()
		}
	})
	if got := b.swapped.Load(); got != int64(b.n) {
		b.t.Errorf("%d of %d tokens were renewed", got, b.n)
	}
	return out
}

func (b *bench) attend(keys []connection.Key) {
	if err := b.service.AttendAll(b.t.Context(), keys); err != nil {
		b.t.Error(err)
	}
}

// exchange is the requests of so many renewals and nothing else: the limit. With
// a store that has requests of its own, it is asked them, too, when also is set.
func (b *bench) exchange(rotates bool, from int, generation *uint32, also func(i int)) spent {
	b.t.Helper()
	client, _ := clients{}.Client(b.t.Context(), "", "", "")
	target, _, err := flow.TargetOf(catalogue{b.base}, tenantOf(rotates), nil, client, "https://lanyard.example", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	out := measure(func() {
		each(b.n, func(i int) {
			held := (&authority{rotates: rotates, size: refreshSize}).set(from + i)
			r := held.Grant.Renewables[""]
			r.RefreshToken = token.Secret(made("rt", from+i, *generation, refreshSize))
			held.Grant.Renewables[""] = r
			if _, err := b.engine.Refresh(b.t.Context(), target, held.Grant, held.Access); err != nil {
				b.t.Error(err)
			}
			if also != nil {
				also(i)
			}
		})
	})
	if rotates {
		*generation++
	}
	return out
}

// run does the rounds and prints what they tell.
func (b *bench) run(rounds int) {
	b.t.Helper()
	for _, rotates := range []bool{false, true} {
		var generation uint32
		var ours, limit, asked []spent
		sent := int64(0)
		for range rounds {
			limit = append(limit, b.exchange(rotates, b.first+b.n, &generation, nil))
			if b.requests != nil {
				asked = append(asked, b.exchange(rotates, b.first+b.n, &generation, b.requests))
			}
			b.now.Add(int64(time.Hour))
			before := b.sent.Load()
			ours = append(ours, b.refresh(rotates))
			sent += b.sent.Load() - before
		}
		kind := map[bool]string{false: "not rotating", true: "rotating"}[rotates]
		perCPU := func(s spent) float64 { return float64(b.n) / s.cpu.Seconds() }
		perWall := func(s spent) float64 { return float64(b.n) / s.wall.Seconds() }
		var ratios []float64
		for i := range ours {
			ratios = append(ratios, perCPU(ours[i])/perCPU(limit[i]))
		}
		b.t.Logf("%-12s  %6.0f refreshes/s per core, %4.2f of the exchange alone (%6.0f/s per core); by the clock %6.0f/s, the exchange alone %6.0f/s",
			kind, median(ours, perCPU), middle(ratios), median(limit, perCPU), median(ours, perWall), median(limit, perWall))
		if asked != nil {
			b.t.Logf("%-12s  %4.1f requests to the store each; %4.2f of the exchange and six of them alone (%6.0f/s per core, by the clock %6.0f/s)", "",
				float64(sent)/float64(rounds*b.n), median(ours, perCPU)/median(asked, perCPU), median(asked, perCPU), median(asked, perWall))
		}
	}
}

func median(of []spent, rate func(spent) float64) float64 {
	var all []float64
	for _, s := range of {
		all = append(all, rate(s))
	}
	return middle(all)
}

func middle(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// TestThroughput prints how many refreshes a core does, on each store, beside
// the exchange alone.
func TestThroughput(t *testing.T) {
	n, rounds := number(t, "BENCH_REFRESHES", 60), number(t, "BENCH_ROUNDS", 1)
	base := authorities(t)
	t.Logf("GOMAXPROCS %d, %d connections of each provider, %d rounds, %d at once; the providers are another process", runtime.GOMAXPROCS(0), n, rounds, atOnce)
	t.Run("memory", func(t *testing.T) {
		newBench(t, base, 0, n, func(now func() time.Time) stores {
			s := fake.New()
			return stores{connections: &memory{rows: map[connection.Key]connection.Connection{}}, gates: s, grants: s.Grants(), audit: s.Audit(), keys: cached(&kms{}, now)}
		}).run(rounds)
	})
	t.Run("JSON", func(t *testing.T) { // each row written and read as JSON: the unit tests' store
		newBench(t, base, 1<<15, n, func(now func() time.Time) stores {
			s := fake.New()
			return stores{connections: s, gates: s, grants: s.Grants(), audit: s.Audit(), keys: cached(&kms{}, now)}
		}).run(rounds)
	})
	t.Run("DynamoDBLocal", func(t *testing.T) {
		client := emulated(t, "LANYARD_TEST_DYNAMODB")
		var name string
		var sent atomic.Int64
		b := newBench(t, base, 2<<15, max(n/8, 20), func(now func() time.Time) stores {
			table := newTable(t, client, now)
			name = table.Name
			table.API = dynamodb.New(client.Options(), func(o *dynamodb.Options) { o.HTTPClient = &counting{o.HTTPClient, &sent} })
			return stores{connections: table, gates: table, grants: onTable(table), audit: table.Audit(), keys: cached(&kms{}, now)}
		})
		b.sent, b.batch = &sent, 10*perMessage
		b.requests = func(i int) {
			for n := range 3 {
				key := item{"pk": text(fmt.Sprintf("requests-%d", i)), "sk": text(fmt.Sprint(n))}
				_, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &name, Key: key, ConsistentRead: aws.Bool(true)})
				if err == nil {
					it := maps.Clone(key)
					it["doc"] = &types.AttributeValueMemberB{Value: make([]byte, 800)}
					_, err = client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: it})
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
		b.run(rounds)
	})
}
