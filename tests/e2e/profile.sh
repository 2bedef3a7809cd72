#!/bin/bash
# SPDX-License-Identifier: MIT
#
# profile.sh - the monitor profiles itself and its guests: what it counts is what happened, also while a
# guest profiles itself, which counts what it counts without that.
#
# usage: profile.sh [PATTERN]    only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}
boot_seconds=${VPMU_BOOT_SECONDS:-180}
initrd=${VPMU_INITRD:-build/images/linux/initramfs.cpio.gz}
image=$images/tenant-tests.img
only=${1:-}
cpu=max
period=100000
linux_period=500000

[ -e "$image" ] || { skip profile "no $image; scripts/build.sh arm64"; exit 77; }
[ -e "$monitor" ] || { skip profile "no $monitor; scripts/build.sh arm64"; exit 77; }
[ -x "$vpmu" ] || { skip profile "no $vpmu; scripts/build.sh host"; exit 77; }
missing_emulators profile
[ -n "$(emulators)" ] || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- Running ----

console() { echo "$work/${1//\//.}"; }

under=(--monitor "$monitor")

# run SUITE QEMU OPTION...: its console, and the profile after it. Folded stacks are in CONSOLE.folded.
run()
{
	local to qemu=$2 status=0
	to=$(console "$1")
	shift 2

	timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --cpu "$cpu" "${under[@]}" \
		--timeout "$((run_seconds - 5))" "$@" >"$to.raw" 2>"$to.err" </dev/null || status=$?
	tr -d '\r' <"$to.raw" >"$to"
	echo "$status" >"$to.status"
	if [ -n "${VPMU_KEEP:-}" ]; then
		mkdir -p "$VPMU_KEEP"
		cp "$to"* "$VPMU_KEEP"
	fi
}

# On the machine without the monitor.
run_bare() { local under=(); run "$@" --mode bare; }
profiled() { run "$@" --host-profile-out "$(console "$1").folded"; }

# small WORDS [KEY=VALUE,...]: a --vm value of the counting guest, which leaves the host five counters.
small() { echo "kernel=$image,append=cpi=2 $1,mode=partitioned,counters=1${2:+,$2}"; }

# ended SUITE: all guests passed what they ran.
ended()
{
	if [ "$(cat "$(console "$1").status")" = 0 ] && ! grep -qE '(^|\] )not ok ' "$(console "$1")"; then
		return
	fi
	fail "$1" "status $(cat "$(console "$1").status"): $(grep -hE 'not ok|^vpmu' "$(console "$1")" \
		"$(console "$1").err" | head -n 3 | tr '\n' ' ')"
	return 1
}

# ---- What the tables say ----

figure() { sed -nE "s/^(\\[$2\\] )?figure $3 //p" "$(console "$1")"; }

# count SUITE CPU EVENT COLUMN: COLUMN 0 is the count, then time, share, samples, missed.
count()
{
	awk -v cpu="$2" -v event="$3" -v column="$4" '
		/^CPU +event/ { in_table = 1; next }
		in_table && !NF { exit }
		in_table && $1 == cpu {
			line = $0
			sub(/^ *[0-9]+ +/, "", line)
			if (index(line, event " ") != 1)
				next
			n = split(substr(line, length(event) + 1), f, " ")
			if (column < n)
				print f[column + 1]
		}' "$(console "$1")"
}

# causes SUITE COLUMN: the sum of a column of the exits' table; 3 cycles, 4 instructions. (Counted from
# the right: a name is one word.)
causes()
{
	awk -v column="$2" '/^exit by / { on = 1; next } on && !NF { exit } on { s += $column } END { printf "%d\n", s }' \
		"$(console "$1")"
}

# cause SUITE NAME COLUMN
cause() { awk -v n="$2" -v column="$3" '/^exit by / { on = 1 } on && $1 == n { print $column }' "$(console "$1")"; }

# guest_count SUITE VM.CPU COLUMN: 2 cycles, 3 at EL0, 4 at EL1.
guest_count() { awk -v n="$2" -v column="$3" '$1 == n { print $column }' "$(console "$1")"; }

# folded SUITE PATTERN: samples of stacks that match.
folded() { awk -v p="$2" '$0 ~ p { s += $NF } END { print s + 0 }' "$(console "$1").folded"; }

