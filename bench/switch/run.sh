#!/bin/sh
# SPDX-License-Identifier: MIT
#
# switch - what an exit to the EL2 monitor and the enter after it cost.
#
# usage: bench/switch/run.sh [--qemu PATH]
#
#   --qemu PATH  the QEMU to run it in (default: build/qemu10, made when needed)
#
# A bare-metal guest goes to EL2 by HVC with its PMU idle (never enabled) or with 1 to 6 counters
# counting. PMU register accesses are counted by the monitor; instructions are the guest's clock
# under -icount, its own loop taken off. Each figure is the difference of two runs that differ in
# the number of exits alone, so that loading and the looks at the enables (RULES A1) do not count.
#
# Standard output: switch.KIND.STATE.{accesses,instructions} per exit/enter pair; with a CPU model
# before KIND where it is not "max". emulated_exit: the exit is a trapped register read that the
# monitor executes and counts. Standard error: a table.
#
# With a second user of the CPU, PMU register accesses only, counted on the software PMUs
# (beside.c): an Arm CPU as "max" with 8 event counters, one as neoverse-n1 with 6, Intel with 8 + 3,
# AMD with 6. All guests are mediated, and each counts on half of the counters that there are:
#  twovm               from one guest that counts to another: the first one's exit and put, the
#                      second one's load and enter. They count different events.
#  twovm_reading       the same; each guest also reads its counters between two switches, which
#                      opens them to it
#  twovm_all           and both count on all counters
#  twovm_pair          an exit and the enter of the same guest, between two such switches
#  hostevent           an exit and an enter beside an event of the host's that excludes guests
#  hostevent_conflict  an exit, between them the guest's trapped writes that start the counter which
#                      the event has, and the enter: the event moves on. All of it: the trapped
#                      writes would cost something without the event, too.
#  twovm_monitor       twovm as the monitor itself counts it on the emulated machine ("max", 6
#                      counters, 3 of them counting): accesses per load and save of two guests that
#                      are time-sliced, without looks
# The counts of guests and event are checked. The eager switch takes all counters that a guest has, so
# beside an event its guest has one less than the machine.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
vpmu=$root/build/host/tools/vpmu/vpmu
image=$root/build/arm64/guests/arm-tests/switch-bench.img
qemu=$root/build/qemu10/qemu-system-aarch64
few=20 many=220       # fewer than the interval between two looks (VPMU_LOOK_INTERVAL)
loop=4                # instructions of the guest's own per round

while [ $# -gt 0 ]; do
	case $1 in
	--qemu) qemu=${2?}; shift ;;
	*) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
	esac
	shift
done
[ -x "$qemu" ] || "$root/scripts/qemu10.sh" >&2

# one CPU KIND COUNTERS ROUNDS WORDS: "ACCESSES NANOSECONDS" of a run
one()
{
	"$vpmu" run --qemu "$qemu" --timeout 60 --stats --cpu "$1" --switch "$2" \
		--kernel "$image" --append "counters=$3 rounds=$4 $5" </dev/null 2>&1 |
	awk '
	/^switch-bench:/ { split($4, t, "="); split($5, hz, "="); ns = t[2] * (1e9 / hz[2]) }
	/pmu.(switch|trap)_accesses / { accesses += $NF }
	/vpmu-verdict: 0/ { fine = 1 }
	END { if (!fine || ns == "") exit 1; print accesses, ns }'
}

# Two nanoseconds are an instruction: -icount shift=1.
pair()
{
	a=$(one "$1" "$2" "$3" $few "$5") || { echo "switch: the guest failed" >&2; exit 1; }
	b=$(one "$1" "$2" "$3" $many "$5") || { echo "switch: the guest failed" >&2; exit 1; }
	name=switch.$2.$4
	[ "$1" = "$max" ] || name=switch.$1.$2.$4
	echo "$a $b" | awk -v name="$name" -v rounds=$((many - few)) -v loop=$loop '{
		accesses = ($3 - $1) / rounds
		instructions = ($4 - $2) / 2 / rounds - loop
		printf "%s.accesses,%.2f,accesses\n%s.instructions,%.0f,instructions\n",
			name, accesses, name, instructions
		printf "  %-40s %8.2f %8.0f\n", name, accesses, instructions > "/dev/stderr"
	}'
}

"$root/build/host/bench/switch-beside"

# tenants CPU KIND: both guests' accesses per load, two reads per look taken off
tenants()
{
	vm="kernel=$image,append=counters=3 rounds=60000,switch=$2"

	"$vpmu" run --qemu "$qemu" --timeout 60 --stats --cpu "$1" --vm "$vm" --vm "$vm" \
		</dev/null 2>&1 | tr -d '\r' | awk -v name="switch.$2.twovm_monitor" '
		/ pmu\.switch_accesses / { accesses += $NF }
		/ pmu\.probes / { probes += $NF }
		/ pmu\.loads / { loads += $NF }
		/ slices / { if ($NF < 2) exit 1 }
		/vpmu-verdict: 0/ { fine++ }
		END {
			if (fine != 2 || !loads)
				exit 1
			n = (accesses - 2 * probes) / loads
			printf "%s.accesses,%.2f,accesses\n", name, n
			printf "  %-34s %8.2f\n", name, n > "/dev/stderr"
		}' || { echo "switch: two guests failed" >&2; exit 1; }
}

max=max,sve=off,sme=off,pauth-impdef=on
tenants $max lazy
tenants $max eager
printf '  %-40s %8s %8s\n' 'per exit/enter pair' accesses instr. >&2
for kind in lazy eager; do
	pair $max $kind 0 idle ''
	for k in 1 2 3 4 5 6; do
		pair $max $kind $k active$k ''
	done
	pair $max $kind 1 emulated_exit emulated
done
for cpu in neoverse-n1 cortex-a57; do
	pair $cpu lazy 0 idle ''
	pair $cpu lazy 6 active6 ''
done
