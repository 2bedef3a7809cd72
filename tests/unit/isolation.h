/* SPDX-License-Identifier: MIT */
/*
 * The isolation matrix (docs/rules.md V1, V2, V7): for every ordered pair of users of one physical
 * PMU, the first fills every register it has with a pattern and counts, the PMU changes hands in
 * every way there is, and the second looks by every path it has. It must see a PMU that nobody
 * used, and the first must find what it left.
 *
 * What a guest should see is what its *bare machine* shows: a software PMU that does what it does,
 * alone.
 * isolation.c walks the matrix; isolation_x86.c and isolation_arm.c are the machines.
 */
#ifndef VPMU_TESTS_ISOLATION_H
#define VPMU_TESTS_ISOLATION_H

#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/host.h>

/* How the first gives the PMU away. */
enum way {
	WAY_PUT,                     /* put */
	WAY_RECLAIM,                 /* vpmu_cpu_reclaim(), and put if the second is a guest */
	WAY_REQUEST,                 /* the same, asked for by another CPU */
	WAY_QUIET,                   /* it stopped its counters, and was found quiet twice */
	WAY_EVENT,                   /* a host event comes and goes beside it */
	WAY_OTHER_CPU,               /* put, and it comes back on another CPU */
	WAY_STAY,                    /* host events: it lives on beside the second */
	WAY_END,                     /* host events: destroyed */
	WAYS,
};

enum kind { KIND_GUEST, KIND_EVENT, KIND_USER };

/* Which PMU a guest has. */
enum shape {
	SHAPE_OWN,                   /* the machine's */
	SHAPE_SMALL,                 /* an older version, fewer counters */
	SHAPE_FIRST,                 /* x86: no global registers */
	SHAPE_FOREIGN,               /* x86, emulated: of the other vendor */
};

/* A guest; an event of the host's; or the host's own PMU driver, and whoever reads in user mode. */
struct role {
	const char *name;
	enum kind kind;
	enum vpmu_mode mode;         /* guests */
	enum vpmu_switch_kind switch_kind;
	enum shape shape;
	bool exclude_guest, exclude_host; /* events */
	uint64_t period;
};

/* One machine. Every call has one of the two users, 0 the first and 1 the second. */
struct machine {
	const char *name;
	int class;
	const struct role *roles;
	unsigned int role_count;
	unsigned int cells;          /* how many there are: a cell that is lost shows */
	/* The machine, with both users known and nothing done. */
	void (*power_on)(const struct machine *m, const struct role *first,
			 const struct role *second);
	/* Arrives, fills, counts; stays. */
	void (*fill)(unsigned int who);
	void (*leave)(unsigned int who, enum way way);
	/* Arrives, sees nobody. */
	void (*look)(unsigned int who);
	/* Arrives, finds what it left. */
	void (*back)(unsigned int who);
	/* Both are gone, nothing is left. */
	void (*finish)(void);
};

/* The cell that is being looked at, for messages. */
extern char isolation_cell[256];

/* (what) number (i) is as expected. */
void isolation_same(const char *what, uint32_t i, uint64_t got, uint64_t want);
#define isolation_true(what, truth) isolation_same(what, 0, !!(truth), 1)

/*
 * BUSY keeps a guest that has all counters and an event that would have to count inside it apart,
 * and a guest that is passed through from others that have any.
 */
bool isolation_excludes(const struct role *a, const struct role *b);

/* All of the matrix on the machine (name), or NULL: on every one. The answer is main()'s. */
int isolation_run(const struct machine *machines, unsigned int count, const char *name);

#endif
