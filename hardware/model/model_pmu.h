/* SPDX-License-Identifier: MIT */
/*
 * hardware/model/model_pmu.h - a software PMUv3: the registers of one physical CPU, as the
 * architecture describes them.
 *
 * Written from the Arm Architecture Reference Manual (DDI 0487, D13.3 and D24.5) and from nothing
 * else. It is the oracle of the tests, so it shares no code with core/. PMUv3, p1, p4 and p5;
 * Non-secure state only, no nested EL2, no Debug state. Freestanding; no globals, no allocation,
 * cannot fail.
 */
#ifndef VPMU_MODEL_PMU_H
#define VPMU_MODEL_PMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vpmu/arm.h>

#define MODEL_EVENT_SW_INCR 0x00u
#define MODEL_EVENT_INST_RETIRED 0x08u
#define MODEL_EVENT_CPU_CYCLES 0x11u
#define MODEL_EVENT_CHAIN 0x1Eu

/* Bits of PMEVTYPERn_EL0 and PMCCFILTR_EL0. */
#define MODEL_FILTER_P (1u << 31)
#define MODEL_FILTER_U (1u << 30)
#define MODEL_FILTER_NSK (1u << 29)
#define MODEL_FILTER_NSU (1u << 28)
#define MODEL_FILTER_NSH (1u << 27)
#define MODEL_FILTER_M (1u << 26)

/* Bits of PMCR_EL0. */
#define MODEL_PMCR_E (1u << 0)
#define MODEL_PMCR_P (1u << 1)
#define MODEL_PMCR_C (1u << 2)
#define MODEL_PMCR_D (1u << 3)
#define MODEL_PMCR_DP (1u << 5)
#define MODEL_PMCR_LC (1u << 6)
#define MODEL_PMCR_LP (1u << 7)

/* Bits of MDCR_EL2; HPMN is [4:0]. */
#define MODEL_MDCR_TPMCR (1u << 5)
#define MODEL_MDCR_TPM (1u << 6)
#define MODEL_MDCR_HPME (1u << 7)
#define MODEL_MDCR_HPMD (1u << 17)
#define MODEL_MDCR_HCCD (1u << 23)
#define MODEL_MDCR_HLP (1u << 26)

/* Bits of HDFGRTR_EL2 and HDFGWTR_EL2. */
#define MODEL_FGT_PMEVCNTR 12
#define MODEL_FGT_PMEVTYPER 13
#define MODEL_FGT_PMCCFILTR 14
#define MODEL_FGT_PMCCNTR 15
#define MODEL_FGT_PMCNTEN 16
#define MODEL_FGT_PMINTEN 17
#define MODEL_FGT_PMOVS 18
#define MODEL_FGT_PMSELR 19
#define MODEL_FGT_PMSWINC 20
#define MODEL_FGT_PMCR 21
#define MODEL_FGT_PMMIR 22
#define MODEL_FGT_PMUSERENR 57
#define MODEL_FGT_PMCEID 58

/* The registers by their encodings. */
#define MODEL_PMCR VPMU_ARM_SYSREG(3, 3, 9, 12, 0)
#define MODEL_PMCNTENSET VPMU_ARM_SYSREG(3, 3, 9, 12, 1)
#define MODEL_PMCNTENCLR VPMU_ARM_SYSREG(3, 3, 9, 12, 2)
#define MODEL_PMOVSCLR VPMU_ARM_SYSREG(3, 3, 9, 12, 3)
#define MODEL_PMSWINC VPMU_ARM_SYSREG(3, 3, 9, 12, 4)
#define MODEL_PMSELR VPMU_ARM_SYSREG(3, 3, 9, 12, 5)
#define MODEL_PMCEID0 VPMU_ARM_SYSREG(3, 3, 9, 12, 6)
#define MODEL_PMCEID1 VPMU_ARM_SYSREG(3, 3, 9, 12, 7)
#define MODEL_PMCCNTR VPMU_ARM_SYSREG(3, 3, 9, 13, 0)
#define MODEL_PMXEVTYPER VPMU_ARM_SYSREG(3, 3, 9, 13, 1)
#define MODEL_PMXEVCNTR VPMU_ARM_SYSREG(3, 3, 9, 13, 2)
#define MODEL_PMUSERENR VPMU_ARM_SYSREG(3, 3, 9, 14, 0)
#define MODEL_PMOVSSET VPMU_ARM_SYSREG(3, 3, 9, 14, 3)
#define MODEL_PMINTENSET VPMU_ARM_SYSREG(3, 0, 9, 14, 1)
#define MODEL_PMINTENCLR VPMU_ARM_SYSREG(3, 0, 9, 14, 2)
#define MODEL_PMMIR VPMU_ARM_SYSREG(3, 0, 9, 14, 6)
#define MODEL_PMEVCNTR(n) VPMU_ARM_SYSREG(3, 3, 14, 8 + ((n) >> 3), (n) & 7)
#define MODEL_PMEVTYPER(n) VPMU_ARM_SYSREG(3, 3, 14, 12 + ((n) >> 3), (n) & 7)
#define MODEL_PMCCFILTR VPMU_ARM_SYSREG(3, 3, 14, 15, 7)
#define MODEL_MDCR_EL2 VPMU_ARM_SYSREG(3, 4, 1, 1, 1)
#define MODEL_HDFGRTR_EL2 VPMU_ARM_SYSREG(3, 4, 3, 1, 4)
#define MODEL_HDFGWTR_EL2 VPMU_ARM_SYSREG(3, 4, 3, 1, 5)

