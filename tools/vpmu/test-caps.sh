#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test-caps.sh VPMU - what `vpmu caps` says of hosts in a folder, and of this one.
set -u
vpmu=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

fail()
{
	echo "FAIL: $*"
	cat "$tmp/out"
	failures=$((failures + 1))
}
caps()
{
	want=$1
	shift
	"$vpmu" caps "$@" >"$tmp/out" 2>&1 </dev/null
	got=$?
	[ $got -eq "$want" ] || fail "vpmu caps $*: status $got, expected $want"
}
shows() { grep -qe "$1" "$tmp/out" || fail "expected '$1' in:"; }
hides() { ! grep -qe "$1" "$tmp/out" || fail "did not expect '$1' in:"; }
# put FILE LINE
put()
{
	mkdir -p "$(dirname "$tmp/root/$1")"
	printf '%s\n' "$2" >"$tmp/root/$1"
}
pmu() { put "sys/bus/event_source/devices/$1/$2" "$3"; }
# The value at a path of keys in the JSON object of the last call.
json()
{
	python3 -c '
import json, sys
with open(sys.argv[1], encoding="utf-8") as f:
    value = json.load(f)
for key in sys.argv[2:]:
    value = value[int(key) if isinstance(value, list) else key]
print(json.dumps(value))' "$tmp/out" "$@" 2>/dev/null
}
is()
{
	want=$1
	shift
	got=$(json "$@") || fail "no JSON, or no such member: $*"
	[ "$got" = "$want" ] || fail "$*: $got, expected $want"
}

caps 2 --nonsense
shows 'nonsense'
caps 2 --root
caps 0 --help
shows '[-]-json'

# Nothing at all.
mkdir "$tmp/root"
caps 0 --root "$tmp/root"
shows 'core PMUs: none'
shows 'there is no /dev/kvm'
shows 'source perf .*: nothing'
shows 'the kernel has no PMU'
shows 'frequency of this machine.s clock is unknown'
caps 0 --json --root "$tmp/root"
is false sources perf usable
is false sources time guests intel usable
is '[]' host pmus

# A clock: an Intel guest gets cycles, an AMD guest nothing, and the reason (RULES D3).
put proc/cpuinfo "vendor_id : AuthenticAMD
cpu MHz		: 2449.998"
caps 0 --root "$tmp/root"
shows 'event encoding: amd'
shows 'about 2449 MHz'
shows 'source time .*: usable'
shows 'amd guest: no PMU: .*instructions, branch-instructions, branch-misses$'
caps 0 --json --root "$tmp/root"
is true sources time usable
is 4 sources time guests intel counters
is 0 sources time guests intel fixed
is true sources time guests intel events cpu-cycles usable
is true sources time guests intel events ref-cycles usable
is false sources time guests intel events instructions usable
is 122 sources time guests intel events_missing
is false sources time guests amd usable

# A hybrid host, of software events where this kernel has them; and names that want quoting.
for core in core_a "core\"b\\"; do
	pmu "$core" type 1
	pmu "$core" format/event config:0-63
	pmu "$core" events/cpu-cycles event=1
done
pmu core_a cpus 0-1,3
pmu "core\"b\\" cpus 2
pmu core_a events/instructions event=1
put proc/sys/kernel/perf_event_paranoid 3
caps 0 --json --root "$tmp/root"
is '"0-1,3"' host pmus 0 cpus
is '"core\"b\\"' host pmus 1 name
is 1 host common_events
is 3 host perf_event_paranoid
if [ "$(json sources perf usable)" = true ] && [ "$(json sources perf note)" = null ]; then
	is true sources perf guests intel events cpu-cycles usable
	is false sources perf guests intel events instructions usable
	is '"not every kind of core of this hybrid machine lists this event"' \
		sources perf guests intel events instructions reason
	is '"the host'\''s CPUs encode raw events differently"' sources perf guests intel events raw reason
	is false sources perf guests amd usable
else
	echo "skipped: what a kernel says that gives perf events; this one: $(json sources perf)"
fi
caps 0 --root "$tmp/root"
shows 'events that all of them list: 1'

# This machine, whatever it is; and the same as an ordinary user, where that is possible.
caps 0
shows '^host'
caps 0 --json
json sources perf reason >/dev/null || fail 'no JSON for this host'
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	# The command, where that user may read it.
	cp "$vpmu" "$tmp/vpmu"
	chmod -R a+rX "$tmp"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$tmp/vpmu" caps --json --root "$tmp/root" \
		>"$tmp/out" 2>&1 || fail 'as an ordinary user'
	if [ "$(cat /proc/sys/kernel/perf_event_paranoid)" -ge 2 ]; then
		hides '"perf":{"usable":true,"reason":null,"note":null'
		is false sources perf guests intel usable
		shows 'perf_event_paranoid'
	fi
else
	echo 'skipped: as an ordinary user; needs root, and setpriv, to become one'
fi

[ $failures -eq 0 ]
