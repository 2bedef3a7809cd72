/* SPDX-License-Identifier: MIT */
/* For people. */
#include "caps.h"

#include <limits.h>
#include <stdio.h>

static void print_reason(const char *what, const char *reason)
{
	if (reason)
		printf("    %-20s no: %s\n", what, reason);
	else
		printf("    %-20s yes\n", what);
}

static const char *yes_or_no(bool yes)
{
	return yes ? "yes" : "no";
}

static void print_guest(const struct caps_guest *g)
{
	printf("  %s guest: ", g->vendor);
	if (g->reason) {
		printf("no PMU: %s\n", g->reason);
		return;
	}
	printf("%u counters, %u fixed ones, version %u\n", g->model.gp, g->model.fixed,
	       g->model.version);
	for (unsigned int m = 0; m < VPMU_MEANINGS; m++)
		print_reason(vpmu_perf_meaning_name((enum vpmu_event_meaning)m), g->event[m]);
}

static void print_source(const struct caps_source *s)
{
	printf("\nsource %s (%s): %s\n", s->name, s->what, s->reason ? "nothing" : "usable");
	if (s->reason)
		printf("  because %s\n", s->reason);
	if (s->note)
		printf("  note: %s\n", s->note);
	if (!s->reason)
		printf("  overflow interrupts: %s; reads without a system call: %s\n",
		       yes_or_no(s->interrupts), yes_or_no(s->cheap_reads));
	for (unsigned int i = 0; i < s->guests; i++)
		print_guest(&s->guest[i]);
}

static void print_host(const struct caps *caps)
{
	printf("host\n  KVM: %s\n", caps->kvm ? caps->kvm : "usable");
	printf("  event encoding: %s\n", caps->encoding);
	if (caps->clock_khz)
		printf("  clock: about %llu MHz\n", (unsigned long long)caps->clock_khz / 1000);
	if (caps->host.paranoid != INT_MAX)
		printf("  kernel.perf_event_paranoid: %d\n", caps->host.paranoid);
	if (!caps->host.pmus)
		printf("  core PMUs: none\n");
	for (unsigned int i = 0; i < caps->host.pmus; i++)
		printf("  core PMU: %s, CPUs %s\n", caps->host.pmu[i].name,
		       caps_cpus(&caps->host.pmu[i]));
	if (caps->host.pmus > 1)
		printf("  events that all of them list: %u\n", caps->host.names);
}

void caps_print(const struct caps *caps)
{
	print_host(caps);
	for (unsigned int i = 0; i < CAPS_SOURCES; i++)
		print_source(&caps->source[i]);
}
