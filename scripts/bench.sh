#!/bin/bash
# Measures the cold start of each function on this machine, beside that of the
# smallest one: what Lambda adds to it, and its slower processors, are not in it.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/dist.sh bin/stack "$(go env GOARCH)"
CGO_ENABLED=0 go build -tags lambda.norpc -trimpath -ldflags "-s -w" -o bin/stack/hello/bootstrap ./e2e/stack/hello
go build -o bin/stack/stack ./e2e/stack
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
STACK_NAME=bench STACK_BIN=$PWD/bin/stack LANYARD_DATA=$data scripts/emulators.sh bin/stack/stack coldstart
