#!/bin/bash
# SPDX-License-Identifier: MIT
#
# hetero.sh - guests on CPUs that the EL2 monitor treats as having different PMUs: one PMU, what all have, or the
# cycle counter alone. QEMU's CPUs are alike; what the description keeps back must be seen by nobody.
#
# usage: hetero.sh [PATTERN]    only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh
. tests/e2e/several.sh

only=${1:-}
several hetero
tenant=$image
image=$images/hetero-tests.img

# CPUs 0 and 1 have all that the machine has; 2 and 3 have two counters and fewer events, without INST_RETIRED, or
# with it.
unlike=(--smp 4 --pmu-type "big,cpus=0-1" --pmu-type "little,cpus=2-3,counters=2,events=0x00")
counting=(--smp 4 --pmu-type "big,cpus=0-1" --pmu-type "little,cpus=2-3,counters=2,events=0x08")

basic="test=hetero_identity,,hetero_enables,,hetero_cycles,,hetero_interrupts"
# What has event counters does more; what lacks INST_RETIRED shows it.
events="$basic,,hetero_increments"
without="$events,,hetero_lacks lacks=8"
with="$events,,hetero_counts"

# shows SUITE GUEST COUNTERS PMCEID0 PMCEID1: what the guest was shown.
shows()
{
	same "$1/$2/shown" "$(figure "$1" "$2" counters) $(figure "$1" "$2" pmceid0) $(figure "$1" "$2" pmceid1)" \
		"$3 $4 $5"
}

# says SUITE NAME LINE: the monitor does, once.
says() { same "$1/$2" "$(grep -cxF "vpmu: $3" "$(console "$1")" || true)" 1; }

# of_vcpu SUITE VCPU NAME: one statistic.
of_vcpu() { sed -n "s/^vpmu: $2 $3 //p" "$(console "$1")"; }

# ---- Placements ----

# The PMU without any description: counters, PMCEID0, PMCEID1.
machine=()

look()
{
	local at=hetero/$1/machine

	together "$at" "$2" "$3" --vm "$(small "test=hetero_identity rounds=1")"
	judge "$at" 0
	machine=("$(figure "$at" 0 counters)" "$(figure "$at" 0 pmceid0)" "$(figure "$at" 0 pmceid1)")
}

# One of each kind stays on a CPU; one of what both have, and one of cycles, move between the two CPUs.
placements()
{
	local at=hetero/$1/placements

	together "$at" "$2" "$3" "${unlike[@]}" \
		--vm "$(small "$without" pmu=common,on=1-2)" \
		--vm "$(small "$with" pmu=big,on=1,memory=16M)" \
		--vm "$(small "$without" pmu=little,on=2,memory=16M)" \
		--vm "$(small "$basic" pmu=fixed,on=1-2,memory=16M)"
	judge "$at" 0 1 2 3
	shows "$at" 0 2 $((1 << 0 | 1 << 0x11)) 0
	shows "$at" 1 "${machine[@]}"
	shows "$at" 2 2 $((1 << 0 | 1 << 0x11)) 0
	shows "$at" 3 0 $((1 << 0x11)) 0
	# How often is a matter of phases: it came back at least once.
	at_least "$at/migrations" "$(of_vcpu "$at" vm0.cpu0 migrations)" 2
	same "$at/refusals" "$(statistic "$at" refusals)" 0
}

# An event that both have counts wherever the guest is; by default a guest has the PMU of its first CPU.
moving()
{
	local at=hetero/$1/moving

	together "$at" "$2" "$3" "${counting[@]}" \
		--vm "$(small "$with" pmu=common,on=1-2)" \
		--vm "$(small "$with" on=1,memory=16M)" \
		--vm "$(small "$with rounds=40" on=2,memory=16M)"
	judge "$at" 0 1 2
	shows "$at" 0 2 $((1 << 0 | 1 << 8 | 1 << 0x11)) 0
	shows "$at" 1 "${machine[@]}"
	shows "$at" 2 2 $((1 << 0 | 1 << 8 | 1 << 0x11)) 0
	at_least "$at/migrations" "$(of_vcpu "$at" vm0.cpu0 migrations)" 2
}

# ---- Refused ----

