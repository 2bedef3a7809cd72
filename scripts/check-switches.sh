#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-switches.sh - the lazy and the eager switch share only register accessors (RULES A9): otherwise
# "lazy equals eager" would prove nothing.
#
# usage: check-switches.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

lazy=core/mediated.c
eager=core/eager.c
accessors=core/registers.h
status=0

# Names in front of "(", without comments, members reached by -> or ., and keywords.
calls()
{
	gcc -fpreprocessed -dD -E -P "$1" | sed 's/\(->\|\.\)[a-z_0-9]*(*/;/g; s/"[^"]*"//g; /^[[:space:]]*#/d' |
		grep -oE '[A-Za-z_][A-Za-z_0-9]*[[:space:]]*\(' | tr -d ' \t(' | sort -u |
		grep -vxE 'if|while|for|switch|return|sizeof|__attribute__|void|bool'
}

# Functions that a file defines: a name at the start of a line's declarator, body below.
defines()
{
	grep -oE '^[a-z][A-Za-z_0-9 *]*[ *][a-z_0-9]+\(' "$1" | sed 's/.*[ *]\([a-z_0-9]*\)($/\1/' | sort -u
}

for f in "$lazy" "$eager" "$accessors"; do
	[ -s "$f" ] || { echo "check-switches: no $f" >&2; exit 1; }
done
# An accessor makes one hardware operation at most, and never repeats it.
awk '
	/^static inline/ { name = $0; operations = 0 }
	{ operations += gsub(/ops->/, "&") }
	operations > 1 || /(for|while) \(/ { print name; exit 1 }
' "$accessors" >&2 || { echo "check-switches: more than an accessor in $accessors" >&2; status=1; }

# Both may call accessors, the walk over a mask's bits, and the atomic loads and stores of C11.
allowed=$(defines "$accessors" | paste -sd '|')
allowed="$allowed|vpmu_mask_next|VPMU_BIT|atomic_[a-z_]*"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for s in lazy eager; do
	file=$lazy
	[ $s = lazy ] || file=$eager
	calls $file >"$tmp/$s.calls"
	defines $file >"$tmp/$s.defines"
	# A call of one's own function is not sharing, whatever its name.
	comm -23 "$tmp/$s.calls" "$tmp/$s.defines" >"$tmp/$s.foreign"
done

shared=$(comm -12 "$tmp/lazy.foreign" "$tmp/eager.foreign" | grep -vxE "$allowed" || true)
if [ -n "$shared" ]; then
	echo "check-switches: both switches call: $shared" >&2
	status=1
fi
crossed=$({ comm -12 "$tmp/lazy.foreign" "$tmp/eager.defines"
	comm -12 "$tmp/eager.foreign" "$tmp/lazy.defines"; } | sort -u)
if [ -n "$crossed" ]; then
	echo "check-switches: one switch calls the other's: $crossed" >&2
	status=1
fi
exit $status
