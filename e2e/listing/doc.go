// Package listing measures how long a client waits for what a server offers,
// while the server does not run: over HTTP, with the stores of one machine.
//
//	BENCH_LISTS=5000 go test -v ./e2e/listing
//
// Without BENCH_LISTS it asks a few times, and for nothing but right answers.
package listing
