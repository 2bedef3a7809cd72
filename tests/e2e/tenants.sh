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

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}
boot_seconds=${VPMU_BOOT_SECONDS:-180}
initrd=${VPMU_INITRD:-build/images/linux/initramfs.cpio.gz}
image=$images/tenant-tests.img
only=${1:-}

[ -e "$image" ] || { skip tenants "no $image; scripts/build.sh arm64"; exit 77; }
[ -e "$monitor" ] || { skip tenants "no $monitor; scripts/build.sh arm64"; exit 77; }
[ -x "$vpmu" ] || { skip tenants "no $vpmu; scripts/build.sh host"; exit 77; }
missing_emulators tenants
[ -n "$(emulators)" ] || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- Running ----

console() { echo "$work/${1//\//.}"; }

# together SUITE QEMU CPU OPTION...: all guests of the --vm options, their lines mixed.
together()
{
	local to qemu=$2 cpu=$3 status=0
	to=$(console "$1")
	shift 3

	timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --cpu "$cpu" --monitor "$monitor" --stats \
		--timeout "$((run_seconds - 5))" "$@" >"$to.raw" 2>"$to.err" </dev/null || status=$?
	tr -d '\r' <"$to.raw" >"$to"
	echo "$status" >"$to.status"
	if [ -n "${VPMU_KEEP:-}" ]; then
		mkdir -p "$VPMU_KEEP"
		cp "$to" "$VPMU_KEEP"
	fi
}

# small WORDS [KEY=VALUE,...]: a --vm value of the counting guest.
small() { echo "kernel=$image,append=cpi=2 $1${2:+,$2}"; }

# of GUEST SUITE: the lines of one guest.
of() { sed -n "s/^\\[$1\\] //p" "$(console "$2")"; }

# judge SUITE GUEST...: each of them passed all it ran, and its cases are those of the suite.
judge()
{
	local suite=$1 g lines
	lines=$work/lines
	shift

	for g; do
		of "$g" "$suite" >"$lines"
		case_lines "$suite/$g" <"$lines"
		failures=$((failures + $(case_lines x <"$lines" | grep -c '^not ok ' || true)))
		if ! grep -qx 'vpmu-verdict: 0' "$lines"; then
			fail "$suite/$g" "verdict '$(sed -n 's/^vpmu-verdict: //p' "$lines")', status \
$(cat "$(console "$suite").status"): $(tail -n 1 "$(console "$suite").err" | tr -d '\r')"
		elif ! sum_agrees "$lines"; then
			fail "$suite/$g" "case lines do not add up to the guest's own sum"
		fi
	done
}

figure() { of "$2" "$1" | sed -n "s/^figure $3 //p"; }

# same NAME A B: two figures are there and equal.
same()
{
	if [ -n "$2" ] && [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "'$2', expected '$3'"
	fi
}

# statistic SUITE NAME: the sum over all vCPUs that end in NAME.
statistic() { awk -v n="$2" '$1 == "vpmu:" && $3 == n { s += $4 } END { print s + 0 }' "$(console "$1")"; }

at_least() # NAME VALUE MINIMUM
{
	if [ "$2" -ge "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "$2, expected at least $3"
	fi
}

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

doubled() { echo "${1//,/,,}"; }

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

# The default guest with one more file. Linux unpacks archives that follow each other.
make_initrd()
{
	member tenants-guest.sh $((0100755)) tests/e2e/tenants-guest.sh
	member 'TRAILER!!!' 0 /dev/null
	cat "$initrd"
}

# A --vm value of it.
linux_spec()
{
	echo "kernel=$(dirname "$initrd")/Image,initrd=$work/initrd,append=quiet panic=-1 -- /tenants-guest.sh"
}

linux_bare()
{
	local to status=0
	to=$(console "$1")

	"$vpmu" run --mode bare --qemu "$2" --cpu "$3" --memory 512M --timeout "$((run_seconds - 5))" \
		--initrd "$work/initrd" --append "-- /tenants-guest.sh" >"$to.raw" 2>"$to.err" \
		</dev/null || status=$?
	tr -d '\r' <"$to.raw" | sed 's/^/[0] /' >"$to"
	echo "$status" >"$to.status"
}

# linux_ended SUITE GUEST: the guest ended by itself with verdict 0.
linux_ended()
{
	if of "$2" "$1" | grep -qx 'vpmu-verdict: 0'; then
		return
	fi
	fail "$1" "guest $2, status $(cat "$(console "$1").status"): $(tail -n 1 "$(console "$1").err" | tr -d '\r')"
	return 1
}

# linux_same SUITE GUEST BARE: counts to the instruction, and as many samples.
linux_same()
{
	local name

	linux_ended "$1" "$2" || return 0
	for name in instructions_u samples_of_cycles; do
		same "$1/$2/$name" "$(figure "$1" "$2" "$name")" "$(figure "$3" 0 "$name")"
	done
}

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

# refuses NAME QEMU PATTERN WORD...: the monitor says PATTERN and switches off.
refuses()
{
	local name=$1 qemu=$2 pattern=$3 said
	shift 3

	said=$(timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --monitor "$monitor" --kernel "$image" \
		--timeout "$((run_seconds - 5))" --monitor-word "$*" 2>"$work/err" </dev/null |
		tr -d '\r') || true
	if grep -q "^vpmu: fatal: .*$pattern" <<<"$said"; then
		echo "ok tenants/refused/$name"
	else
		fail "tenants/refused/$name" "'$said' $(tail -n 1 "$work/err"), expected '$pattern'"
	fi
}

# The tool places the one module at 0x48480000.
refused()
{
	local vm="vm kernel=0x48480000"

	refuses no_kernel "$1" 'guest 0: no kernel=' vm
	refuses no_module "$1" 'no kernel module at 1000' vm kernel=0x1000
	refuses no_initrd "$1" 'no initrd module at 48480000' "$vm" initrd=0x48480000
	refuses shared_module "$1" 'no memory=' "$vm" "$vm"
	refuses too_large "$1" 'MiB of RAM are not free' "$vm" "$vm" memory=4096
	refuses odd_memory "$1" 'multiple of 2 MiB' "$vm" "$vm" memory=3
	refuses too_small "$1" 'too few' "$vm" "$vm" memory=2
	refuses first_memory "$1" 'what the others leave' "$vm" memory=64
	refuses cpus "$1" 'at most the machine' "$vm" cpus=2
	refuses no_cpus "$1" 'out of range' "$vm" cpus=0
	refuses on "$1" 'names no CPU' "$vm" on=5
	refuses mode "$1" 'the mode is off, mediated' "$vm" mode=magic
	refuses version "$1" 'the version is v3' "$vm" version=v4
	refuses counters "$1" 'this machine has' "$vm" counters=9
	refuses no_counters "$1" 'out of range' "$vm" counters=0
	refuses before "$1" 'about no guest' policy=deny:1 "$vm"
	refuses alone "$1" 'only after' cpus=1
	refuses five "$1" 'too many guests' "$vm vm vm vm vm"
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
