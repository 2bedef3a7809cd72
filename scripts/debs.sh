#!/bin/sh
# SPDX-License-Identifier: MIT
#
# debs.sh - fetch Debian packages and unpack them in a folder of our own.
#
# usage: debs.sh [-a ARCH] [-s SUITE] [-d [-k ERE]] [-l] -o FOLDER PACKAGE...
#
#   -a ARCH    architecture of the packages (default: this machine's)
#   -s SUITE   suite, e.g. bookworm, bookworm-backports (default: this machine's)
#   -d         with what the packages depend on (without recommendations)
#   -k ERE     of these keep only packages whose names match
#   -l         only download; print the .deb files' names and unpack nothing
#   -o FOLDER  unpack here; the folder is replaced as a whole or left alone
#
# The system is not touched: apt runs with a configuration, lists and a cache of
# its own below build/debs, and needs no privilege. The mirror, its keys and any
# proxy are the ones this machine's own apt uses. A folder that is already up to
# date for the same request is left as it is, without any network access.
#
# environment: VPMU_BUILD  the build folder (default: build beside scripts/)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=${VPMU_BUILD:-$root/build}
etc=${VPMU_APT_ETC:-/etc/apt} # for tests: where the machine's sources are read
list_age=7                    # days until package lists are fetched again

die() { echo "debs.sh: $*" >&2; exit 1; }
say() { echo "debs: $*" >&2; }
usage() { sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; exit "$1"; }

# One line per source of the machine: "uri|suite|components|signed-by|trusted",
# from both file formats. A key given in the file itself cannot be put into one
# line; apt's own trusted keys are used for such a source.
machine_sources()
{
	for f in "$etc"/sources.list "$etc"/sources.list.d/*.list; do
		[ -r "$f" ] || continue
		awk '$1 == "deb" {
			signed = trusted = ""; i = 2
			if ($2 ~ /^\[/) for (done = 0; !done; i++) {
				done = $i ~ /\]/; o = $i; gsub(/[][]/, "", o)
				if (o ~ /^signed-by=/) signed = substr(o, 11)
				if (o ~ /^trusted=/) trusted = substr(o, 9)
			}
			c = ""; for (j = i + 2; j <= NF && $j !~ /^#/; j++) c = c " " $j
			print $i "|" $(i + 1) "|" c " |" signed "|" trusted
		}' "$f"
	done
	for f in "$etc"/sources.list.d/*.sources; do
		[ -r "$f" ] || continue
		sed '/^#/d' "$f" | awk 'BEGIN { RS = ""; FS = "\n" } {
			delete v; k = ""
			for (i = 1; i <= NF; i++) {
				if ($i ~ /^[ \t]/) { v[k] = v[k] " " $i; continue }
				n = index($i, ":"); k = tolower(substr($i, 1, n - 1))
				v[k] = substr($i, n + 1)
				gsub(/^[ \t]+|[ \t]+$/, "", v[k])
			}
			if (v["types"] !~ /(^| )deb( |$)/ || v["enabled"] ~ /^(no|false|0)/) next
			s = v["signed-by"]; if (s ~ /BEGIN PGP/) s = ""
			nu = split(v["uris"], u, /[ \t]+/); ns = split(v["suites"], su, /[ \t]+/)
			for (i = 1; i <= nu; i++) for (j = 1; j <= ns; j++)
				print u[i] "|" su[j] "| " v["components"] " |" s "|" v["trusted"]
		}'
	done
}

# The machine's own Debian archive: the source of its release with the component
# main; among several the one that uses Debian's keys or ends in /debian.
machine_archive()
{
	machine_sources | awk -F'|' -v code="$codename" '
		$3 ~ / main / && ($2 == code || $2 ~ /^(old)?stable$|^testing$/) {
			score = 1 + ($2 == code) + ($4 ~ /debian-archive/) + 2 * ($1 ~ /\/debian\/?$/)
			if (score > best) { best = score; line = $0 }
		}
		END { print line }'
}

# Source lines for suite $1. A backports suite needs its base suite as well.
source_lines()
{
	archive=$(machine_archive)
	[ -n "$archive" ] || die "no Debian archive among the apt sources of this machine (in $etc)"
	uri=${archive%%|*}
	signed=$(echo "$archive" | cut -d'|' -f4)
	trusted=$(echo "$archive" | cut -d'|' -f5)
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	# Debian's own keys know every suite; a machine's entry may name one release's key.
	case $signed in
	*debian-archive*) [ -r $key ] && signed=$key ;;
	esac
	options=${signed:+signed-by=$signed }${trusted:+trusted=$trusted}
	for s in "$1" "${1%-backports}"; do
		echo "deb ${options:+[ $options ] }$uri $s main"
	done | sort -u
}

# A private apt world for one architecture and suite in $apt.
write_config()
{
	mkdir -p "$apt/lists/partial" "$cache/partial" "$apt/etc"
	: >"$apt/status"
	source_lines "$suite" >"$apt/sources.new"
	if ! cmp -s "$apt/sources.new" "$apt/sources.list"; then
		rm -f "$apt/fetched"
		mv "$apt/sources.new" "$apt/sources.list"
	fi
	rm -f "$apt/sources.new"
	{
		# How this machine reaches its mirror (proxies, limits, date checks).
		apt-config dump | grep '^Acquire::' |
			grep -vE '^Acquire::(IndexTargets|Languages|Changelogs|cdrom|CompressionTypes)'
		cat <<-END
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "/dev/null";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State "$apt";
		Dir::State::lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt";
		Dir::Cache::archives "$cache";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		Dir::Log "$apt";
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Default-Release "$suite";
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		END
	} >"$apt/apt.conf"
	export APT_CONFIG="$apt/apt.conf"
}

update_lists()
{
	say "package lists of $suite for $arch"
	# Output goes to a log: apt is only worth listening to when it fails.
	apt-get -q -o APT::Update::Error-Mode=any update >"$apt/update.log" 2>&1 || {
		sed 's/^/  /' "$apt/update.log" >&2
		die "cannot fetch the package lists of $suite for $arch"
	}
	touch "$apt/fetched"
}

# What to fetch, one per line: name, version, file name; in $apt/wanted.
resolve()
{
	if [ "$deps" = yes ]; then
		apt-get -s -y install "$@" >"$apt/resolve.log" 2>&1 || return 1
		# Inst NAME (VERSION ARCHIVE... [ARCH]) ...; an epoch's colon becomes %3a
		awk -v keep="$keep" '$1 == "Inst" {
			name = $2; sub(/:.*/, "", name)
			if (name !~ keep) next
			version = file = substr($3, 2); gsub(/:/, "%3a", file)
			match($0, /\[[a-z0-9-]+\]\)/)
			file = name "_" file "_" substr($0, RSTART + 1, RLENGTH - 3) ".deb"
			print name, version, file
		}' "$apt/resolve.log"
	else
		(cd "$apt/etc" && apt-get --print-uris download "$@") >"$apt/resolve.log" 2>&1 ||
			return 1
		awk '/^'\''/ {
			split($2, part, "_"); gsub(/%3a/, ":", part[2])
			print part[1], part[2], $2
		}' "$apt/resolve.log"
	fi | LC_ALL=C sort >"$apt/wanted"
	[ -s "$apt/wanted" ]
}

