#!/bin/sh
# SPDX-License-Identifier: MIT
#
# kvm - what the KVM host costs in exits and system calls, on this machine's /dev/kvm: see main.c.
#
# usage: bench/kvm/run.sh
#
# Standard output: kvm.NAME and perf.NAME lines, or SKIP and the reason. Standard error: times.
set -eu

status=0
"$(dirname "$0")/../../build/host/bench/kvm-costs" || status=$?
[ "$status" -ne 77 ] || exit 0
exit "$status"