same()
{
	if [ -n "$2" ] && [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "'$2', expected '$3'"
	fi
}

# within NAME VALUE REFERENCE DIFFERENCE
within()
{
	if [ -n "$2" ] && [ -n "$3" ] && [ $(($2 - $3)) -le "$4" ] && [ $(($3 - $2)) -le "$4" ]; then
		echo "ok $1"
	else
		fail "$1" "'$2', expected '$3' give or take $4"
	fi
}

at_least() # NAME VALUE MINIMUM
{
	if [ -n "$2" ] && [ "$2" -ge "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "'$2', expected at least $3"
	fi
}

# sampled SUITE CPU EVENT: as many samples as periods.
sampled() { within "$1/samples_of_${3// /_}" "$(count "$1" "$2" "$3" 4)" 0 1; }

# The exits' shares are all that EL2 has counted.
adds_up()
{
	same "$1/causes_cycles" "$(causes "$1" 3)" "$(count "$1" 0 'EL2 cycles' 0)"
	same "$1/causes_instructions" "$(causes "$1" 4)" "$(count "$1" 0 'EL2 instructions' 0)"
}

# ---- Suites ----

# A guest that counts 1 + R rounds of a known length, and 3 R without what is around them, twice.
expected_more() # FEW MANY ROUNDS-MORE
{
	echo $((2 * ($(figure "$2" 0 instructions) - $(figure "$1" 0 instructions) + 3 * $3 * 1000000)))
}

# One guest: EL1 to the instruction, and EL1 and EL2 together by the clock (one instruction in 2 ns).
counts()
{
	local at=profile/$1 qemu=$2 el1 el2

	profiled "$at/few" "$qemu" --vm "$(small 'test=tenant_counts rounds=10')" --host-profile \
		--host-profile-period "$period"
	profiled "$at/many" "$qemu" --vm "$(small 'test=tenant_counts rounds=30')" --host-profile \
		--host-profile-period "$period"
	ended "$at/few" && ended "$at/many" || return 0
	el1=$(guest_count "$at/many" vm0.cpu0 4)
	el2=$(count "$at/many" 0 'EL2 instructions' 0)
	same "$at/guest_instructions" $((el1 - $(guest_count "$at/few" vm0.cpu0 4))) \
		"$(expected_more "$at/few" "$at/many" 20)"
	same "$at/guest_is_all" "$el1" "$(count "$at/many" 0 'EL1 instructions' 0)"
	within "$at/all_by_the_clock" $((2 * (el1 + el2))) "$(count "$at/many" 0 'EL2 instructions' 1)" 40000
	adds_up "$at/few"
	adds_up "$at/many"
	sampled "$at/many" 0 'EL2 cycles'
	sampled "$at/many" 0 'EL1, EL0 cycles'
	same "$at/folded_guest" "$(folded "$at/many" '^vm0;cpu0;EL1;0x')" \
		"$(count "$at/many" 0 'EL1, EL0 cycles' 3)"
	same "$at/folded_el2" "$(folded "$at/many" '^monitor;')" "$(count "$at/many" 0 'EL2 cycles' 3)"
}

# A guest that makes EL2 spin: by number, and by name.
spins()
{
	local at=profile/$1 qemu=$2 n all

	for n in 10000 20000; do
		run "$at/spins-$n" "$qemu" --vm "$(small "test=tenant_calls rounds=400 spins=$n")" \
			--host-profile=hypervisor --host-profile-period 0
		ended "$at/spins-$n" || return 0
		adds_up "$at/spins-$n"
	done
	same "$at/el2_instructions" \
		$(($(cause "$at/spins-20000" psci 4) - $(cause "$at/spins-10000" psci 4))) $((400 * 10000 * 2))
	profiled "$at/spins" "$qemu" --vm "$(small 'test=tenant_calls rounds=400 spins=20000')" \
		--host-profile=hypervisor --host-profile-period "$period"
	ended "$at/spins" || return 0
	sampled "$at/spins" 0 'EL2 cycles'
	all=$(folded "$at/spins" '^monitor;')
	at_least "$at/dominates" "$(folded "$at/spins" \
		'^monitor;.*;tenant_sync;.*;debug_spin [0-9]+$')" $((all * 9 / 10))
	same "$at/no_guests" "$(folded "$at/spins" '^vm')" 0
}

# Its registers are in memory while EL2 can be interrupted, and it cannot tell. It has all counters.
mediated()
{
	local at=profile/$1 kind
	local allow
	allow=$(qemu_deviations "$cpu")

	for kind in lazy eager; do
		guest "$at/mediated-$kind" "$vpmu" run --qemu "$2" --cpu "$cpu" --monitor "$monitor" \
			--timeout "$((run_seconds - 5))" --kernel "$images/pmu-tests.img" --switch "$kind" \
			--append "cpi=2 allow=$allow" --host-profile=hypervisor --host-profile-period 10000
	done
}

# Guests move between CPUs, and where they are away another one's events count.
moving()
{
	local at=profile/$1 vm

	run "$at/moving" "$2" --smp 2 --vm "$(small 'test=tenant_counts rounds=5' 'on=0')" \
		--vm "kernel=$image,append=test=tenant_increments rounds=40,mode=partitioned,counters=2,memory=16M" \
		--vm "kernel=$image,append=test=tenant_increments rounds=40,mode=partitioned,counters=2,memory=16M" \
		--host-profile --host-profile-period 200000
	for vm in 1 2; do
		same "$at/moving/$vm" "$(figure "$at/moving" "$vm" increments)" 40
		at_least "$at/moving/counted/$vm" "$(guest_count "$at/moving" "vm$vm.cpu0" 2)" 80000000
	done
	same "$at/moving/causes" "$(causes "$at/moving" 3)" $(($(count "$at/moving" 0 'EL2 cycles' 0) + \
		$(count "$at/moving" 1 'EL2 cycles' 0)))
}

# Whom the host would have to count beside has all counters: said at the start.
busy()
{
	local at=profile/$1 what

	for what in all guests; do
		run "$at/busy-$what" "$2" --kernel "$image" --append 'cpi=2' "--host-profile=$what"
		same "$at/busy-$what/status" "$(cat "$(console "$at/busy-$what").status")" 125
		same "$at/busy-$what/says" "$(grep -c '^vpmu: fatal: profile: .*mode=partitioned.*counters=N.*profile=hypervisor' \
			"$(console "$at/busy-$what")")" 1
	done
	run "$at/few-left" "$2" --kernel "$image" --mode partitioned --counters 6 --host-profile
	same "$at/few-left" "$(grep -c '^vpmu: fatal: profile: .*too few counters' "$(console "$at/few-left")")" 1
}

# ---- Linux, which profiles itself at the same time ----

make_initrd()
{
	member tenants-guest.sh $((0100755)) tests/e2e/tenants-guest.sh
	member 'TRAILER!!!' 0 /dev/null
	cat "$initrd"
}

linux()
{
	local at=profile/$1 qemu=$2 in_loop name
	local guest=(--kernel "$(dirname "$initrd")/Image" --initrd "$work/initrd" --memory 512M
		--append '-- /tenants-guest.sh')
	local part=(--mode partitioned --counters 1) run_seconds=$boot_seconds

	[ -e "$initrd" ] || { skip "$at/linux" "no $initrd; guests/linux/build.sh"; return; }
	make_initrd >"$work/initrd"
	# Side by side, to end sooner.
	run_bare "$at/linux-bare" "$qemu" "${guest[@]}" &
	run "$at/linux-alone" "$qemu" "${guest[@]}" "${part[@]}" &
	profiled "$at/linux" "$qemu" "${guest[@]}" "${part[@]}" --host-profile \
		--host-profile-period "$linux_period"
	wait
	ended "$at/linux-bare" && ended "$at/linux-alone" && ended "$at/linux" || return 0
	for name in instructions_u samples_of_cycles; do
		same "$at/linux/$name" "$(figure "$at/linux" 0 "$name")" "$(figure "$at/linux-bare" 0 "$name")"
		same "$at/linux-alone/$name" "$(figure "$at/linux-alone" 0 "$name")" \
			"$(figure "$at/linux-bare" 0 "$name")"
	done
	# Two runs of the loop: 10 million times 7 instructions.
	at_least "$at/linux/el0" "$(guest_count "$at/linux" vm0.cpu0 3)" 140000000
	in_loop=$(folded "$at/linux" '^vm0;cpu0;EL0;0x')
	within "$at/linux/el0_samples" "$in_loop" \
		$(($(guest_count "$at/linux" vm0.cpu0 3) * 2 / linux_period)) $((in_loop / 20))
	adds_up "$at/linux"
	at_least "$at/linux/el2_samples" "$(folded "$at/linux" '^monitor;profile_vectors;trap_')" 5
}

newest=
while read -r label qemu; do
	case $label/$cpu in
	*"$only"*) ;;
	*) continue ;;
	esac
	newest="$label/$cpu $qemu"
	counts "$label/$cpu" "$qemu"
	spins "$label/$cpu" "$qemu"
	mediated "$label/$cpu" "$qemu"
done < <(emulators)
if [ -n "$newest" ]; then
	# shellcheck disable=SC2086 # two words
	set -- $newest
	moving "$@"
	busy "$@"
	linux "$@"
fi
finish
