/* SPDX-License-Identifier: MIT */
/* profile.h - what profile.c keeps for each CPU. */
#ifndef VPMU_EL2_PROFILE_H
#define VPMU_EL2_PROFILE_H

#include <vpmu/host.h>

#include "monitor.h"

/* What is counted, see profile.c. */
enum profile_row { ROW_HOST, ROW_GUEST, ROW_HOST_OTHER, ROW_EL0, ROW_EL1, ROW_COUNT };

/* Besides the causes of exits. */
enum profile_cause_more {
	CAUSE_OTHER = EXIT_CAUSE_COUNT,
	CAUSE_TURN,                  /* from one vCPU to another */
	CAUSE_IDLE,                  /* waiting for an interrupt */
	CAUSE_START,
	CAUSE_COUNT,
};

#define FRAMES 10u
#define HOST_PLACES 512u
#define GUEST_PLACES 4096u
#define PROBES 16u                   /* of a table, until a sample is dropped */
#define PLACE_UNKNOWN UINT32_MAX
#define PLACE_IDLE (UINT32_MAX - 1)

/* Offsets from the image's start. */
struct host_place {
	uint32_t pc, lr;
	uint32_t count;
	uint32_t depth;
	uint32_t frame[FRAMES];      /* return addresses, the innermost first */
};

struct guest_place {
	uint64_t pc;
	uint32_t count;
	uint32_t who;                /* VM << 8 | vCPU << 4 | EL */
};

struct profile_count {
	uint64_t value, enabled, running;
};

struct profile_cause {
	uint64_t times, sampled, other;
};

struct profile {
	struct vpmu_host_event event[ROW_COUNT];
	bool alive;
	uint64_t last[ROW_COUNT];    /* read */
	struct profile_count now[ROW_COUNT];
	struct profile_count total[ROW_COUNT];   /* of the CPU's lives before */
	uint64_t samples[ROW_COUNT];
	uint64_t dropped;
	struct profile_cause cause[CAUSE_COUNT];
	uint32_t waits_in;           /* the cause that goes on afterwards */
	bool waits;
	uint32_t entries;
	uint64_t guest_elr, guest_spsr;          /* at the last exit */

	/* profile_nmi()'s, until settled. */
	volatile bool came;
	bool noted;
	struct host_place note;

	struct host_place in_host[HOST_PLACES];
	struct guest_place in_guests[GUEST_PLACES];
};

#endif
