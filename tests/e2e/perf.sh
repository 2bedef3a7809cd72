#!/bin/bash
# SPDX-License-Identifier: MIT
#
# perf.sh - sources/perf against a real PMU: a Linux kernel on the bare machine, with KVM, and a
# program that is all of its user mode (guests/perf-source) and judges what it counts: its own loops,
# a guest's, and a guest's through an emulated PMU of core's.
#
# usage: perf.sh [PATTERN]     only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
kernel=${VPMU_KERNEL:-build/images/linux/Image}
compiler=${CROSS:-aarch64-linux-gnu-}gcc
only=${1:-}

[ -x "$vpmu" ] || { skip perf "no $vpmu; scripts/build.sh host"; exit 77; }
[ -e "$kernel" ] || { skip perf "no $kernel; guests/linux/build.sh"; exit 77; }
command -v "$compiler" >/dev/null || { skip perf "no $compiler"; exit 77; }
missing_emulators perf
[ -n "$(emulators)" ] || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A static program: the archive has nothing else.
"$compiler" -std=c11 -O2 -g -Wall -Wextra -Werror -D_GNU_SOURCE -static -Iinclude -Isources/perf \
	-Wl,--wrap=vpmu_vcpu_overflow -o "$work/init" guests/perf-source/*.c sources/perf/perf_*.c \
	sources/perf/counter_aarch64.c core/*.c core/arm/*.c core/x86/*.c || {
	fail perf/build "guests/perf-source does not compile"
	exit 1
}
{
	member init $((0100755)) "$work/init"
	member 'TRAILER!!!' 0 /dev/null
} >"$work/initrd"

# machine LABEL QEMU CPU [OPTION...]: under KVM of both kinds, the kernel at EL2 and at EL1.
machine()
{
	local label=$1 qemu=$2 cpu=$3
	shift 3

	case $label/$cpu in
	*"$only"*) ;;
	*) return ;;
	esac
	guest "perf/$label/$cpu" "$vpmu" run --qemu "$qemu" --mode bare-el2 --cpu "$cpu" \
		--kernel "$kernel" --initrd "$work/initrd" "$@"
}

while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		machine "$label" "$qemu" "$cpu"
	done
done < <(emulators)
finish
