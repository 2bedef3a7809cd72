/* SPDX-License-Identifier: MIT */
/* See armv8.h. Registers and bits: DDI 0487 D24.5 (PMU), D24.3 (MDCR_EL2), D24.2 (HDFGxTR_EL2). */
#include "armv8.h"

#include <sysreg.h>
#include <vpmu/arm.h>

#define BIT(n) ((uint64_t)1 << (n))

/* By encoding: old assemblers do not know the names. */
#define HDFGRTR_EL2 "S3_4_C3_C1_4"
#define HDFGWTR_EL2 "S3_4_C3_C1_5"
#define PMMIR_EL1 "S3_0_C9_C14_6"

#define MDCR_HPMN_MASK 0x1Fu
#define MDCR_TPMCR BIT(5)
#define MDCR_TPM BIT(6)
#define MDCR_HPME BIT(7)
#define MDCR_HPMD BIT(17)
#define MDCR_HCCD BIT(23)

#define HDFG_PMEVCNTR BIT(12)
#define HDFG_PMEVTYPER BIT(13)
#define HDFG_PMCCFILTR BIT(14)
#define HDFGW_PMSWINC BIT(20)
#define HDFGR_PMMIR BIT(22)
#define HDFGR_PMCEID BIT(58)
/* Selectors and identification: trapped at every level below VPMU_REACH_ALL. */
#define HDFGR_CONTROL (HDFG_PMEVTYPER | HDFG_PMCCFILTR | HDFGR_PMMIR | HDFGR_PMCEID)
#define HDFGW_CONTROL (HDFG_PMEVTYPER | HDFG_PMCCFILTR)

#define EVTYPER_P BIT(31)
#define EVTYPER_U BIT(30)
#define EVTYPER_NSH BIT(27)
#define PMCR_E BIT(0)
#define PMCR_WRITE_ONLY (BIT(1) | BIT(2)) /* P, C */
#define PMCR_READ_ONLY 0xFFFFF800u        /* N, IDCODE, IMP */
#define PMCR_LC BIT(6)

#define CYCLE VPMU_ARM_CYCLE

static struct vpmu_armv8 *armv8_of(struct vpmu_hw *hw)
{
	return (struct vpmu_armv8 *)hw;
}

/* ---- Counters and selectors: one register each, so the number becomes an instruction ---- */

#define EACH_COUNTER(X)                                                                            \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)       \
	X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30)

