/* SPDX-License-Identifier: MIT */
#include "model_hw.h"

#define CYCLE VPMU_ARM_CYCLE
#define BIT(n) ((uint64_t)1 << (n))

static struct model_hw *of(struct vpmu_hw *hw)
{
	return (struct model_hw *)(void *)hw;
}

/* ---- One access ---- */

static void violation(struct model_hw *mhw, const char *text)
{
	if (mhw->violations++ == 0)
		mhw->violation = text;
}

static void around(struct model_hw *mhw)
{
	if (mhw->hook)
		mhw->hook(mhw, mhw->hook_context);
	if (mhw->cost)
		model_retire(mhw->pmu, 2, mhw->cost);
}

static void record(struct model_hw *mhw, uint32_t reg, bool write, uint64_t value)
{
	if (mhw->trace && mhw->trace_count < mhw->trace_size)
		mhw->trace[mhw->trace_count] = (struct model_access){ reg, write, value };
	mhw->trace_count++;
}

static uint64_t sysreg(struct vpmu_hw *hw, uint32_t reg, bool write, uint64_t value)
{
	struct model_hw *mhw = of(hw);

	if (mhw->guest_runs)
		violation(mhw, "an operation while the guest runs");
	around(mhw);
	if (!model_el2_access(mhw->pmu, reg, write, &value))
		violation(mhw, "an access that is UNDEFINED at EL2");
	hw->accesses++;
	record(mhw, reg, write, value);
	around(mhw);
	return value;
}

static uint64_t mrs(struct vpmu_hw *hw, uint32_t reg)
{
	return sysreg(hw, reg, false, 0);
}

static void msr(struct vpmu_hw *hw, uint32_t reg, uint64_t value)
{
	(void)sysreg(hw, reg, true, value);
}

/* ---- Clauses of hardware.h and the order of RULES A5 ---- */

static void check_mask(struct vpmu_hw *hw, uint64_t mask)
{
	if (mask & ~hw->caps.counters)
		violation(of(hw), "a mask with a counter that does not exist");
}

static bool check_index(struct vpmu_hw *hw, unsigned int i)
{
	if (i < VPMU_COUNTER_MAX && hw->caps.counters >> i & 1)
		return true;
	violation(of(hw), "an index of a counter that does not exist");
	return false;
}

static void check_stopped(struct vpmu_hw *hw, unsigned int i, const char *text)
{
	if (model_counts(of(hw)->pmu, i, 2))
		violation(of(hw), text);
}

/* ---- The operations ---- */

static void op_stop(struct vpmu_hw *hw, uint64_t mask)
{
	check_mask(hw, mask);
	msr(hw, MODEL_PMCNTENCLR, mask);
}

static void op_start(struct vpmu_hw *hw, uint64_t mask)
{
	check_mask(hw, mask);
	msr(hw, MODEL_PMCNTENSET, mask);
}

static uint64_t op_started(struct vpmu_hw *hw)
{
	return mrs(hw, MODEL_PMCNTENSET);
}

static uint64_t op_read(struct vpmu_hw *hw, unsigned int i)
{
	if (!check_index(hw, i))
		return 0;
	return mrs(hw, i == CYCLE ? MODEL_PMCCNTR : MODEL_PMEVCNTR(i));
}

static void op_write(struct vpmu_hw *hw, unsigned int i, uint64_t value)
{
	if (!check_index(hw, i))
		return;
	check_stopped(hw, i, "a counter written while it counts");
	msr(hw, i == CYCLE ? MODEL_PMCCNTR : MODEL_PMEVCNTR(i), value);
}

static void op_select(struct vpmu_hw *hw, unsigned int i, uint64_t selector)
{
	if (!check_index(hw, i))
		return;
	check_stopped(hw, i, "a selector written while its counter counts");
	msr(hw, i == CYCLE ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i), selector);
}

static uint64_t op_selected(struct vpmu_hw *hw, unsigned int i)
{
	if (!check_index(hw, i))
		return 0;
	return mrs(hw, i == CYCLE ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i));
}

static uint64_t op_status(struct vpmu_hw *hw)
{
	return mrs(hw, MODEL_PMOVSSET);
}

