#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tenants.sh - several guests of the EL2 monitor: what each counts is what it counts alone, and of the
# others it sees nothing.
#
# usage: tenants.sh [PATTERN]    only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh
. tests/e2e/several.sh

only=${1:-}
several tenants

# ---- Suites ----

# Two guests that count take turns on one CPU: what each counts is what it counts alone.
counting()
{
	local at=tenants/$1 g name

	together "$at/alone" "$2" "$3" --vm "$(small test=tenant_counts)"
	together "$at/counting" "$2" "$3" --vm "$(small test=tenant_counts)" \
		--vm "$(small test=tenant_counts memory=16M)"
	judge "$at/alone" 0
	judge "$at/counting" 0 1
	for g in 0 1; do
		for name in instructions cycles; do
			same "$at/counting/$g/$name" "$(figure "$at/counting" "$g" "$name")" \
				"$(figure "$at/alone" 0 "$name")"
		done
	done
	at_least "$at/counting/turns" "$(statistic "$at/counting" slices)" 20
}

# A handler that outlasts its turn, in both.
interrupts()
{
	local at=tenants/$1

	together "$at/interrupts" "$2" "$3" --vm "$(small test=tenant_interrupts)" \
		--vm "$(small test=tenant_interrupts memory=16M)"
	judge "$at/interrupts" 0 1
}

# The eager switch, another number of counters and a policy beside a guest without them.
unlike()
{
	local at=tenants/$1

	together "$at/unlike" "$2" "$3" --vm "$(small test=tenant_counts switch=eager)" \
		--vm "$(small test=tenant_counts counters=2,policy=deny:0x03,memory=16M)" \
		--vm "$(small test=tenant_spins mode=off,memory=16M,wait=no)"
	judge "$at/unlike" 0 1
	same "$at/unlike/fewer_counters" "$(figure "$at/unlike" 1 instructions)" \
		"$(figure "$at/unlike" 0 instructions)"
	same "$at/unlike/no_pmu" "$(of 2 "$at/unlike" | grep -c '^skip tenant_spins: no PMU' || true)" 1
}

# One writes the pattern into every register all the time, the other finds what a reset leaves.
pattern()
{
	local at=tenants/$1

	together "$at/pattern" "$2" "$3" --vm "$(small "test=tenant_paints rounds=60")" \
		--vm "$(small "test=tenant_finds rounds=30" memory=16M)"
	judge "$at/pattern" 0 1
	together "$at/pattern-eager" "$2" "$3" --vm "$(small "test=tenant_finds rounds=30" switch=eager)" \
		--vm "$(small "test=tenant_paints rounds=60" switch=eager,memory=16M)"
	judge "$at/pattern-eager" 0 1
}

# Every rule of the register file and of its interrupt, in a guest that loses the CPU all the time.
bodies()
{
	local at=tenants/$1

	together "$at/bodies" "$2" "$3" --vm "$(small "test=tenant_paints rounds=100000" wait=no)" \
		--vm "kernel=$images/pmu-tests.img,memory=16M,append=cpi=2 $(doubled "allow=$(qemu_deviations "$3")")"
	judge "$at/bodies" 1
}

# Three guests on two CPUs: whoever is free takes the next, and counts go with the guest.
moving()
{
	local at=tenants/$1

	together "$at/moving" "$2" "$3" --smp 2 --vm "$(small "test=tenant_increments rounds=40")" \
		--vm "$(small "test=tenant_increments rounds=40" memory=16M)" \
		--vm "$(small "test=tenant_finds rounds=40" memory=16M)"
	judge "$at/moving" 0 1 2
	same "$at/moving/increments" "$(figure "$at/moving" 0 increments) $(figure "$at/moving" 1 increments)" "40 40"
	at_least "$at/moving/migrations" "$(statistic "$at/moving" migrations)" 6
	together "$at/moving-smp" "$2" "$3" --smp 2 \
		--vm "kernel=$images/smp-tests.img,cpus=2,append=smp=2" \
		--vm "kernel=$images/smp-tests.img,cpus=2,memory=16M,append=smp=2"
	judge "$at/moving-smp" 0 1
}

