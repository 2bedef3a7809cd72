#!/bin/sh
# SPDX-License-Identifier: MIT
#
# api.sh - lists the public functions: "NAME PROTOTYPE", one per line, whitespace normalised.
#
# usage: api.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

# A prototype runs from VPMU_API to the semicolon; the macro's own definition is no prototype.
cat include/vpmu/*.h | awk '
	/^VPMU_API/ { text = "" ; open = 1 }
	open { text = text " " $0 }
	open && /;[[:space:]]*$/ {
		open = 0
		gsub(/[[:space:]]+/, " ", text)
		sub(/^ VPMU_API /, "", text)
		sub(/;.*/, "", text)
		name = text
		sub(/\(.*/, "", name)
		sub(/.*[ *]/, "", name)
		print name " " text
	}'
