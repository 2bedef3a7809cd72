#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-headers.sh - each public header compiles alone, and twice in a row.
#
# usage: check-headers.sh CC... -- [ROOT]
set -eu

cc=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	cc="$cc $1"
	shift
done
[ $# -eq 0 ] || shift
cd "${1:-$(dirname "$0")/..}"

status=0
for c in $cc; do
	for h in include/vpmu/*.h; do
		name=vpmu/$(basename "$h")
		printf '#include <%s>\n#include <%s>\n' "$name" "$name" |
			"$c" -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -x c - || {
			echo "check-headers: $h is not self-contained ($c)" >&2
			status=1
		}
	done
done
exit $status
