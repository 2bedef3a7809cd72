/* SPDX-License-Identifier: MIT */
/* What makes counters count, and what an overflow does. Registers: x86_msr.c. */
#include "x86_internal.h"

/* ---- Which counters there are ---- */

static uint8_t at_most(uint8_t value, unsigned int limit)
{
	return value < limit ? value : (uint8_t)limit;
}

static uint8_t width_of(uint8_t width)
{
	return width ? at_most(width, 63) : 1;
}

/* Nothing that cannot be: no fixed counters before version 2, no K7 counter above 3 ... */
static void normalise(struct x86_pmu_config *c)
{
	bool intel = c->vendor == X86_PMU_INTEL;

	c->version = at_most(c->version, intel ? 5 : 2);
	c->core_extension = !intel && (c->core_extension || c->version == 2);
	if (intel)
		c->gp = c->version ? at_most(c->gp, X86_PMU_GP_MAX) : 0;
	else
		c->gp = at_most(c->gp, c->core_extension ? 6 : 4);
	c->fixed = intel && c->version >= 2 ? at_most(c->fixed, X86_PMU_FIXED_MAX) : 0;
	c->gp_width = width_of(c->gp_width);
	c->fixed_width = width_of(c->fixed_width);
	c->pdcm = intel && c->pdcm;
	c->full_width_writes = c->pdcm && c->full_width_writes;
	c->freeze_smm = c->pdcm && c->freeze_smm;
}

/* Of a normalised configuration. */
static uint64_t counters_of(const struct x86_pmu_config *c)
{
	return (BIT(c->gp) - 1) | (BIT(c->fixed) - 1) << X86_PMU_FIXED;
}

uint64_t x86_pmu_counters(const struct x86_pmu_config *config)
{
	struct x86_pmu_config c = *config;

	normalise(&c);
	return counters_of(&c);
}

/* A dense index of counter (i), for arrays. */
static unsigned int slot_of(unsigned int i)
{
	return i < X86_PMU_FIXED ? i : X86_PMU_GP_MAX + i - X86_PMU_FIXED;
}

static unsigned int counter_of(unsigned int slot)
{
	return slot < X86_PMU_GP_MAX ? slot : X86_PMU_FIXED + slot - X86_PMU_GP_MAX;
}

void x86_pmu_reset(struct x86_pmu *pmu, const struct x86_pmu_config *config)
{
	*pmu = (struct x86_pmu){ .config = *config };
	normalise(&pmu->config);
	/* SDM vol. 3 table 10-1; AMD documents the same for PerfMonV2. */
	if (x86_has_global(pmu))
		pmu->global_ctrl = BIT(pmu->config.gp) - 1;
	pmu->misc_enable = 1 | X86_MISC_NO_BTS | X86_MISC_NO_PEBS;
	if (pmu->config.version)
		pmu->misc_enable |= X86_MISC_PERFMON;
	pmu->lvtpc = X86_LVTPC_MASKED;
}

/* ---- Does it count? ---- */

/* Of one hardware thread: this one's ring and mode, or the sibling's. */
struct thread {
	bool user;
	bool sibling;
};

static bool is_frozen(const struct x86_pmu *pmu)
{
	return x86_intel_since(pmu, 4) && pmu->global_status & X86_STATUS_CTR_FRZ;
}

/* Counters that nothing but their own selector keeps from counting. */
static uint64_t globally_enabled(const struct x86_pmu *pmu)
{
	if (is_frozen(pmu))
		return 0;
	return counters_of(&pmu->config) & (x86_has_global(pmu) ? pmu->global_ctrl : ~UINT64_C(0));
}

/*
 * APM vol. 2 table 13-1, HG_ONLY: neither bit counts everything; else EFER.SVME is needed, and both
 * bits count guest and host.
 */
static bool is_amd_mode_selected(const struct x86_pmu *pmu, uint64_t selector)
{
	uint64_t guest = selector & X86_SEL_GUEST_ONLY, host = selector & X86_SEL_HOST_ONLY;

	if (x86_is_intel(pmu) || !(guest | host))
		return true;
	return pmu->svme && (pmu->guest ? guest : host);
}

static bool gp_counts(const struct x86_pmu *pmu, unsigned int i, struct thread t)
{
	uint64_t selector = pmu->selector[i];

	if (!(selector & X86_SEL_EN) || !(selector & (t.user ? X86_SEL_USR : X86_SEL_OS)))
		return false;
	if (t.sibling && !(selector & X86_SEL_ANY))
		return false;
	/* Nobody executes transactions here: IN_TX counts nothing, IN_TXCP leaves nothing out. */
	if (x86_is_intel(pmu) && selector & X86_SEL_IN_TX)
		return false;
	return is_amd_mode_selected(pmu, selector);
}

