#!/bin/bash
# Runs MCP's official conformance suite through the bridge and against the same
# server directly, and its scenarios of authorization against our client and our
# authorization server, installing what it needs first. Arguments are those of
# e2e/conformance/run.mjs; with "auth" alone, only the latter two.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/bin/conformance

node=$(node --version 2>/dev/null || true)
major=${node#v}
if [ -z "$node" ] || [ "${major%%.*}" -lt 20 ]; then
	echo "the conformance suite needs Node.js 20 or newer, on other systems than Linux 22: install it from https://nodejs.org" >&2
	exit 1
fi

(
	cd e2e/conformance
	if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then
		npm ci --ignore-scripts --no-audit --no-fund
		touch node_modules
	fi
	# The server is a module of its own, outside of the workspace.
	GOWORK=off go build -C server -o "$out/everything" github.com/modelcontextprotocol/go-sdk/conformance/everything-server
)
go build -o "$out/authclient" ./e2e/conformance/authclient
if [ $# -eq 0 ] || [ "$1" = auth ]; then
	AUTHCLIENT=$out/authclient node e2e/conformance/auth.mjs
	LANYARD=$PWD/bin/lanyard node e2e/conformance/authorization.mjs
	[ $# -eq 0 ] || exit 0
fi
go build -o "$out/legacy" ./e2e/conformance/legacy
EVERYTHING=$out/everything LEGACY=$out/legacy LANYARD=$PWD/bin/lanyard exec node e2e/conformance/run.mjs "$@"
