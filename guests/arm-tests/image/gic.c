/* SPDX-License-Identifier: MIT */
/* GICv3 of QEMU's virt board: private interrupts of each CPU, group 1, one priority. */
#include "cpu.h"

#define GICD_BASE UINT64_C(0x08000000)
#define GICR_BASE UINT64_C(0x080a0000)
#define GICR_STRIDE UINT64_C(0x20000)

#define GICD_CTLR 0x0000u
#define GICD_CTLR_GRP1 (1u << 1)
#define GICD_CTLR_ARE (1u << 4)

#define GICR_TYPER 0x0008u
#define GICR_TYPER_LAST (1u << 4)
#define GICR_WAKER 0x0014u
#define GICR_WAKER_PROCESSOR_SLEEP (1u << 1)
#define GICR_WAKER_CHILDREN_ASLEEP (1u << 2)

/* The SGI and PPI frame of a redistributor. */
#define GICR_SGI UINT64_C(0x10000)
#define GICR_IGROUPR0 (GICR_SGI + 0x080)
#define GICR_ISENABLER0 (GICR_SGI + 0x100)
#define GICR_ICENABLER0 (GICR_SGI + 0x180)
#define GICR_ISPENDR0 (GICR_SGI + 0x200)
#define GICR_IPRIORITYR (GICR_SGI + 0x400)

#define PRIORITY 0xa0u
#define WAKE_TRIES 1000000u	/* a GIC that never wakes must not hang the tests */

/* Base register alone: a hypervisor that emulates the GIC gets no syndrome for other forms. */
static uint32_t get(uint64_t address)
{
	uint32_t value;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static void put(uint64_t address, uint32_t value)
{
	__asm__ volatile("str %w0, [%1]" : : "r"(value), "r"(address) : "memory");
}

static void barrier(void)
{
	__asm__ volatile("dsb sy\n\tisb" : : : "memory");
}

/* The frame whose affinity is this CPU's; the first one if none is. */
static uint64_t find_redistributor(void)
{
	uint32_t affinity = (uint32_t)sysreg_read("mpidr_el1") & 0xffffff;
	uint64_t base = GICR_BASE;

	for (;; base += GICR_STRIDE) {
		if ((get(base + GICR_TYPER + 4) & 0xffffff) == affinity)
			return base;
		if (get(base + GICR_TYPER) & GICR_TYPER_LAST)
			return GICR_BASE;
	}
}

static void wake(uint64_t gicr)
{
	unsigned tries;

	put(gicr + GICR_WAKER, get(gicr + GICR_WAKER) & ~GICR_WAKER_PROCESSOR_SLEEP);
	for (tries = 0; tries < WAKE_TRIES; tries++) {
		if (!(get(gicr + GICR_WAKER) & GICR_WAKER_CHILDREN_ASLEEP))
			return;
	}
}

void gic_start(struct cpu *cpu)
{
	unsigned i;

	put(GICD_BASE + GICD_CTLR, get(GICD_BASE + GICD_CTLR) | GICD_CTLR_ARE | GICD_CTLR_GRP1);
	cpu->gicr = find_redistributor();
	wake(cpu->gicr);
	put(cpu->gicr + GICR_IGROUPR0, ~0u);
	put(cpu->gicr + GICR_ICENABLER0, ~0u);
	for (i = 0; i < 32; i += 4)
		put(cpu->gicr + GICR_IPRIORITYR + i, PRIORITY * 0x01010101u);
	barrier();
	sysreg_write("s3_0_c12_c12_5", 1);	/* ICC_SRE_EL1.SRE */
	sysreg_write("s3_0_c4_c6_0", 0xff);	/* ICC_PMR_EL1 */
	sysreg_write("s3_0_c12_c12_4", 0);	/* ICC_CTLR_EL1: EOI drops and deactivates */
	sysreg_write("s3_0_c12_c12_7", 1);	/* ICC_IGRPEN1_EL1 */
}

void gic_enable(unsigned intid)
{
	put(cpu_self()->gicr + GICR_ISENABLER0, 1u << intid);
	barrier();
}

void gic_disable(unsigned intid)
{
	put(cpu_self()->gicr + GICR_ICENABLER0, 1u << intid);
	barrier();
}

bool gic_pending(unsigned intid)
{
	return get(cpu_self()->gicr + GICR_ISPENDR0) & (1u << intid);
}

uint32_t gic_acknowledge(void)
{
	return (uint32_t)sysreg_read("s3_0_c12_c12_0");	/* ICC_IAR1_EL1 */
}

void gic_end(uint32_t intid)
{
	sysreg_write("s3_0_c12_c12_1", intid);		/* ICC_EOIR1_EL1 */
}

void irq_unmask(void)
{
	__asm__ volatile("msr daifclr, #2\n\tisb" : : : "memory");
}

void irq_mask(void)
{
	__asm__ volatile("msr daifset, #2\n\tisb" : : : "memory");
}