static unsigned int group_of(const struct x86_pmu *pmu, unsigned int n)
{
	return (unsigned int)(pmu->fixed_ctrl >> (4 * n) & 0xF);
}

static bool fixed_counts(const struct x86_pmu *pmu, unsigned int n, struct thread t)
{
	unsigned int group = group_of(pmu, n);

	if (t.sibling && !(group & X86_FIXED_ANY))
		return false;
	return group & (t.user ? X86_FIXED_USR : X86_FIXED_OS);
}

static unsigned int next(uint64_t *mask)
{
	unsigned int i = (unsigned int)__builtin_ctzll(*mask);

	*mask &= *mask - 1;
	return i;
}

static bool passes(const struct x86_pmu *pmu, unsigned int i, struct thread t)
{
	return i < X86_PMU_FIXED ? gp_counts(pmu, i, t) : fixed_counts(pmu, i - X86_PMU_FIXED, t);
}

static uint64_t counting(const struct x86_pmu *pmu, struct thread t)
{
	uint64_t rest = globally_enabled(pmu), mask = 0;

	while (rest) {
		unsigned int i = next(&rest);

		if (passes(pmu, i, t))
			mask |= BIT(i);
	}
	return mask;
}

bool x86_pmu_counts(const struct x86_pmu *pmu, unsigned int i, bool user)
{
	return i < 64 && globally_enabled(pmu) >> i & 1 &&
	       passes(pmu, i, (struct thread){ .user = user });
}

/* ---- What does it count? ---- */

/* What a counter selects. */
struct selection {
	enum x86_pmu_kind kind;      /* X86_PMU_KINDS: none of them, by number */
	uint16_t event;
	uint8_t umask;
	uint8_t cmask;
	bool inv;
	bool edge;
};

struct encoding {
	uint16_t event;
	uint8_t umask;
};

#define NO_EVENT 0xFFFF

/*
 * SDM vol. 3 table 20-1. AMD: family 17H and later; beyond the second-level cache, 60H/FFH are all
 * requests and 64H/09H the misses.
 */
static const struct encoding encodings[2][X86_PMU_KINDS] = {
	[X86_PMU_INTEL] = {
		[X86_PMU_CYCLES] = { 0x3C, 0x00 },
		[X86_PMU_INSTRUCTIONS] = { 0xC0, 0x00 },
		[X86_PMU_REFERENCE_CYCLES] = { 0x3C, 0x01 },
		[X86_PMU_LLC_REFERENCES] = { 0x2E, 0x4F },
		[X86_PMU_LLC_MISSES] = { 0x2E, 0x41 },
		[X86_PMU_BRANCHES] = { 0xC4, 0x00 },
		[X86_PMU_BRANCH_MISSES] = { 0xC5, 0x00 },
		[X86_PMU_SLOTS] = { 0xA4, 0x01 },
	},
	[X86_PMU_AMD] = {
		[X86_PMU_CYCLES] = { 0x76, 0x00 },
		[X86_PMU_INSTRUCTIONS] = { 0xC0, 0x00 },
		[X86_PMU_REFERENCE_CYCLES] = { 0x120, 0x01 },
		[X86_PMU_LLC_REFERENCES] = { 0x60, 0xFF },
		[X86_PMU_LLC_MISSES] = { 0x64, 0x09 },
		[X86_PMU_BRANCHES] = { 0xC2, 0x00 },
		[X86_PMU_BRANCH_MISSES] = { 0xC3, 0x00 },
		[X86_PMU_SLOTS] = { NO_EVENT, 0x00 },
	},
};

static enum x86_pmu_kind kind_of(const struct x86_pmu *pmu, uint16_t event, uint8_t umask)
{
	const struct encoding *e = encodings[!x86_is_intel(pmu)];
	enum x86_pmu_kind kind = X86_PMU_CYCLES;

	while (kind < X86_PMU_KINDS && (e[kind].event != event || e[kind].umask != umask))
		kind++;
	return kind;
}

static struct selection selection_of(const struct x86_pmu *pmu, unsigned int i)
{
	static const enum x86_pmu_kind fixed[X86_PMU_FIXED_MAX] = {
		X86_PMU_INSTRUCTIONS, X86_PMU_CYCLES, X86_PMU_REFERENCE_CYCLES, X86_PMU_SLOTS,
	};
	struct selection s = { 0 };
	uint64_t selector;

