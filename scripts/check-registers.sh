#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-registers.sh - docs/*-registers.md are what the register tables say.
#
# usage: check-registers.sh [--write]      needs build/host
set -eu
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

for arch in arm x86; do
	page=docs/$arch-registers.md
	gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude "docs/$arch-registers.c" \
		build/host/core/libvpmu.a -o "$tmp/registers"
	"$tmp/registers" >"$tmp/page"
	if [ "${1:-}" = --write ]; then
		cp "$tmp/page" "$page"
	elif ! diff "$page" "$tmp/page" >&2; then
		echo "check-registers: $page is out of date: run scripts/check-registers.sh --write" >&2
		status=1
	fi
done
exit $status
