#!/bin/sh
# SPDX-License-Identifier: MIT
#
# play.sh VPMU - what `vpmu play` says about scenarios that fail, that make no sense, and that do
# not end. One line per case.
set -u
vpmu=$(realpath "$1")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
status=0
# What the scenarios and runs below have instead of the usual.
model=
mode=
files=

# script NAME: a scenario from standard input, with a head for MODEL and MODE, 3 lines.
script()
{
	{
		echo "scenario t \"$1\""
		echo "model ${model:-intel}"
		echo "matrix ${mode:-cheap}"
		cat
	} >t.play
}

# plays NAME STATUS PATTERN... : t ends with this status and every pattern is in its output.
plays()
{
	name=$1
	want=$2
	shift 2
	# shellcheck disable=SC2086 # several words
	timeout 60 "$vpmu" play ${files:-t.play} >out 2>&1 </dev/null
	got=$?
	for pattern in "$@"; do
		if ! grep -qe "$pattern" out; then
			echo "not ok $name: '$pattern' is not in: $(tr '\n' '|' <out | head -c 300)"
			status=1
			return
		fi
	done
	if [ "$got" -ne "$want" ]; then
		echo "not ok $name: status $got, expected $want: $(tr '\n' '|' <out | head -c 300)"
		status=1
		return
	fi
	echo "ok $name"
}

# refuses NAME PATTERN: of a scenario from standard input, nothing is run.
refuses()
{
	script "$1"
	plays "$1" 2 "$2"
	if grep -qE '^(ok|not ok) t|passed' out; then
		echo "not ok $1/nothing-is-run: $(tr '\n' '|' <out)"
		status=1
	fi
}

# ---- Files that are no scenario ----

refuses unknown-name '^t.play:4: nothing is named .nosuch.$' <<'X'
expect nosuch == 1
X
refuses unknown-member '^t.play:4: nothing is named .state.nosuch.$' <<'X'
expect state.nosuch == 1
X
refuses missing-value '^t.play:5: a value is missing$' <<'X'
expect 1 +
X
refuses rest-of-line '^t.play:5: the step has ended, but the line goes on$' <<'X'

skip "it" 3
X
refuses too-many-values '^t.play:4: run takes 1 to 1 values here, not 2$' <<'X'
run 1 2
X
refuses too-few-values '^t.play:4: rdpmc takes 1 to 1 values$' <<'X'
expect rdpmc() == 0
X
refuses bad-number '^t.play:4: this is not a number$' <<'X'
run 0x12G
X
refuses huge-number '^t.play:4: this number does not fit in 64 bits$' <<'X'
run 0x1_0000_0000_0000_0000
X
refuses open-string '^t.play:4: a string ends on its line$' <<'X'
skip "for ever
X
refuses stray-character "^t.play:4: the character '@' has no place here$" <<'X'
run 1 @ 2
X
refuses open-block "^t.play:4: this '{' is never closed$" <<'X'
repeat 3 {
	run 1
X
refuses stray-brace "^t.play:5: this '}' closes nothing$" <<'X'
run 1
}
X
refuses recursion "^t.play:4: nothing is named 'F'$" <<'X'
define F(x) = x ? F(x - 1) : 0
X
refuses redefinition "^t.play:5: 'F' is there already$" <<'X'
define F = 1
define F = 2
X
refuses keyword-as-name "^t.play:4: 'repeat' cannot be a name$" <<'X'
let repeat = 1
X
refuses not-assignable '^t.play:4: only variables and elements are assigned' <<'X'
1 = 2
X
refuses head-too-late "^t.play:5: 'model' belongs to the head, before all steps$" <<'X'
run 1
model amd
X
refuses array-too-large '^t.play:4: an array has 1 to 65536 elements' <<'X'
array a 65537
X
refuses no-case "^t.play:4: 'risc' is no case$" <<'X'
only risc { run 1 }
X
refuses wrong-architecture "^t.play:4: 'mrs' has no meaning for intel, emulated cheap" <<'X'
expect mrs(PMCR_EL0) == 0
X
refuses wrong-mode "^t.play:4: 'phys' has no meaning for intel, emulated cheap" <<'X'
expect phys(0x38F) == 0
X
mode=lazy
refuses source-without-one "^t.play:4: 'source count' has no meaning for intel, mediated lazy" <<'X'
source count 0 1
X
mode=
{ printf 'run '; head -c 100 /dev/zero | tr '\0' '('; echo; } |
	refuses too-deep '^t.play:4: more than 64 blocks or parentheses'
{ printf 'run '; head -c 5000 /dev/zero | tr '\0' '~'; echo 0; } |
	refuses too-many-signs '^t.play:4: more than 64 blocks or parentheses'
{ head -c 100 /dev/zero | sed 's/\x00/repeat 1 {/g'; echo; } |
	refuses too-many-blocks '^t.play:4: more than 64 blocks or parentheses'
