#!/bin/sh
# SPDX-License-Identifier: MIT
#
# x86-sampling - what a guest that profiles itself costs, under four ways to give it a PMU: see main.c.
#
# usage: bench/x86-sampling/run.sh [--seconds N]
#
# Standard output: x86.NAME.FIGURE lines. Standard error: a table.
set -eu

exec "$(dirname "$0")/../../build/host/bench/x86-sampling" "$@"
