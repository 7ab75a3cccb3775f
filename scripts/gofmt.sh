#!/bin/sh
# Fails if a Go file is not formatted.
bad=$(git ls-files '*.go' | xargs gofmt -l)
[ -z "$bad" ] && exit 0
printf 'not formatted (run gofmt -w):\n%s\n' "$bad" >&2
exit 1
