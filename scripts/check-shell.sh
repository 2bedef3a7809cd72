#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-shell.sh - shellcheck over every shell script, found by its first line.
#
# usage: check-shell.sh [ROOT]
#
# Left out: SC2015 (A && B || C, meant as such) and SC2012 (ls of files whose names are ours).
set -eu
cd "${1:-$(dirname "$0")/..}"

find . \( -path ./build -o -path ./.git \) -prune -o -type f -print |
	while read -r f; do
		read -r first <"$f" || true
		case $first in
		'#!'*/sh | '#!'*/sh\ * | '#!'*/bash | '#!'*'env bash') echo "$f" ;;
		esac
	done 2>/dev/null | xargs shellcheck -x -e SC2015,SC2012
