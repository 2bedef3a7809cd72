/* SPDX-License-Identifier: MIT */
/*
 * x86-sampling - what a guest that profiles itself costs, under four ways to give it a PMU:
 *
 *  naive     (a) emulation that releases and creates an event at every control write
 *  emulated  (b) libvpmu over a counting source
 *  eager     (c) a switch of everything around every exit, in the order of Linux 7.0
 *  mediated  (d) libvpmu's mediated mode
 *
 * and, to see how far the cost table can be trusted, Linux 7.0's emulation ("reuse"). Exits, calls
 * and accesses are executed and counted, and repeat exactly. All must show the guest the same
 * values and give it the same samples, or the program fails; so it does if (b) makes less than 5
 * times fewer source calls than (a), or (d) less than 5 times fewer accesses than (c).
 */
#include "costs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET 5.0

enum who { NAIVE, REUSE, EMULATED, EAGER, MEDIATED, CONTESTANTS };
enum what { BASIC6, MULTIPLEX10, BASIC6_FREQ, MULTIPLEX10_FREQ, LOADS };

static struct machine *(*const machines[CONTESTANTS])(bool) = {
	machine_naive, machine_reuse, machine_emulated, machine_eager, machine_mediated,
};

static const char *const names[CONTESTANTS] = {
	"naive", "reuse", "emulated", "eager", "mediated",
};

static const struct load loads[LOADS] = {
	[BASIC6] = { "basic6", 6, 6, false },
	[MULTIPLEX10] = { "multiplex10", 10, 6, false },
	[BASIC6_FREQ] = { "basic6_freq", 6, 6, true },
	[MULTIPLEX10_FREQ] = { "multiplex10_freq", 10, 6, true },
};

/* The published guest has 8 counters and a fixed one for its 10 events. Only for "reuse". */
static const struct load published_multiplex = { "multiplex10 over 9", 10, 9, true };

static struct profile profiles[LOADS][CONTESTANTS];
static struct profile dear[LOADS][CONTESTANTS];

/* ---- The runs ---- */

static void same(const struct profile *a, const struct profile *b)
{
	machine_expect(a->digest == b->digest && a->samples == b->samples,
		       "contestants give different samples");
	machine_expect(!memcmp(a->counts, b->counts, sizeof(a->counts)),
		       "contestants count differently");
}

static void run_load(enum what l, unsigned int seconds)
{
	for (unsigned int k = 0; k < CONTESTANTS; k++) {
		guest_run(machines[k](true), &loads[l], seconds, &profiles[l][k]);
		same(&profiles[l][k], &profiles[l][NAIVE]);
	}
	for (unsigned int k = NAIVE; k <= EMULATED; k++) {
		guest_run(machines[k](false), &loads[l], seconds, &dear[l][k]);
		same(&dear[l][k], &profiles[l][NAIVE]);
	}
}

/* ---- Figures ---- */

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static double calls_per_sample(const struct profile *p)
{
	return ratio(tally_calls(&p->all), p->samples);
}

static double calls_per_rotation(const struct profile *p)
{
	return ratio(tally_calls(&p->in_rotations), p->rotations);
}

static double exits_per_sample(const struct profile *p)
{
	return ratio(tally_exits(&p->all), p->samples);
}

static double accesses_per_exit(const struct profile *p)
{
	return ratio(p->all.accesses, tally_exits(&p->all));
}

static void line(enum who k, const char *figure, const char *suffix, double value, const char *unit)
{
	printf("x86.%s.%s%s,%.2f,%s\n", names[k], figure, suffix, value, unit);
}

static void lines_of_calls(enum who k)
{
	const char *sample = "source_calls_per_sample";
	const char *rotation = "source_calls_per_rotation";

	line(k, sample, "", calls_per_sample(&profiles[BASIC6][k]), "calls");
	line(k, rotation, "", calls_per_rotation(&profiles[MULTIPLEX10][k]), "calls");
	line(k, sample, "_dear_reads", calls_per_sample(&dear[BASIC6][k]), "calls");
	line(k, rotation, "_dear_reads", calls_per_rotation(&dear[MULTIPLEX10][k]), "calls");
}

static void lines_of_accesses(enum who k)
{
	const struct profile *basic = &profiles[BASIC6][k];
	const struct profile *multiplex = &profiles[MULTIPLEX10][k];

	line(k, "hw_accesses_per_exit", "", accesses_per_exit(multiplex), "accesses");
	line(k, "hw_accesses_per_sample", "", ratio(basic->in_samples.accesses, basic->samples),
	     "accesses");
	line(k, "hw_accesses_per_rotation", "",
	     ratio(multiplex->in_rotations.accesses, multiplex->rotations), "accesses");
}

static void lines_of_exits(enum who k)
{
	const struct profile *multiplex = &profiles[MULTIPLEX10][k];

	line(k, "exits_per_sample", "", exits_per_sample(&profiles[BASIC6][k]), "exits");
	line(k, "exits_per_rotation", "",
	     ratio(tally_exits(&multiplex->in_rotations), multiplex->rotations), "exits");
}

static double overhead(const struct costs *costs, enum what l, enum who k)
{
	return costs_overhead(costs, &profiles[l][k], k == EAGER);
}