# apt leaves files that are already there and right as they are.
download()
{
	awk '{ print $1 "=" $2 }' "$apt/wanted" |
		(cd "$cache" && xargs apt-get -q download) >"$apt/download.log" 2>&1 || return 1
	while read -r _ _ deb; do
		[ -s "$cache/$deb" ] || { echo "missing: $deb" >>"$apt/download.log"; return 1; }
	done <"$apt/wanted"
}

# Lists that are old may name files the mirror no longer has: then fetch them
# once more and try again before giving up.
fetch()
{
	if [ ! -e "$apt/fetched" ] || [ -n "$(find "$apt/fetched" -mtime +$list_age)" ]; then
		update_lists
		fresh=yes
	fi
	resolve "$@" && say "$(wc -l <"$apt/wanted") package(s) for $arch from $suite: $*" &&
		download && return 0
	if [ "${fresh:-no}" = no ]; then
		update_lists
		resolve "$@" && download && return 0
	fi
	cat "$apt/resolve.log" "$apt/download.log" 2>/dev/null | grep -E '^(E|Err|W|missing)' >&2
	die "cannot download: $* ($suite, $arch)"
}

# Unpack beside the target and swap at the end: never a half-filled folder.
unpack()
{
	new=$out.new.$$
	trap 'rm -rf "$new"' EXIT
	trap 'exit 1' HUP INT TERM
	mkdir -p "$new"
	say "unpacking $(wc -l <"$apt/wanted") package(s) in $out"
	while read -r _ _ deb; do
		dpkg -x "$cache/$deb" "$new" || die "cannot unpack $deb"
	done <"$apt/wanted"
	{ echo "$request"; cat "$apt/wanted"; } >"$new/.debs"
	rm -rf "$out"
	mv "$new" "$out"
}

arch=$(dpkg --print-architecture)
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
suite=${codename:-stable}
deps=no
only_list=no
keep=.
out=
while getopts a:s:o:k:dlh opt; do
	case $opt in
	a) arch=$OPTARG ;;
	s) suite=$OPTARG ;;
	o) out=$OPTARG ;;
	k) keep=$OPTARG ;;
	d) deps=yes ;;
	l) only_list=yes ;;
	h) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage 2 >&2
[ "$only_list" = yes ] || [ -n "$out" ] || usage 2 >&2

request="arch=$arch suite=$suite deps=$deps keep=$keep packages=$*"
if [ "$only_list" = no ]; then
	if [ -r "$out/.debs" ] && [ "$(head -n 1 "$out/.debs")" = "$request" ]; then
		exit 0
	fi
	[ ! -e "$out" ] || [ -e "$out/.debs" ] ||
		die "$out exists and was not made by this script: remove it first"
	mkdir -p "$(dirname "$out")"
	out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
fi

mkdir -p "$build/debs"
build=$(cd "$build" && pwd)
apt=$build/debs/apt-$arch-$suite
cache=$build/debs/$arch-$suite

# One user of the private apt world at a time.
exec 9>"$build/debs/lock"
flock 9

write_config
fetch "$@"
if [ "$only_list" = yes ]; then
	awk -v dir="$cache" '{ print dir "/" $3 }' "$apt/wanted"
else
	unpack
fi
