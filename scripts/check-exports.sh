#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-exports.sh - what libvpmu.so exports = core/vpmu.map = VPMU_API in the headers = man pages.
#
# usage: check-exports.sh NM LIBVPMU.so [ROOT]
set -eu

nm=$1
so=$2
here=$(cd "$(dirname "$0")" && pwd)
cd "${3:-$here/..}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

[ -s "$so" ] || { echo "check-exports: $so does not exist" >&2; exit 1; }
"$nm" -D --defined-only -P "$so" | awk '$2 != "A" { sub(/@.*/, "", $1); print $1 }' | sort >"$tmp/library"
sed -n '/global:/,/local:/s/^[[:space:]]*\([a-z_0-9]*\);$/\1/p' core/vpmu.map | sort >"$tmp/map"
"$here/api.sh" . | cut -d' ' -f1 | sort >"$tmp/headers"
sed -n 's/^\.Fo \([a-z_0-9]*\).*/\1/p' man/*.3 | sort -u >"$tmp/manual"

status=0
for other in library map manual; do
	if ! diff "$tmp/headers" "$tmp/$other" >"$tmp/diff"; then
		echo "check-exports: the headers (<) and the $other (>) differ:" >&2
		grep '^[<>]' "$tmp/diff" >&2
		status=1
	fi
done
exit $status