head -c 300000 /dev/zero | tr '\0' '#' | refuses too-long 't.play is no text of up to 262144 bytes'
printf 'run 1\0\n' | refuses zero-byte 't.play is no text'

mode=fast
refuses unknown-mode "^t.play:3: 'fast' is no mode$" <<'X'
run 1
X
mode=
model='riscv'
refuses unknown-model '^t.play:2: a model is intel, amd or arm$' <<'X'
run 1
X
model=
model='intel colour=3'
refuses unknown-key "^t.play:2: nothing is named 'colour'$" <<'X'
run 1
X
model=
echo 'model intel' >t.play
plays no-name 2 "^t.play:1: the line 'scenario NAME"
echo 'scenario t "no model"' >t.play
plays no-model 2 "^t.play:1: a line 'model' is missing$"
files=nosuch.play
plays no-file 2 'cannot read nosuch.play'
files=
mkdir empty
files=empty
plays empty-folder 2 'empty has no \*.play'
files=

# Of several files nothing is run if one of them is bad; no two have the same name.
echo 'run 1' | script good
cp t.play good.play
echo 'run (' | script bad
files='good.play t.play'
plays one-bad-file 2 '^t.play:[45]: '
files=
grep -q '^ok' out && { echo 'not ok one-bad-file/nothing-is-run'; status=1; }
cp good.play other.play
files='good.play other.play'
plays equal-names 2 'are both called t$'
files=

# ---- Cases that fail: where, what, and what happened before ----

script failure <<'X'
wrmsr IA32_PERFEVTSEL0 = SEL(INSTRUCTIONS)
run 10
mark
run 5
# A remark.
	expect rdpmc(0) == 16
X
plays failure 1 '^not ok t \[intel emulated cheap\]: t.play:9: expected == 0x10, seen 0xf$' \
	'^    expect rdpmc(0) == 16$' '^      read slot 0 0xf$' '^0 passed, 1 failed, 0 skipped$'

mode=eager
script hardware-trace <<'X'
wrmsr IA32_PERFEVTSEL0 = SEL(INSTRUCTIONS)
run 10
put
expect 0
X
plays hardware-trace 1 't.play:7: expected what is not 0, seen 0' \
	'^      WRMSR IA32_FIXED_CTR2 = 0$' \
	'CPU 0, accesses since the mark: [0-9]*, the last:'
mode=

script fault <<'X'
wrmsr IA32_PERF_GLOBAL_STATUS = 1
X
plays fault 1 't.play:4: WRMSR: expected OK, seen GP$'
script no-fault <<'X'
expect GP rdmsr(IA32_PERF_GLOBAL_STATUS)
X
plays no-fault 1 't.play:4: RDMSR: expected GP, seen OK$'
script wrong-fault <<'X'
expect NOT_MINE wrmsr IA32_PERF_GLOBAL_STATUS = 1
X
plays wrong-fault 1 't.play:4: WRMSR: expected NOT_MINE, seen GP$'
script range <<'X'
expect 5 in 6..7
X
plays range 1 't.play:4: expected 0x6..0x7, seen 0x5$'
script inner-outcome <<'X'
expect GP wrmsr IA32_PERF_GLOBAL_CTRL = rdmsr(0x390 + 1)
X
plays inner-outcome 1 't.play:4: RDMSR: expected OK, seen GP$'
script state <<'X'
run 1
expect E_STATE reset
expect E_PARAM reset
X
plays state 1 't.play:6: vpmu_vcpu_reset: expected E_PARAM, seen OK$'
script several <<'X'
only cheap { expect 1 }
only dear { expect 0 }
if amd { skip "for a reason" }
X
sed -i 's/^matrix.*/model amd\nmatrix emulated/' t.play
plays several 1 '^ok t \[intel emulated cheap\]$' '^not ok t \[intel emulated dear\]: ' \
	'^skip t \[amd emulated cheap\]: for a reason$' '^1 passed, 2 failed, 1 skipped$'

