#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test-command.sh VPMU - the command's own behaviour, with a script in QEMU's place.
set -u
vpmu=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

# An arm64 Image header: text_offset 0, image_size 4 MiB; then $2 KiB of file.
image()
{
	{
		printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100'
		printf '\0\0\0\0\0\012\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ARMd\0\0\0\0'
		head -c $(($2 * 1024)) /dev/zero
	} >"$1"
}
image "$tmp/kernel" 8
head -c 4096 /dev/zero >"$tmp/initrd"
: >"$tmp/monitor"

# expect STATUS WORD... : runs the command; its output is in $tmp/out.
expect()
{
	want=$1
	shift
	"$vpmu" "$@" >"$tmp/out" 2>&1 </dev/null
	got=$?
	if [ $got -ne "$want" ]; then
		echo "FAIL: vpmu $*: status $got, expected $want:"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}
shows()
{
	if ! grep -qe "$1" "$tmp/out"; then
		echo "FAIL: expected '$1' in:"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}
hides()
{
	if grep -qe "$1" "$tmp/out"; then
		echo "FAIL: did not expect '$1' in:"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}
dry() { expect 0 run --dry-run --qemu qemu --monitor "$tmp/monitor" --kernel "$tmp/kernel" "$@"; }
# The guest prints and QEMU ends as script $1 says.
guest()
{
	printf '#!/bin/sh\n%s\n' "$1" >"$tmp/qemu"
	chmod +x "$tmp/qemu"
}
run()
{
	want=$1
	shift
	expect "$want" run --qemu "$tmp/qemu" --monitor "$tmp/monitor" --kernel "$tmp/kernel" "$@"
}

# The command line.
expect 2
expect 2 nonsense
expect 0 --help
shows 'run '
expect 0 run --help
shows '--policy'
expect 0 --version
expect 2 run --nonsense
shows 'no option is named'
expect 2 run --smp
expect 2 run --smp 5
expect 2 run --smp two
expect 2 run --memory 100M
expect 2 run --memory 1T
expect 2 run --memory ''
expect 2 run --policy deny
expect 2 run --policy deny:
expect 2 run --policy deny:0x10000
expect 2 run --policy deny:1,,2
expect 2 run --policy deny:010
expect 2 run --policy deny:3-2
expect 2 run --policy deny:1 --policy allow:2
expect 2 run --policy forbid:1
expect 2 run --switch fast
expect 2 run --arch x86
expect 2 run --timeout 0
expect 2 run --stats=1
expect 2 run --mode bare --stats
expect 2 run --mode nothing

# QEMU's command line.
dry
shows '-M virt,gic-version=3,virtualization=on'
shows '-cpu max,sve=off,sme=off,pauth-impdef=on'
shows '-icount shift=1,sleep=off'
shows 'guest-loader,addr=0x48400000,kernel='
hides 'initrd'
hides 'semihosting'
dry --no-icount --cpu neoverse-n1 --smp=2 --memory 2G
hides icount
shows '-cpu neoverse-n1 -smp 2 -m 2048M'
dry --initrd "$tmp/initrd" --append 'a,b -- c'
shows 'addr=0x48800000,initrd='
shows 'bootargs=console=ttyAMA0 a,,b -- c'
dry --policy deny:0x11,8 --switch eager --stats --policy deny:0x20-0x2f
shows "-append 'switch=eager stats policy=deny:0x11,8,0x20-0x2f'"
dry --mode partitioned --counters 3 --pmu-version v3p4
shows "-append 'counters=3 version=v3p4 mode=partitioned'"
dry --mode off
shows '-append mode=off '
dry --semihosting --qemu-arg -d --qemu-arg in_asm
shows '-semihosting-config enable=on,target=native'
shows '-d in_asm$'
expect 0 run --dry-run --qemu qemu --mode bare --kernel "$tmp/kernel"
shows 'virtualization=off'
hides 'guest-loader'
expect 0 run --dry-run --qemu qemu --mode bare-el2 --kernel "$tmp/kernel"
shows 'virtualization=on'

# The guest's files.
expect 125 run --monitor "$tmp/monitor" --qemu qemu --kernel "$tmp/missing"
expect 125 run --monitor "$tmp/monitor" --qemu qemu --kernel "$tmp/initrd"
shows 'no arm64 Image'
head -c 130000000 /dev/zero >"$tmp/large"
expect 125 run --dry-run --memory 256M --monitor "$tmp/monitor" --qemu qemu --kernel "$tmp/kernel" --initrd "$tmp/large"
shows 'needs at least --memory'
dry --memory 512M --initrd "$tmp/large"
expect 125 run --qemu "$tmp/missing" --monitor "$tmp/monitor" --kernel "$tmp/kernel"

