#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-contexts.sh - every public function's comment names its calling context.
#
# usage: check-contexts.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

# One comment may stand above several prototypes in a row. A function declared without VPMU_API
# would be hidden from users of the shared library.
awk '
	function bad(what) { print "check-contexts: " FILENAME ":" FNR ": " what; failed = 1 }
	FNR == 1 { comment = "" }
	/^\/\*/ { comment = ""; inside = 1 }
	inside { comment = comment " " $0 }
	/\*\// { inside = 0; next }
	inside || !NF { next }
	/^VPMU_API/ {
		if (comment !~ /Context: (\[(vcpu|cpu|nmi|vm|machine|init)\]|any|as vpmu_)/)
			bad("no context for: " $0)
		open = 1
	}
	/^(int|bool|void|const|uint(32|64)_t|enum|struct)[^{;=]*[ *]vpmu_[a-z0-9_]*\(/ {
		bad("public but without VPMU_API: " $0)
	}
	open { if (/;/) open = 0; next }
	{ comment = "" }
	END { exit failed }
' include/vpmu/*.h >&2
