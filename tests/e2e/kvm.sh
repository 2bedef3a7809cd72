#!/bin/bash
# SPDX-License-Identifier: MIT
#
# kvm.sh - Debian's kernel as a guest of `vpmu run --engine kvm` on a real Linux KVM: kvm-amd of the same kernel in
# QEMU's TCG, under icount, so that its figures do not depend on how busy this machine is.
#
# usage: kvm.sh [SUITE...]
#
# guests/linux-x86/build.sh SUITE makes the images; without them there is nothing to run. Some minutes for each suite.
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

seconds=${VPMU_RUN_SECONDS:-600}
[ $# -gt 0 ] || set -- bookworm-backports

command -v qemu-system-x86_64 >/dev/null || {
	skip kvm "no qemu-system-x86_64 in the search path"
	exit 77
}
log=$(mktemp)
trap 'rm -f "$log" "$log.guest"' EXIT

# says NAME PATTERN: the guest said so; lacks NAME PATTERN: it did not.
says() { if grep -qE "$2" "$log.guest"; then echo "ok $1"; else fail "$1" "nothing like '$2'"; fi; }
lacks() { if grep -qE "$2" "$log.guest"; then fail "$1" "$(grep -m 1 -E "$2" "$log.guest")"; else echo "ok $1"; fi; }

# near NAME PER-MILLE PROGRAM: awk's PROGRAM prints what is to be 1 from the guest's words.
near()
{
	awk -v most="$2" "$3"' END { d = x - 1; exit !(x && (d < 0 ? -d : d) <= most / 1000) }' "$log.guest" ||
		{ fail "$1" "$(grep -E 'cycles [0-9]|samples' "$log.guest" | tr '\n' ' ')"; return; }
	echo "ok $1"
}

# The part of the console that is about guest number $1.
part() { tr -d '\r' <"$log" | awk -v n="$1" '/^host: guest /{i++} i == n' >"$log.guest"; }

ran=0
for suite; do
	dir=build/images/linux-x86/$suite
	if [ ! -f "$dir/host.cpio" ]; then
		skip "kvm/$suite" "no $dir/host.cpio; guests/linux-x86/build.sh $suite"
		continue
	fi
	ran=1
	timeout -k 5 "$seconds" qemu-system-x86_64 -accel tcg -icount shift=0,sleep=off -cpu EPYC,+svm,+npt \
		-m 2G -display none -no-reboot -nodefaults -serial stdio -kernel "$dir/vmlinuz" \
		-initrd "$dir/host.cpio" -append "console=ttyS0 quiet mitigations=off panic=-1 guest=-m,256M guest=--pmu,amd,-m,256M" \
		>"$log" 2>/dev/null </dev/null || true
	[ -z "${VPMU_KEEP:-}" ] || cp "$log" "$VPMU_KEEP/kvm-$suite"
	part 1
	says "kvm/$suite/ends" '^host: status 0'
	says "kvm/$suite/pmu" 'Performance Events:.*Intel PMU driver'
	says "kvm/$suite/no_instructions" 'event instructions No such file'
	says "kvm/$suite/rdpmc" 'guest text: RDPMC at .* now exits'
	# shellcheck disable=SC2016 # awk's own
	near "kvm/$suite/cycles" 20 '/tsc: Detected/ {mhz = $4} /guest: cycles/ {x = $3 * 1000 / $5 / mhz}'
	# shellcheck disable=SC2016 # awk's own
	near "kvm/$suite/samples" 50 '/guest: samples/ {x = $3 * $5 / $7}'
	lacks "kvm/$suite/quiet" 'guest: bad:'
	part 2
	says "kvm/$suite/amd_ends" '^host: status 0'
	says "kvm/$suite/amd_reason" 'gets no PMU: an AMD guest cannot be told'
	lacks "kvm/$suite/amd_no_zeros" 'event cycles offered'
done
[ $ran -eq 1 ] || exit 77
finish