	if (i >= X86_PMU_FIXED) {
		s.kind = fixed[i - X86_PMU_FIXED];
		return s;
	}
	selector = pmu->selector[i];
	s.event = (uint16_t)(selector & 0xFF);
	if (!x86_is_intel(pmu))
		s.event = (uint16_t)(s.event | (selector >> 24 & 0xF00));
	s.umask = (uint8_t)(selector >> 8);
	s.cmask = (uint8_t)(selector >> 24);
	s.inv = selector & X86_SEL_INV && s.cmask; /* with CMASK 0 it is ignored */
	s.edge = selector & X86_SEL_EDGE;
	s.kind = kind_of(pmu, s.event, s.umask);
	return s;
}

/* Can general-purpose counter (i) see the event at all? */
static bool is_wired(const struct x86_pmu *pmu, unsigned int i, const struct selection *s)
{
	const struct x86_pmu_config *c = &pmu->config;

	if (i >= X86_PMU_FIXED)
		return true;
	if (s->kind < X86_PMU_KINDS) {
		if (c->events_missing >> s->kind & 1 && s->kind < c->events_length)
			return false;
		return !c->counters_of[s->kind] || c->counters_of[s->kind] >> i & 1;
	}
	for (size_t k = 0; k < c->constraint_count; k++) {
		if (c->constraints[k].event == s->event && c->constraints[k].umask == s->umask)
			return c->constraints[k].counters >> i & 1;
	}
	return true;
}

static uint64_t raw_count(const struct x86_pmu_events *events, const struct selection *s)
{
	uint64_t n = 0;

	for (size_t k = 0; k < events->raw_count; k++) {
		if (events->raw[k].event == s->event && events->raw[k].umask == s->umask)
			n += events->raw[k].n;
	}
	return n;
}

static uint64_t occurred(const struct x86_pmu_events *events, const struct selection *s)
{
	switch (s->kind) {
	case X86_PMU_CYCLES:
	case X86_PMU_SLOTS:
		return events->cycles;
	case X86_PMU_INSTRUCTIONS:
		return events->instructions;
	case X86_PMU_REFERENCE_CYCLES:
		return events->reference_cycles;
	case X86_PMU_LLC_REFERENCES:
		return events->llc_references;
	case X86_PMU_LLC_MISSES:
		return events->llc_misses;
	case X86_PMU_BRANCHES:
		return events->branches;
	case X86_PMU_BRANCH_MISSES:
		return events->branch_misses;
	case X86_PMU_KINDS:
		break;
	}
	return raw_count(events, s);
}

static bool is_cycles(enum x86_pmu_kind kind)
{
	return kind == X86_PMU_CYCLES || kind == X86_PMU_REFERENCE_CYCLES ||
	       kind == X86_PMU_SLOTS;
}

/* How a counter advances. */
enum pace {
	NEVER,
	PER_EVENT,
	PER_CYCLE,
	PER_OTHER_CYCLE,             /* cycles without an event */
};

/* The rule of x86_pmu.h: never more than one event of a kind in a cycle. */
static enum pace pace_of(const struct x86_pmu *pmu, unsigned int i, const struct selection *s)
{
	if (s->cmask > 1)
		return s->inv && !s->edge ? PER_CYCLE : NEVER;
	if (s->edge && is_cycles(s->kind))
		return NEVER;
	if (!is_wired(pmu, i, s))
		return s->inv && !s->edge ? PER_CYCLE : NEVER;
	return s->inv && !s->edge ? PER_OTHER_CYCLE : PER_EVENT;
}

static uint64_t amount(const struct x86_pmu *pmu, unsigned int i,
		       const struct x86_pmu_events *events)
{
	struct selection s = selection_of(pmu, i);
	uint64_t n;

	switch (pace_of(pmu, i, &s)) {
	case NEVER:
		break;
	case PER_EVENT:
		return occurred(events, &s);
	case PER_CYCLE:
		return events->cycles;
	case PER_OTHER_CYCLE:
		n = occurred(events, &s);
		return events->cycles > n ? events->cycles - n : 0;
	}
	return 0;
}

/* ---- Overflow ---- */

static bool wants_interrupt(const struct x86_pmu *pmu, unsigned int i)
{
	if (i < X86_PMU_FIXED)
		return pmu->selector[i] & X86_SEL_INT;
	return group_of(pmu, i - X86_PMU_FIXED) & X86_FIXED_PMI;
}

static uint64_t *value_of(struct x86_pmu *pmu, unsigned int i)
{
	return i < X86_PMU_FIXED ? &pmu->gp[i] : &pmu->fixed[i - X86_PMU_FIXED];
}

