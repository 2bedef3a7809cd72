#!/bin/sh
# SPDX-License-Identifier: MIT
#
# example.sh - examples/kvm on this machine's /dev/kvm.
#
# usage: example.sh EXAMPLE
#
# Exit status: 0, 1, 77 where there is no KVM that it can use.
set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail()
{
	echo "FAIL: $*"
	cat "$log"
	exit 1
}

timeout -k 5 60 "$1" >"$log" 2>&1
status=$?
if [ $status -eq 77 ]; then
	grep '^SKIP: ' "$log" || fail "skipped without a reason"
	exit 77
fi
[ $status -eq 0 ] || fail "status $status"
words='^counted by \(.*\): \([0-9]*\) cycles in \([0-9]*\) of the TSC, \([0-9]*\) samples$'
[ "$(grep -c "$words" "$log")" -eq 1 ] || fail "it says something else"
source=$(sed -n "s/$words/\1/p" "$log")
cycles=$(sed -n "s/$words/\2/p" "$log")
tsc=$(sed -n "s/$words/\3/p" "$log")
samples=$(sed -n "s/$words/\4/p" "$log")
[ "$tsc" -ge 20000000 ] || fail "the loop was too short"
# How large a part of the time the guest ran is the host's load's; the clock of perf's cycles is another one.
[ "$cycles" -ge $((tsc / 1000)) ] || fail "cycles are missing"
[ "$source" != time ] || [ "$cycles" -le $((tsc + tsc / 50)) ] || fail "more cycles than time"
[ "$samples" -eq 10 ] || fail "10 samples were asked for"