# Several guests.
several()
{
	want=$1
	shift
	expect "$want" run --qemu "$tmp/qemu" --monitor "$tmp/monitor" "$@"
}
several 0 --dry-run --smp 2 --stats --vm "kernel=$tmp/kernel,append=a,,b c,policy=deny:1,,0x8" \
	--vm "kernel=$tmp/kernel,initrd=$tmp/initrd,memory=32M,cpus=2,mode=off,on=0-1,wait=no"
shows "-m 544M"
shows "-append 'stats vm kernel=0x48400000 policy=deny:1,0x8 vm kernel=0x48800000 initrd=0x48c00000 memory=32 "
shows "memory=32 cpus=2 mode=off on=0-1 wait=no'"
shows 'addr=0x48400000,kernel=[^ ]*,bootargs=console=ttyAMA0 a,,b c'
shows 'addr=0x48c00000,initrd='
several 2 --vm "kernel=$tmp/kernel,colour=red"
shows "no key is named 'colour'"
several 2 --vm "kernel=$tmp/kernel,nothing"
shows 'is not KEY=VALUE'
several 2 --vm cpus=0
several 2 --vm cpus=5
several 2 --vm memory=1M
several 2 --vm memory=33M
several 2 --vm memory=much
several 2 --vm "kernel=$tmp/kernel,memory=128M"
shows 'the first guest needs'
several 2 --vm mode=magic
several 2 --vm counters=32
several 2 --vm version=v2
several 2 --mode off --vm "kernel=$tmp/kernel"
several 2 --counters 2 --vm "kernel=$tmp/kernel"
several 0 --dry-run --vm "kernel=$tmp/kernel,mode=partitioned,counters=2,version=v3p1"
shows 'mode=partitioned counters=2 version=v3p1'
several 2 --vm policy=deny
several 2 --vm policy=deny:1,policy=deny:2
several 2 --vm switch=fast
several 2 --vm on=3-1
several 2 --vm on=4
several 2 --vm wait=maybe
several 2 --vm pmu=
several 2 --vm pmu=Big
several 2 --vm pmu=a-name-too-long-
several 0 --dry-run --vm "kernel=$tmp/kernel,pmu=common" --vm "kernel=$tmp/kernel,pmu=big" \
	--pmu-type big,cpus=0-1 --pmu-type little,cpus=2-3,counters=2,events=0x00,,0x20-0x21
shows 'pmu-type=big:cpus=0-1 pmu-type=little:cpus=2-3:counters=2:events=0x00,0x20-0x21 vm'
shows ' pmu=common vm .* pmu=big'
several 2 --vm "kernel=$tmp/kernel" --pmu-type Big,cpus=0
several 2 --vm "kernel=$tmp/kernel" --pmu-type common,cpus=0
several 2 --vm "kernel=$tmp/kernel" --pmu-type big
shows 'no cpus='
several 2 --vm "kernel=$tmp/kernel" --pmu-type big,cpus=4
several 2 --vm "kernel=$tmp/kernel" --pmu-type big,cpus=0,counters=0
several 2 --vm "kernel=$tmp/kernel" --pmu-type big,cpus=0,events=0x10000
several 2 --vm "kernel=$tmp/kernel" --pmu-type big,cpus=0,cpu
shows "'cpu' is not"
several 2 --pmu-type big,cpus=0
shows 'for guests of --vm'
several 2 --vm '' --vm '' --vm '' --vm '' --vm ''
shows 'more than 4 guests'
several 2 --vm "kernel=$tmp/kernel" --policy deny:1
shows 'for one guest'
several 2 --vm "kernel=$tmp/kernel" --mode bare
guest 'echo "[0] vpmu-verdict: 0"; echo "[1] vpmu-verdict: 3"; echo "[7] vpmu-verdict: 9"; exit 1'
several 3 --vm "kernel=$tmp/kernel" --vm "kernel=$tmp/kernel"
guest 'echo "[1] vpmu-verdict: 0"; exit 1'
several 0 --vm "kernel=$tmp/kernel" --vm "kernel=$tmp/kernel"
guest 'echo "vpmu: fatal: no memory"; echo "[0] vpmu-verdict: 0"'
several 125 --vm "kernel=$tmp/kernel"
guest 'exec sleep 30'
several 124 --timeout 1 --vm "kernel=$tmp/kernel"

