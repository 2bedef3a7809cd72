#!/bin/sh
# SPDX-License-Identifier: MIT
#
# command.sh - vpmu run --arch x86: its options, verdicts and statistics.
#
# usage: command.sh VPMU GUEST PROFILE
set -u
[ $# -eq 3 ] || {
	echo "skipped: no compiler for x86-64 guests (x86_64-linux-gnu-gcc)"
	exit 77
}
vpmu=$1
guest=$2
profile=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

# expect STATUS WORD... : runs `vpmu run --arch x86`; its output is in $tmp/out.
expect()
{
	want=$1
	shift
	"$vpmu" run --arch x86 "$@" >"$tmp/out" 2>&1 </dev/null
	got=$?
	if [ $got -ne "$want" ]; then
		echo "FAIL: $*: status $got, expected $want:"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}
shows()
{
	if ! grep -qe "$1" "$tmp/out"; then
		echo "FAIL: expected '$1' in:"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}
# refuses MESSAGE WORD... : wrong use, and why.
refuses()
{
	message=$1
	shift
	expect 2 "$@"
	shows "$message"
}

# What makes no sense.
refuses 'needs a guest'
refuses 'needs a value' --pmu
refuses 'is not unicorn or kvm' --engine qemu "$guest"
refuses 'is not mediated, emulated or bare' --mode monitor "$guest"
refuses 'is for --engine kvm' --no-patch "$guest"
refuses 'is for --engine unicorn' --engine kvm --caches "$guest"
refuses 'has --mode emulated only' --engine kvm --mode bare "$guest"
refuses 'is not auto, perf or time' --engine kvm --source clock "$guest"
refuses 'is for --arch arm64' --kernel "$guest"
refuses 'not between 2M and 3G' --memory 1M "$guest"
refuses 'not between 2M and 3G' --memory 4G "$guest"
refuses 'is not a number from 1' --limit 0 "$guest"
refuses 'is not a number from 0 to 64' --skid 65 "$guest"
refuses 'takes no value' --caches=1 "$guest"
refuses 'is for --mode mediated' --mode emulated --switch eager "$guest"
refuses "libvpmu's" --mode bare --policy deny:1 "$guest"
refuses "the physical PMU's" --mode emulated --skid 1 "$guest"
refuses 'at most 300' --policy deny:0-0xffff "$guest"
refuses 'intel or amd' --pmu arm "$guest"
refuses "'nothing' is unknown" --pmu intel:nothing "$guest"
refuses 'v is a number from 0 to 5' --pmu intel:v=6 "$guest"
refuses 'v is a number' --pmu intel:v "$guest"
refuses 'gp is a number from 0 to 8' --pmu intel:gp=9 "$guest"
refuses 'need version 2' --pmu intel:v=1,fixed=1 "$guest"
refuses 'no fixed counters' --pmu intel:fixed=0,fixed-width=40 "$guest"
refuses 'among the events' --pmu intel:events=3,missing=8 "$guest"
refuses 'version 0 is no PMU' --pmu intel:v=0,gp=1 "$guest"
refuses 'amd takes' --pmu amd:v=2 "$guest"
refuses 'from 1 to 6' --pmu amd:core,gp=4 "$guest"
refuses 'from 1 to 6' --pmu amd:v2,gp=7 "$guest"
"$vpmu" run --pmu intel "$guest" >"$tmp/out" 2>&1
shows '--pmu is for --arch x86'
"$vpmu" run "$guest" >"$tmp/out" 2>&1
shows 'takes its guest by --kernel'