# What a test of the library would have got wrong: an event left, an operation while the guest runs.
script always-looked-at <<'X'
wrmsr IA32_PERFEVTSEL0 = SEL(INSTRUCTIONS)
run 1
expect live == 1
detach
expect live == 0
X
plays always-looked-at 0 '^1 passed, 0 failed, 0 skipped$'

# ---- The language ----

script language <<'X'
expect 1 + 2 * 3 == 7 && (1 + 2) * 3 == 9
expect 7 & 3 == 3               # not 7 & (3 == 3)
expect 1 | 2 ^ 3 == 1
expect 1 << 63 >> 62 == 2 && 1 << 64 == 0 && 1 >> 64 == 0
expect ~0 == 0xFFFF_FFFF_FFFF_FFFF && -1 == ~0 && !5 == 0
expect 17 / 5 == 3 && 17 % 5 == 2
expect 5 in 5..5 && !(4 in 5..6)
expect (0 ? 1 / 0 : 2) == 2 && !(0 && 1 / 0) && (1 || 1 / 0)
define SUM(a, b) = a + b
define TWICE(x) = SUM(x, x)
expect TWICE(SUM(1,
	2)) == 6
array a 4
let k = 0
foreach i in 3, 0..2 { a[i] = k; k = k + 1 }
expect a[3] == 0 && a[0] == 1 && a[2] == 3
while k < 10 { k = k + 1 }
expect k == 10
repeat 0 { expect 0 }
if k == 1 { expect 0 } else if k == 10 { k = 11 } else { expect 0 }
expect k == 11
only not mediated x86 { k = 12 }
only amd { expect 0 }
expect k == 12; expect popcount(0xF0F0) == 8
let first = random(1000)
expect first < 1000 && random(1) == 0
expect IA32_PMC2 == IA32_PMC(2) && IA32_PMC(k - 10) == 0x4C3
expect FIXED(1) == 33 && SELI(INSTRUCTIONS) == 0x5300C0
X
plays language 0

script steps <<'X'
lvtpc = 0x400
wrmsr CTL(0) = SELI(INSTRUCTIONS)
wrmsr CTL(1) = SEL(BRANCHES)
wrmsr CTL(2) = SEL(0x1B1)
wrmsr CTR(0) = -10
# Portions share the events out; the run ends with the PMI.
run 100 step=3 branches=33 raw(0x1B1)=200 until_pmi
expect executed == 12 && pmis == 1 && rdpmc(0) == 2
expect rdpmc(1) == 3 && rdpmc(2) == 24
run 88 step=7
expect executed == 88 && rdpmc(0) == 90
# By hand is the step itself, not what it needs.
expect E_STATE set CTL(0) = status(0)
expect in_guest
set CTL(0) = 0
expect in_guest && status(0) == STOPPED
try rdmsr(0x3F1)
expect outcome == GP
expect GP rdmsr(0x3F1)
try rdpmc(1)
expect outcome == OK && value == 3
vcpu 1: expect rdpmc(1) == 0
vcpu 1 { run 5; expect exits == 1; mark; expect exits == 0 }
expect exits == 0 && creates == 0
X
sed -i 's/^matrix.*/&\nvcpus 2/' t.play
plays steps 0

# ---- Cases that make no sense: found when the step is made ----

script division <<'X'
let x = 0
run 10 / x
X
plays division 2 '^not ok t .*: t.play:5: division by 0$'
script bounds <<'X'
array a 3
a[2] = 1
a[a[2] + 2] = 1
X
plays bounds 2 't.play:6: a\[3\] is beyond its 3 elements$'
script member <<'X'
let i = 8
wrmsr IA32_PERFEVTSEL(i) = 0
X
plays member 2 't.play:5: IA32_PERFEVTSEL has members 0 to 7, not 8$'
script no-vcpu <<'X'
vcpu 1 { run 1 }
X
plays no-vcpu 2 't.play:4: there is no vCPU 1$'
script halted <<'X'
hlt
run 1
X
plays halted 2 't.play:5: the vCPU is halted'
model='intel gp=300'
script does-not-fit <<'X'
run 1
X
plays does-not-fit 2 't.play:4: gp=0x12c does not fit: at most 0xff$'
model=
mode=lazy
model='intel'
script no-hardware <<'X'
machine gp_width=64
X
plays no-hardware 2 't.play:4: the hardware is one that does not exist'
mode=
model=
script nothing-saved <<'X'
restore A
X
plays nothing-saved 2 't.play:4: nothing was saved there$'