static void op_status_clear(struct vpmu_hw *hw, uint64_t mask)
{
	check_mask(hw, mask);
	msr(hw, MODEL_PMOVSCLR, mask);
}

static void op_status_set(struct vpmu_hw *hw, uint64_t mask)
{
	check_mask(hw, mask);
	msr(hw, MODEL_PMOVSSET, mask);
}

static uint64_t op_interrupts(struct vpmu_hw *hw)
{
	return mrs(hw, MODEL_PMINTENSET);
}

static void op_interrupts_clear(struct vpmu_hw *hw, uint64_t mask)
{
	check_mask(hw, mask);
	msr(hw, MODEL_PMINTENCLR, mask);
}

static void op_interrupts_set(struct vpmu_hw *hw, uint64_t mask)
{
	check_mask(hw, mask);
	msr(hw, MODEL_PMINTENSET, mask);
}

static uint64_t range1(const struct model_hw *mhw)
{
	return BIT(mhw->hpmn) - 1;
}

/* PMCR_EL0.E is shared: it stays set while host events live in range 1. */
static bool is_shared(const struct model_hw *mhw)
{
	return (mhw->inside | mhw->outside) & range1(mhw);
}

static uint64_t for_events(const struct model_hw *mhw, uint64_t value)
{
	return is_shared(mhw) ? value | MODEL_PMCR_E : value;
}

static uint64_t op_global(struct vpmu_hw *hw)
{
	if (is_shared(of(hw)))
		return of(hw)->global;
	/* RW bits only: P and C read as 0, and [31:11] is identification. */
	return mrs(hw, MODEL_PMCR) & 0x7FF;
}

static void op_set_global(struct vpmu_hw *hw, uint64_t value)
{
	/* P written at EL2 zeroes the counters of every owner (arm.md 3.3). */
	if (value & (MODEL_PMCR_P | MODEL_PMCR_C))
		violation(of(hw), "PMCR_EL0.P or C written at EL2");
	of(hw)->global = value;
	msr(hw, MODEL_PMCR, for_events(of(hw), value));
}

static uint64_t op_user(struct vpmu_hw *hw)
{
	return mrs(hw, MODEL_PMUSERENR);
}

static void op_set_user(struct vpmu_hw *hw, uint64_t value)
{
	msr(hw, MODEL_PMUSERENR, value);
}

static uint64_t op_pointer(struct vpmu_hw *hw)
{
	return mrs(hw, MODEL_PMSELR);
}

static void op_set_pointer(struct vpmu_hw *hw, uint64_t value)
{
	msr(hw, MODEL_PMSELR, value);
}

/* ---- Configuration: no PMU register access (clause 4) ---- */

static void mdcr(struct model_hw *mhw, uint64_t clear, uint64_t set)
{
	uint64_t value;

	if (mhw->guest_runs)
		violation(mhw, "interception changed while the guest runs");
	(void)model_el2_access(mhw->pmu, MODEL_MDCR_EL2, false, &value);
	value = (value & ~clear) | set;
	(void)model_el2_access(mhw->pmu, MODEL_MDCR_EL2, true, &value);
}

/*
 * Range 1 stops at EL2 by HPMD (from p1) and HCCD (p5). Neither has a counterpart that stops it
 * outside EL2: "only outside" is the caller's business, by enables.
 */
static void set_boundary(struct model_hw *mhw)
{
	uint64_t host = mhw->inside | mhw->outside;
	uint64_t set = mhw->hpmn;

	/* What else is in range 1 and the host's could not count at EL2. NSH=0 stops the guest's. */
	if (mhw->guest & ~BIT(CYCLE) && !(mhw->outside & range1(mhw)))
		set |= MODEL_MDCR_HPMD;
	if (mhw->guest & BIT(CYCLE))
		set |= MODEL_MDCR_HCCD;
	if (host & ~range1(mhw))
		set |= MODEL_MDCR_HPME;
	mdcr(mhw, 0x1F | MODEL_MDCR_HPME | MODEL_MDCR_HPMD | MODEL_MDCR_HCCD, set);
}

