#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-install.sh - what is installed is complete: the examples build against it, run, and print what
# they should; every public function has a man page.
#
# usage: check-install.sh      needs build/host
set -eu
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

meson install -C build/host --no-rebuild --quiet --destdir "$tmp/root" >"$tmp/log" 2>&1 || {
	cat "$tmp/log" >&2
	exit 1
}
pc=$(find "$tmp/root" -name vpmu.pc)
[ -n "$pc" ] || { echo "check-install: no vpmu.pc" >&2; exit 1; }
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$tmp/root
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH

for source in examples/*.c; do
	name=$(basename "$source" .c)
	# shellcheck disable=SC2046 # flags are words
	gcc -std=c11 -Wall -Wextra -Wpedantic -Werror "$source" $(pkg-config --cflags --libs vpmu) -o "$tmp/$name"
	"$tmp/$name" | diff "examples/$name.expected" - >&2 || {
		echo "check-install: $source prints something else than examples/$name.expected" >&2
		status=1
	}
done

for function in $(scripts/api.sh | cut -d' ' -f1); do
	# A link to a page that is not there would be found by name only.
	page=$(find -L "$tmp/root" -name "$function.3*" -type f)
	[ -n "$page" ] || { echo "check-install: no man page $function.3" >&2; status=1; }
done
exit $status
