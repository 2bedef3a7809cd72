/* SPDX-License-Identifier: MIT */
/*
 * hardware/x86/x86_hw.h - `struct vpmu_hw` for the PMU of an x86 CPU, for VMX and SVM hypervisors.
 *
 * It knows which registers an operation takes; the hypervisor says how they are reached (struct
 * vpmu_x86_port). Intel architectural performance monitoring from version 1, AMD from the K7
 * counters on. Mediated guests take Intel version 4 with full-width writes, or AMD PerfMonV2
 * (vpmu_x86_vm_init()).
 *
 * Selectors are shadowed: select() of a stopped counter costs nothing, start() writes only
 * registers that differ, and all fixed counters share one write. What the registers of counters
 * hold that boundary() gave to the host is forgotten, because the host's PMU driver writes what it
 * likes.
 *
 * Freestanding; no globals, no allocation.
 */
#ifndef VPMU_X86_HW_H
#define VPMU_X86_HW_H

#include <vpmu/hardware.h>
#include <vpmu/x86.h>

#define VPMU_X86_HW_GP_MAX 14u   /* that architectural MSRs have room for */

/*
 * What the hypervisor executes, on the CPU that the object belongs to and in host ring 0.
 * (context): vpmu_x86_hw.context.
 *  1. None may fail: only MSRs that the PMU described in vpmu_x86_hw_init() has are accessed, and
 *     only legal values written.
 *  2. They are called as the operations of hardware.h are: [cpu], interrupts off, never from NMI.
 */
struct vpmu_x86_port {
	uint32_t size;               /* sizeof(struct vpmu_x86_port), for later growth */
	uint64_t (*rdmsr)(void *context, uint32_t index);
	void (*wrmsr)(void *context, uint32_t index, uint64_t value);
	uint64_t (*rdpmc)(void *context, uint32_t index);
	/* The LVT performance counter entry of the physical local APIC. */
	void (*set_lvtpc)(void *context, uint32_t value);
	/*
	 * Intel. While switch_global() has said (on), VM entry loads the guest's copy of
	 * IA32_PERF_GLOBAL_CTRL, and VM exit saves it there and loads (host): by fields of the
	 * VMCS, or by the MSR-load and MSR-store lists. While it has said off, as at first, entry
	 * and exit leave the register alone. No PMU register accesses, on neither side. All three
	 * belong to the physical CPU: an embedder with one VMCS per guest puts them into the one
	 * that it enters. NULL, all three, for a hypervisor that can do neither: it has no mediated
	 * guests (RULES A4). AMD: NULL.
	 */
	uint64_t (*guest_global)(void *context);
	void (*set_guest_global)(void *context, uint64_t value);
	void (*switch_global)(void *context, bool on, uint64_t host);
	/* Nanoseconds, monotonic, for the times of host events. NULL: they have none. */
	uint64_t (*time)(void *context);
};

struct vpmu_x86_hw {
	struct vpmu_hw hw;           /* first: the operations get back from here */
	const struct vpmu_x86_port *port;
	void *context;
	struct vpmu_x86_model pmu;   /* of the CPU */
	uint8_t vector;
	uint64_t host_global;        /* the host's own, last known */
	uint64_t outside;            /* Intel: what GLOBAL_CTRL has outside guests meanwhile */
	uint64_t host;               /* counters that boundary() gave to the host */
	bool has_guest;              /* boundary() gave counters to one */
	bool open;                   /* which writes selectors itself: shadows are out of date */
	uint64_t guest;              /* what set_global() was last given for it */
	uint64_t inside;             /* of host events: counters that count in guests, and outside */
	uint64_t beyond;
	uint64_t known;              /* counters whose `written` is what the register holds */
	uint64_t selected;           /* counters that select() was called for */
	uint64_t started;
	uint64_t selector[VPMU_COUNTER_MAX];
	uint64_t written[VPMU_COUNTER_MAX];
};

/*
 * vpmu_x86_hw_init() - a backend for the CPU's PMU, (pmu) as CPUID describes the machine and not a
 * guest. While a guest owns the PMU, overflows raise the fixed vector (vector), 16..255, whose
 * handler calls vpmu_cpu_pmi(); else an NMI. Touches no register.
 * returns: 0; VPMU_ERR_SIZE: a size member is wrong; VPMU_ERR_PARAM: a count, width or vector out
 * of range, or a member of (port) missing.
 * Context: [init].
 */
int vpmu_x86_hw_init(struct vpmu_x86_hw *x86, const struct vpmu_x86_model *pmu,
		     const struct vpmu_x86_port *port, void *context, uint8_t vector);

#endif
