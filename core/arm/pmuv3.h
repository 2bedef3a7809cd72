/* SPDX-License-Identifier: MIT */
/* core/arm/pmuv3.h - bits of the PMUv3 registers, and the register table's row. DDI 0487 D24.5. */
#ifndef VPMU_CORE_ARM_PMUV3_H
#define VPMU_CORE_ARM_PMUV3_H

#include <vpmu/arm.h>

#include "../internal.h"

#define PMCR_E VPMU_BIT(0)
#define PMCR_P VPMU_BIT(1)   /* write-only: zeroes the event counters */
#define PMCR_C VPMU_BIT(2)   /* write-only: zeroes the cycle counter */
#define PMCR_DP VPMU_BIT(5)
#define PMCR_LC VPMU_BIT(6)  /* RES1: the guest has no AArch32 */
#define PMCR_LP VPMU_BIT(7)  /* from PMUv3p5 */
#define PMCR_N_SHIFT 11
#define PMCR_ID_SHIFT 16

#define PMUSERENR_EN 0x1u
#define PMUSERENR_SW 0x2u
#define PMUSERENR_CR 0x4u
#define PMUSERENR_ER 0x8u
#define PMUSERENR_MASK 0xFu

#define EVTYPER_P VPMU_BIT(31)  /* do not count at EL1 */
#define EVTYPER_U VPMU_BIT(30)  /* do not count at EL0 */

#define PMSELR_MASK 0x1Fu

#define EVENT_SW_INCR 0x00u
#define EVENT_INST_RETIRED 0x08u
#define EVENT_CPU_CYCLES 0x11u
#define EVENT_CHAIN 0x1Eu
#define EVENT_STALL_SLOT_FIRST 0x3Du  /* STALL_SLOT_BACKEND, _FRONTEND, STALL_SLOT */
#define EVENT_STALL_SLOT_LAST 0x3Fu

#define CYCLE_BIT VPMU_BIT(VPMU_ARM_CYCLE)

/* One access under way, after decoding. */
struct arm_access {
	struct vpmu_vcpu *v;
	const struct vpmu_arm_model *model;
	struct vpmu_change change;
	unsigned int n;      /* which counter */
	uint8_t el;
};

/* Which counter a row is about. */
enum arm_index {
	ARM_INDEX_NONE,
	ARM_INDEX_MEMBER,    /* PMEVCNTRn: the member of the family */
	ARM_INDEX_CYCLE,
	ARM_INDEX_TYPER,     /* PMXEVTYPER: PMSELR, 31 is the cycle counter */
	ARM_INDEX_COUNTER,   /* PMXEVCNTR: PMSELR, 31 is UNDEF */
};

struct arm_reg {
	struct vpmu_arm_reg_info info;
	uint32_t uses;       /* items that a handler looks at or changes */
	enum arm_index index;
	uint64_t (*read)(struct arm_access *a);
	void (*write)(struct arm_access *a, uint64_t value);
};

/* table.c: the row of (reg), and in (*member) which of a family (else meaningless); NULL: not a PMU register. */
const struct arm_reg *vpmu_arm_table_find(uint32_t reg, unsigned int *member);

/* model.c */
const struct vpmu_arm_model *vpmu_arm_model(const struct vpmu_vm *vm);
uint64_t vpmu_arm_global_mask(const struct vpmu_arm_model *m);
uint64_t vpmu_arm_selector_mask(const struct vpmu_arm_model *m, unsigned int i);
uint64_t vpmu_arm_value_mask(const struct vpmu_arm_model *m, unsigned int i);
/* Does counter (i) count at exception level (el) as far as its filter bits go? */
bool vpmu_arm_counts_at(uint64_t selector, unsigned int el);
uint64_t vpmu_arm_add(const struct vpmu_vm *vm, struct vpmu_state *s, unsigned int i, bool user,
		      uint64_t n);

/* access.c: the handlers that the table names */
uint64_t vpmu_arm_read_pmcr(struct arm_access *a);
void vpmu_arm_write_pmcr(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_enabled(struct arm_access *a);
void vpmu_arm_write_cntenset(struct arm_access *a, uint64_t value);
void vpmu_arm_write_cntenclr(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_status(struct arm_access *a);
void vpmu_arm_write_ovsset(struct arm_access *a, uint64_t value);
void vpmu_arm_write_ovsclr(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_interrupts(struct arm_access *a);
void vpmu_arm_write_intenset(struct arm_access *a, uint64_t value);
void vpmu_arm_write_intenclr(struct arm_access *a, uint64_t value);
void vpmu_arm_write_swinc(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_selr(struct arm_access *a);
void vpmu_arm_write_selr(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_ceid0(struct arm_access *a);
uint64_t vpmu_arm_read_ceid1(struct arm_access *a);
uint64_t vpmu_arm_read_mmir(struct arm_access *a);
uint64_t vpmu_arm_read_counter(struct arm_access *a);
void vpmu_arm_write_counter(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_typer(struct arm_access *a);
void vpmu_arm_write_typer(struct arm_access *a, uint64_t value);
uint64_t vpmu_arm_read_userenr(struct arm_access *a);
void vpmu_arm_write_userenr(struct arm_access *a, uint64_t value);

#endif