static uint64_t armv8_read(struct vpmu_hw *hw, unsigned int i)
{
	hw->accesses++;
	switch (i) {
#define READ(n)                                                                                    \
	case n:                                                                                    \
		return read_sysreg("pmevcntr" #n "_el0");
	EACH_COUNTER(READ)
	default:
		return read_sysreg("pmccntr_el0");
	}
}

static void armv8_write(struct vpmu_hw *hw, unsigned int i, uint64_t value)
{
	hw->accesses++;
	switch (i) {
#define WRITE(n)                                                                                   \
	case n:                                                                                    \
		write_sysreg("pmevcntr" #n "_el0", value);                                         \
		break;
	EACH_COUNTER(WRITE)
	default:
		write_sysreg("pmccntr_el0", value);
	}
}

static void armv8_select(struct vpmu_hw *hw, unsigned int i, uint64_t selector)
{
	hw->accesses++;
	switch (i) {
#define SELECT(n)                                                                                  \
	case n:                                                                                    \
		write_sysreg("pmevtyper" #n "_el0", selector);                                     \
		break;
	EACH_COUNTER(SELECT)
	default:
		write_sysreg("pmccfiltr_el0", selector);
	}
}

static uint64_t armv8_selected(struct vpmu_hw *hw, unsigned int i)
{
	hw->accesses++;
	switch (i) {
#define SELECTED(n)                                                                                \
	case n:                                                                                    \
		return read_sysreg("pmevtyper" #n "_el0");
	EACH_COUNTER(SELECTED)
	default:
		return read_sysreg("pmccfiltr_el0");
	}
}

/* ---- Bitmaps ---- */

static void armv8_stop(struct vpmu_hw *hw, uint64_t mask)
{
	hw->accesses++;
	write_sysreg("pmcntenclr_el0", mask);
	isb();
}

static void armv8_start(struct vpmu_hw *hw, uint64_t mask)
{
	hw->accesses++;
	/* Selectors, values and MDCR_EL2 first: an enabled counter must not see what was there before. */
	isb();
	write_sysreg("pmcntenset_el0", mask);
}

static uint64_t armv8_started(struct vpmu_hw *hw)
{
	hw->accesses++;
	return read_sysreg("pmcntenset_el0");
}

static uint64_t armv8_status(struct vpmu_hw *hw)
{
	hw->accesses++;
	return read_sysreg("pmovsset_el0");
}

static void armv8_status_clear(struct vpmu_hw *hw, uint64_t mask)
{
	hw->accesses++;
	write_sysreg("pmovsclr_el0", mask);
}

static void armv8_status_set(struct vpmu_hw *hw, uint64_t mask)
{
	hw->accesses++;
	write_sysreg("pmovsset_el0", mask);
	armv8_of(hw)->resync = 1;
}

static uint64_t armv8_interrupts(struct vpmu_hw *hw)
{
	hw->accesses++;
	return read_sysreg("pmintenset_el1");
}

static void armv8_interrupts_clear(struct vpmu_hw *hw, uint64_t mask)
{
	hw->accesses++;
	write_sysreg("pmintenclr_el1", mask);
}

static void armv8_interrupts_set(struct vpmu_hw *hw, uint64_t mask)
{
	hw->accesses++;
	write_sysreg("pmintenset_el1", mask);
}

/* ---- Global control, user access, pointer ---- */

static uint64_t range1(const struct vpmu_armv8 *pmu)
{
	return BIT(pmu->hpmn) - 1;
}

/* E is shared while host events live in range 1, and stays set. */
static bool is_shared(const struct vpmu_armv8 *pmu)
{
	return (pmu->inside | pmu->outside) & range1(pmu);
}

static uint64_t read_global(struct vpmu_hw *hw)
{
	hw->accesses++;
	return read_sysreg("pmcr_el0") & ~(PMCR_WRITE_ONLY | PMCR_READ_ONLY);
}

static void write_global(struct vpmu_armv8 *pmu, uint64_t value)
{
	pmu->hw.accesses++;
	write_sysreg("pmcr_el0", value);
	isb();
	/*
	 * QEMU (7.2 to 10.0 at least) does not recompute the interrupt line when PMCR is written: an
	 * overflow loaded before E was set would stay silent, and a guest whose PMCR writes trap would
	 * see the line ignore them. Writing no bit of PMINTENSET is harmless on hardware, and makes
	 * QEMU look.
	 */
	if ((pmu->resync && value & PMCR_E) || pmu->mdcr & MDCR_TPM) {
		pmu->hw.accesses++;
		write_sysreg("pmintenset_el1", 0);
		pmu->resync = 0;
	}
}

static uint64_t armv8_global(struct vpmu_hw *hw)
{
	return is_shared(armv8_of(hw)) ? armv8_of(hw)->global : read_global(hw);
}

static void armv8_set_global(struct vpmu_hw *hw, uint64_t value)
{
	struct vpmu_armv8 *pmu = armv8_of(hw);

	pmu->global = value & ~PMCR_WRITE_ONLY;
	write_global(pmu, is_shared(pmu) ? pmu->global | PMCR_E : pmu->global);
}

static uint64_t armv8_user(struct vpmu_hw *hw)
{
	hw->accesses++;
	return read_sysreg("pmuserenr_el0");
}

static void armv8_set_user(struct vpmu_hw *hw, uint64_t value)
{
	hw->accesses++;
	write_sysreg("pmuserenr_el0", value);
}

static uint64_t armv8_pointer(struct vpmu_hw *hw)
{
	hw->accesses++;
	return read_sysreg("pmselr_el0");
}

static void armv8_set_pointer(struct vpmu_hw *hw, uint64_t value)
{
	hw->accesses++;
	write_sysreg("pmselr_el0", value);
}

/* ---- Traps and the boundary: not PMU registers ---- */

static void set_mdcr(struct vpmu_armv8 *pmu, uint64_t traps)
{
	pmu->mdcr = pmu->base.mdcr_el2 | pmu->hpmn | pmu->boundary | traps;
	write_sysreg("mdcr_el2", pmu->mdcr);
}

/* HPMD stops all of range 1: with the host's in it, the guest's, whose selectors all trap, are held by NSH=0 alone. */
static void set_boundary(struct vpmu_armv8 *pmu)
{
	pmu->boundary = pmu->guest ? pmu->stop_bits : 0;
	if (pmu->outside & range1(pmu))
		pmu->boundary &= ~MDCR_HPMD;
	if ((pmu->inside | pmu->outside) & ~range1(pmu))
		pmu->boundary |= MDCR_HPME;
	set_mdcr(pmu, pmu->mdcr & (MDCR_TPM | MDCR_TPMCR));
}

/* Where HPMN is not enforced, all counters stay in range 1, and what a guest may not touch is trapped. */
static uint32_t wanted_hpmn(const struct vpmu_armv8 *pmu)
{
	/* They are numbered without gaps. */
	uint32_t n = (uint32_t)__builtin_ctzll(~(pmu->guest & ~BIT(CYCLE)));
	bool can = pmu->hw.caps.partitions && n >= pmu->hw.caps.partition_least;

	return pmu->guest && can ? n : pmu->counters;
}

/*
 * Host events in range 1 count by E, those in range 2 by HPME. The ones that a new HPMN moves never stop: E is in
 * force before they come under it, and goes back to what it was for others after they have left it.
 */
static void rearrange(struct vpmu_armv8 *pmu, uint64_t guest, uint64_t inside, uint64_t outside)
{
	bool was = is_shared(pmu);
	uint32_t old = pmu->hpmn;

	pmu->guest = guest;
	pmu->inside = inside;
	pmu->outside = outside;
	pmu->hpmn = wanted_hpmn(pmu);
	if (is_shared(pmu) && !was) {
		pmu->global = read_global(&pmu->hw);
		write_global(pmu, pmu->global | PMCR_E);
	}
	set_boundary(pmu);
	if (pmu->hpmn != old)
		isb();
	if (was && !is_shared(pmu))
		write_global(pmu, pmu->global);
}

static void armv8_boundary(struct vpmu_hw *hw, uint64_t guest, uint64_t host)
{
	(void)host;
	rearrange(armv8_of(hw), guest, armv8_of(hw)->inside, armv8_of(hw)->outside);
}

/* ---- Host events: EL2 is the host, EL1 and EL0 are guests ---- */

static void armv8_host(struct vpmu_hw *hw, uint64_t inside, uint64_t outside)
{
	rearrange(armv8_of(hw), armv8_of(hw)->guest, inside, outside);
}

static void armv8_host_select(struct vpmu_hw *hw, unsigned int i, uint64_t event, unsigned int flags)
{
	uint64_t selector = event & 0xFFFF;

	if (!(flags & VPMU_HOST_INSIDE) || !(flags & VPMU_HOST_KERNEL))
		selector |= EVTYPER_P;
	if (!(flags & VPMU_HOST_INSIDE) || !(flags & VPMU_HOST_USER))
		selector |= EVTYPER_U;
	if (flags & VPMU_HOST_OUTSIDE)
		selector |= EVTYPER_NSH;
	armv8_select(hw, i, selector);
}

static uint64_t armv8_time(struct vpmu_hw *hw)
{
	uint64_t ticks = read_sysreg("cntpct_el0");
	uint64_t frequency = read_sysreg("cntfrq_el0");

	(void)hw;
	return ticks / frequency * 1000000000u + ticks % frequency * 1000000000u / frequency;
}

static void armv8_reach(struct vpmu_hw *hw, enum vpmu_reach reach)
{
	struct vpmu_armv8 *pmu = armv8_of(hw);
	bool all = reach == VPMU_REACH_ALL;
	uint64_t counters = reach < VPMU_REACH_COUNTERS ? HDFG_PMEVCNTR : 0;
	uint64_t increments = reach < VPMU_REACH_COUNTERS ? HDFGW_PMSWINC : 0;

	set_mdcr(pmu, reach == VPMU_REACH_NONE ? MDCR_TPM | MDCR_TPMCR : 0);
	if (!hw->caps.fine_traps || reach == VPMU_REACH_NONE)
		return;
	write_sysreg(HDFGRTR_EL2, pmu->base.hdfgrtr_el2 | (all ? 0 : HDFGR_CONTROL | counters));
	write_sysreg(HDFGWTR_EL2, pmu->base.hdfgwtr_el2 |
				  (all ? 0 : HDFGW_CONTROL | counters | increments));
}

static const struct vpmu_hw_ops armv8_ops = {
	.size = sizeof(struct vpmu_hw_ops),
	.stop = armv8_stop,
	.start = armv8_start,
	.started = armv8_started,
	.read = armv8_read,
	.write = armv8_write,
	.select = armv8_select,
	.selected = armv8_selected,
	.status = armv8_status,
	.status_clear = armv8_status_clear,
	.status_set = armv8_status_set,
	.interrupts = armv8_interrupts,
	.interrupts_clear = armv8_interrupts_clear,
	.interrupts_set = armv8_interrupts_set,
	.global = armv8_global,
	.set_global = armv8_set_global,
	.user = armv8_user,
	.set_user = armv8_set_user,
	.pointer = armv8_pointer,
	.set_pointer = armv8_set_pointer,
	.boundary = armv8_boundary,
	.reach = armv8_reach,
	.host_select = armv8_host_select,
	.host = armv8_host,
	.time = armv8_time,
};

/* ---- Set-up ---- */

static uint64_t id_field(uint64_t id, unsigned int shift)
{
	return id >> shift & 0xF;
}

static bool has_fine_traps(void)
{
	return id_field(read_sysreg("id_aa64mmfr0_el1"), 56) != 0; /* FEAT_FGT */
}

/* HPMD came with PMUv3p1, HCCD with PMUv3p5. */
static uint64_t stop_bits(uint64_t pmuver)
{
	return (pmuver >= VPMU_ARM_V3P1 ? MDCR_HPMD : 0) | (pmuver >= VPMU_ARM_V3P5 ? MDCR_HCCD : 0);
}

int vpmu_armv8_init(struct vpmu_armv8 *pmu, const struct vpmu_armv8_base *base)
{
	uint64_t pmuver = id_field(read_sysreg("id_aa64dfr0_el1"), 8);
	uint64_t pmcr;

	if (pmuver == 0 || pmuver == 0xF)
		return VPMU_ERR_UNSUPPORTED;

	*pmu = (struct vpmu_armv8){ .base = *base, .stop_bits = stop_bits(pmuver) };
	pmcr = read_sysreg("pmcr_el0");
	pmu->counters = (uint32_t)(pmcr >> 11) & MDCR_HPMN_MASK;
	pmu->hpmn = pmu->counters;
	pmu->hw.ops = &armv8_ops;
	pmu->hw.caps = (struct vpmu_hw_caps){
		.counters = (BIT(pmu->counters) - 1) | BIT(CYCLE),
		.selectable = (BIT(pmu->counters) - 1) | BIT(CYCLE),
		.direct_values = BIT(CYCLE),
		.global_enable = PMCR_E,
		.global_reset = PMCR_LC,
		.boundary = pmuver >= VPMU_ARM_V3P5 ? VPMU_BOUNDARY_ATOMIC : VPMU_BOUNDARY_NONE,
		.fine_traps = has_fine_traps(),
		.host_counters = BIT(pmu->counters) - 1,
		.host_width = pmuver >= VPMU_ARM_V3P5 ? 64 : 32,
		/*
		 * QEMU (10.0 at least) under icount loses the overflow of an event counter if its timer finds all
		 * ones there, one before it: with shift=1, where cycles go by in twos, at every odd distance.
		 */
		.host_granule = 2,
		.shared_enable = 1,
		.status_set = 1,
		.exact_writes = 1,
		.multithreaded = read_sysreg("mpidr_el1") >> 24 & 1,
		.version = (uint8_t)pmuver,
		.identity = {
			read_sysreg("pmceid0_el0"),
			read_sysreg("pmceid1_el0"),
			pmuver >= VPMU_ARM_V3P4 ? read_sysreg(PMMIR_EL1) : 0,
			pmcr >> 16 & 0xFFFF,
		},
	};
	set_mdcr(pmu, MDCR_TPM | MDCR_TPMCR);
	return 0;
}

void vpmu_armv8_partition(struct vpmu_armv8 *pmu, unsigned int least)
{
	pmu->hw.caps.partitions = pmu->hw.caps.fine_traps && pmu->counters >= 2;
	pmu->hw.caps.partition_least = (uint8_t)least;
}
