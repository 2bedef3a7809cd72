/* SPDX-License-Identifier: MIT */
/* `vpmu caps`: what this host can give a guest's PMU, per source, and why not more. */
#ifndef VPMU_TOOLS_CAPS_H
#define VPMU_TOOLS_CAPS_H

#include "perf_source.h"

#include <vpmu/x86.h>

/* What a guest would be offered; reason: why it gets no PMU, or NULL. */
struct caps_guest {
	const char *vendor;
	const char *reason;
	struct vpmu_x86_model model;
	const char *event[VPMU_MEANINGS];    /* why it cannot count that, or NULL: it can */
};

#define CAPS_GUESTS 2u

struct caps_source {
	const char *name;
	const char *what;
	const char *reason;          /* why it gives nothing at all, or NULL */
	const char *note;            /* why it gives less than it could, or NULL */
	bool interrupts;
	bool cheap_reads;
	unsigned int guests;
	struct caps_guest guest[CAPS_GUESTS];
};

#define CAPS_SOURCES 2u

struct caps {
	const char *root;
	struct vpmu_perf_host host;
	const char *encoding;        /* of the host's events */
	const char *kvm;             /* why /dev/kvm cannot be used, or NULL */
	uint64_t clock_khz;          /* about; 0: unknown */
	struct caps_source source[CAPS_SOURCES];
};

void caps_find(struct caps *caps, const char *root);
void caps_print(const struct caps *caps);
void caps_print_json(const struct caps *caps);

/* The CPUs of (pmu) as a list like 0-3,8. */
const char *caps_cpus(const struct vpmu_perf_pmu *pmu);

#endif /* VPMU_TOOLS_CAPS_H */
