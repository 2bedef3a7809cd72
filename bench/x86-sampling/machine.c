/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Raw events, all different: that is the hard case for who reuses events. The published load is the
 * same event several times.
 */
static const struct {
	uint8_t event;
	uint8_t umask;
	uint16_t rate;
} events[EVENTS] = {
	{ 0xC2, 0x02, 990 }, { 0xD0, 0x81, 410 }, { 0xD0, 0x82, 230 }, { 0xA6, 0x21, 170 },
	{ 0x9C, 0x01, 620 }, { 0xAD, 0x10, 90 }, { 0x47, 0x05, 130 }, { 0xD1, 0x40, 70 },
	{ 0xD1, 0x08, 50 }, { 0x20, 0x08, 300 },
};

uint64_t event_selector(unsigned int e)
{
	return events[e].event | (uint64_t)events[e].umask << 8;
}

uint64_t event_rate(unsigned int e)
{
	return events[e].rate;
}

uint64_t tally_exits(const struct tally *t)
{
	uint64_t n = 0;

	for (unsigned int k = 0; k < EXIT_KINDS; k++)
		n += t->exits[k];
	return n;
}

uint64_t tally_calls(const struct tally *t)
{
	uint64_t n = 0;

	for (unsigned int k = 0; k < CALL_KINDS; k++)
		n += t->calls[k];
	return n;
}

void tally_add(struct tally *sum, const struct tally *now, const struct tally *before)
{
	for (unsigned int k = 0; k < EXIT_KINDS; k++)
		sum->exits[k] += now->exits[k] - before->exits[k];
	for (unsigned int k = 0; k < CALL_KINDS; k++)
		sum->calls[k] += now->calls[k] - before->calls[k];
	sum->accesses += now->accesses - before->accesses;
}

bool machine_pmi(struct machine *m)
{
	if (m->lvtpc & X86_LVTPC_MASKED)
		return false;
	m->lvtpc |= X86_LVTPC_MASKED;
	m->nmi = true;
	return true;
}

_Noreturn void machine_fail(const char *what)
{
	fprintf(stderr, "x86-sampling: %s\n", what);
	exit(1);
}

void machine_expect(bool condition, const char *what)
{
	if (!condition)
		machine_fail(what);
}

/* Architectural version 4, 8 general-purpose and 3 fixed counters. */
void machine_config(struct x86_pmu_config *config)
{
	x86_cpu_class_config(X86_CPU_SKYLAKE, config);
}

void machine_retire(struct x86_cpu *cpu, const struct work *w)
{
	struct x86_pmu_raw raw[EVENTS];
	const struct x86_pmu_events done = {
		.instructions = w->units * UNIT,
		.cycles = w->units * UNIT,
		.reference_cycles = w->units * UNIT,
		.raw = raw,
		.raw_count = EVENTS,
	};

	for (unsigned int e = 0; e < EVENTS; e++)
		raw[e] = (struct x86_pmu_raw){ events[e].event, events[e].umask,
					       w->units * events[e].rate };
	x86_pmu_retire(&cpu->pmu, w->user, &done);
}
