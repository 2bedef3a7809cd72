#!/bin/bash
# SPDX-License-Identifier: MIT
#
# modes.sh - guests of all modes side by side under the EL2 monitor: mediated, partitioned, emulated and
# without a PMU, each with a PMU of its own. What each counts is what it counts alone, and of the others it
# sees nothing.
#
# usage: modes.sh [PATTERN]    only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh
. tests/e2e/several.sh

only=${1:-}
several modes

# four SUITE QEMU CPU WORDS OPTION...: guests 0 to 3 are emulated, mediated, partitioned, and without a PMU.
four()
{
	local suite=$1 qemu=$2 cpu=$3 words=$4
	shift 4

	together "$suite" "$qemu" "$cpu" "$@" --vm "$(small "$words" mode=emulated)" \
		--vm "$(small "$words" memory=16M)" --vm "$(small "$words" mode=partitioned,memory=16M)" \
		--vm "$(small test=tenant_spins mode=off,memory=16M,wait=no)"
}

# Each one's counts are those of a guest alone.
counting()
{
	local at=modes/$1 g name

	together "$at/alone" "$2" "$3" --vm "$(small test=tenant_counts)"
	four "$at/counting" "$2" "$3" test=tenant_counts
	judge "$at/alone" 0
	judge "$at/counting" 0 1 2
	for g in 0 1 2; do
		for name in instructions cycles; do
			same "$at/counting/$g/$name" "$(figure "$at/counting" "$g" "$name")" \
				"$(figure "$at/alone" 0 "$name")"
		done
	done
	same "$at/counting/3/no_pmu" "$(of 3 "$at/counting" | grep -c '^skip tenant_spins: no PMU' || true)" 1
	at_least "$at/counting/turns" "$(statistic "$at/counting" slices)" 40
}

# Handlers that outlast their turns.
interrupts()
{
	four "modes/$1/interrupts" "$2" "$3" test=tenant_interrupts
	judge "modes/$1/interrupts" 0 1 2
}

# Some write the pattern into every register all the time, and who looks finds what a reset leaves: once
# it is the emulated one, once another's.
pattern()
{
	local at=modes/$1 paint="test=tenant_paints rounds=100000" find="test=tenant_finds rounds=20"

	together "$at/pattern" "$2" "$3" --vm "$(small "$paint" wait=no)" \
		--vm "$(small "$find" mode=emulated,memory=16M)" \
		--vm "$(small "$paint" mode=partitioned,memory=16M,wait=no)" \
		--vm "$(small "$find" mode=partitioned,memory=16M)"
	judge "$at/pattern" 1 3
	together "$at/pattern-emulated" "$2" "$3" --vm "$(small "$paint" mode=emulated,wait=no)" \
		--vm "$(small "$find" mode=emulated,memory=16M)" --vm "$(small "$find" memory=16M)" \
		--vm "$(small "$find" mode=partitioned,memory=16M)"
	judge "$at/pattern-emulated" 1 2 3
	together "$at/pattern-passthrough" "$2" "$3" --vm "$(small "$paint" mode=passthrough,wait=no)" \
		--vm "$(small "$find" mode=emulated,memory=16M)" --vm "$(small "$paint" mode=emulated,memory=16M,wait=no)"
	judge "$at/pattern-passthrough" 1
}

# Every rule of the register file and of its interrupt, in guests that lose the CPU all the time.
bodies()
{
	local at=modes/$1 tests="kernel=$images/pmu-tests.img,append=cpi=2"

	together "$at/bodies" "$2" "$3" --vm "$tests,mode=emulated" \
		--vm "$tests $(doubled "allow=$(qemu_deviations "$3")"),mode=partitioned,memory=16M" \
		--vm "$(small "test=tenant_paints rounds=100000" memory=16M,wait=no)"
	judge "$at/bodies" 0 1
}

# shows SUITE GUEST COUNTERS VERSION
shows()
{
	same "$1/$2/shows" "$(figure "$1" "$2" counters) $(figure "$1" "$2" version)" "$3 $4"
}

# Numbers of counters and versions of the PMU (ID_AA64DFR0_EL1.PMUVer); the machine's are 6 and PMUv3p5.
unlike()
{
	local at=modes/$1/unlike words="test=tenant_shows test=tenant_counts"

	together "$at" "$2" "$3" --vm "$(small "$words" mode=emulated,counters=6,version=v3)" \
		--vm "$(small "$words" mode=mediated,counters=4,version=v3p4,memory=16M)" \
		--vm "$(small "$words" mode=partitioned,counters=2,version=v3p1,memory=16M)" \
		--vm "$(small "$words" mode=emulated,memory=16M)"
	judge "$at" 0 1 2 3
	shows "$at" 0 6 1
	shows "$at" 1 4 5
	shows "$at" 2 2 4
	shows "$at" 3 5 6
}