# On no CPU of its kind: refused by each, by name, and at its end; the other goes on.
nowhere()
{
	local at=hetero/$1/nowhere

	together "$at" "$2" "$3" "${unlike[@]}" --vm "$(small "$with" pmu=big,on=2-3)" \
		--vm "$(small "$without" pmu=little,on=2-3,memory=16M)"
	says "$at" refused_by_2 'CPU 2 refuses guest 0 CPU 0: PMU "big" is of CPUs 0,1'
	says "$at" refused_by_3 'CPU 3 refuses guest 0 CPU 0: PMU "big" is of CPUs 0,1'
	says "$at" end 'guest 0 ends: no CPU is left that may run its CPU 0'
	same "$at/verdict" "$(figure_verdict "$at" 0)" 125
	same "$at/status" "$(cat "$(console "$at").status")" 125
	judge "$at" 1
}

figure_verdict() { of "$2" "$1" | sed -n 's/^vpmu-verdict: //p'; }

# CPU 2 is free and takes it, and may not; it goes back to the line, and counts on where it may.
moved_back()
{
	local at=hetero/$1/moved_back

	together "$at" "$2" "$3" "${unlike[@]}" --vm "$(small "$with" pmu=big,on=0-2)" \
		--vm "$(small "$with" pmu=big,on=0,memory=16M)" \
		--vm "$(small "$with" pmu=big,on=1,memory=16M)"
	says "$at" refused 'CPU 2 refuses guest 0 CPU 0: PMU "big" is of CPUs 0,1'
	same "$at/messages" "$(grep -c '^vpmu: CPU . refuses' "$(console "$at")" || true)" 1
	same "$at/refusals" "$(of_vcpu "$at" vm0.cpu0 refusals)" 1
	judge "$at" 0 1 2
	same "$at/increments" "$(figure "$at" 0 increments)" 20
	at_least "$at/turns" "$(of_vcpu "$at" vm0.cpu0 slices)" 10
}

# ---- To the event ----

# On one CPU all counts are exact: they are those of a guest that is alone on a machine without kinds.
exact()
{
	local at=hetero/$1 g

	image=$tenant together "$at/alone" "$2" "$3" --vm "$(image=$tenant small "test=tenant_counts")"
	image=$tenant together "$at/exact" "$2" "$3" --pmu-type "one,cpus=0,counters=3,events=0x08" \
		--vm "$(image=$tenant small "test=tenant_counts" pmu=common)" \
		--vm "$(image=$tenant small "test=tenant_counts" pmu=one,switch=eager,memory=16M)" \
		--vm "$(image=$tenant small "test=tenant_counts" pmu=one,mode=partitioned,counters=1,memory=16M)" \
		--vm "$(image=$tenant small "test=tenant_counts_cycles" pmu=fixed,memory=16M)"
	judge "$at/exact" 0 1 2 3
	for g in 0 1 2; do
		same "$at/exact/$g/instructions" "$(figure "$at/exact" "$g" instructions)" \
			"$(figure "$at/alone" 0 instructions)"
	done
	same "$at/exact/3/cycles" "$(figure "$at/exact" 3 cycles)" "$(figure "$at/alone" 0 cycles)"
}

# ---- Linux ----

make_hetero_initrd()
{
	member hetero-guest.sh $((0100755)) tests/e2e/hetero-guest.sh
	member 'TRAILER!!!' 0 /dev/null
	cat "$initrd"
}

# Two CPUs of a Linux guest on four: its driver finds what all have.
linux()
{
	local at=hetero/$1/linux

	[ -e "$initrd" ] || { skip "$at" "no $initrd; guests/linux/build.sh"; return; }
	make_hetero_initrd >"$work/hetero-initrd"
	run_seconds=$boot_seconds together "$at" "$2" "$3" "${unlike[@]}" \
		--vm "kernel=$(dirname "$initrd")/Image,initrd=$work/hetero-initrd,append=quiet panic=-1 -- \
/hetero-guest.sh,cpus=2,pmu=common" \
		--vm "$(small "$with rounds=60" pmu=big,memory=16M)" \
		--vm "$(small "$without rounds=60" pmu=little,memory=16M)" \
		--vm "$(small "$basic rounds=60" pmu=fixed,memory=16M)"
	linux_ended "$at" 0 || return 0
	judge "$at" 1 2 3
	# The driver counts the cycle counter too.
	same "$at/0/counters" "$(figure "$at" 0 driver_counters)" 3
	same "$at/0/events" "$(figure "$at" 0 event)" cpu_cycles
	at_least "$at/0/cycles" "$(figure "$at" 0 cycles_u)" 10000000
	at_least "$at/0/samples" "$(figure "$at" 0 samples_of_cycles)" 10
	at_least "$at/0/migrations" "$(of_vcpu "$at" vm0.cpu0 migrations)" 10
}