/* Without enforcement all counters stay in range 1: what the guest may not touch is trapped. */
static uint32_t wanted_hpmn(const struct model_hw *mhw)
{
	/* They are numbered without gaps. */
	uint32_t n = (uint32_t)__builtin_ctzll(~(mhw->guest & ~BIT(CYCLE)));
	bool can = mhw->hw.caps.partitions && n >= mhw->hw.caps.partition_least;

	return mhw->guest && can ? n : mhw->pmu->config.counters;
}

/*
 * Host events in range 1 count by E, others by HPME. One that changes sides has both meanwhile: E is set
 * before HPMN is raised, and the guest's own comes back after it was lowered.
 */
static void rearrange(struct model_hw *mhw, uint64_t guest, uint64_t inside, uint64_t outside)
{
	struct vpmu_hw *hw = &mhw->hw;
	bool was = is_shared(mhw);

	mhw->guest = guest;
	mhw->inside = inside;
	mhw->outside = outside;
	mhw->hpmn = wanted_hpmn(mhw);
	if (mhw->reach != VPMU_REACH_NONE && guest & (inside | outside))
		violation(mhw, "a counter of the host's that a guest reaches");
	if (is_shared(mhw) && !was) {
		mhw->global = mrs(hw, MODEL_PMCR) & 0x7FF;
		msr(hw, MODEL_PMCR, mhw->global | MODEL_PMCR_E);
	}
	set_boundary(mhw);
	if (was && !is_shared(mhw))
		msr(hw, MODEL_PMCR, mhw->global);
}

static void op_boundary(struct vpmu_hw *hw, uint64_t guest, uint64_t host)
{
	check_mask(hw, guest | host);
	if (guest & host)
		violation(of(hw), "a counter on both sides of the boundary");
	rearrange(of(hw), guest, of(hw)->inside, of(hw)->outside);
}

/* ---- Host events ---- */

static void op_host(struct vpmu_hw *hw, uint64_t inside, uint64_t outside)
{
	check_mask(hw, inside | outside);
	rearrange(of(hw), of(hw)->guest, inside, outside);
}

/* EL1 and EL0 are guests, EL2 is the host. */
static void op_host_select(struct vpmu_hw *hw, unsigned int i, uint64_t event, unsigned int flags)
{
	uint64_t selector = event & 0xFFFF;

	if (!(flags & VPMU_HOST_INSIDE) || !(flags & VPMU_HOST_KERNEL))
		selector |= MODEL_FILTER_P;
	if (!(flags & VPMU_HOST_INSIDE) || !(flags & VPMU_HOST_USER))
		selector |= MODEL_FILTER_U;
	if (flags & VPMU_HOST_OUTSIDE)
		selector |= MODEL_FILTER_NSH;
	op_select(hw, i, selector);
}

static uint64_t op_time(struct vpmu_hw *hw)
{
	return of(hw)->time;
}

static void fine_traps(struct model_hw *mhw, enum vpmu_reach reach)
{
	uint64_t both = 0, reads = 0, writes = 0;

	if (reach == VPMU_REACH_CONTROL || reach == VPMU_REACH_COUNTERS) {
		both = BIT(MODEL_FGT_PMEVTYPER) | BIT(MODEL_FGT_PMCCFILTR);
		reads = BIT(MODEL_FGT_PMMIR) | BIT(MODEL_FGT_PMCEID);
	}
	if (reach == VPMU_REACH_CONTROL) {
		both |= BIT(MODEL_FGT_PMEVCNTR);
		writes = BIT(MODEL_FGT_PMSWINC);
	}
	reads |= both;
	writes |= both;
	(void)model_el2_access(mhw->pmu, MODEL_HDFGRTR_EL2, true, &reads);
	(void)model_el2_access(mhw->pmu, MODEL_HDFGWTR_EL2, true, &writes);
}

static void op_reach(struct vpmu_hw *hw, enum vpmu_reach reach)
{
	const uint64_t tpm = MODEL_MDCR_TPM | MODEL_MDCR_TPMCR;
	bool fine = reach == VPMU_REACH_CONTROL || reach == VPMU_REACH_COUNTERS;

	if (fine && !hw->caps.fine_traps)
		violation(of(hw), "a reach that this machine does not have");
	of(hw)->reach = reach;
	mdcr(of(hw), tpm, reach == VPMU_REACH_NONE ? tpm : 0);
	if (hw->caps.fine_traps)
		fine_traps(of(hw), reach);
}