/*
 * Where an implementation lets EL1 past MDCR_EL2.HPMN, which it has. QEMU (10.0) has all of these.
 */
enum model_hpmn_hole {
	MODEL_HOLE_ENABLES = 1u << 0,    /* PMCNTEN of range 2 can be read and written */
	MODEL_HOLE_INTERRUPTS = 1u << 1, /* PMINTEN */
	MODEL_HOLE_STATUS = 1u << 2,     /* PMOVS */
	MODEL_HOLE_INCREMENT = 1u << 3,  /* PMSWINC */
	MODEL_HOLE_RESET = 1u << 4,      /* PMCR.P zeroes range 2 */
	MODEL_HOLE_COUNTERS = 1u << 5,   /* PMEVCNTRn and PMEVTYPERn do not trap */
	MODEL_HOLE_LINE = 1u << 6,       /* PMCR.E is in the interrupt of all, HPME in none */
	MODEL_HOLES = 7,
	MODEL_HOLES_ALL = (1u << MODEL_HOLES) - 1,
};

/* What the architecture lets an implementation choose. */
struct model_config {
	uint32_t version;            /* ID_AA64DFR0_EL1.PMUVer: 1, 4, 5 or 6 */
	uint32_t counters;           /* PMCR.N, 0..31 */
	uint32_t id;                 /* PMCR[31:16] */
	uint64_t ceid[2];
	uint64_t mmir;
	bool fgt;                    /* FEAT_FGT */
	bool el3;                    /* NSK, NSU and M exist */
	bool no_el2;                 /* NSH is RES0 */
	bool aarch32;                /* PMCR.LC and D are RW; else LC is RES1, D RES0 */
	/* Without FEAT_FGT, counters at or above N are: UNDEF, or RAZ/WI (K1.2.6). */
	bool out_of_range_raz;
	bool hpmn0;                  /* FEAT_HPMN0; else HPMN 0 is as N */
	uint32_t hpmn_holes;         /* enum model_hpmn_hole: not the architecture's */
	/* Does event (event) exist? NULL: common events by PMCEID, all others yes. */
	bool (*exists)(const void *context, uint32_t event);
	const void *exists_context;
};

struct model_pmu {
	struct model_config config;
	uint64_t pmcr;               /* RW bits only */
	uint64_t pmcnten;
	uint64_t pminten;
	uint64_t pmovs;
	uint64_t pmselr;
	uint64_t pmuserenr;
	uint64_t pmevcntr[VPMU_ARM_EVENTS_MAX];
	uint64_t pmevtyper[VPMU_ARM_EVENTS_MAX];
	uint64_t pmccntr;
	uint64_t pmccfiltr;
	uint64_t mdcr_el2;
	uint64_t hdfgrtr_el2;
	uint64_t hdfgwtr_el2;
	uint64_t divider;            /* cycles not yet counted by PMCR.D, 0..63; not readable */
	uint64_t line_history;       /* bit k: the interrupt line k samples ago */
};

enum model_result {
	MODEL_EXECUTED,
	MODEL_UNDEF,                 /* EC 0 */
	MODEL_TRAP_EL1,              /* EC 0x18 to EL1 */
	MODEL_TRAP_EL2,              /* EC 0x18 to EL2 */
};

struct model_event_count {
	uint32_t event;
	uint64_t n;
};

/* What happens while some instructions execute at one exception level. */
struct model_events {
	uint64_t instructions;       /* event 0x08 */
	uint64_t cycles;             /* event 0x11, and PMCCNTR_EL0 */
	const struct model_event_count *others;
	size_t other_count;
};

/*
 * model_pmu_reset() - a Warm reset. What the architecture leaves UNKNOWN is filled with rubbish
 * made from (seed), within the implemented bits; seed 0 makes it 0 and clears all traps (HPMN is
 * N in both cases).
 */
void model_pmu_reset(struct model_pmu *pmu, const struct model_config *config, uint64_t seed);

/*
 * model_guest_access() - MRS or MSR of (reg) at EL0 or EL1 (el), (*value) is read or written.
 * Anything that is not a PMU register, or not in this version, is UNDEF.
 */
enum model_result model_guest_access(struct model_pmu *pmu, unsigned int el, uint32_t reg,
				     bool write, uint64_t *value);

/* model_el2_access() - the same at EL2, with EL2's own registers. returns: false: UNDEF. */
bool model_el2_access(struct model_pmu *pmu, uint32_t reg, bool write, uint64_t *value);

/* model_retire() - the CPU executed at EL (el), 0..2, with these events. */
void model_retire(struct model_pmu *pmu, unsigned int el, const struct model_events *events);

/*
 * model_counts() - would counter (i), 31 is PMCCNTR, count its event at (el)?
 * AArch64.CountPMUEvents().
 */
bool model_counts(const struct model_pmu *pmu, unsigned int i, unsigned int el);

/* model_interrupt() - the level of the overflow interrupt (D13.3.1). */
bool model_interrupt(const struct model_pmu *pmu);

/*
 * model_interrupt_sample() - one step of the path from the PMU to whoever takes the interrupt.
 * model_interrupt_late() - the level as it was (steps) samples ago, 0..63.
 */
void model_interrupt_sample(struct model_pmu *pmu);
bool model_interrupt_late(const struct model_pmu *pmu, unsigned int steps);

#endif
