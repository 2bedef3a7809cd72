/* SPDX-License-Identifier: MIT */
#include "costs.h"

/*
 * kvm-unit-tests' CPUID exit on Emerald Rapids with a mediated, idle PMU: 3,000 cycles, after the
 * elision of counter writes (Linux b0b6a8d3be16; 4,000 before). It includes the eager switch of an
 * idle PMU. Taken for all exits, so that it is too much for those without that switch.
 */
#define EXIT_CYCLES 3000.0
/*
 * The same commit: 8 + 3 counter writes became reads and saved 1,000 cycles. A write costs more
 * than that.
 */
#define ACCESS_CYCLES (1000.0 / 11.0)
/*
 * Mean of the guest's NMI handler on Cascade Lake, Linux 5.3, without and with event reuse (2019).
 */
#define HANDLER_NAIVE_NS 99450.0
#define HANDLER_REUSE_NS 56195.0

static double nanoseconds(double cycles)
{
	return cycles * 1e9 / (double)CYCLES_PER_SECOND;
}

static double exits_in_handler(const struct profile *p)
{
	return (double)tally_exits(&p->in_samples) / (double)p->samples;
}

static double calls_in_handler(const struct profile *p)
{
	return (double)tally_calls(&p->in_samples) / (double)p->samples;
}

static uint64_t creates(const struct tally *t)
{
	return t->calls[CALL_CREATE] + t->calls[CALL_RELEASE];
}

struct costs costs_derive(const struct profile *reuse, const struct profile *naive)
{
	struct costs c = {
		.exit = nanoseconds(EXIT_CYCLES),
		.access = nanoseconds(ACCESS_CYCLES),
		.idle_accesses = (double)eager_idle_accesses(),
	};

	c.call = (HANDLER_REUSE_NS - exits_in_handler(reuse) * c.exit) / calls_in_handler(reuse);
	c.create = (HANDLER_NAIVE_NS - exits_in_handler(naive) * c.exit) / calls_in_handler(naive);
	return c;
}

double costs_overhead(const struct costs *c, const struct profile *p, bool eager)
{
	double exits = (double)tally_exits(&p->all);
	double accesses = (double)p->all.accesses;
	double ns;

	if (eager)
		accesses -= exits * c->idle_accesses;
	ns = exits * c->exit + accesses * c->access;
	ns += (double)creates(&p->all) * c->create;
	ns += (double)(tally_calls(&p->all) - creates(&p->all)) * c->call;
	return 100 * ns / 1e9 / (double)p->seconds;
}