static uint64_t mask_of(const struct x86_pmu *pmu, unsigned int i)
{
	return i < X86_PMU_FIXED ? x86_gp_mask(pmu) : x86_fixed_mask(pmu);
}

/* returns: it wrapped. */
static bool add(struct x86_pmu *pmu, unsigned int i, uint64_t n)
{
	uint64_t *value = value_of(pmu, i);
	uint64_t mask = mask_of(pmu, i);
	bool wraps = n > mask - *value;

	*value = (*value + n) & mask;
	return wraps;
}

/* An overflow that is late already is not made later by another one. */
static void become_late(uint64_t *late, uint32_t *in, unsigned int slot, uint32_t skid)
{
	if (*late >> slot & 1)
		return;
	*late |= BIT(slot);
	in[slot] = skid;
}

static void overflow(struct x86_pmu *pmu, unsigned int i)
{
	unsigned int slot = slot_of(i);

	if (x86_has_status(pmu))
		become_late(&pmu->late_status, pmu->status_in, slot, pmu->config.status_skid);
	if (wants_interrupt(pmu, i))
		become_late(&pmu->late_interrupt, pmu->interrupt_in, slot,
			    pmu->config.interrupt_skid);
}

/*
 * SDM vol. 3 20.2.4: up to version 3 the enables are cleared, from version 4 CTR_Frz holds all
 * counters. The request freezes, whether or not LVTPC lets it through.
 */
static void freeze(struct x86_pmu *pmu)
{
	if (!x86_is_intel(pmu) || !(pmu->debugctl & X86_DEBUGCTL_FREEZE_PERFMON))
		return;
	if (x86_intel_since(pmu, 4))
		pmu->global_status |= X86_STATUS_CTR_FRZ;
	else
		pmu->global_ctrl = 0;
}

/* returns: false: an illegal vector, an APIC error instead of an interrupt. */
static bool latch(struct x86_pmu *pmu)
{
	unsigned int vector = pmu->lvtpc & 0xFF;

	if (pmu->lvtpc >> 8 & 7) {
		pmu->nmi = true;
		return true;
	}
	if (vector < 16)
		return false;
	pmu->irr[vector / 64] |= BIT(vector % 64);
	return true;
}

static void fire(struct x86_pmu *pmu)
{
	freeze(pmu);
	if (pmu->lvtpc & X86_LVTPC_MASKED) {
		pmu->interrupts_masked++;
		return;
	}
	if (!latch(pmu)) {
		pmu->interrupts_illegal++;
		return;
	}
	pmu->interrupts++;
	if (x86_is_intel(pmu))
		pmu->lvtpc |= X86_LVTPC_MASKED;
}

/* ---- Time ---- */

static uint64_t due(uint64_t late, const uint32_t *in)
{
	uint64_t mask = 0;

	while (late) {
		unsigned int slot = next(&late);

		if (in[slot] == 0)
			mask |= BIT(slot);
	}
	return mask;
}

static void age(uint32_t *in, uint64_t steps)
{
	for (unsigned int slot = 0; slot < X86_PMU_SLOTS_MAX; slot++)
		in[slot] = in[slot] > steps ? in[slot] - (uint32_t)steps : 0;
}

/* What is due becomes visible; interrupts that are due together are one. */
static void settle(struct x86_pmu *pmu)
{
	uint64_t status = due(pmu->late_status, pmu->status_in);
	uint64_t interrupt = due(pmu->late_interrupt, pmu->interrupt_in);

	pmu->late_status &= ~status;
	pmu->late_interrupt &= ~interrupt;
	while (status)
		pmu->global_status |= BIT(counter_of(next(&status)));
	if (interrupt)
		fire(pmu);
}

static void pass(struct x86_pmu *pmu, uint64_t steps)
{
	age(pmu->status_in, steps);
	age(pmu->interrupt_in, steps);
}

/* returns: the counters that wrapped. */
static uint64_t count(struct x86_pmu *pmu, struct thread t, const struct x86_pmu_events *events)
{
	uint64_t rest = counting(pmu, t), wrapped = 0;

	while (rest) {
		unsigned int i = next(&rest);

		if (add(pmu, i, amount(pmu, i, events)))
			wrapped |= BIT(i);
	}
	return wrapped;
}

static void execute(struct x86_pmu *pmu, struct thread t, uint64_t steps,
		    const struct x86_pmu_events *events)
{
	uint64_t wrapped = count(pmu, t, events);

	if (!(wrapped | pmu->late_status | pmu->late_interrupt))
		return;
	pass(pmu, steps);
	while (wrapped)
		overflow(pmu, next(&wrapped));
	settle(pmu);
}