# ---- Events of the host ----

refuses event-key "^t.play:4: nothing is named 'colour'$" <<'X'
host_event A colour=3
X
refuses event-without-name '^t.play:4: a name is missing$' <<'X'
host_event
X
refuses event-member "^t.play:5: nothing is named 'host_event.colour'$" <<'X'
host_event A
expect host_event(A).colour == 0
X
refuses event-without-member '^t.play:5: write host_event(...).member$' <<'X'
host_event A
expect host_event(A) == 0
X
refuses event-never-made "^t.play:4: nothing is named 'A'$" <<'X'
expect host_event(A).count == 0
X
refuses event-called-like-a-filter "^t.play:5: 'A' is something else already$" <<'X'
filter A
host_event A
X
i=0
while [ $i -le 16 ]; do
	echo "host_event E$i hypervisor"
	i=$((i + 1))
done | refuses many-events '^t.play:20: more than 16 host events$'
mode=partition
refuses partition-is-no-mode "^t.play:3: 'partition' is no mode$" <<'X'
run 1
X
mode=
refuses create-mode "^t.play:4: 'shared' is no mode$" <<'X'
create mode=shared
X
refuses create-modes "^t.play:4: 'mediated' is no mode$" <<'X'
create mode=mediated
X
script event-twice <<'X'
host_event A
host_event A
X
plays event-twice 2 't.play:5: this host event lives already$'
script event-ended <<'X'
host_event A
host_event A end
expect host_event(A).count == 0
X
plays event-ended 2 't.play:6: this host event does not live$'
script event-scopes <<'X'
host_event A vm=0 hypervisor
X
plays event-scopes 2 't.play:4: a host event has one scope$'
script event-vm <<'X'
host_event A vm=1
X
plays event-vm 2 't.play:4: there is no VM 1$'
script event-vcpu <<'X'
host_event A vcpu=7
X
plays event-vcpu 2 't.play:4: there is no vCPU 7$'
script event-outlived <<'X'
host_event A vm=0
create
X
plays event-outlived 2 't.play:5: a host event counts in what is to end: end it first$'
script vm-end <<'X'
vm_end vm=4
X
plays vm-end 2 't.play:4: there is no VM 4$'
script event-outcomes <<'X'
expect E_PARAM host_event A period=0x8000_0001
expect E_PARAM host_event A exclude_guest exclude_host
expect !host_event(A).lives
run 1
# By hand is the step itself: the guest is not taken out first.
expect E_STATE host_event A
expect in_guest
host_event A event=0x1B1
expect in_guest && host_event(A).lives
run 10 raw(0x1B1)=3
expect host_event(A).count == 3 && in_guest
expect E_BUSY create mode=lazy
host_event A end
create mode=lazy
expect E_BUSY host_event A
vm_end
host_event A
X
plays event-outcomes 0
script event-period <<'X'
host_event A event=0x1B1 period=100
host_run 10 raw(0x1B1)=90
host_period A 20
host_run 10 raw(0x1B1)=19
expect host_event(A).samples == 0
host_run 10 raw(0x1B1)=1
expect host_event(A).samples == 1 && host_event(A).guest_samples == 0
expect E_PARAM host_period A 0
run 10 raw(0x1B1)=20
expect host_event(A).samples == 2 && host_event(A).guest_samples == 1
mark
expect host_event(A).samples == 0 && host_event(A).count == 130
X
plays event-period 0
refuses period-of-nothing '^t.play:5: host_period takes 1 to 1 values here, not 0$' <<'X'
host_event A
host_period A
X
script part-of-nothing <<'X'
create cpus=0
X
plays part-of-nothing 2 't.play:4: cpus=0 is no set of this machine.s CPUs$'
script part-of-more <<'X'
create cpus=2
X
plays part-of-more 2 't.play:4: cpus=0x2 is no set of this machine.s CPUs$'
mode=off
script off <<'X'
expect off && !mediated && !emulated
expect GP rdpmc(0)
host_run 5
run 5
X
plays off 0 '^ok t .intel off.$'
mode=bare
refuses bare-without-hypervisor "^t.play:4: 'create' has no meaning for intel, bare; put it" <<'X'
create
X
refuses bare-without-source "^t.play:4: 'creates' has no meaning for intel, bare; put it" <<'X'
expect creates == 0
X
script bare-vcpu <<'X'
vcpu 1: run 1
X
plays bare-vcpu 2 't.play:4: there is no vCPU 1$'
script bare-counter <<'X'
expect value(0) == 0
X
plays bare-counter 2 't.play:4: there is no hypervisor to do it$'
script bare <<'X'
expect bare && !emulated && !mediated && !off && version == 2
lvtpc = 0x400
wrmsr CTL(0) = SELI(INSTRUCTIONS)
wrmsr CTR(0) = -10
run 100 step=3 until_pmi
expect executed == 12 && pmis == 1 && rdpmc(0) == 2 && lvtpc == 0x10400
# What a guest could not notice does nothing.
exit; put; load; migrate 0; enter
expect rdpmc(0) == 2
mark
expect pmis == 0
expect GP rdmsr(IA32_PERF_CAPABILITIES + 0x1000)
reset
expect rdpmc(0) == 0 && lvtpc == 0x10000
only not bare { expect 0 }
X
plays bare 0 '^ok t .intel bare.$'
model='amd v=0 gp=0'
script bare-machine <<'X'
run 1
X
plays bare-machine 2 't.play:4: the hardware is one that does not exist'
model='arm n=2'
script bare-arm <<'X'
msr PMEVTYPER1_EL0 = INSTRUCTIONS
msr PMEVCNTR1_EL0 = -3
msr PMINTENSET_EL1 = 2
msr PMCNTENSET_EL0 = 2
msr PMCR_EL0 = 1
expect UNDEF mrs(PMEVCNTR2_EL0)
expect EL1 mrs(PMCCNTR_EL0, el=0)
run 5
expect pmis == 1 && line && mrs(PMEVCNTR1_EL0) & 0xFFFF_FFFF == 2
msr PMOVSCLR_EL0 = 2
expect !line
X
plays bare-arm 0 '^ok t .arm n=2 bare.$'
model=
mode=passthrough
model='intel v=5 fw=1'
script passed-through <<'X'
wrmsr CTL(0) = SEL(INSTRUCTIONS)
run 5
expect passthrough && mediated && lazy && !partitioned && !eager && direct(CTL(0))
X
plays passed-through 0 '^ok t .intel v=5 fw=1 passed through.$'
mode=
model=
script event-failure <<'X'
host_event A event=0x1B1 exclude_guest
host_run 100 raw(0x1B1)=9
expect host_event(A).count == 10
X
plays event-failure 1 't.play:6: expected == 0xa, seen 0x9$'
mode=partitioned
model='intel gp=4'
script partition <<'X'
machine gp=8
run 1
expect mediated && partitioned && lazy + eager == 1
only lazy { expect lazy }
only not lazy { expect eager }
X
plays partition 0 '^ok t .intel gp=4 partitioned lazy.$' '^ok t .intel gp=4 partitioned eager.$'
mode=
model=

