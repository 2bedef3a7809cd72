/* SPDX-License-Identifier: MIT */
/*
 * A local APIC (SDM Vol. 3A chapter 11), in xAPIC and x2APIC mode, of a machine with one CPU: what
 * goes to others goes nowhere. Times are in cycles of the PC, which are also those of its bus.
 */
#ifndef VPMU_PC_LAPIC_H
#define VPMU_PC_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

enum { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

struct pc_lapic {
	uint64_t base; /* IA32_APIC_BASE */
	uint32_t id;
	bool lvtpc_masks_itself;
	uint32_t tpr, ldr, dfr, svr, esr, esr_next;
	uint32_t isr[8], tmr[8], irr[8];
	uint32_t lvt[LVT_COUNT];
	uint64_t icr;
	uint32_t initial, divide;
	uint64_t timer_base;   /* when the current count was `initial` */
	uint64_t tsc_deadline; /* in TSC units, 0: not armed */
	bool timer_runs;
	bool nmi, init, sipi;  /* arrived, for the CPU to take */
	bool lvtpc_changed;
};

void lapic_reset(struct pc_lapic *apic);
/* Register at `offset` (0x20, 0x30 ...), 32 bits. */
uint32_t lapic_read(struct pc_lapic *apic, uint32_t offset, uint64_t now);
void lapic_write(struct pc_lapic *apic, uint32_t offset, uint32_t value, uint64_t now);
/* MSRs 0x800 to 0x8ff. False: #GP. */
bool lapic_x2_read(struct pc_lapic *apic, uint32_t index, uint64_t *value, uint64_t now);
bool lapic_x2_write(struct pc_lapic *apic, uint32_t index, uint64_t value, uint64_t now);
/* IA32_APIC_BASE. False: #GP. */
bool lapic_set_base(struct pc_lapic *apic, uint64_t value);

/* The highest vector that the CPU would take with interrupts on, or -1. */
int lapic_pending(const struct pc_lapic *apic);
/* Takes it: IRR to ISR. */
void lapic_accept(struct pc_lapic *apic, int vector);
/* Raises what an LVT entry says. False: masked or not deliverable. */
bool lapic_lvt(struct pc_lapic *apic, unsigned int entry);

/* When the timer fires next, ~0 for never. `tsc` is what the TSC has more than the cycles. */
uint64_t lapic_deadline(const struct pc_lapic *apic, uint64_t tsc);
/* Fires it if it is due. */
void lapic_tick(struct pc_lapic *apic, uint64_t now, uint64_t tsc);

#endif