void x86_pmu_retire(struct x86_pmu *pmu, bool user, const struct x86_pmu_events *events)
{
	execute(pmu, (struct thread){ .user = user }, events->instructions, events);
}

void x86_pmu_retire_sibling(struct x86_pmu *pmu, bool user, const struct x86_pmu_events *events)
{
	execute(pmu, (struct thread){ .user = user, .sibling = true }, 0, events);
}

void x86_pmu_step(struct x86_pmu *pmu)
{
	pass(pmu, 1);
	settle(pmu);
}

/* ---- The horizon ---- */

static void lower(uint64_t *limit, uint64_t value)
{
	if (value < *limit)
		*limit = value;
}

static void lower_by_late(uint64_t *limit, uint64_t late, const uint32_t *in)
{
	while (late)
		lower(limit, in[next(&late)]);
}

static void lower_by_counter(struct x86_pmu_horizon *h, const struct x86_pmu *pmu, unsigned int i)
{
	struct selection s = selection_of(pmu, i);
	uint64_t value = i < X86_PMU_FIXED ? pmu->gp[i] : pmu->fixed[i - X86_PMU_FIXED];
	uint64_t left = mask_of(pmu, i) - value + 1;

	switch (pace_of(pmu, i, &s)) {
	case NEVER:
		return;
	case PER_EVENT:
		lower(is_cycles(s.kind) ? &h->cycles : &h->events, left);
		return;
	case PER_CYCLE:
	case PER_OTHER_CYCLE:
		lower(&h->cycles, left);
		return;
	}
}

struct x86_pmu_horizon x86_pmu_horizon(const struct x86_pmu *pmu, bool user)
{
	struct x86_pmu_horizon h = { UINT64_MAX, UINT64_MAX };
	uint64_t rest = counting(pmu, (struct thread){ .user = user });

	lower_by_late(&h.events, pmu->late_status, pmu->status_in);
	lower_by_late(&h.events, pmu->late_interrupt, pmu->interrupt_in);
	while (rest)
		lower_by_counter(&h, pmu, next(&rest));
	return h;
}

/* ---- The boundary ---- */

static const struct x86_pmu_events one_instruction = { .instructions = 1, .cycles = 1 };
static const struct x86_pmu_events one_branch = { .branches = 1 };

static void erratum(struct x86_pmu *pmu, bool present, const struct x86_pmu_events *events)
{
	if (present)
		execute(pmu, (struct thread){ .user = false }, 0, events);
}

static void atom_errata(struct x86_pmu *pmu)
{
	erratum(pmu, pmu->config.atom_instructions, &one_instruction);
	erratum(pmu, pmu->config.atom_branches, &one_branch);
}

static bool switches_global(const struct x86_pmu *pmu)
{
	return x86_is_intel(pmu) && x86_has_global(pmu) && pmu->vmx_controls;
}

bool x86_pmu_vmenter(struct x86_pmu *pmu)
{
	if (switches_global(pmu)) {
		if ((pmu->guest_global | pmu->host_global) & ~x86_pmu_counters(&pmu->config))
			return false;
		pmu->global_ctrl = pmu->guest_global;
	}
	pmu->guest = true;
	atom_errata(pmu);
	erratum(pmu, pmu->config.amd_vmrun_branch, &one_branch);
	return true;
}

void x86_pmu_vmexit(struct x86_pmu *pmu)
{
	atom_errata(pmu);
	if (switches_global(pmu)) {
		pmu->guest_global = pmu->global_ctrl;
		pmu->global_ctrl = pmu->host_global;
	}
	pmu->guest = false;
}

/* ---- The local APIC ---- */

void x86_pmu_set_lvtpc(struct x86_pmu *pmu, uint32_t value)
{
	pmu->lvtpc = value & (X86_LVTPC_MASKED | 0x7FF);
}

static int highest(uint64_t word)
{
	int n = -1;

	for (; word; word >>= 1)
		n++;
	return n;
}

int x86_pmu_interrupt(const struct x86_pmu *pmu)
{
	if (pmu->nmi)
		return X86_PMU_NMI;
	for (int w = X86_PMU_VECTORS / 64 - 1; w >= 0; w--) {
		if (pmu->irr[w])
			return 64 * w + highest(pmu->irr[w]);
	}
	return X86_PMU_NO_INTERRUPT;
}

int x86_pmu_take_interrupt(struct x86_pmu *pmu)
{
	int vector = x86_pmu_interrupt(pmu);

	if (vector == X86_PMU_NMI)
		pmu->nmi = false;
	else if (vector >= 0)
		pmu->irr[vector / 64] &= ~BIT(vector % 64);
	return vector;
}
