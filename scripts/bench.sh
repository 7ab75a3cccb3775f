#!/bin/bash
# Measures on this machine: docs/benchmarks.md says what, and what came out.
#
#	scripts/bench.sh [coldstart] [bridge] [catalogue] [throughput] [simulation] [signin]
#
# Without a name all six. BENCH_CONNECTIONS is how many connections the
# simulation has (1000000), BENCH_HOURS how many calm hours it has beside its
# half an hour (0), BENCH_WORKERS how many processes attend
# what is due (10); BENCH_REFRESHES (3000) and BENCH_ROUNDS (3) are the throughput's.
# BENCH_TURNS is how often each bridge is loaded (7), BENCH_TURN how long (2s);
# BENCH_LISTS is how often a list is asked for (5000), BENCH_SIGNIN how often a
# bearer of an MCP client is checked in a round (20000).
set -euo pipefail
cd "$(dirname "$0")/.."
what=" ${*:-coldstart bridge catalogue throughput simulation signin} "

# Each function's cold start beside that of the smallest one: what Lambda adds to
# it, and its slower processors, are not in it.
if [[ $what == *" coldstart "* ]]; then
	scripts/dist.sh bin/stack "$(go env GOARCH)"
	CGO_ENABLED=0 go build -tags lambda.norpc -trimpath -ldflags "-s -w" -o bin/stack/hello/bootstrap ./e2e/stack/hello
	go build -o bin/stack/stack ./e2e/stack
	data=$(mktemp -d)
	trap 'rm -rf "$data"' EXIT
	STACK_NAME=bench STACK_BIN=$PWD/bin/stack LANYARD_DATA=$data scripts/emulators.sh bin/stack/stack coldstart
fi

# lanyard bridge beside two others, which are installed for that alone.
if [[ $what == *" bridge "* ]]; then
	(cd e2e/bench && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
	make --no-print-directory program
	go build -o bin/bench ./e2e/bench
	bin/bench -rounds "${BENCH_TURNS:-7}" -for "${BENCH_TURN:-2s}"
fi

# How long a list takes that is answered while nothing runs.
if [[ $what == *" catalogue "* ]]; then
	BENCH_LISTS=${BENCH_LISTS:-5000} go test -count=1 -v -run '^TestListing$' ./e2e/listing
fi

scale() {
	go test -c -o bin/scale.test ./e2e/scale
	(cd e2e/scale && "$@" ../../bin/scale.test -test.v -test.timeout 60m -test.run "$test")
}
if [[ $what == *" throughput "* ]]; then
	test='^TestThroughput$'
	BENCH_REFRESHES=${BENCH_REFRESHES:-3000} BENCH_ROUNDS=${BENCH_ROUNDS:-3} scale ../../scripts/emulators.sh
fi
if [[ $what == *" simulation "* ]]; then
	test='^TestSimulation$'
	BENCH_CONNECTIONS=${BENCH_CONNECTIONS:-1000000} scale env
fi

# What the tokens of MCP clients cost, on the stores of one machine.
if [[ $what == *" signin "* ]]; then
	BENCH_SIGNIN=${BENCH_SIGNIN:-20000} go test -count=1 -v -run '^TestSignIn$' ./e2e/signin
fi