# ---- Linux ----

# It lost the CPU and got it back while it counted.
linux_took_turns()
{
	at_least "$1/turns" "$(sed -n 's/^vpmu: vm0.cpu0 pmu.loads //p' "$(console "$1")")" 5
}

# Beside a guest that counts, and beside another Linux.
linux()
{
	local at=tenants/$1

	[ -e "$initrd" ] || { skip "$at/linux" "no $initrd; guests/linux/build.sh"; return; }
	make_initrd >"$work/initrd"
	run_seconds=$boot_seconds linux_bare "$at/linux-bare" "$2" "$3"
	run_seconds=$boot_seconds together "$at/linux" "$2" "$3" --vm "$(linux_spec)" \
		--vm "$(small "test=tenant_counts rounds=250" memory=16M)"
	linux_ended "$at/linux-bare" 0 || return 0
	judge "$at/linux" 1
	linux_took_turns "$at/linux"
	linux_same "$at/linux" 0 "$at/linux-bare"
	[ "${1%%.*}" = qemu10 ] || return 0
	run_seconds=$boot_seconds together "$at/two-linux" "$2" "$3" --vm "$(linux_spec)" --vm "$(linux_spec)"
	linux_took_turns "$at/two-linux"
	linux_same "$at/two-linux" 0 "$at/linux-bare"
	linux_same "$at/two-linux" 1 "$at/linux-bare"
}

# ---- What the monitor refuses ----

# The tool places the one module at 0x48480000.
refused()
{
	local vm="vm kernel=0x48480000"

	refuses tenants/refused/no_kernel "$1" 'guest 0: no kernel=' vm
	refuses tenants/refused/no_module "$1" 'no kernel module at 1000' vm kernel=0x1000
	refuses tenants/refused/no_initrd "$1" 'no initrd module at 48480000' "$vm" initrd=0x48480000
	refuses tenants/refused/shared_module "$1" 'no memory=' "$vm" "$vm"
	refuses tenants/refused/too_large "$1" 'MiB of RAM are not free' "$vm" "$vm" memory=4096
	refuses tenants/refused/odd_memory "$1" 'multiple of 2 MiB' "$vm" "$vm" memory=3
	refuses tenants/refused/too_small "$1" 'too few' "$vm" "$vm" memory=2
	refuses tenants/refused/first_memory "$1" 'what the others leave' "$vm" memory=64
	refuses tenants/refused/cpus "$1" 'at most the machine' "$vm" cpus=2
	refuses tenants/refused/no_cpus "$1" 'out of range' "$vm" cpus=0
	refuses tenants/refused/on "$1" 'names no CPU' "$vm" on=5
	refuses tenants/refused/mode "$1" 'the mode is off, mediated' "$vm" mode=magic
	refuses tenants/refused/version "$1" 'the version is v3' "$vm" version=v4
	refuses tenants/refused/counters "$1" 'this machine has' "$vm" counters=9
	refuses tenants/refused/no_counters "$1" 'out of range' "$vm" counters=0
	refuses tenants/refused/before "$1" 'about no guest' policy=deny:1 "$vm"
	refuses tenants/refused/alone "$1" 'only after' cpus=1
	refuses tenants/refused/five "$1" 'too many guests' "$vm vm vm vm vm"
}

while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		case $label/$cpu in
		*"$only"*) ;;
		*) continue ;;
		esac
		counting "$label/$cpu" "$qemu" "$cpu"
		interrupts "$label/$cpu" "$qemu" "$cpu"
		pattern "$label/$cpu" "$qemu" "$cpu"
		[ "$cpu" = max ] || continue
		unlike "$label/$cpu" "$qemu" "$cpu"
		bodies "$label/$cpu" "$qemu" "$cpu"
		moving "$label/$cpu" "$qemu" "$cpu"
		linux "$label/$cpu" "$qemu" "$cpu"
	done
done < <(emulators)
[ -n "$only" ] || refused "$(emulators | sed -n '1s/^[^ ]* //p')"
finish
