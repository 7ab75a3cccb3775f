#!/bin/bash
# Runs each fuzz test of the tree for the given time.
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for dir in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do
	for name in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
		echo "$dir $name"
		go test "./$dir" -run '^$' -fuzz "^$name\$" -fuzztime "${1:-30s}" >"$log" 2>&1 || { cat "$log"; exit 1; }
	done
done