# Several guests.
refuses 'that guests of --vm share' --smp 2 "$guest"
refuses 'needs kernel=FILE' --vm mode=off
refuses 'is not mediated, partitioned' --vm "kernel=$profile,mode=bare"
refuses "no key named 'cpus'" --vm "kernel=$profile,cpus=2"
refuses 'is not KEY=VALUE' --vm "$profile"
refuses "the machine's vendor" --vm "kernel=$profile,pmu=amd:v2"
refuses 'with --vm it is said there' --mode emulated --vm "kernel=$profile"
refuses 'one guest too many' --vm "kernel=$profile" "$profile"
refuses 'is for --engine unicorn' --engine kvm --vm "kernel=$profile"
expect 125 --pmu intel:v=5 --vm "kernel=$profile" --vm "kernel=$profile,mode=passthrough"
shows 'guest 1: this PMU cannot be: a guest is passed through only where'
expect 0 --smp 2 --stats --pmu intel:v=5 --vm "kernel=$profile,pmu=intel:v=5,,gp=6" \
	--vm "kernel=$profile,mode=partitioned,pmu=intel:v=2,,gp=4" --vm "kernel=$guest,append=hello,mode=off"
shows '^\[0\] done$'
shows '^\[1\] done$'
shows '^\[2\] hello$'
shows '^vpmu-stats: vm1.pmis [1-9]'
expect 1 --vm "kernel=$guest,append=hello" --vm "kernel=$guest,append=no-such-scenario"
expect 124 --limit 30000 --vm "kernel=$guest,append=circle"
expect 124 --timeout 1 --vm "kernel=$guest,append=circle"
shows 'within 1 seconds'

# Files.
expect 125 "$tmp/missing"
shows 'No such file'
expect 125 "$tmp"
shows 'is not a guest image'
head -c 10000 /dev/zero >"$tmp/zeroes"
expect 125 "$tmp/zeroes"
shows zeroes

# Verdicts.
for mode in bare emulated mediated; do
	expect 0 --mode $mode "$guest" hello
	shows '^hello$'
	expect 1 --mode $mode "$guest" no-such-scenario
	expect 125 --mode $mode "$guest" stuck
	shows 'nothing will ever wake it'
	expect 125 --mode $mode "$guest" triple_fault
	shows 'triple fault'
	expect 124 --mode $mode -n 30000 -m 16M -c "$guest" circle
	shows 'within 30000 instructions'
done
expect 125 "$guest" low_alias
shows 'the engine cannot go on'
expect 124 --timeout 1 "$guest" circle
shows 'within 1 seconds'
if ! echo x | "$vpmu" run --arch x86 --memory 32M "$guest" ports >"$tmp/out" 2>&1; then
	echo "FAIL: standard input does not reach the guest:"
	cat "$tmp/out"
	failures=$((failures + 1))
fi
"$vpmu" run --arch x86 "$guest" circle >/dev/null 2>&1 &
command=$!
sleep 1
kill -TERM $command
wait $command
[ $? -eq 130 ] || {
	echo "FAIL: SIGTERM does not end the run with 130"
	failures=$((failures + 1))
}

# Statistics, and the same guest with other PMUs.
expect 0 --mode bare --stats "$profile"
shows '^done$'
shows '^vpmu-stats: pmis [1-9]'
expect 0 --mode emulated --stats --pmu amd:legacy "$profile"
shows '^vpmu-stats: source_calls [1-9]'
shows '^vpmu-stats: exits.overflow [1-9]'
shows '^vpmu-stats: counter gp3 stopped'
expect 0 --mode mediated --stats --switch eager --pmu amd:v2,gp=4 "$profile"
shows '^vpmu-stats: hardware_accesses [1-9]'
shows '^vpmu-stats: direct_accesses [1-9]'
expect 0 --skid 3 --pmu intel:v=4,gp=4,width=40,fixed=1 "$profile" late
# A policy: not offered, and not counted.
expect 1 --policy deny:0xc0 "$profile"
shows 'INSTRUCTIONS_CODE | OS, LOOP) = 0000000000000000'
expect 125 --policy allow:0xc4 "$profile"
shows 'neither instructions nor cycles'
expect 1 --policy allow:0xc2 --pmu amd --mode emulated "$profile"
shows 'INSTRUCTIONS_CODE | OS, LOOP) = 0000000000000000'

[ $failures -eq 0 ]