# The host's profile: what the monitor says with its key is in tables, whatever a guest says is on the console.
expect 2 run --host-profile=everything
expect 2 run --host-profile --host-profile-period 9999
expect 2 run --host-profile --host-profile-event branches
expect 2 run --host-profile-out x
shows 'only with --host-profile'
expect 2 run --mode bare --host-profile
dry --host-profile --host-profile-period 20000 --host-profile-event instructions
shows 'profile=all profile-key=[0-9a-f]\{16\} profile-period=20000 profile-event=instructions'
several 0 --dry-run --host-profile=guests --vm "kernel=$tmp/kernel"
shows 'profile=guests profile-key=[0-9a-f]* vm '
# says LINES: the monitor's, with %s for its marker.
says()
{
	guest "key=\$(printf '%s\n' \"\$@\" | sed -n 's/.*profile-key=\([0-9a-f]*\).*/vpmu-profile \1/p')
printf '$1' | sed \"s/@/\$key/\""
}
begin='@ begin cycles 10000\r\n@ event 0 el2.sampled 25000 7 7 2\r\n@ cause 0 psci 3 24000 12000\n'
stacks='@ host-sample 2 1000 ffffffff 2000 3000\n@ host-sample 5 ffffffff 0\n@ guest-sample 1 0 0 ffff8000 4\n'
forged='vpmu-profile 0123456789abcdef cause 0 psci 9 99 9\nvpmu-profile \nvpmu-prof'
says "hello\n${forged}\n$begin${stacks}@ end\nvpmu-verdict: 3\n"
run 3 --host-profile --host-profile-out "$tmp/folded"
shows '^hello'
shows '^vpmu-profile 0123456789abcdef cause 0 psci 9 99 9$'
shows '^vpmu-profile $'
shows '^vpmu-prof$'
hides 'begin cycles'
shows '^  0  EL2 cycles  *25000  *7  100.00%  *2  *0$'
shows '^psci  *3  *24000  *-  *8000.0$'
shows ' 5  71.43%  \[late\]$'
shows 'monitor.elf: no symbols there'
if [ "$(cat "$tmp/folded")" != "monitor;0x2fff;0x1fff;0x1000 2
monitor;[late] 5
vm1;cpu0;EL0;0xffff8000 4" ]; then
	echo "FAIL: folded stacks: $(cat "$tmp/folded")"
	failures=$((failures + 1))
fi
for lines in "$begin" "${stacks}@ end\n" "${begin}@ cause 0\n@ end\n" "${begin}@ nonsense\n@ end\n" ''; do
	says "$lines"
	run 125 --host-profile
	shows 'not complete'
done
says "$begin${stacks}@ end\n"
run 125 --host-profile --host-profile-out "$tmp/missing/folded"
# Names are those of the ELF file beside the image; any file will do no harm.
says "$begin@ host-sample 1 $(nm "$vpmu" | sed -n 's/^0*\([0-9a-f]*\) T main$/\1/p') ffffffff\n@ end\n"
for size in 0 3 63 64 100 5000 200000 1000000; do
	head -c $size "$vpmu" >"$tmp/monitor.elf"
	run 0 --host-profile
done
cp "$vpmu" "$tmp/monitor.elf"
run 0 --host-profile
shows ' main$'
rm "$tmp/monitor.elf"

# Verdicts.
guest 'echo hello; printf "vpmu-verdict: 3\r\n"; exit 9'
run 3
shows '^hello'
guest 'echo "vpmu-verdict: 3"; echo "vpmu-verdict: 0"; exit 1'
run 0
guest 'echo "x vpmu-verdict: 3"; echo "vpmu-verdict: x"; echo "vpmu-verdict: 1000000000000"; exit 7'
run 7
guest 'echo "vpmu-verdict: 300"'
run 255
guest 'echo "vpmu: fatal: no guest"; echo "vpmu-verdict: 0"'
run 125
guest 'exit 0'
run 0
guest 'kill -9 $$'
run 137
guest 'exit 5'
run 2 --testdev
guest 'exit 0'
run 125 --testdev
guest 'echo before; exec sleep 30'
run 124 --timeout 1
shows 'timeout'
guest 'trap "" TERM; while :; do sleep 1; done'
run 124 --timeout 1

# The bytes come through unchanged, also without a newline at the end.
guest 'head -c 100000 /dev/urandom | tee '"$tmp"'/sent'
"$vpmu" run --qemu "$tmp/qemu" --monitor "$tmp/monitor" --kernel "$tmp/kernel" >"$tmp/received"
if ! cmp -s "$tmp/sent" "$tmp/received"; then
	echo "FAIL: the console's bytes changed"
	failures=$((failures + 1))
fi

# Asked to end, it ends the guest and says so.
guest 'echo $$ >'"$tmp"'/pid; exec sleep 30'
"$vpmu" run --qemu "$tmp/qemu" --monitor "$tmp/monitor" --kernel "$tmp/kernel" >/dev/null &
command=$!
while [ ! -s "$tmp/pid" ]; do sleep 0.1; done
kill -TERM $command
wait $command
status=$?
if [ $status -ne 130 ] || kill -0 "$(cat "$tmp/pid")" 2>/dev/null; then
	echo "FAIL: SIGTERM: status $status, or the guest still runs"
	failures=$((failures + 1))
fi

[ $failures -eq 0 ]