# Four guests on three CPUs: one waits, and whoever is free takes it. Counts go with the guest, whatever makes them.
# (Not cycles: with several CPUs those are the machine's in QEMU.)
moving()
{
	local at=modes/$1

	together "$at/moving" "$2" "$3" --smp 3 \
		--vm "$(small "test=tenant_increments rounds=40" mode=emulated)" \
		--vm "$(small "test=tenant_increments rounds=40" mode=partitioned,memory=16M)" \
		--vm "$(small "test=tenant_finds_reset rounds=40" mode=emulated,memory=16M)" \
		--vm "$(small "test=tenant_paints rounds=100000" memory=16M,wait=no)"
	judge "$at/moving" 0 1 2
	same "$at/moving/increments" "$(figure "$at/moving" 0 increments) $(figure "$at/moving" 1 increments)" "40 40"
	at_least "$at/moving/migrations" "$(statistic "$at/moving" migrations)" 3
	together "$at/moving-smp" "$2" "$3" --smp 3 \
		--vm "kernel=$images/smp-tests.img,cpus=2,mode=emulated,append=smp=2" \
		--vm "kernel=$images/smp-tests.img,cpus=2,mode=partitioned,memory=16M,append=smp=2" \
		--vm "kernel=$images/smp-tests.img,cpus=2,memory=16M,append=smp=2"
	judge "$at/moving-smp" 0 1 2
}

# Linux, emulated, beside the others: counts to the instruction, and as many samples as on the bare machine.
linux()
{
	local at=modes/$1

	[ -e "$initrd" ] || { skip "$at/linux" "no $initrd; guests/linux/build.sh"; return; }
	make_initrd >"$work/initrd"
	run_seconds=$boot_seconds linux_bare "$at/linux-bare" "$2" "$3"
	run_seconds=$boot_seconds together "$at/linux" "$2" "$3" --vm "$(linux_spec),mode=emulated" \
		--vm "$(small test=tenant_counts memory=16M)" \
		--vm "$(small test=tenant_counts mode=partitioned,memory=16M)" \
		--vm "$(small test=tenant_spins mode=off,memory=16M,wait=no)"
	linux_ended "$at/linux-bare" 0 || return 0
	judge "$at/linux" 1 2
	linux_same "$at/linux" 0 "$at/linux-bare"
}

# refuses_two NAME QEMU PATTERN MODE MODE: two guests of these modes are refused with PATTERN.
refuses_two()
{
	local at=modes/refused/$1

	together "$at" "$2" max --vm "$(small test=tenant_counts "mode=$4")" \
		--vm "$(small test=tenant_counts "mode=$5,memory=16M")"
	if grep -q "^vpmu: fatal: .*$3" "$(console "$at")"; then
		echo "ok $at"
	else
		fail "$at" "'$(tail -n 1 "$(console "$at")")', expected '$3'"
	fi
}

# What cannot be had is said, and nothing runs.
refused()
{
	local vm="vm kernel=0x48480000"

	refuses modes/refused/counters "$1" 'this machine has 6' "$vm" mode=partitioned counters=7
	refuses modes/refused/mode "$1" 'the mode is off' "$vm" mode=shared
	refuses_two second "$1" 'the only guest with counters' mediated passthrough
	refuses_two beside_passthrough "$1" 'give that one "mode=mediated"' passthrough mediated
	refuses modes/refused/policy "$1" 'more than it shall have' "$vm" mode=passthrough policy=deny:0x11
	refuses modes/refused/fewer "$1" 'more than it shall have' "$vm" mode=passthrough counters=2
	refuses modes/refused/version "$1" 'the version is v3' "$vm" version=v3p9
}

while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		case $label/$cpu in
		*"$only"*) ;;
		*) continue ;;
		esac
		counting "$label/$cpu" "$qemu" "$cpu"
		interrupts "$label/$cpu" "$qemu" "$cpu"
		bodies "$label/$cpu" "$qemu" "$cpu"
		[ "$cpu" = max ] || continue
		pattern "$label/$cpu" "$qemu" "$cpu"
		unlike "$label/$cpu" "$qemu" "$cpu"
		moving "$label/$cpu" "$qemu" "$cpu"
		[ "${label%%.*}" = qemu10 ] || continue
		linux "$label/$cpu" "$qemu" "$cpu"
	done
done < <(emulators)
[ -n "$only" ] || refused "$(emulators | sed -n '1s/^[^ ]* //p')"
finish
