/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "x86_rules.h"

const struct vpmu_x86_model models[MODELS] = {
	{ INTEL(0) },
	{ INTEL(0), .pdcm = true, .debug_bits = BIT(1) },
	{ INTEL(1), .gp = 1, .gp_width = 32, .events_length = 7, .events_missing = 0x7E },
	{ INTEL(1), .gp = 2, .gp_width = 40, .events_length = 7, .pdcm = true,
	  .full_width_writes = true },
	{ INTEL(2), .gp = 1, .gp_width = 40, .fixed = 1, .fixed_width = 40, .events_length = 7 },
	{ INTEL(2), .gp = 8, .gp_width = 48, .fixed = 3, .fixed_width = 48, .events_length = 7,
	      .pdcm = true, .full_width_writes = true },
	{ INTEL(2), .gp = 0, .fixed = 4, .fixed_width = 32, .events_length = 3, .pdcm = true },
	{ INTEL(3), .gp = 4, .gp_width = 48, .fixed = 3, .fixed_width = 48, .events_length = 7,
	      .events_missing = 0x05, .pdcm = true, .tsx = true, .debug_bits = BIT(1) | BIT(15) },
	{ INTEL(4), .gp = 8, .gp_width = 48, .fixed = 4, .fixed_width = 48, .events_length = 8,
	      .pdcm = true, .full_width_writes = true, .tsx = true, .debug_bits = BIT(1) },
	{ INTEL(5), .gp = 6, .gp_width = 33, .fixed = 2, .fixed_width = 47, .events_length = 8,
	      .events_missing = 0x80, .pdcm = true, .full_width_writes = true },
	{ INTEL(5), .gp = 2, .gp_width = 48, .tsx = true },
	{ AMD(0) },
	{ AMD(1), .gp = 4, .gp_width = 48 },
	{ AMD(1), .gp = 6, .gp_width = 48, .core_extension = true },
	{ AMD(2), .gp = 1, .gp_width = 48 },
	{ AMD(2), .gp = 6, .gp_width = 48, .core_extension = true },
};

void guest_init(struct guest *g, const struct vpmu_x86_model *m, const struct vpmu_policy *policy)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED,
					       .policy = policy };

	g->model = *m;
	vpmu_machine_init(&g->machine);
	assert_int_equal(vpmu_x86_vm_init(&g->vm, &g->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
}

/* ---- Masks, bit by bit ---- */

bool is_intel(const struct vpmu_x86_model *m)
{
	return m->vendor == VPMU_X86_INTEL;
}

static uint64_t ones(unsigned int n)
{
	return n == 64 ? UINT64_MAX : BIT(n) - 1;
}

uint64_t counters_of(const struct vpmu_x86_model *m)
{
	return ones(m->gp) | ones(m->fixed) << FIXED0;
}

static uint64_t mask_none(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)m;
	(void)n;
	return 0;
}

static uint64_t mask_gp(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)n;
	return ones(m->gp_width);
}

static uint64_t mask_fixed(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)n;
	return ones(m->fixed_width);
}

/* Event, umask, USR, OS, edge, pin, INT, EN, INV, CMASK; no AnyThread. IN_TXCP: counter 2 only. */
static uint64_t mask_evtsel(const struct vpmu_x86_model *m, unsigned int n)
{
	uint64_t mask = 0xFFDFFFFF;

	if (m->tsx)
		mask |= n == 2 ? BIT(32) | BIT(33) : BIT(32);
	return mask;
}

/* Event 35:32 and 7:0, umask, USR, OS, edge, INT, EN, INV, CMASK. */
static uint64_t mask_ctl(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)m;
	(void)n;
	return 0xFFFD7FFFFull & ~BIT(19) & ~BIT(21);
}

static uint64_t mask_fixed_ctrl(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)n;
	return 0xBBBBull & ones(4u * m->fixed);
}

static uint64_t mask_counters(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)n;
	return counters_of(m);
}

/* CTR_Frz is all that streamlined freezing leaves when there are no LBRs. */
uint64_t mask_status(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)n;
	return counters_of(m) | (is_intel(m) && m->version >= 4 ? BIT(59) : 0);
}

/* OvfBuf and CondChgd may be cleared although they are never set: all software does. */
static uint64_t mask_reset(const struct vpmu_x86_model *m, unsigned int n)
{
	return mask_status(m, n) | BIT(62) | BIT(63);
}

/* FREEZE_PERFMON_ON_PMI comes with version 2, and with PDCM. */
uint64_t mask_debugctl(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)n;
	return m->debug_bits | (m->version >= 2 && m->pdcm ? BIT(12) : 0);
}

