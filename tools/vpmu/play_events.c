/* SPDX-License-Identifier: MIT */
/* What guests and hosts execute, given to the source or to the software PMU. */
#include "play_world.h"

#include <string.h>

struct play_burst play_burst_of(struct play_run *r, const struct play_arg *args)
{
	struct play_burst b = { .instructions = play_arg(r, args, 0) };

	b.user = play_find_option(args, "user");
	b.cycles = play_option(r, args, "cycles", b.instructions);
	b.reference = play_option(r, args, "ref", b.cycles);
	b.branches = play_option(r, args, "branches", 0);
	b.branch_misses = play_option(r, args, "branch_misses", 0);
	b.llc = play_option(r, args, "llc", 0);
	b.llc_misses = play_option(r, args, "llc_misses", 0);
	b.nanoseconds = b.cycles;
	for (; args; args = args->next) {
		if (!args->key || strcmp(args->key, "raw"))
			continue;
		if (b.raw_count == PLAY_RAW_MAX)
			play_senseless(r, "more than %u raw events", PLAY_RAW_MAX);
		b.raw[b.raw_count].event = play_evaluate(r, args->index);
		b.raw[b.raw_count++].n = play_evaluate(r, args->value);
	}
	return b;
}

/* ---- Emulated ---- */

struct named {
	uint64_t event, n;
};

/* Events that have a number on this architecture but no meaning for a source. */
static unsigned int arm_raw(const struct play_burst *b, struct named out[6])
{
	const struct named all[] = {
		{ 0x21, b->branches },	    { 0x22, b->branch_misses }, { 0x10, b->branch_misses },
		{ 0x36, b->llc },	    { 0x37, b->llc_misses },	{ 0x12, b->branches },
	};

	memcpy(out, all, sizeof(all));
	return PLAY_COUNT(all);
}

static bool emulated_ran(struct play_run *r, struct play_vcpu *v, const struct play_burst *b)
{
	struct vpmu_script_raw raw[PLAY_RAW_MAX + 6];
	struct vpmu_script_burst burst = {
		.user = b->user,
		.amount = { 0, b->instructions, b->cycles, b->reference, b->llc, b->llc_misses,
			    b->branches, b->branch_misses },
		.raw = raw,
		.nanoseconds = b->nanoseconds,
	};
	struct named arm[6];
	unsigned int more = play_is(r, 1u << PLAY_ARM) ? arm_raw(b, arm) : 0;

	for (unsigned int i = 0; i < b->raw_count; i++)
		raw[burst.raw_count++] = (struct vpmu_script_raw){ b->raw[i].event, b->raw[i].n };
	for (unsigned int i = 0; i < more; i++)
		raw[burst.raw_count++] = (struct vpmu_script_raw){ arm[i].event, arm[i].n };
	return vpmu_script_source_run(&v->source, &burst);
}

/* ---- On the software PMUs ---- */

static void x86_events(const struct play_burst *b, struct x86_pmu_events *events,
		       struct x86_pmu_raw raw[PLAY_RAW_MAX])
{
	*events = (struct x86_pmu_events){
		.instructions = b->instructions,
		.cycles = b->cycles,
		.reference_cycles = b->reference,
		.branches = b->branches,
		.branch_misses = b->branch_misses,
		.llc_references = b->llc,
		.llc_misses = b->llc_misses,
		.raw = raw,
		.raw_count = b->raw_count,
	};
	/* Event select [7:0] and on AMD [35:32], unit mask. */
	for (unsigned int i = 0; i < b->raw_count; i++)
		raw[i] = (struct x86_pmu_raw){
			.event = (uint16_t)((b->raw[i].event & 0xFF) |
					    (b->raw[i].event >> 24 & 0xF00)),
			.umask = (uint8_t)(b->raw[i].event >> 8),
			.n = b->raw[i].n,
		};
}

static void x86_ran(struct play_cpu *cpu, const struct play_burst *b, bool host)
{
	struct x86_pmu_raw raw[PLAY_RAW_MAX];
	struct x86_pmu_events events;

	x86_events(b, &events, raw);
	if (host)
		x86_cpu_host(&cpu->x86, b->user, &events);
	else
		x86_pmu_retire(&cpu->x86.pmu, b->user, &events);
	cpu->x86.time += b->nanoseconds;
}

static void arm_ran(struct play_cpu *cpu, const struct play_burst *b, unsigned int el)
{
	struct model_event_count others[PLAY_RAW_MAX + 6];
	struct model_events events = {
		.instructions = b->instructions, .cycles = b->cycles, .others = others,
	};
	struct named arm[6];
	unsigned int more = arm_raw(b, arm);

	for (unsigned int i = 0; i < b->raw_count; i++)
		others[events.other_count++] = (struct model_event_count){
			(uint32_t)b->raw[i].event, b->raw[i].n };
	for (unsigned int i = 0; i < more; i++)
		others[events.other_count++] = (struct model_event_count){
			(uint32_t)arm[i].event, arm[i].n };
	model_retire(&cpu->arm_pmu, el, &events);
	cpu->arm.time += b->nanoseconds;
}

void play_bare_ran(struct play_run *r, const struct play_burst *burst)
{
	if (play_is(r, PLAY_X86))
		x86_ran(play_bare(r), burst, false);
	else
		arm_ran(play_bare(r), burst, burst->user ? 0 : 1);
	play_bare_interrupts(r);
}

bool play_guest_ran(struct play_run *r, struct play_vcpu *v, const struct play_burst *burst)
{
	struct play_cpu *cpu = &r->world->cpus[v->cpu];

	if (play_on_hardware(r, v->vm) && play_is(r, PLAY_X86))
		x86_ran(cpu, burst, false);
	else if (play_on_hardware(r, v->vm))
		arm_ran(cpu, burst, burst->user ? 0 : 1);
	return !play_is_mediated(v->vm) && emulated_ran(r, v, burst);
}

void play_host_ran(struct play_run *r, struct play_cpu *cpu, const struct play_burst *burst)
{
	if (play_is(r, PLAY_X86))
		x86_ran(cpu, burst, true);
	else
		arm_ran(cpu, burst, burst->user ? 0 : 2);
}
