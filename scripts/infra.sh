#!/bin/bash
# Checks the deployment: its Go module, and what it synthesizes to. The linters
# of templates are those that scripts/emulators.sh installs; with CI set a
# missing one is a failure.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/infra" || exit 1

node=$(node --version 2>/dev/null || true)
major=${node#v}
if [ -z "$node" ] || [ "${major%%.*}" -lt 20 ]; then
	echo "the AWS CDK needs Node.js 20 or newer: install it from https://nodejs.org" >&2
	exit 1
fi
if [ -n "${CI:-}" ]; then
	"$root/scripts/emulators.sh" install || exit 1
fi

bad=$(gofmt -l ./*.go costs)
if [ -n "$bad" ]; then
	printf 'not formatted (run gofmt -w):\n%s\n' "$bad" >&2
	exit 1
fi
# The module by itself, and the others by themselves: go.work is for people.
export GOWORK=off
log=$(mktemp)
trap 'rm -f "$log"' EXIT
staticcheck=$(sed -n 's/^STATICCHECK := //p' "$root/Makefile")
(cd "$root" && go build ./...) && go mod tidy -diff && go vet ./... && go run "$staticcheck" ./... && go test "$@" ./... >"$log" 2>&1
status=$?
# Node's remarks about its own age only where something went wrong.
if [ $status -ne 0 ]; then grep -v '^!!' "$log"; else grep -E '^(ok|FAIL|\?)\s' "$log"; fi
exit $status