static uint64_t mask_all(const struct vpmu_x86_model *m, unsigned int n)
{
	(void)m;
	(void)n;
	return UINT64_MAX;
}

/* ---- The registers ---- */

const struct rule rules[RULES] = {
	{ "IA32_PERFCTR<n>", 0xC1, 8, 1, GP, VPMU_X86_INTEL, 1, NEEDS_NOTHING,
	  GP_VALUE, mask_gp, SIGNED, CUT, true },
	{ "IA32_PMC<n>", 0x4C1, 8, 1, GP, VPMU_X86_INTEL, 1, NEEDS_FULL_WIDTH,
	  GP_VALUE, mask_gp, CHECKED, CHECKED, false },
	{ "IA32_PERFEVTSEL<n>", 0x186, 8, 1, GP, VPMU_X86_INTEL, 1, NEEDS_NOTHING,
	  SELECTOR, mask_evtsel, CHECKED, CHECKED, true },
	{ "IA32_FIXED_CTR<n>", 0x309, 4, 1, FIXED, VPMU_X86_INTEL, 2, NEEDS_NOTHING,
	  FIXED_VALUE, mask_fixed, CHECKED, CUT, true },
	{ "IA32_FIXED_CTR_CTRL", 0x38D, 1, 1, ONE, VPMU_X86_INTEL, 2, NEEDS_NOTHING,
	  FIXED_CTRL, mask_fixed_ctrl, CHECKED, CHECKED, true },
	{ "IA32_PERF_GLOBAL_STATUS", 0x38E, 1, 1, ONE, VPMU_X86_INTEL, 2, NEEDS_NOTHING,
	  STATUS, mask_status, REFUSED, CHECKED, true },
	{ "IA32_PERF_GLOBAL_CTRL", 0x38F, 1, 1, ONE, VPMU_X86_INTEL, 2, NEEDS_NOTHING,
	  GLOBAL, mask_counters, CHECKED, CHECKED, true },
	{ "IA32_PERF_GLOBAL_STATUS_RESET", 0x390, 1, 1, ONE, VPMU_X86_INTEL, 2, NEEDS_NOTHING,
	  NOTHING, mask_reset, CLEARS, IGNORED, false },
	{ "IA32_PERF_GLOBAL_STATUS_SET", 0x391, 1, 1, ONE, VPMU_X86_INTEL, 4, NEEDS_NOTHING,
	  NOTHING, mask_status, SETS, IGNORED, false },
	{ "IA32_PERF_GLOBAL_INUSE", 0x392, 1, 1, ONE, VPMU_X86_INTEL, 4, NEEDS_NOTHING,
	  INUSE, mask_none, REFUSED, IGNORED, false },
	{ "IA32_PERF_CAPABILITIES", 0x345, 1, 1, ONE, VPMU_X86_INTEL, 0, NEEDS_PDCM,
	  CAPABILITIES, mask_none, REFUSED, SAME_ONLY, true },
	{ "IA32_DEBUGCTL", 0x1D9, 1, 1, ONE, VPMU_X86_INTEL, 0, NEEDS_NOTHING,
	  DEBUG, mask_debugctl, CHECKED, CHECKED, true },

	{ "K7_EVNTSEL<n>", 0xC0010000, 4, 1, GP, VPMU_X86_AMD, 1, NEEDS_NOTHING,
	  SELECTOR, mask_ctl, CUT, CHECKED, false },
	{ "K7_PERFCTR<n>", 0xC0010004, 4, 1, GP, VPMU_X86_AMD, 1, NEEDS_NOTHING,
	  GP_VALUE, mask_gp, CUT, CUT, false },
	{ "PERF_CTL<n>", 0xC0010200, 6, 2, GP, VPMU_X86_AMD, 1, NEEDS_CORE,
	  SELECTOR, mask_ctl, CUT, CHECKED, true },
	{ "PERF_CTR<n>", 0xC0010201, 6, 2, GP, VPMU_X86_AMD, 1, NEEDS_CORE,
	  GP_VALUE, mask_gp, CUT, CUT, true },
	{ "PerfCntrGlobalStatus", 0xC0000300, 1, 1, ONE, VPMU_X86_AMD, 2, NEEDS_NOTHING,
	  STATUS, mask_status, IGNORED, CHECKED, true },
	{ "PerfCntrGlobalCtl", 0xC0000301, 1, 1, ONE, VPMU_X86_AMD, 2, NEEDS_NOTHING,
	  GLOBAL, mask_counters, CUT, CHECKED, true },
	{ "PerfCntrGlobalStatusClr", 0xC0000302, 1, 1, ONE, VPMU_X86_AMD, 2, NEEDS_NOTHING,
	  NOTHING, mask_all, CLEARS_ANY, IGNORED, false },
	{ "PerfCntrGlobalStatusSet", 0xC0000303, 1, 1, ONE, VPMU_X86_AMD, 2, NEEDS_NOTHING,
	  NOTHING, mask_status, SETS_CUT, IGNORED, false },
};

