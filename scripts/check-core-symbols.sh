#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-core-symbols.sh - the core needs nothing from outside but mem*.
#
# usage: check-core-symbols.sh NM LIBRARY.a...
#
# Undefined in one object and defined in another of the library is the core's own business.
set -eu

nm=$1
shift
status=0
for lib; do
	[ -s "$lib" ] || { echo "check-core-symbols: $lib does not exist" >&2; exit 1; }
	foreign=$("$nm" -P "$lib" | awk '
		NF < 2 { next }                    # "lib.a[object.o]:"
		$2 == "U" || $2 == "w" { used[$1]; next }
		{ defined[$1] }
		END {
			for (s in used)
				if (!(s in defined) && s !~ /^mem(cpy|move|set|cmp)$/ && s != "_GLOBAL_OFFSET_TABLE_")
					print s
		}')
	if [ -n "$foreign" ]; then
		echo "check-core-symbols: $lib needs:" "$foreign" >&2
		status=1
	fi
done
exit $status
