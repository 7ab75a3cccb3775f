#!/bin/bash
# Builds what a deployment uploads: the functions, each as NAME/bootstrap,
# the runner of tasks and our own servers, for arm64. Two builds of the same source are the same
# bytes. "scripts/dist.sh DIR ARCH" builds elsewhere, or for another machine.
set -euo pipefail
cd "$(dirname "$0")/.."
to=${1:-dist}
export CGO_ENABLED=0 GOOS=linux GOARCH=${2:-arm64} GOFLAGS=
build() { go build -trimpath -buildvcs=false -ldflags "-s -w -buildid=" "$@"; }
for name in connect callback refresh mcprun; do
	build -tags lambda.norpc -o "$to/$name/bootstrap" "./functions/$name"
done
build -o "$to/runner/runner" ./cmd/runner
build -o "$to/server/server" ./cmd/server
