#!/bin/bash
# SPDX-License-Identifier: MIT
#
# isolation.sh - the isolation matrix under the EL2 monitor: for every ordered pair of modes, one guest writes
# a pattern into every register of its PMU all the time and counts, and the other sees nothing of it; the same
# while the host profiles itself and them.
#
# usage: isolation.sh [PATTERN]    only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh
. tests/e2e/several.sh

only=${1:-}
several isolation

paints="test=tenant_paints rounds=1000000"
finds="test=tenant_finds rounds=8"
finds_none="test=tenant_finds_none"

# One guest of each mode looks while one of mode $4 paints. Alone among them, it is guest 0.
painter()
{
	local at=isolation/$1/$4

	together "$at" "$2" "$3" --vm "$(small "$paints" "mode=$4,wait=no")" \
		--vm "$(small "$finds" mode=mediated,memory=16M)" \
		--vm "$(small "$finds" mode=partitioned,memory=16M)" \
		--vm "$(small "$finds" mode=emulated,memory=16M)"
	judge "$at" 1 2 3
}

# A guest without a PMU: it finds none while the others paint, and what it writes gets nowhere.
without()
{
	local at=isolation/$1

	together "$at/all-off" "$2" "$3" --vm "$(small "$paints" mode=mediated,wait=no)" \
		--vm "$(small "$paints" mode=partitioned,memory=16M,wait=no)" \
		--vm "$(small "$paints" mode=emulated,memory=16M,wait=no)" \
		--vm "$(small "$finds_none rounds=8" mode=off,memory=16M)"
	judge "$at/all-off" 3
	together "$at/off" "$2" "$3" --vm "$(small "$finds_none rounds=1000000" mode=off,wait=no)" \
		--vm "$(small "$finds" mode=mediated,memory=16M)" \
		--vm "$(small "$finds" mode=partitioned,memory=16M)" \
		--vm "$(small "$finds" mode=emulated,memory=16M)"
	judge "$at/off" 1 2 3
}

# Beside the host: its own events while guests have all counters, and all of its events beside a partition.
profiled()
{
	local at=isolation/$1

	together "$at/profile-hypervisor" "$2" "$3" --host-profile=hypervisor \
		--vm "$(small "$paints" mode=mediated,wait=no)" \
		--vm "$(small "$finds" mode=mediated,memory=16M)" \
		--vm "$(small "$finds" mode=emulated,memory=16M)"
	judge "$at/profile-hypervisor" 1 2
	together "$at/profile-all" "$2" "$3" --host-profile=all \
		--vm "$(small "$paints" mode=partitioned,counters=2,wait=no)" \
		--vm "$(small "$finds" mode=partitioned,counters=3,memory=16M)" \
		--vm "$(small "$finds" mode=emulated,counters=2,memory=16M)"
	judge "$at/profile-all" 1 2
}

while read -r label qemu; do
	case $label/max in
	*"$only"*) ;;
	*) continue ;;
	esac
	for mode in mediated partitioned emulated; do
		painter "$label/max" "$qemu" max "$mode"
	done
	without "$label/max" "$qemu" max
	profiled "$label/max" "$qemu" max
done < <(emulators)
finish
