#!/bin/bash
# Runs the browser journeys, installing what they need first; an argument is
# another script of e2e/package.json than "test".
set -euo pipefail
cd "$(dirname "$0")/../e2e"

node=$(node --version 2>/dev/null || true)
major=${node#v}
if [ -z "$node" ] || [ "${major%%.*}" -lt 20 ]; then
	echo "the journeys need Node.js 20 or newer: install it from https://nodejs.org" >&2
	exit 1
fi

browser() {
	for name in "${E2E_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable \
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
		[ -n "$name" ] && command -v "$name" 2>/dev/null && return 0
	done
	return 1
}
missing=()
browser >/dev/null || missing+=(chromium)
for tool in openssl curl sqlite3; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing ${missing[*]}"
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
	else
		echo "the journeys need ${missing[*]}: install it (a Chrome of your own can be named in E2E_CHROMIUM)" >&2
		exit 1
	fi
fi
E2E_CHROMIUM=$(browser)
export E2E_CHROMIUM

if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then
	# npm ci empties what is there, and through a link somebody else's.
	[ ! -L node_modules ] || rm node_modules
	npm ci --ignore-scripts --no-audit --no-fund
	touch node_modules
fi
exec npm run --silent "${1:-test}"
