// Package signin measures what the tokens of MCP clients cost, on the stores of
// one machine: a bearer's check with the connection that it is for, and a
// renewal; each beside a read of one row by SQLite and nothing else.
//
//	BENCH_SIGNIN=20000 go test -v ./e2e/signin
//
// Without BENCH_SIGNIN it does a few, and looks for nothing but right answers.
package signin
