/* SPDX-License-Identifier: MIT */
/*
 * machine.h - what the guest of this benchmark executes on: one implementation of a virtual PMU and
 * the host around it. All see the same guest; each counts what it did.
 */
#ifndef VPMU_BENCH_MACHINE_H
#define VPMU_BENCH_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "x86_cpu.h"

#define EVENTS 10u
#define UNIT 1000u                   /* cycles: the grain of time, and of the rates below */
#define LVTPC_NMI X86_LVTPC_NMI

/* What the guest executes: (units) * UNIT cycles in one ring. */
struct work {
	bool user;
	uint64_t units;
};

/* Event (e): its selector without enables, and how many there are in UNIT cycles of any work. */
uint64_t event_selector(unsigned int e);
uint64_t event_rate(unsigned int e);

enum exit_kind {
	EXIT_ACCESS,                 /* RDMSR, WRMSR, RDPMC of the PMU */
	EXIT_LVTPC,                  /* a write of the local APIC */
	EXIT_OVERFLOW,               /* the host's overflow interrupt */
	EXIT_ORDINARY,               /* timers, interrupts of the host, devices */
	EXIT_KINDS,
};

enum source_call {
	CALL_CREATE,
	CALL_RELEASE,
	CALL_STOP,
	CALL_START,
	CALL_PERIOD,
	CALL_READ,
	CALL_KINDS,
};

/* What it cost, counted. */
struct tally {
	uint64_t exits[EXIT_KINDS];
	uint64_t calls[CALL_KINDS];  /* of a counting source; reads only where they are dear */
	uint64_t accesses;           /* of the physical PMU, by the host */
};

uint64_t tally_exits(const struct tally *t);
uint64_t tally_calls(const struct tally *t);
/* (*sum) += now - before. */
void tally_add(struct tally *sum, const struct tally *now, const struct tally *before);

struct machine {
	const struct machine_ops *ops;
	struct tally tally;
	uint32_t lvtpc;              /* the guest's */
	bool nmi;                    /* the guest has one to take */
};

struct machine_ops {
	const char *name;
	void (*wrmsr)(struct machine *m, uint32_t index, uint64_t value);
	uint64_t (*rdmsr)(struct machine *m, uint32_t index);
	uint64_t (*rdpmc)(struct machine *m, uint32_t index);
	void (*set_lvtpc)(struct machine *m, uint32_t value);
	void (*execute)(struct machine *m, const struct work *w);
	void (*ordinary_exit)(struct machine *m);
	void (*end)(struct machine *m);
};

/* The local APIC of an Intel guest accepts a PMI and masks LVTPC. returns: it did. */
bool machine_pmi(struct machine *m);

/* Ends the program: a contestant that computes something else is no contestant. */
_Noreturn void machine_fail(const char *what);
void machine_expect(bool condition, const char *what);

/*
 * The contestants. Each returns its only object, set up anew. (cheap): reading a count of the
 * source is no system call.
 */
struct machine *machine_naive(bool cheap);
struct machine *machine_reuse(bool cheap);
struct machine *machine_emulated(bool cheap);
struct machine *machine_eager(bool cheap);
struct machine *machine_mediated(bool cheap);

/* eager.c: PMU accesses of one exit and entry of a guest whose PMU is in its reset state. */
uint64_t eager_idle_accesses(void);

/* The physical machine, and the guest's PMU, which has the same shape. */
void machine_config(struct x86_pmu_config *config);
/* The guest executes on a physical PMU. */
void machine_retire(struct x86_cpu *cpu, const struct work *w);

#endif
