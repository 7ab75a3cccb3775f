#!/bin/bash
# Runs the unit tests with the race detector. With CI set a skipped test counts
# as failed: it would have proven nothing. The proofs of the refresher and of tasks
# are no unit tests: `make e2e-refresher e2e-tasks` runs them.
set -uo pipefail
command -v "${CC:-cc}" >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang" >&2; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Those that take longest come first, so that none of them is left for the end,
# when the others are done.
longest=$(go list ./internal/cloud ./internal/install ./internal/refresh ./presets ./cmd/lanyard ./internal/local)
packages="$longest $(go list ./... | grep -vE '/e2e/(refresher|tasks)$' | grep -vxF "$longest")"
CGO_ENABLED=1 scripts/emulators.sh go test -race -timeout 15m -v "$@" $packages >"$log" 2>&1
status=$?
# Each test's own lines only where something went wrong.
if [ $status -ne 0 ]; then
	grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- PASS)' "$log" | tail -400
fi
grep -E '^(ok|FAIL|\?)\s' "$log"
skipped=$(grep -E '^\s*--- SKIP' "$log")
passed=$(grep -cE '^\s*--- PASS' "$log")
if [ -n "$skipped" ]; then
	printf 'skipped:\n%s\n' "$skipped"
	[ -n "${CI:-}" ] && { echo "a skipped test is a failure here" >&2; status=1; }
fi
echo "$passed tests passed"
exit $status
