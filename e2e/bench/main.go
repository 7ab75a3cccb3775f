package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// What is to be reached, beside the better of the two others.
const (
	aimRate   = 12.0    // times the calls a second, with many callers
	aimP50    = 1.0 / 3 // of the median latency, with one
	aimMemory = 1.0 / 7 // of the resident memory
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "echo":
		err = echo(os.Stdin, os.Stdout)
	case len(os.Args) == 3 && os.Args[1] == "http":
		err = http.ListenAndServe(os.Args[2], http.HandlerFunc(serveEcho))
	default:
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type settings struct {
	lanyard, modules string
	rounds, callers  int
	length           time.Duration
}

func measure() error {
	var s settings
	flag.StringVar(&s.lanyard, "lanyard", "bin/lanyard", "the program that is measured")
	flag.StringVar(&s.modules, "modules", "e2e/bench/node_modules", "where the bridges from npm are")
	flag.IntVar(&s.rounds, "rounds", 7, "how many rounds, besides one to warm up")
	flag.IntVar(&s.callers, "callers", 16, "how many callers are many")
	flag.DurationVar(&s.length, "for", 2*time.Second, "how long each is loaded at a time")
	flag.Parse()
	log, err := os.CreateTemp("", "lanyard-bench-*.log")
	if err != nil {
		return err
	}
	subjects, err := start(s, log, slices.Concat(ours, theirs))
	defer func() {
		for _, sub := range subjects {
			sub.stop()
		}
	}()
	if err != nil {
		return err
	}
	results, err := rounds(s, subjects)
	if err != nil {
		return err
	}
	report(os.Stdout, s, results)
	_ = log.Close()
	return os.Remove(log.Name())
}

// candidate is how a bridge is started on a port.
type candidate struct {
	name    string
	command func(s settings, self, port string) []string
}

// ours are what needs nothing to be installed, theirs the bridges from npm.
var (
	ours = []candidate{
		{"HTTP with nothing behind it", func(_ settings, self, port string) []string {
			return []string{self, "http", "127.0.0.1:" + port}
		}},
		{"lanyard bridge", func(s settings, self, port string) []string {
			return []string{s.lanyard, "bridge", "--addr", "127.0.0.1:" + port, "--", self, "echo"}
		}},
	}
	theirs = []candidate{
		{"supergateway", func(s settings, self, port string) []string {
			return []string{"node", filepath.Join(s.modules, "supergateway/dist/index.js"), "--stdio", self + " echo",
				"--outputTransport", "streamableHttp", "--stateful", "--port", port, "--logLevel", "none"}
		}},
		{"mcp-proxy", func(s settings, self, port string) []string {
			return []string{"node", filepath.Join(s.modules, "mcp-proxy/dist/bin/mcp-proxy.mjs"),
				"--server", "stream", "--host", "127.0.0.1", "--port", port, "--", self, "echo"}
		}},
	}
)

// start starts the raw pipe and the candidates; on an error it returns what has
// been started.
func start(s settings, log *os.File, candidates []candidate) (all []*subject, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	server := []string{self, "echo"}
	direct, err := openPipe(server)
	if err != nil {
		return nil, err
	}
	all = []*subject{{name: "the raw pipe", load: direct.load, stop: func() { _ = direct.close() }}}
	for _, c := range candidates {
		port, err := freePort()
		if err != nil {
			return all, err
		}
		sub, err := bridge(c.name, "127.0.0.1:"+port, c.command(s, self, port), server, log)
		if err != nil {
			return all, err
		}
		all = append(all, sub)
	}
	return all, nil
}

// result is what came of a subject, a value for each round.
type result struct {
	name            string
	one, many       []sample
	own, tree, peak []int64
}

func rounds(s settings, subjects []*subject) ([]result, error) {
	results := make([]result, len(subjects))
	for round := range s.rounds + 1 {
		for i, sub := range subjects {
			r := &results[i]
			r.name = sub.name
			one, err := sub.load(1, s.length)
			if err != nil {
				return nil, fmt.Errorf("%s, one caller: %w", sub.name, err)
			}
			before := sub.processor()
			many, err := sub.load(s.callers, s.length)
			if err != nil {
				return nil, fmt.Errorf("%s, %d callers: %w", sub.name, s.callers, err)
			}
			many.processor = (sub.processor() - before) / time.Duration(many.calls)
			m, err := sub.memory()
			if err != nil {
				return nil, err
			}
			if round == 0 {
				continue
			}
			r.one, r.many = append(r.one, one), append(r.many, many)
			r.own, r.tree, r.peak = append(r.own, m.own), append(r.tree, m.tree), append(r.peak, m.peak)
		}
	}
	return results, nil
}

// sample is what came of one load.
type sample struct {
	calls    int
	rate     float64 // calls a second
	p50, p99 time.Duration
	// processor is the time of it that a call takes in the bridge itself.
	processor time.Duration
}

func newSample(all []time.Duration, length time.Duration) sample {
	if len(all) == 0 {
		return sample{}
	}
	slices.Sort(all)
	return sample{calls: len(all), rate: float64(len(all)) / length.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100]}
}

func median[T cmp.Ordered](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// of is the median of a figure of the samples.
func of[T cmp.Ordered](samples []sample, figure func(sample) T) T {
	var values []T
	for _, s := range samples {
		values = append(values, figure(s))
	}
	return median(values)
}

func rate(s sample) float64            { return s.rate }
func p50(s sample) time.Duration       { return s.p50 }
func p99(s sample) time.Duration       { return s.p99 }
func processor(s sample) time.Duration { return s.processor }

func report(to io.Writer, s settings, results []result) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tcalls/s, 1 caller\tp50 µs\tp99 µs\tcalls/s, %d callers\tp50 µs\tp99 µs\tprocessor µs\tMB\ttree MB\tpeak MB\t\n", s.callers)
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%.0f\t%d\t%d\t%.0f\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t\n", r.name,
			of(r.one, rate), of(r.one, p50).Microseconds(), of(r.one, p99).Microseconds(),
			of(r.many, rate), of(r.many, p50).Microseconds(), of(r.many, p99).Microseconds(), of(r.many, processor).Microseconds(),
			megabytes(median(r.own)), megabytes(median(r.tree)), megabytes(median(r.peak)))
	}
	_ = w.Flush()
	us, others := results[2], results[3:]
	best := func(figure func(result) float64) float64 {
		var all []float64
		for _, r := range others {
			all = append(all, figure(r))
		}
		return slices.Min(all)
	}
	fmt.Fprintf(to, "\nlanyard bridge beside the better of the others:\n")
	fast := of(us.many, rate) * best(func(r result) float64 { return 1 / of(r.many, rate) })
	fmt.Fprintf(to, "  calls a second, %d callers  %.1f times (aim: at least %.0f)\n", s.callers, fast, aimRate)
	slow := func(r result) float64 { return float64(of(r.one, p50)) }
	fmt.Fprintf(to, "  p50, one caller  1/%.1f (aim: at most 1/%.0f)\n", best(slow)/slow(us), 1/aimP50)
	busy := func(r result) float64 { return float64(of(r.many, processor)) }
	fmt.Fprintf(to, "  processor a call, %d callers  1/%.1f\n", s.callers, best(busy)/busy(us))
	large := func(r result) float64 { return float64(median(r.own)) }
	fmt.Fprintf(to, "  resident memory  1/%.1f (aim: at most 1/%.0f)\n", best(large)/large(us), 1/aimMemory)
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
