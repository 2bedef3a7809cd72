/* SPDX-License-Identifier: MIT */
/*
 * gic.h - GICv3 registers (IHI 0069) shared by gic.c and vgic.c, and access to the physical ones.
 */
#ifndef VPMU_EL2_GIC_H
#define VPMU_EL2_GIC_H

#include <stdbool.h>
#include <stdint.h>

#include "arch.h"

#define GICD_CTLR       0x0000u
#define GICD_TYPER      0x0004u
#define GICD_IIDR       0x0008u
#define GICD_IROUTER    0x6000u
#define GIC_ID_REGS     0xFFD0u

#define GICD_CTLR_GRP0  BIT(0)
#define GICD_CTLR_GRP1  BIT(1)
#define GICD_CTLR_ARE   BIT(4)
#define GICD_CTLR_DS    BIT(6)
#define GICD_CTLR_RWP   BIT(31)

#define GICR_CTLR       0x0000u
#define GICR_IIDR       0x0004u
#define GICR_TYPER      0x0008u
#define GICR_WAKER      0x0014u
#define GICR_SGI_FRAME  0x10000u

#define GICR_CTLR_RWP   BIT(3)
#define GICR_CTLR_UWP   BIT(31)
#define GICR_TYPER_VLPIS BIT(1)
#define GICR_TYPER_LAST BIT(4)
#define GICR_WAKER_SLEEP BIT(1)
#define GICR_WAKER_CHILDREN BIT(2)

/* The same offsets in GICD and in a redistributor's SGI frame. */
#define GIC_IGROUPR     0x0080u
#define GIC_ISENABLER   0x0100u
#define GIC_ICENABLER   0x0180u
#define GIC_ISPENDR     0x0200u
#define GIC_ICPENDR     0x0280u
#define GIC_ISACTIVER   0x0300u
#define GIC_ICACTIVER   0x0380u
#define GIC_IPRIORITYR  0x0400u
#define GIC_ICFGR       0x0C00u

/* ICH_LR<n>_EL2; the upper half as kept in struct irq_desc. */
#define LR_PENDING      BIT(62)
#define LR_ACTIVE       BIT(63)
#define LR_HW           BIT(61)
#define LR_GROUP1       BIT(60)
#define LR_EOI          BIT(41)
#define LR_PRIORITY(lr) ((uint32_t)FIELD(lr, 48, 8))
#define LR_INTID(lr)    ((uint32_t)(lr))
#define LR_UPPER        48

static inline uint32_t gic_read(uintptr_t base, uint32_t offset)
{
	return *(volatile uint32_t *)(base + offset);
}

static inline void gic_write(uintptr_t base, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(base + offset) = value;
}

static inline uint64_t gic_read64(uintptr_t base, uint32_t offset)
{
	return *(volatile uint64_t *)(base + offset);
}

static inline void gic_write64(uintptr_t base, uint32_t offset, uint64_t value)
{
	*(volatile uint64_t *)(base + offset) = value;
}

struct cpu;

/* Waits until the GIC has seen writes of enables: of the distributor, of a redistributor. */
void gic_wait_distributor(void);
void gic_wait_redistributor(uintptr_t gicr);
/* Bytes from one redistributor to the next. */
uint64_t gicr_size(uint64_t typer);
/* Where the set, clear and configuration registers of (word) are: GICD, or the CPU's SGI frame. */
uintptr_t gic_bank(struct cpu *c, unsigned int word);
uint64_t gic_read_lr(unsigned int n);
void gic_write_lr(unsigned int n, uint64_t value);
/* Rebuilds an irq_desc from the guest's group and priority. */
void gic_describe(struct cpu *c, uint32_t intid, bool group1);

#endif