bool has_core(const struct vpmu_x86_model *m)
{
	return m->core_extension || m->version == 2;
}

bool is_there(const struct rule *r, const struct vpmu_x86_model *m, unsigned int n)
{
	bool needs[] = {
		[NEEDS_NOTHING] = true,
		[NEEDS_PDCM] = m->pdcm,
		[NEEDS_FULL_WIDTH] = m->full_width_writes,
		[NEEDS_CORE] = has_core(m),
	};
	unsigned int count[] = { [ONE] = 1, [GP] = m->gp, [FIXED] = m->fixed };

	return r->vendor == m->vendor && m->version >= r->since && needs[r->needs] &&
	       n < r->members && n < count[r->which];
}

/* AMD's core registers are the ones to save where they are; else the K7 ones. */
bool is_saved(const struct rule *r, const struct vpmu_x86_model *m)
{
	bool k7 = r->index == 0xC0010000 || r->index == 0xC0010004;

	return k7 ? !has_core(m) : r->saved;
}

bool is_p6_counter(const struct rule *r, unsigned int n)
{
	return r->index == 0xC1 && n < 2;
}

uint32_t index_of(const struct rule *r, unsigned int n)
{
	return r->index + n * r->stride;
}

/* ---- A register file that obeys them ---- */

void file_reset(struct file *f, const struct vpmu_x86_model *m)
{
	*f = (struct file){ .global = ones(m->gp) };
}

/* SDM 20.2.4.3: event select not 0, fixed: a ring chosen; 63: any PMI enabled. */
static uint64_t inuse(const struct file *f, const struct vpmu_x86_model *m)
{
	uint64_t value = 0;

	for (unsigned int n = 0; n < m->gp; n++) {
		value |= f->selector[n] & 0xFF ? BIT(n) : 0;
		value |= f->selector[n] & BIT(20) ? BIT(63) : 0;
	}
	for (unsigned int n = 0; n < m->fixed; n++) {
		value |= f->fixed_ctrl >> 4 * n & 3 ? BIT(FIXED0 + n) : 0;
		value |= f->fixed_ctrl >> 4 * n & 8 ? BIT(63) : 0;
	}
	return value;
}

static uint64_t *place(struct file *f, enum holds holds, unsigned int n)
{
	uint64_t *const places[] = {
		[GP_VALUE] = &f->value[n],	[FIXED_VALUE] = &f->value[FIXED0 + (n & 3)],
		[SELECTOR] = &f->selector[n],	[FIXED_CTRL] = &f->fixed_ctrl,
		[STATUS] = &f->status,		[GLOBAL] = &f->global,
		[DEBUG] = &f->debug,
	};

	return places[holds];
}

static uint64_t file_read(struct file *f, const struct vpmu_x86_model *m, const struct rule *r,
			  unsigned int n)
{
	switch (r->holds) {
	case NOTHING:
		return 0;
	case INUSE:
		return inuse(f, m);
	case CAPABILITIES:
		return m->full_width_writes ? BIT(13) : 0;
	default:
		return *place(f, r->holds, n);
	}
}

/* False: refused, and nothing has changed. */
static bool file_write(struct file *f, const struct vpmu_x86_model *m, const struct rule *r,
		       unsigned int n, enum does does, uint64_t value)
{
	uint64_t mask = r->mask(m, n);
	bool outside = value & ~mask;

	switch (does) {
	case CHECKED:
		if (outside)
			return false;
		*place(f, r->holds, n) = value;
		return true;
	case CUT:
		*place(f, r->holds, n) = value & mask;
		return true;
	case SIGNED:
		*place(f, r->holds, n) = (uint64_t)(int64_t)(int32_t)(uint32_t)value & mask;
		return true;
	case IGNORED:
		return true;
	case CLEARS:
		if (outside)
			return false;
		f->status &= ~value;
		return true;
	case CLEARS_ANY:
		f->status &= ~value;
		return true;
	case SETS:
		if (outside)
			return false;
		f->status |= value;
		return true;
	case SETS_CUT:
		f->status |= value & mask;
		return true;
	case SAME_ONLY:
		return value == file_read(f, m, r, n);
	case REFUSED:
		break;
	}
	return false;
}

