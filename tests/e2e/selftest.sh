#!/bin/bash
# SPDX-License-Identifier: MIT
#
# selftest.sh - lib.sh judges guests that go wrong. Each case is a fake guest and what must be said
# of it, so that a broken runner cannot turn failures into passes.
#
# usage: selftest.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

bad=0

# expect NAME PATTERN FAILURES SHELL-TEXT: guest() prints a line like PATTERN and counts FAILURES.
expect()
{
	local name=$1 pattern=$2 wanted=$3 output counted

	output=$(failures=0; guest fake sh -c "$4"; echo "failures $failures")
	counted=${output##*failures }
	if grep -qE "$pattern" <<<"$output" && [ "$counted" -eq "$wanted" ]; then
		echo "ok selftest/$name"
	else
		bad=1
		echo "not ok selftest/$name: $counted failures, and: $(tr '\n' '|' <<<"$output")"
	fi
}

sum='echo "1 passed, 0 failed, 0 skipped"'
run_seconds=2
expect pass '^ok fake/a$' 0 "echo ok a; $sum; echo vpmu-verdict: 0"
expect carriage-return '^ok fake/a$' 0 "printf 'ok a\r\n'; $sum; echo vpmu-verdict: 0"
expect fail '^not ok fake/a: why$' 1 \
	"echo not ok a: why; echo 0 passed, 1 failed, 0 skipped; echo vpmu-verdict: 1; exit 1"
expect skip '^skip fake/a: why$' 0 \
	"echo skip a: why; echo 0 passed, 0 failed, 1 skipped; echo vpmu-verdict: 0"
expect no-verdict '^not ok fake: no verdict' 1 "echo ok a; $sum"
expect crash '^not ok fake: no verdict .status 3.' 1 "exit 3"
expect panic '^not ok fake: verdict 3' 1 "echo '# exception at EL1'; echo vpmu-verdict: 3; exit 3"
expect nothing-ran '^not ok fake: verdict 2' 1 \
	"echo 0 passed, 0 failed, 0 skipped; echo vpmu-verdict: 2; exit 2"
expect lost-line '^not ok fake: case lines do not add up' 1 \
	"echo o; echo 2 passed, 0 failed, 0 skipped; echo ok a; echo vpmu-verdict: 0"
expect lost-failure '^not ok fake: verdict 1 without' 1 "echo ok a; $sum; echo vpmu-verdict: 1"
expect hang '^not ok fake: no end after 2 seconds' 1 "sleep 20"
exit "$bad"