# ---- Everything ends ----

script endless <<'X'
while 1 { }
X
plays endless 1 't.play:4: the case does not end: more than 100000000 steps$'
script many-rounds <<'X'
repeat ~0 { repeat ~0 { let x = 1 } }
X
plays many-rounds 1 'the case does not end'
{
	echo 'define A0(x) = x + x'
	i=0
	while [ $i -lt 60 ]; do
		echo "define A$((i + 1))(x) = A$i(x) + A$i(x)"
		i=$((i + 1))
	done
	echo 'expect A60(1)'
} | script doubling
plays doubling 1 'the case does not end'
script long-run <<'X'
run ~0 step=1
X
plays long-run 2 'more than 10000000 portions$'

# ---- Options ----

sed -i 's/^run.*/run 1/; s/^matrix.*/matrix all/' t.play
files='-l t.play'
plays list 0 '^t \[intel emulated cheap\]$' '^t \[intel mediated eager\]$'
files=
files='-m mediated t.play'
plays one-group 0 '^2 passed, 0 failed, 0 skipped$'
files=
files='-m cheap t.play'
plays one-mode 0 '^1 passed, 0 failed, 0 skipped$'
files=
files='-v -m lazy t.play'
plays verbose 0 '^  4: run 1$'
files=
files='-m fast t.play'
plays bad-mode 2 "'fast' is no mode"
files=
files='-x t.play'
plays bad-option 2 "unknown option '-x'"
files=
mkdir -p folder/deeper
sed 's/scenario t/scenario u/' t.play >folder/deeper/u.play
cp t.play folder
echo 'no scenario' >folder/remark.txt
files=folder
plays folder 0 '^ok u ' '^ok t ' '^8 passed'
files=
exit $status
