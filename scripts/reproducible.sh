#!/bin/bash
# Proves that two builds of the same source are the same bytes: the second one
# in another directory, with nothing of the first one's cache.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
scripts/dist.sh "$work/first"
mkdir -p "$work/copy/of/the/source"
git ls-files -z | while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done | tar --null -T - -c | tar -x -C "$work/copy/of/the/source"
GOCACHE=$work/cache "$work/copy/of/the/source/scripts/dist.sh" "$work/second"
(cd "$work/first" && find . -type f | sort) | while read -r file; do
	cmp "$work/first/$file" "$work/second/$file"
	sha256sum "$work/first/$file" | sed "s#$work/first/./##"
done
