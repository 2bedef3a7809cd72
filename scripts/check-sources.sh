#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-sources.sh - small rules for every file: licence line, no path of one machine, core without
# conditional compilation.
#
# usage: check-sources.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

files() { find . \( -path ./build -o -path ./.git \) -prune -o -type f "$@" -print | sed 's|^\./||'; }
status=0
bad() { echo "check-sources: $*" >&2; status=1; }

for f in $(files \( -name '*.[chS]' -o -name '*.sh' -o -name '*.ld' -o -name '*.awk' -o -name '*.py' \
	-o -name meson.build -o -name '*.map' -o -name Makefile \)); do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: MIT' || bad "$f: no SPDX line at its top"
done

# Folders that belong to one person or one machine.
places='home|root|work|workspace|opt|srv|media|Users'
for f in $(files); do
	hits=$(grep -nIE "(^|[[:space:]\"'=(:])/($places)/" "$f" | head -n 3) || true
	[ -z "$hits" ] || bad "$f: path of one machine: $hits"
done

# Header guards and the C++ refusal are conditionals too; bodies have none.
for f in $(files -path './core/*.c'); do
	! grep -nE '^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif|else)' "$f" >&2 ||
		bad "$f: conditional compilation; choose by file instead"
done
exit $status
