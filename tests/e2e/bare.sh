#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bare.sh - the PMU test images on QEMU's bare machine, at EL1 and EL2: the oracle for the same
# images under the monitor, and a check that the machine still is what the monitor expects.
#
# usage: bare.sh
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

# bare SUITE QEMU CPU VIRTUALIZATION SHIFT IMAGE BOOTARGS [QEMU ARGUMENT...]
bare()
{
	local suite=$1 qemu=$2 cpu=$3 el2=$4 shift=$5 image=$6 bootargs=$7
	shift 7

	guest "$suite" "$qemu" -M "virt,gic-version=3,virtualization=$el2" -cpu "$cpu" -m 256M \
		-nodefaults -no-user-config -display none -serial stdio \
		-icount "shift=$shift,sleep=off" -kernel "$images/$image.img" \
		-append "cpi=$((1 << shift)) $bootargs" "$@"
}

# The same bodies at EL1 of two machines, at EL2, and with two CPUs.
bodies()
{
	local at=$1 qemu=$2 cpu=$3 allow
	allow=allow=$(qemu_deviations "$cpu")

	bare "bare/$at/el1" "$qemu" "$cpu" off 1 pmu-tests "$allow"
	bare "bare/$at/el1-shift0" "$qemu" "$cpu" off 0 pmu-tests "$allow,event_irq"
	bare "bare/$at/el1-of-el2" "$qemu" "$cpu" on 1 pmu-tests "$allow"
	bare "bare/$at/el2" "$qemu" "$cpu" on 1 pmu-tests "$allow el=2"
	bare "bare/$at/smp" "$qemu" "$cpu" on 1 smp-tests smp=2 -smp 2
}

# The probe must see EL2 where it is counted, and nothing where there is none.
probe()
{
	local at=$1 qemu=$2 cpu=$3

	bare "bare/$at/nsh-no-el2" "$qemu" "$cpu" off 1 nsh-probe ""
	bare "bare/$at/nsh-leak" "$qemu" "$cpu" on 1 nsh-probe expect=leak
}

matrix()
{
	local at=$1 qemu=$2 cpu=$3 shift

	for shift in 0 1; do
		bare "bare/$at/matrix-shift$shift" "$qemu" "$cpu" on "$shift" el2-matrix ""
	done
}

[ -e "$images/pmu-tests.img" ] || { skip bare "no images in $images; scripts/build.sh arm64"; exit 77; }
missing_emulators bare
[ -n "$(emulators)" ] || exit 77
while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		bodies "$label/$cpu" "$qemu" "$cpu"
		probe "$label/$cpu" "$qemu" "$cpu"
		matrix "$label/$cpu" "$qemu" "$cpu"
	done
	bare "bare/$label/no-pmu" "$qemu" max,pmu=off off 1 pmu-tests "allow=absent test=absent"
done < <(emulators)
finish
