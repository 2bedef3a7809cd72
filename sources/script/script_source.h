/* SPDX-License-Identifier: MIT */
/*
 * sources/script - a counting source that does what a test says: counts by hand or what it is told
 * the guest executed, refuses, starves, fails at a given call, and reports overflows too early, too
 * often, too late, or in the middle of an operation, as from an NMI. No allocation, no globals.
 */
#ifndef VPMU_SCRIPT_SOURCE_H
#define VPMU_SCRIPT_SOURCE_H

#include <vpmu/vpmu.h>

struct vpmu_script_event {
	struct vpmu_event event;
	uint64_t value;
	uint64_t left;               /* events to the next hint when it runs; 0: none */
	uint64_t enabled;
	uint64_t running;
	bool exists;
	bool counts;
};

enum vpmu_script_op {
	VPMU_SCRIPT_CREATE,
	VPMU_SCRIPT_RELEASE,
	VPMU_SCRIPT_STOP,
	VPMU_SCRIPT_START,
	VPMU_SCRIPT_PERIOD,
	VPMU_SCRIPT_READ,
	VPMU_SCRIPT_OPS,
};

/* An operation as it was carried out; (value): the count read, the period, what was selected. */
struct vpmu_script_call {
	enum vpmu_script_op op;
	unsigned int slot;
	uint64_t value;
	bool failed;
};

struct vpmu_script_source {
	struct vpmu_source source;
	struct vpmu_vcpu *v;
	struct vpmu_script_event slot[VPMU_COUNTER_MAX];
	unsigned int live;           /* events that exist */
	unsigned int capacity;       /* at most so many: a create beyond is refused */
	uint64_t fail_at;            /* 1..: the so-manieth operation that can fail does; 0: none */
	uint64_t can_fail;           /* operations so far that can fail */
	uint64_t refuse;             /* so many creates are refused */
	bool refuse_checkpointed;    /* a checkpointed event with a period is */
	uint64_t lacks;              /* mask of meanings: such events are not supported */
	uint64_t starved;            /* mask: time passes and nothing is counted */
	uint64_t nmi;                /* mask: overflow of these slots during an operation, */
	uint64_t nmi_left;           /* in so many of the next ones */
	uint64_t nmi_once;           /* mask: the same in one operation, */
	uint64_t nmi_after;          /* the so-manieth from now; 0: none */
	bool hold;                   /* overflows are kept back */
	uint64_t held;               /* mask: those that were */
	uint64_t creates, releases, starts, stops, periods, reads;
	unsigned int misuse;         /* operations that the contract does not allow */
	/* Hears of every operation, after it. NULL: nobody. */
	void (*told)(void *context, const struct vpmu_script_call *call);
	void *context;
};

/* Context: [init]. */
void vpmu_script_source_init(struct vpmu_script_source *s, struct vpmu_vcpu *v, bool cheap_reads);

/* (n) events in (slot) and as many nanoseconds, if it counts, unless starved. Reports nothing. */
void vpmu_script_source_count(struct vpmu_script_source *s, unsigned int slot, uint64_t n);

/* (nanoseconds) pass while the guest runs and nothing happens. */
void vpmu_script_source_wait(struct vpmu_script_source *s, uint64_t nanoseconds);

/* The event in (slot) overflowed, it says. returns: as vpmu_vcpu_overflow(); false: held back. */
bool vpmu_script_source_overflow(struct vpmu_script_source *s, unsigned int slot);

/* Overflows kept back are reported, and no more are kept. returns: as vpmu_vcpu_overflow(). */
bool vpmu_script_source_release_held(struct vpmu_script_source *s);

/* What the guest executed in one ring. */
struct vpmu_script_burst {
	bool user;
	uint64_t amount[VPMU_MEANINGS]; /* VPMU_MEANS_RAW: not used */
	const struct vpmu_script_raw *raw;
	size_t raw_count;
	uint64_t nanoseconds;
};

/* Events that only the vendor's encoding names. */
struct vpmu_script_raw {
	uint64_t selector;
	uint64_t n;
};

/*
 * Counts (burst) in every slot that counts such events in that ring, and reports the periods that
 * ended. returns: true: the guest must exit.
 */
bool vpmu_script_source_run(struct vpmu_script_source *s, const struct vpmu_script_burst *burst);

#endif
