#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-subscripts.sh - a number that a guest chose is not a subscript before it was clamped (M93).
#
# usage: check-subscripts.sh [ROOT]
#
# Guests name counters by a register's number, by RDPMC's ECX and by a pointer register. The functions that
# make a counter's number of that store it in `n` or `member` of their caller. So each such
# store has to be a constant, a clamped value, or a field of too few bits to leave an array. What
# is checked is below the number of counters, too, but a CPU speculates past that.
set -eu
cd "${1:-$(dirname "$0")/..}"

status=0
stores=$(grep -nE '(\*n|->n|\*member) = ' core/arm/access.c core/arm/table.c core/x86/access.c core/x86/table.c)

# The tables' own: distance is looked at, and clamped by the caller; five bits of an encoding.
echo "$stores" | grep -vE '= (0|VPMU_ARM_CYCLE);' |
	grep -vE '= (VPMU_X86_FIXED \+ )?vpmu_clamp\(' |
	grep -vE '^core/arm/access.c:.* & PMSELR_MASK;' |
	grep -vE '^core/arm/(table.c:.*\*member = member_of\(reg\)|access.c:.*a->n = member);' |
	grep -vE '^core/x86/table.c:.*\*member = distance / r->info.stride;' >&2 && {
	echo "check-subscripts: a guest's number is stored without vpmu_clamp()" >&2
	status=1
}
for rule in 'core/x86/table.c:*member = vpmu_clamp(*member, table[row].info.members)' \
	'core/arm/table.c:return (reg >> 1 & 3) << 3 | (reg >> 17 & 7)'; do
	grep -qF "${rule#*:}" "${rule%%:*}" || {
		echo "check-subscripts: ${rule%%:*} does not say '${rule#*:}' any more" >&2
		status=1
	}
done
exit $status
