#!/bin/sh
# SPDX-License-Identifier: MIT
#
# mutants.sh - puts each historical bug of tests/mutants back into a copy of the sources and expects
# that the scenario of its name fails; and each of tNN, that random schedules of many tenants do.
#
# usage: mutants.sh [NAME...]     without a name: all
#
# One line per mutant: `killed`, `survived` or `broken` (it does not apply or build, or the scenario ends
# otherwise than by a failed case); then what was counted. Exit status 1 if not all were killed.
set -eu
cd "$(dirname "$0")/.."

root=$PWD
place=build/mutants
tree=$place/tree
out=$place/out
vpmu=$out/tools/vpmu/vpmu

scripts/build.sh
if [ -e "$place" ] && [ ! -w "$place" ]; then
	echo "mutants: $place belongs to $(stat -c %U "$place"), and $(id -un) may not write there." >&2
	exit 1
fi
command -v patch >/dev/null || {
	echo "mutants: the program 'patch' is missing" >&2
	exit 1
}
rm -rf "$place"
mkdir -p "$tree"
tar -cf - --exclude=./build --exclude=./.git . | tar -xf - -C "$tree"

# Nothing but the command, without optimization: each mutant compiles a file or two and links.
build() { ninja -C "$out" --quiet "${1:-tools/vpmu/vpmu}"; }
{
	CC=${CC:-gcc} meson setup "$out" "$tree" -Ddefault_library=static -Dwerror=false \
		-Doptimization=0 -Ddebug=false && build
} >"$place/log" 2>&1 || {
	cat "$place/log" >&2
	echo "mutants: the sources do not build as they are" >&2
	exit 1
}

play() { timeout 60 "$vpmu" play "$1" >"$place/log" 2>&1; }

# The scenario that is about mutant $1: m42b is another bug of m42's kind.
# m84b is a second bug for m84.play; m84-partition has a scenario of its own.
scenario_of()
{
	case $1 in
	*-*) echo "scenarios/museum/$1.play" ;;
	*) echo "scenarios/museum/$(echo "$1" | sed 's/[a-z]$//').play" ;;
	esac
}

unmutated()
{
	play "$1" && return
	grep -v '^ok ' "$place/log" >&2
	echo "mutants: $1 fails without a mutant" >&2
	exit 1
}

killed=0
total=0

# verdict WORD NAME REASON
verdict()
{
	printf '%-8s %-6s %s\n' "$1" "$2" "$3"
	[ "$1" != killed ] || killed=$((killed + 1))
}

# The first case that fails, without where and why.
first_failure() { sed -n 's/^not ok \([^]]*\]\).*/\1/p' "$place/log" | head -n 1; }

# Some classes, so many steps, one seed.
schedules()
{
	for class in p5hpmn p5fgt v3 skylake zen4; do
		timeout 120 "$out/tests/unit/test-tenants" $class 60000 7 >"$place/log" 2>&1 || return 1
	done
}

try_schedules()
{
	if schedules; then
		verdict survived "$1" "$2"
	else
		verdict killed "$1" "$2 [$(sed -n 's/^class \([a-z0-9]*\), seed 7, \(.*\)/\1, \2/p' "$place/log" | head -n 1)]"
	fi
}

try()
{
	play "$(scenario_of "$1")" && rc=0 || rc=$?
	case $rc in
	0) verdict survived "$1" "$2" ;;
	1) verdict killed "$1" "$2 [$(grep -c '^not ok ' "$place/log") cases, $(first_failure)]" ;;
	2) verdict broken "$1" "the scenario: $(tail -n 1 "$place/log")" ;;
	*) verdict broken "$1" "vpmu play ended with status $rc" ;;
	esac
}

mutant()
{
	file=$root/tests/mutants/$1.patch
	bug=$(sed -n '1s/^# [MT][0-9]*: *//p' "$file")
	target=tools/vpmu/vpmu
	try=try
	case $1 in
	t*) target=tests/unit/test-tenants try=try_schedules ;;
	esac
	total=$((total + 1))
	patch -p1 -s -f -F0 --dry-run -d "$tree" <"$file" >"$place/log" 2>&1 || {
		verdict broken "$1" "does not apply: $(head -n 1 "$place/log")"
		return
	}
	patch -p1 -s -f -F0 -d "$tree" <"$file"
	if build $target >"$place/log" 2>&1; then
		$try "$1" "$bug"
	else
		verdict broken "$1" "does not build: $(grep -m 1 error: "$place/log" || true)"
	fi
	patch -p1 -R -s -f -F0 -d "$tree" <"$file"
}

if [ $# -eq 0 ]; then
	unmutated scenarios/museum
	for file in tests/mutants/[mt]*.patch; do basename "$file" .patch; done | sort -V >"$place/names"
	# The names are ours: no spaces.
	# shellcheck disable=SC2046
	set -- $(cat "$place/names")
else
	for name; do
		case $name in
		t*) ;;
		*) unmutated "$(scenario_of "$name")" ;;
		esac
	done
fi
case " $* " in
*" t"*)
	if ! build tests/unit/test-tenants >"$place/log" 2>&1 || ! schedules; then
		tail -n 5 "$place/log" >&2
		echo "mutants: the schedules fail without a mutant" >&2
		exit 1
	fi
	;;
esac
for name; do mutant "$name"; done

echo "mutants.killed,$killed,count"
echo "mutants.total,$total,count"
[ "$killed" -eq "$total" ]