static void lines(const struct costs *costs)
{
	for (unsigned int k = 0; k < CONTESTANTS; k++) {
		if (k <= EMULATED)
			lines_of_calls(k);
		else
			lines_of_accesses(k);
		lines_of_exits(k);
		for (unsigned int l = 0; l < LOADS; l++)
			line(k, "overhead_", loads[l].name, overhead(costs, l, k), "percent");
	}
}

/* ---- For people ---- */

static void show_costs(const struct costs *c)
{
	fprintf(stderr,
		"exit %.0f ns, access %.0f ns, create or release %.0f ns, other call %.0f ns\n",
		c->exit, c->access, c->create, c->call);
}

static void show_load(const struct costs *costs, enum what l)
{
	fprintf(stderr, "\n%-18s %8s %8s %10s %10s %9s %9s %9s\n", loads[l].name, "samples",
		"exits/s.", "calls/s.", "calls/rot.", "acc./exit", "acc./rot.", "overhead");
	for (unsigned int k = 0; k < CONTESTANTS; k++) {
		const struct profile *p = &profiles[l][k];

		fprintf(stderr, "  %-16s %8" PRIu64 " %8.2f %10.2f %10.2f %9.2f %9.2f %8.2f%%\n",
			names[k], p->samples, exits_per_sample(p), calls_per_sample(p),
			calls_per_rotation(p), accesses_per_exit(p),
			ratio(p->in_rotations.accesses, p->rotations), overhead(costs, l, k));
	}
	for (unsigned int k = NAIVE; k <= EMULATED; k++)
		fprintf(stderr, "  %-8s dear    %8" PRIu64 " %8.2f %10.2f %10.2f\n", names[k],
			dear[l][k].samples, exits_per_sample(&dear[l][k]),
			calls_per_sample(&dear[l][k]), calls_per_rotation(&dear[l][k]));
}

/*
 * Published: "[RFC PATCH 00/41] KVM: x86/pmu: Introduce passthrough vPM", SPECint2017 on Sapphire
 * Rapids.
 */
static void show_published(const struct costs *costs, unsigned int seconds)
{
	struct profile p;
	double multiplex;

	guest_run(machine_reuse(true), &published_multiplex, seconds, &p);
	multiplex = costs_overhead(costs, &p, false);
	line(REUSE, "overhead_", "multiplex10over9_freq", multiplex, "percent");
	fprintf(stderr, "\nthe model beside what was published (frequency mode)\n"
		"  Linux's emulation, 6 events:                 %6.2f%%, published 33.62%%\n"
		"  Linux's emulation, 10 events over 9:         %6.2f%%, published 79.32%%\n"
		"  eager switch, 6 events:                      %6.2f%%, published  6.21%%\n"
		"  eager switch, 10 events (here over 6):       %6.2f%%, published 10.45%%\n",
		overhead(costs, BASIC6_FREQ, REUSE), multiplex,
		overhead(costs, BASIC6_FREQ, EAGER), overhead(costs, MULTIPLEX10_FREQ, EAGER));
}

/* ---- Targets ---- */

static void target(const char *what, double theirs, double ours)
{
	fprintf(stderr, "%s: %.2f against %.2f, %.1f times fewer\n", what, ours, theirs,
		theirs / ours);
	machine_expect(theirs >= TARGET * ours, "a target is missed");
}

static void targets(void)
{
	const struct profile *basic = profiles[BASIC6];
	const struct profile *multiplex = profiles[MULTIPLEX10];

	fprintf(stderr, "\n");
	target("source calls per sample", calls_per_sample(&basic[NAIVE]),
	       calls_per_sample(&basic[EMULATED]));
	target("source calls per rotation", calls_per_rotation(&multiplex[NAIVE]),
	       calls_per_rotation(&multiplex[EMULATED]));
	target("accesses per exit, 6 events", accesses_per_exit(&basic[EAGER]),
	       accesses_per_exit(&basic[MEDIATED]));
	target("accesses per exit, 10 events", accesses_per_exit(&multiplex[EAGER]),
	       accesses_per_exit(&multiplex[MEDIATED]));
	machine_expect(!multiplex[EMULATED].all.calls[CALL_CREATE] &&
		       !multiplex[EMULATED].all.calls[CALL_RELEASE],
		       "an event is created or released after the warm-up");
}

int main(int argc, char **argv)
{
	unsigned int seconds = 4;
	struct costs costs;

	if (argc == 3 && !strcmp(argv[1], "--seconds"))
		seconds = (unsigned int)strtoul(argv[2], NULL, 10);
	else if (argc != 1)
		seconds = 0;
	if (!seconds || seconds > 1000) {
		fprintf(stderr, "usage: x86-sampling [--seconds N]  simulated, after one more\n");
		return 2;
	}
	for (unsigned int l = 0; l < LOADS; l++)
		run_load(l, seconds);
	costs = costs_derive(&profiles[BASIC6][REUSE], &profiles[BASIC6][NAIVE]);
	lines(&costs);
	show_costs(&costs);
	for (unsigned int l = 0; l < LOADS; l++)
		show_load(&costs, l);
	show_published(&costs, seconds);
	targets();
	return 0;
}
