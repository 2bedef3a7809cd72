#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-manual.sh - man pages are well-formed and show the headers' prototypes.
#
# usage: check-manual.sh [ROOT]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/..}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

# Below a warning are the width of lines and pages that happen not to be installed here.
mandoc -T lint -W warning man/*.[1357] >"$tmp/lint" || true
if [ -s "$tmp/lint" ]; then
	cat "$tmp/lint" >&2
	status=1
fi

sed -n 's/^\.Nm \([a-z_0-9]*\).*/\1/p' man/*.[1357] >"$tmp/names"
find man -name '*.[1357]' | sed 's|.*/||; s/\..$//' >>"$tmp/names"
sed -n 's/^\.Xr \(vpmu[a-z_0-9]*\).*/\1/p' man/*.[1357] | sort -u | grep -vxFf "$tmp/names" >"$tmp/lost" || true
if [ -s "$tmp/lost" ]; then
	echo "check-manual: no page has: $(cat "$tmp/lost")" >&2
	status=1
fi

# .Ft TYPE / .Fo NAME / .Fa "ARGUMENT"... / .Fc as one C prototype; man pages have no API mark.
awk '
	$1 == ".Ft" { type = substr($0, 5); gsub(/"/, "", type) }
	$1 == ".Fo" { name = $2; args = "" }
	$1 == ".Fa" && name { a = substr($0, 5); gsub(/"/, "", a); args = args (args ? ", " : "") a }
	$1 == ".Fc" { print name " " type (type ~ /\*$/ ? "" : " ") name "(" args ")"; name = "" }
' man/*.3 | sort >"$tmp/manual"
"$here/api.sh" . | sort >"$tmp/headers"
if ! diff "$tmp/headers" "$tmp/manual" >"$tmp/diff"; then
	echo "check-manual: prototypes in the headers (<) and the man pages (>) differ:" >&2
	grep '^[<>]' "$tmp/diff" >&2
	status=1
fi
exit $status
