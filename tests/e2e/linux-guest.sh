#!/bin/sh
# SPDX-License-Identifier: MIT
#
# linux-guest.sh - runs in the Linux guest of linux.sh, with the guest's own perf and loop.
#
# usage: linux-guest.sh PART...
#
#   instructions, cycles   counts and samples of that event; cycles also multiplexed
#   raw                    is event 0x11 offered, and does it count all the same?
#   smp                    the guest's own script for several CPUs
#
# Prints "figure NAME VALUE..."; "none" is what this PMU does not offer. It judges nothing: the
# same script runs on the bare machine, and linux.sh compares.
long=10000000 short=5000000   # iterations of the loop
period=1000001                # odd: QEMU loses no overflow of those under icount

figure() { echo "figure $*"; }

# count ITERATIONS EVENTS: one line "COUNT PERCENT-OF-TIME" per event.
count()
{
	perf stat -x, -o stat.csv -e "$2" loop "$1"
	awk -F, '/^#/ || NF < 5 { next } { print ($1 ~ /^[0-9]+$/ ? $1 : "none"), $5 + 0 }' stat.csv
}

# counts NAME ITERATIONS EVENTS: the counts of all events in one figure.
counts()
{
	# shellcheck disable=SC2046 # words
	figure "$1" $(count "$2" "$3" | awk '{ print $1 }')
}

# samples NAME ITERATIONS EVENTS: samples of all of them together.
samples()
{
	perf record -q -B -N -e "$3" -c "$period" -o record.data loop "$2" || return
	figure "$1" "$(perf report -i record.data --stats 2>/dev/null |
		awk '/SAMPLE events/ { print $3; exit }')"
}

# repeat N EVENT: the event N times, separated by commas.
repeat()
{
	awk -v n="$1" -v e="$2" 'BEGIN { while (n-- > 0) printf "%s%s", e, n ? "," : "" }'
}

# More events than counters: scaled counts, then how long each was counted.
multiplexed()
{
	count "$long" "$(repeat 12 cycles:u)" >multiplexed
	# shellcheck disable=SC2046 # words
	figure multiplexed $(awk '{ print $1 }' multiplexed)
	# shellcheck disable=SC2046
	figure multiplexed_time $(awk '{ print $2 }' multiplexed)
}

# A group is counted whole or not at all: here all event counters of the machine at once.
instructions()
{
	counts instructions_u "$long" instructions:u
	counts six_instructions_u "$short" "{$(repeat 6 instructions:u)}"
	samples samples_of_instructions "$long" instructions:u
}

cycles()
{
	counts cycles_u "$long" cycles:u
	counts cycles "$long" cycles
	counts whole_pmu_u "$short" "{$(repeat 6 instructions:u),cycles:u}"
	samples samples_of_cycles "$long" cycles
	samples samples_of_six "$short" "$(repeat 6 cycles)"
	multiplexed
	samples samples_of_twelve "$short" "$(repeat 12 cycles)"
}

# Raw events have no name that the kernel could find unsupported: they show what really counts.
# Of two, one is in the cycle counter and the other is not.
raw()
{
	figure advertised "$(find /sys/bus/event_source/devices/ -follow -maxdepth 3 \
		-name cpu_cycles 2>/dev/null | wc -l)"
	counts cycles "$short" cycles
	counts raw_cycles "$short" '{r11,r11}'
	counts raw_beside_instructions "$short" '{r11:u,r11:u,instructions:u}'
}

smp() { /scripts/smp; }

# Linux samples less when interrupts seem to take long, as they do while QEMU runs the other CPU.
echo 0 >/proc/sys/kernel/perf_cpu_time_max_percent
for part; do
	"$part" || exit
done
