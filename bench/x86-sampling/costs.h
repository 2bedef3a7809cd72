/* SPDX-License-Identifier: MIT */
/*
 * costs.h - published costs, and what a profile costs with them. Nothing here was measured by us.
 */
#ifndef VPMU_BENCH_COSTS_H
#define VPMU_BENCH_COSTS_H

#include "guest.h"

/* In nanoseconds, but where it says cycles. */
struct costs {
	double exit;
	double access;
	double call;                 /* a source call, but create and release */
	double create;               /* and release */
	double idle_accesses;        /* of an eager exit and entry, that (exit) includes */
};

/*
 * What a call costs follows from the figures of 2019, which are about a handler of some load. It is
 * taken to be that of (reuse) and (naive), the profiles of KVM's two ages.
 */
struct costs costs_derive(const struct profile *reuse, const struct profile *naive);

/* Percent of each second that exits, calls and accesses take. */
double costs_overhead(const struct costs *c, const struct profile *p, bool eager);

#endif
