#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-selftest.sh - each check refuses a deliberately wrong input, and accepts the input before it.
#
# usage: check-selftest.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

# expect good|bad WHAT COMMAND...
expect()
{
	want=$1
	what=$2
	shift 2
	if "$@" >"$tmp/out" 2>&1; then got=good; else got=bad; fi
	[ "$got" = "$want" ] && return
	echo "check-selftest: $what: expected $want, got $got" >&2
	cat "$tmp/out" >&2
	status=1
}

# A small tree in order.
tree()
{
	rm -rf "$tmp/t"
	mkdir -p "$tmp/t/include/vpmu" "$tmp/t/core/arm" "$tmp/t/hosts/el2" "$tmp/t/man"
	cd "$tmp/t"
	spdx='/* SPDX-License-Identifier: MIT */'
	cat >include/vpmu/vpmu.h <<-END
	$spdx
	#ifndef V
	#define V
	#define VPMU_API __attribute__((visibility("default")))
	/* Context: [vcpu]. */
	VPMU_API int vpmu_f(int a);
	#endif
	END
	printf '%s\n#include <vpmu/vpmu.h>\nint vpmu_f(int a)\n{\n\treturn a;\n}\n' "$spdx" >core/f.c
	printf '%s\nvoid lazy(void)\n{\n\tops->x();\n}\n' "$spdx" >core/mediated.c
	printf '%s\nvoid eager(void)\n{\n\tops->x();\n}\n' "$spdx" >core/eager.c
	printf '%s\nstatic inline void set(int x)\n{\n\tops->x(x);\n}\n' "$spdx" >core/registers.h
	printf '{\n  global:\n\tvpmu_f;\n  local:\n\t*;\n};\n' >core/vpmu.map
	cat >man/f.3 <<-'END'
	.Dd November 21, 2025
	.Dt VPMU_F 3
	.Os
	.Sh NAME
	.Nm vpmu_f
	.Nd nothing
	.Sh SYNOPSIS
	.In vpmu/vpmu.h
	.Ft int
	.Fo vpmu_f
	.Fa "int a"
	.Fc
	.Sh DESCRIPTION
	Nothing.
	END
	printf '# A b\n[x](#a-b)\n' >readme.md
	mkdir -p scenarios/museum tests/mutants
	: >scenarios/museum/m01.play
	printf '# M01: a bug\n--- a/core/f.c\n+++ b/core/f.c\n@@ -5 +5 @@\n-\treturn a;\n+\treturn 0;\n' \
		>tests/mutants/m01.patch
	# shellcheck disable=SC2016
	printf '#!/bin/sh\n# SPDX-License-Identifier: MIT\necho "$1"\n' >a.sh
}

library()
{
	gcc -fPIC -fvisibility=hidden -Iinclude -ffreestanding -c core/f.c -o f.o && ar rcs f.a f.o &&
		gcc -shared -nostdlib -o f.so f.o
}

tree
printf '# SPDX-License-Identifier: MIT\n' | cat - core/vpmu.map >m && mv m core/vpmu.map
library
expect good layering "$here/check-layering.sh" .
expect good sources "$here/check-sources.sh" .
expect good switches "$here/check-switches.sh" .
expect good contexts "$here/check-contexts.sh" .
expect good headers "$here/check-headers.sh" gcc -- .
expect good manual "$here/check-manual.sh" .
expect good shell "$here/check-shell.sh" .
expect good links "$here/check-links.sh" .
expect good mutants "$here/check-mutants.sh" .
expect good core-symbols "$here/check-core-symbols.sh" nm f.a
expect good exports "$here/check-exports.sh" nm f.so .