static const struct vpmu_hw_ops model_ops = {
	.size = sizeof(struct vpmu_hw_ops),
	.stop = op_stop,
	.start = op_start,
	.started = op_started,
	.read = op_read,
	.write = op_write,
	.select = op_select,
	.selected = op_selected,
	.status = op_status,
	.status_clear = op_status_clear,
	.status_set = op_status_set,
	.interrupts = op_interrupts,
	.interrupts_clear = op_interrupts_clear,
	.interrupts_set = op_interrupts_set,
	.global = op_global,
	.set_global = op_set_global,
	.user = op_user,
	.set_user = op_set_user,
	.pointer = op_pointer,
	.set_pointer = op_set_pointer,
	.boundary = op_boundary,
	.reach = op_reach,
	.route = NULL,
	.host_select = op_host_select,
	.host = op_host,
	.time = op_time,
};

void model_hw_init(struct model_hw *mhw, struct model_pmu *pmu)
{
	const struct model_config *config = &pmu->config;
	uint64_t counters = (BIT(config->counters) - 1) | BIT(CYCLE);
	bool p5 = config->version >= VPMU_ARM_V3P5;
	unsigned int least = 0;
	const char *unpartitioned = model_probe(pmu, &least);

	*mhw = (struct model_hw){
		.pmu = pmu,
		.hpmn = config->counters,
		.unpartitioned = unpartitioned,
		.hw = {
			.ops = &model_ops,
			.caps = {
				.counters = counters,
				.selectable = counters,
				.direct_values = BIT(CYCLE),
				.global_enable = MODEL_PMCR_E,
				.global_reset = MODEL_PMCR_LC,
				.boundary = p5 ? VPMU_BOUNDARY_ATOMIC : VPMU_BOUNDARY_NONE,
				.fine_traps = config->fgt,
				.host_counters = counters & ~BIT(CYCLE),
				.host_width = p5 ? 64 : 32,
				.shared_enable = 1,
				.status_set = 1,
				.exact_writes = 1,
				.partitions = !unpartitioned,
				.partition_least = (uint8_t)least,
				.version = (uint8_t)config->version,
				.identity = { config->ceid[0], config->ceid[1], config->mmir,
					      config->id },
			},
		},
	};
	mdcr(mhw, ~(uint64_t)0, config->counters | MODEL_MDCR_TPM | MODEL_MDCR_TPMCR);
	if (config->fgt)
		fine_traps(mhw, VPMU_REACH_NONE);
}

/* ---- Machine classes ---- */

/*
 * SW_INCR, L1D refill, INST_RETIRED, BR_MIS_PRED, CPU_CYCLES, BR_PRED, MEM_ACCESS, INST_SPEC,
 * CHAIN.
 */
#define CEID0 0x480F0109u

void model_class_config(enum model_class class, struct model_config *config)
{
	static const struct model_config classes[MODEL_CLASSES] = {
		/* STALL_FRONTEND, STALL_BACKEND; STALL and no PMMIR.SLOTS. */
		[MODEL_P5_HPMN] = { .version = VPMU_ARM_V3P5, .fgt = true, .hpmn0 = true,
				    .ceid = { CEID0, 0x10000018 } },
		[MODEL_P5_FGT] = { .version = VPMU_ARM_V3P5, .fgt = true, .hpmn0 = true,
				   .hpmn_holes = MODEL_HOLES_ALL, .ceid = { CEID0, 0x10000018 } },
		[MODEL_P5] = { .version = VPMU_ARM_V3P5, .hpmn_holes = MODEL_HOLES_ALL,
			       .ceid = { CEID0, 0x10000018 } },
		[MODEL_P1] = { .version = VPMU_ARM_V3P1, .ceid = { CEID0, 0x18 } },
		[MODEL_V3] = { .version = VPMU_ARM_V3, .ceid = { CEID0, 0 } },
	};

	*config = classes[class];
	config->counters = 6;
	config->id = 0x4100;
	config->el3 = true;
	config->aarch32 = true;
}
