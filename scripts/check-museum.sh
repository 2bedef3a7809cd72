#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-museum.sh - every historical bug of the list below has a scenario, or a test that names it, and
# scenarios/museum/README.md says so.
#
# usage: check-museum.sh [ROOT]           looks
#        check-museum.sh --write [ROOT]   writes scenarios/museum/README.md
set -eu
write=
[ "${1:-}" != --write ] || { write=1; shift; }
cd "${1:-$(dirname "$0")/..}"

page=scenarios/museum/README.md

# The museum has no others; what is missing between two numbers never was in it.
sections='
Register semantics:01 02 03 04 05 07 08 09 11 13 14 15 16 18 19 20 21 22 24 25 27 28 29 30 31 33 34 36 37 38 40
Counting accuracy:42 43 44 45 47 48 49 51 52 53 55 57 58 59
Overflow and PMI delivery:60 61 62 63 65 66 67 69 71 72 74 75 76
World switch and leaks:77 78 80 82 84 85 87 88 90 91 92 93
Filters:94 96 97 99
Lifecycle, migration, attributes:100 101 102 103 105 106 107 110 111 112 114 115
Concurrency:116 117 119 120
Performance:121 123 124 125 126
'

bad() { echo "check-museum: $*" >&2; status=1; }

# Without a scenario: why, or nothing.
why()
{
	case $1 in
	07) echo "A nested guest's RDPMC exits to its hypervisor: there are none, vpmu_vcpu_enter() takes level 0" ;;
	93) echo 'No number that a guest chose is a subscript, under speculation either: no program can see it' ;;
	esac
}

meaning() { sed -n 's/^scenario [^ ]* "\(.*\)"$/\1/p' "$1"; }

# links DIRECTORY FILE...: [name](DIRECTORY/file) of each, name without its ending.
links()
{
	to=$1
	shift
	for file; do
		[ -e "$file" ] || continue
		base=$(basename "$file")
		printf '[%s](%s%s) ' "${base%.*}" "$to" "$base"
	done
}

# Files that name it.
tests()
{
	grep -rlwE "M$1|m$1_[a-z_0-9]*" tests/unit tests/e2e tests/engine scripts/check-subscripts.sh 2>/dev/null |
		sort -u
}

named()
{
	for file in $(tests "$1" || true); do
		printf '[%s](../../%s) ' "$file" "$file"
	done
}

row()
{
	scenarios=$(links '' "scenarios/museum/m$1.play" "scenarios/museum/m$1"-*.play)
	mutants=$(links ../../tests/mutants/ "tests/mutants/m$1.patch" "tests/mutants/m$1"[a-z].patch \
		"tests/mutants/m$1"-*.patch)
	also=$(named "$1")
	if [ -e "scenarios/museum/m$1.play" ]; then
		said=$(meaning "scenarios/museum/m$1.play")
	else
		said=$(why "$1")
	fi
	printf '| M%s | %s | %s | %s | %s |\n' "$1" "$said" "${scenarios% }" "${mutants% }" "${also% }"
}

table()
{
	echo "$sections" | while IFS=: read -r title numbers; do
		[ -n "$numbers" ] || continue
		printf '\n## %s\n\n| id | what holds | scenario | bug put back | also in |\n|---|---|---|---|---|\n' \
			"$title"
		for n in $numbers; do row "$n"; done
	done
}

everything()
{
	cat <<-END
	# The museum

	Historical bugs of virtual PMUs, and where each is looked for. This page is written by
	\`scripts/check-museum.sh --write\`, and the checks see that no scenario is missing. How to read the scenarios, and what
	cannot be said in one: [scenarios](../README.md). The mutants put a bug back, and the scenario must then fail; there may be
	more of them, and more tests, than when this was last written.
	END
	table
}

if [ -n "$write" ]; then
	everything >"$page.new"
	mv "$page.new" "$page"
	exit
fi

status=0
# Mutants and tests that name a bug come and go: those columns may be old, but check-links.sh follows them.
first_columns() { sed 's/|[^|]*|[^|]*|$//'; }
current=$(everything | first_columns)
[ "$current" = "$(first_columns <"$page")" ] || bad "$page is not up to date: scripts/check-museum.sh --write"
numbers=$(echo "$sections" | sed 's/^[^:]*://' | tr '\n' ' ')
for n in $numbers; do
	[ -e "scenarios/museum/m$n.play" ] && continue
	[ -n "$(why "$n")" ] || bad "M$n has no scenario, and nothing says why"
	[ -n "$(tests "$n")" ] || [ "$n" = 07 ] || bad "M$n has no scenario, and no test names it"
done
for file in scenarios/museum/m*.play; do
	n=$(basename "$file" .play)
	number=${n#m}
	number=${number%%-*}
	case " $numbers " in
	*" $number "*) ;;
	*) bad "$file: the museum has no M$number" ;;
	esac
	id=$(sed -n 's/^scenario \([^ ]*\) .*/\1/p' "$file")
	[ "$id" = "M${n#m}" ] || bad "$file: its scenario is called '$id'"
done
exit $status
