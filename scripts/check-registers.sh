#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-registers.sh - docs/arm-registers.md is what the register table says.
#
# usage: check-registers.sh [--write]      needs build/host
set -eu
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
page=docs/arm-registers.md

gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude docs/arm-registers.c \
	build/host/core/libvpmu.a -o "$tmp/arm-registers"
"$tmp/arm-registers" >"$tmp/page"
if [ "${1:-}" = --write ]; then
	cp "$tmp/page" "$page"
elif ! diff "$page" "$tmp/page" >&2; then
	echo "check-registers: $page is out of date: run scripts/check-registers.sh --write" >&2
	exit 1
fi
