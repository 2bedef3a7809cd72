#!/bin/sh
# SPDX-License-Identifier: MIT
#
# kvm.sh - small guests under `vpmu run --arch x86 --engine kvm`.
#
# usage: kvm.sh VPMU KVM-GUEST GUEST
#
# Exit status: 0, 1, 77 where there is no /dev/kvm for this user.
set -u

vpmu=$1
guest=$2
other=$3
status=0

if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
	echo "SKIP: no /dev/kvm"
	exit 77
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail()
{
	echo "FAIL: $*"
	cat "$log"
	status=1
}

# run STATUS WORD... - a guest, its status, and no word from it that says otherwise.
run()
{
	want=$1
	shift
	timeout -k 5 90 "$vpmu" run --arch x86 --engine kvm --timeout 60 "$@" >"$log" 2>&1 </dev/null
	got=$?
	[ $got -eq "$want" ] || fail "status $got in place of $want: $*"
}

says() { grep -q -e "$1" "$log" || fail "'$1' is not said: $2"; }

run 0 --stats --source time "$guest"
says '^done' counting
says 'counted by time' counting
says 'pmis [4-9][0-9]$' counting
run 0 --source time --smp 2 --memory 64M "$guest"
# No PMU, and it says why.
run 2 --source time --no-patch "$guest"
says 'no PMU: RDPMC cannot be served without changing guest text' no-patch
run 2 --pmu intel:v=0 "$guest"
says '^no PMU' v=0
# The other engine's guest, and no guest at all.
run 0 "$other" hello
run 125 /dev/null
run 125 "$vpmu"
# From outside: nothing is left.
timeout -k 5 30 "$vpmu" run --arch x86 --engine kvm --timeout 1 "$other" stuck >"$log" 2>&1 </dev/null
got=$?
[ $got -eq 124 ] || [ $got -eq 0 ] || fail "status $got after a timeout"
exit $status