tree
echo '#include <stdio.h>' >>core/f.c
expect bad "libc in core" "$here/check-layering.sh" .
tree
echo '#define X 1' >hosts/el2/x.h
echo '#include "../hosts/el2/x.h"' >>core/f.c
expect bad "host in core" "$here/check-layering.sh" .
tree
echo 'int x;' >core/x.c
expect bad "no licence" "$here/check-sources.sh" .
tree
echo '#ifdef X' >>core/f.c
expect bad "#if in core" "$here/check-sources.sh" .
tree
echo "see /home"/me/x >>readme.md
expect bad "machine path" "$here/check-sources.sh" .
tree
for f in mediated eager; do sed -i 's/ops->x();/helper();/' core/$f.c; done
expect bad "shared helper" "$here/check-switches.sh" .
tree
printf 'static inline void both(void)\n{\n\tops->x();\n\tops->y();\n}\n' >>core/registers.h
expect bad "switching in an accessor" "$here/check-switches.sh" .
tree
sed -i 's/ops->x();/lazy();/' core/eager.c
expect bad "eager calls lazy" "$here/check-switches.sh" .
tree
sed -i 's/Context/Contest/' include/vpmu/vpmu.h
expect bad "no context" "$here/check-contexts.sh" .
tree
sed -i 's/^VPMU_API int/int/' include/vpmu/vpmu.h
expect bad "hidden function" "$here/check-contexts.sh" .
tree
sed -i 's/int a/uint8_t a/' include/vpmu/vpmu.h
expect bad "header not self-contained" "$here/check-headers.sh" gcc -- .
expect bad "prototype of the manual" "$here/check-manual.sh" .
tree
echo '.Xy' >>man/f.3
expect bad "unknown macro" "$here/check-manual.sh" .
tree
# shellcheck disable=SC2016 # the fault to be found
echo 'rm $1' >>a.sh
expect bad "unquoted" "$here/check-shell.sh" .
tree
echo '[x](nowhere.md)' >>readme.md
expect bad "dead link" "$here/check-links.sh" .
tree
echo '[x](#nowhere)' >>readme.md
expect bad "dead anchor" "$here/check-links.sh" .
tree
sed -i 's/return a;/return -a;/' core/f.c
expect bad "mutant that does not apply" "$here/check-mutants.sh" .
tree
rm scenarios/museum/m01.play
expect bad "mutant without a scenario" "$here/check-mutants.sh" .
tree
sed -i 1d tests/mutants/m01.patch
expect bad "mutant that does not say what it is" "$here/check-mutants.sh" .

# These know the real tree.
real()
{
	rm -rf "$tmp/t"
	mkdir -p "$tmp/t"
	cd "$tmp/t"
	for part in core scenarios tests scripts; do
		cp -r "$here/../$part" .
	done
}

real
expect good subscripts "$here/check-subscripts.sh" .
expect good museum "$here/check-museum.sh" .
sed -i 's/vpmu_clamp(i, VPMU_X86_GP_MAX)/i/' core/x86/access.c
expect bad "number that is not clamped" "$here/check-subscripts.sh" .
sed -i 's/^\(scenario M01 "\)/\1No /' scenarios/museum/m01.play
expect bad "old page of the museum" "$here/check-museum.sh" .
real
rm scenarios/museum/m87.play
"$here/check-museum.sh" --write .
expect bad "bug without a scenario" "$here/check-museum.sh" .
real
sed -i 's/[Mm]93/x/g' scripts/check-subscripts.sh tests/unit/museum.c
"$here/check-museum.sh" --write .
expect bad "bug that no test names" "$here/check-museum.sh" .

tree
sed -i 's/return a;/extern int puts(const char *); return puts("");/' core/f.c
library
expect bad "libc symbol" "$here/check-core-symbols.sh" nm f.a
tree
sed -i 's/vpmu_f;/vpmu_g;/' core/vpmu.map
library
expect bad "map differs" "$here/check-exports.sh" nm f.so .
tree
sed -i 's/VPMU_API int/int/' include/vpmu/vpmu.h
library
expect bad "not exported" "$here/check-exports.sh" nm f.so .

# What a test program can do, and what is counted for it.
mkdir -p "$tmp/meson-logs"
cat >"$tmp/meson-logs/testlog.json" <<'END'
{"name": "vpmu:unit / plain", "result": "OK", "stdout": "hello\n", "stderr": ""}
{"name": "lines", "result": "FAIL", "stdout": "ok a\nnot ok b: wrong\nskip c: no KVM\n", "stderr": ""}
{"name": "tap", "result": "OK", "stdout": "1..2\nok 1 - a\nok 2 - b # SKIP no\n", "stderr": ""}
{"name": "cmocka", "result": "FAIL", "stdout": "", "stderr": "[       OK ] a\n[  FAILED  ] b\n[  FAILED  ] 1 test(s)\n"}
{"name": "crash", "result": "FAIL", "stdout": "ok a\n", "stderr": "Segmentation fault\n"}
{"name": "absent", "result": "SKIP", "stdout": "no tool\n", "stderr": ""}
END
cat >"$tmp/cases" <<'END'
ok x/plain
ok x/lines/a
not ok x/lines/b: wrong
skip x/lines/c: no KVM
ok x/tap/a
skip x/tap/b: no
ok x/cmocka/a
not ok x/cmocka/b
ok x/crash/a
not ok x/crash: FAIL, Segmentation fault
skip x/absent: no tool
END
"$here/meson-cases.py" x "$tmp" >"$tmp/counted"
expect good "counting of test cases" diff "$tmp/cases" "$tmp/counted"
exit $status
