#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-mutants.sh - every mutant says which bug it is, has a scenario unless it is one of tNN, and still applies.
#
# usage: check-mutants.sh [ROOT]
#
# Whether the scenarios notice them is for mutants.sh to say.
set -eu
cd "${1:-$(dirname "$0")/..}"

status=0
bad() { echo "check-mutants: $*" >&2; status=1; }

command -v patch >/dev/null || { bad "the program 'patch' is missing"; exit 1; }
for file in tests/mutants/*.patch; do
	[ -e "$file" ] || { bad "no mutants at all"; break; }
	name=$(basename "$file" .patch)
	kind=M
	case $name in
	t*) kind=T scenario='' number=$(echo "$name" | sed -n 's/^t\([0-9]*\)$/\1/p') ;;
	*-*) scenario=$name number=$(echo "$name" | sed -n 's/^m\([0-9]*\)-[a-z]*$/\1/p') ;;
	*) number=$(echo "$name" | sed -n 's/^m\([0-9]*\)[a-z]\{0,1\}$/\1/p') scenario=m$number ;;
	esac
	[ -n "$number" ] || bad "$file: not named mNN.patch or mNN-WORD.patch, with a letter for further ones, or tNN.patch"
	[ -z "$scenario" ] || [ -e "scenarios/museum/$scenario.play" ] || bad "$file: no scenario scenarios/museum/$scenario.play"
	head -n 1 "$file" | grep -q "^# $kind$number: [^ ]" || bad "$file: its first line is not '# $kind$number: the bug'"
	[ "$(grep -c '^+++ b/' "$file")" -gt 0 ] || bad "$file: changes nothing"
	said=$(patch -p1 -s -f -F0 --dry-run <"$file" 2>&1) || bad "$file: does not apply: $said"
done
exit $status