# ---- What the monitor does not take ----

# The tool places the one module at 0x48480000. The machine has one CPU.
refused()
{
	local vm="vm kernel=0x48480000" at=hetero/refused

	refuses $at/no_such_pmu "$1" 'guest 0: this machine has no PMU "gold"' pmu-type=big:cpus=0 "$vm" pmu=gold
	together $at/no_pmu "$1" max --smp 2 --pmu-type "big,cpus=0" --vm "$(small "$basic" on=1)"
	says $at/no_pmu fatal 'fatal: guest 0: CPU 1, its first, has no PMU'
	refuses $at/no_cpu "$1" 'PMU "little": "cpus=" names no CPU' pmu-type=big:cpus=0 pmu-type=little:cpus=1 \
		"$vm"
	refuses $at/counters "$1" 'PMU "big": 9 counters, but CPU 0 has 6' pmu-type=big:cpus=0:counters=9 "$vm"
	refuses $at/event "$1" 'PMU "big": CPU 0 has no event 0x1' pmu-type=big:cpus=0:events=0x01 "$vm"
	refuses $at/upper_event "$1" 'has no event 0x4004' pmu-type=big:cpus=0:events=0x4004 "$vm"
	refuses $at/too_many "$1" "option \"counters=3\": this guest's PMU has 2" \
		pmu-type=big:cpus=0:counters=2 "$vm" counters=3
	refuses $at/unnamed "$1" 'a name has' pmu-type=:cpus=0 "$vm"
	refuses $at/long_name "$1" 'a name has' pmu-type=sixteen-letters-:cpus=0 "$vm"
	refuses $at/placement "$1" 'can be named so' pmu-type=fixed:cpus=0 "$vm"
	refuses $at/twice "$1" 'there is one with this name' pmu-type=big:cpus=0 pmu-type=big:cpus=1 "$vm"
	refuses $at/overlap "$1" 'a CPU of it has one already' pmu-type=a:cpus=0-1 pmu-type=b:cpus=1 "$vm"
	refuses $at/no_cpus "$1" 'needs cpus=' pmu-type=big:counters=1 "$vm"
	refuses $at/field "$1" 'a PMU has NAME' pmu-type=big:cpus=0:colour=red "$vm"
	refuses $at/no_counters "$1" 'out of range' pmu-type=big:cpus=0:counters=0 "$vm"
	refuses $at/list "$1" 'not a range' pmu-type=big:cpus=3-1 "$vm"
	refuses $at/raw_event "$1" 'events are 0-0x3f' pmu-type=big:cpus=0:events=0xc0 "$vm"
	refuses $at/five "$1" 'too many kinds' pmu-type=a:cpus=0 pmu-type=b:cpus=1 pmu-type=c:cpus=2 \
		pmu-type=d:cpus=3 pmu-type=e:cpus=4 "$vm"
	refuses $at/alone "$1" 'only with "vm"' pmu-type=big:cpus=0
	refuses $at/alone_pmu "$1" 'only after' pmu=common
}

while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		at=$label/$cpu
		case $at in
		*"$only"*) ;;
		*) continue ;;
		esac
		# Other CPU models once: what differs is what is direct.
		[ "$cpu" = max ] || [ "${label%%.*}" = qemu10 ] || continue
		look "$at" "$qemu" "$cpu"
		placements "$at" "$qemu" "$cpu"
		[ "$cpu" = max ] || continue
		moved_back "$at" "$qemu" "$cpu"
		exact "$at" "$qemu" "$cpu"
		[ "${label%%.*}" = qemu10 ] || continue
		moving "$at" "$qemu" "$cpu"
		nowhere "$at" "$qemu" "$cpu"
		linux "$at" "$qemu" "$cpu"
	done
done < <(emulators)
[ -n "$only" ] || refused "$(emulators | sed -n '1s/^[^ ]* //p')"
finish
