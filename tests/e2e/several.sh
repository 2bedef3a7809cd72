# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: MIT
#
# several.sh - what the tests of several guests of the EL2 monitor share. Sourced after lib.sh, by a suite
# that then says "several NAME".

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}
# shellcheck disable=SC2034 # used by those who source this
boot_seconds=${VPMU_BOOT_SECONDS:-180}
initrd=${VPMU_INITRD:-build/images/linux/initramfs.cpio.gz}
image=$images/tenant-tests.img

# several NAME: can anything run? If not, the suite NAME ends here.
several()
{
	[ -e "$image" ] || { skip "$1" "no $image; scripts/build.sh arm64"; exit 77; }
	[ -e "$monitor" ] || { skip "$1" "no $monitor; scripts/build.sh arm64"; exit 77; }
	[ -x "$vpmu" ] || { skip "$1" "no $vpmu; scripts/build.sh host"; exit 77; }
	missing_emulators "$1"
	[ -n "$(emulators)" ] || exit 77
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
}

# ---- Running ----

console() { echo "$work/${1//\//.}"; }

# together SUITE QEMU CPU OPTION...: all guests of the --vm options, their lines mixed.
together()
{
	local to qemu=$2 cpu=$3 status=0
	to=$(console "$1")
	shift 3

	timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --cpu "$cpu" --monitor "$monitor" --stats \
		--timeout "$((run_seconds - 5))" "$@" >"$to.raw" 2>"$to.err" </dev/null || status=$?
	tr -d '\r' <"$to.raw" >"$to"
	echo "$status" >"$to.status"
	if [ -n "${VPMU_KEEP:-}" ]; then
		mkdir -p "$VPMU_KEEP"
		cp "$to" "$VPMU_KEEP"
	fi
}

# small WORDS [KEY=VALUE,...]: a --vm value of the counting guest.
small() { echo "kernel=$image,append=cpi=2 $1${2:+,$2}"; }

# of GUEST SUITE: the lines of one guest.
of() { sed -n "s/^\\[$1\\] //p" "$(console "$2")"; }

# judge SUITE GUEST...: each of them passed all it ran, and its cases are those of the suite.
judge()
{
	local suite=$1 g lines
	lines=$work/lines
	shift

	for g; do
		of "$g" "$suite" >"$lines"
		case_lines "$suite/$g" <"$lines"
		failures=$((failures + $(case_lines x <"$lines" | grep -c '^not ok ' || true)))
		if ! grep -qx 'vpmu-verdict: 0' "$lines"; then
			fail "$suite/$g" "verdict '$(sed -n 's/^vpmu-verdict: //p' "$lines")', status \
$(cat "$(console "$suite").status"): $(tail -n 1 "$(console "$suite").err" | tr -d '\r')"
		elif ! sum_agrees "$lines"; then
			fail "$suite/$g" "case lines do not add up to the guest's own sum"
		fi
	done
}

figure() { of "$2" "$1" | sed -n "s/^figure $3 //p"; }

# same NAME A B: two figures are there and equal.
same()
{
	if [ -n "$2" ] && [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "'$2', expected '$3'"
	fi
}

# statistic SUITE NAME: the sum over all vCPUs that end in NAME.
statistic() { awk -v n="$2" '$1 == "vpmu:" && $3 == n { s += $4 } END { print s + 0 }' "$(console "$1")"; }

at_least() # NAME VALUE MINIMUM
{
	if [ "$2" -ge "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "$2, expected at least $3"
	fi
}

doubled() { echo "${1//,/,,}"; }

# ---- Linux ----

# The default guest with one more file. Linux unpacks archives that follow each other.
make_initrd()
{
	member tenants-guest.sh $((0100755)) tests/e2e/tenants-guest.sh
	member 'TRAILER!!!' 0 /dev/null
	cat "$initrd"
}

# A --vm value of it.
linux_spec()
{
	echo "kernel=$(dirname "$initrd")/Image,initrd=$work/initrd,append=quiet panic=-1 -- /tenants-guest.sh"
}

linux_bare()
{
	local to status=0
	to=$(console "$1")

	"$vpmu" run --mode bare --qemu "$2" --cpu "$3" --memory 512M --timeout "$((run_seconds - 5))" \
		--initrd "$work/initrd" --append "-- /tenants-guest.sh" >"$to.raw" 2>"$to.err" \
		</dev/null || status=$?
	tr -d '\r' <"$to.raw" | sed 's/^/[0] /' >"$to"
	echo "$status" >"$to.status"
}

# linux_ended SUITE GUEST: the guest ended by itself with verdict 0.
linux_ended()
{
	if of "$2" "$1" | grep -qx 'vpmu-verdict: 0'; then
		return
	fi
	fail "$1" "guest $2, status $(cat "$(console "$1").status"): $(tail -n 1 "$(console "$1").err" | tr -d '\r')"
	return 1
}

# linux_same SUITE GUEST BARE: counts to the instruction, and as many samples.
linux_same()
{
	local name

	linux_ended "$1" "$2" || return 0
	for name in instructions_u samples_of_cycles; do
		same "$1/$2/$name" "$(figure "$1" "$2" "$name")" "$(figure "$3" 0 "$name")"
	done
}

# ---- What the monitor refuses ----

# refuses NAME QEMU PATTERN WORD...: the monitor says PATTERN and switches off.
refuses()
{
	local name=$1 qemu=$2 pattern=$3 said
	shift 3

	said=$(timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --monitor "$monitor" --kernel "$image" \
		--timeout "$((run_seconds - 5))" --monitor-word "$*" 2>"$work/err" </dev/null |
		tr -d '\r') || true
	if grep -q "^vpmu: fatal: .*$pattern" <<<"$said"; then
		echo "ok $name"
	else
		fail "$name" "'$said' $(tail -n 1 "$work/err"), expected '$pattern'"
	fi
}