/* ---- Comparing ---- */

static uint64_t enabled_in(const struct file *f)
{
	uint64_t mask = 0;

	for (unsigned int n = 0; n < FIXED0; n++)
		mask |= f->selector[n] & BIT(22) ? BIT(n) : 0;
	for (unsigned int n = 0; n < 4; n++)
		mask |= f->fixed_ctrl >> 4 * n & 3 ? BIT(FIXED0 + n) : 0;
	return mask;
}

static uint64_t interrupts_in(const struct file *f)
{
	uint64_t mask = 0;

	for (unsigned int n = 0; n < FIXED0; n++)
		mask |= f->selector[n] & BIT(20) ? BIT(n) : 0;
	for (unsigned int n = 0; n < 4; n++)
		mask |= f->fixed_ctrl >> 4 * n & 8 ? BIT(FIXED0 + n) : 0;
	return mask;
}

void expect_state(struct guest *g, const struct file *f, const char *after)
{
	struct vpmu_state s, expected = { .enabled = enabled_in(f), .interrupts = interrupts_in(f),
					  .global = f->global, .status = f->status,
					  .debug = f->debug };

	memcpy(expected.value, f->value, sizeof(f->value));
	memcpy(expected.selector, f->selector, sizeof(f->selector));
	for (unsigned int n = 0; n < 4; n++)
		expected.selector[FIXED0 + n] = f->fixed_ctrl >> 4 * n & 0xF;
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	s.pending = 0;
	if (memcmp(&s, &expected, sizeof(s)))
		fail_msg("%s: the state is not as expected (vendor %d, version %u)", after,
			 (int)g->model.vendor, g->model.version);
}

void expect_reads(struct guest *g, struct file *f, const char *after)
{
	for (size_t i = 0; i < RULES; i++) {
		const struct rule *r = &rules[i];

		for (unsigned int n = 0; is_there(r, &g->model, n); n++) {
			uint64_t expected = file_read(f, &g->model, r, n);
			uint64_t guest = ~expected, host = ~expected;

			assert_int_equal(vpmu_x86_rdmsr(&g->v, index_of(r, n), &guest),
					 VPMU_HANDLED);
			assert_int_equal(vpmu_x86_get_msr(&g->v, index_of(r, n), &host),
					 VPMU_HANDLED);
			if (guest != expected || host != expected)
				fail_msg("%s: %s %u reads %#llx, host %#llx, expected %#llx", after,
					 r->name, n, (unsigned long long)guest,
					 (unsigned long long)host, (unsigned long long)expected);
		}
	}
}

void write_both(struct guest *g, struct file *f, const struct rule *r, unsigned int n, bool host,
		       uint64_t value)
{
	bool there = is_there(r, &g->model, n);
	int refusal = host ? VPMU_ERR_PARAM : VPMU_FAULT_GP;
	bool done;
	int outcome;

	if (there)
		done = file_write(f, &g->model, r, n, host ? r->host : r->guest, value);
	else
		done = host ? value == 0 : is_p6_counter(r, n);
	outcome = host ? vpmu_x86_set_msr(&g->v, index_of(r, n), value)
		       : vpmu_x86_wrmsr(&g->v, index_of(r, n), value);
	if (outcome != (done ? VPMU_HANDLED : refusal))
		fail_msg("%s write of %#llx to %s %u: %d (vendor %d, version %u)",
			 host ? "host" : "guest", (unsigned long long)value, r->name, n, outcome,
			 (int)g->model.vendor, g->model.version);
	expect_state(g, f, r->name);
}

/* Legal ones, rubbish, legal but one bit. */
static uint64_t draw_value(struct rng *rng, const struct rule *r, const struct vpmu_x86_model *m,
			   unsigned int n)
{
	uint64_t value = rng_value(rng);

	switch (rng_below(rng, 4)) {
	case 0:
		return value;
	case 1:
		return (value & r->mask(m, n)) | BIT(rng_below(rng, 64));
	default:
		return value & r->mask(m, n);
	}
}

static const struct rule *draw_rule(struct rng *rng, const struct vpmu_x86_model *m)
{
	const struct rule *r;

	do
		r = &rules[rng_below(rng, RULES)];
	while (r->vendor != m->vendor);
	return r;
}

void scramble(struct guest *g, struct file *f, struct rng *rng)
{
	for (unsigned int i = 0; i < 60; i++) {
		const struct rule *r = draw_rule(rng, &g->model);
		unsigned int n = (unsigned int)rng_below(rng, r->members);

		write_both(g, f, r, n, rng_one_in(rng, 2), draw_value(rng, r, &g->model, n));
	}
}
