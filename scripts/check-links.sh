#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-links.sh - every relative link of a Markdown file leads to a file or heading that exists.
#
# usage: check-links.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

# Headings as the anchors that code hosts make of them.
anchors()
{
	sed -n 's/^##* *//p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

find . \( -path ./build -o -path ./.git \) -prune -o -name '*.md' \
	-exec grep -oHE '\]\([^) ]+\)' {} + | sed 's/:\](/ /; s/)$//' | {
	status=0
	while read -r f link; do
		case $link in
		http://* | https://* | mailto:*) continue ;;
		esac
		file=${link%%#*}
		to=$f
		[ -z "$file" ] || to=$(dirname "$f")/$file
		if [ ! -e "$to" ]; then
			echo "check-links: $f: no such file: $link" >&2
			status=1
		elif [ "$link" != "$file" ] && ! anchors "$to" | grep -qxF -e "${link#*#}"; then
			echo "check-links: $f: no such heading: $link" >&2
			status=1
		fi
	done
	exit $status
}
