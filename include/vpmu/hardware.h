/* SPDX-License-Identifier: MIT */
/*
 * vpmu/hardware.h - the seam to the PMU of one physical CPU.
 *
 * A backend (hardware/armv8, hardware/model, an embedder's own) gives one `struct vpmu_hw` per
 * physical CPU. The operations speak of counters: bit i of a mask and index i always mean counter i.
 * On Arm, 0..30 are event counters and 31 is the cycle counter (the layout of PMCNTENSET_EL0); on x86,
 * 0..31 are general-purpose and 32.. fixed counters (the layout of IA32_PERF_GLOBAL_CTRL). The *order*
 * of operations is core's (core/mediated.c); the backend executes each one at once.
 *
 * Clauses that hold for every operation:
 *  1. Context: [cpu], called on the CPU it drives, interrupts off, never from NMI. May not sleep.
 *  2. It cannot fail, and touches only the counters and bits it was given.
 *  3. Masks never have a bit outside caps.counters; indices are < VPMU_COUNTER_MAX and implemented.
 *  4. Every read or write of a PMU register adds one to vpmu_hw.accesses. Configuring interception
 *     (MDCR_EL2, HDFGxTR_EL2, MSR bitmaps) is not a PMU register access.
 *  5. Effects are visible to the guest's next instruction after enter and to the next operation; the
 *     backend issues the barriers the architecture asks for.
 *  6. Deviations of a particular machine are worked around inside the backend, where a comment names them.
 */
#ifndef VPMU_HARDWARE_H
#define VPMU_HARDWARE_H

#include <stdint.h>

#define VPMU_COUNTER_MAX 64u

/* How counters stop when the guest exits (RULES A4). */
enum vpmu_boundary {
	/*
	 * Nothing stops them: core clears the enable in the global control word at exit and writes it
	 * back at enter (3 accesses). Arm before PMUv3p5, where PMCCNTR_EL0 counts at EL2 if NSH says so.
	 */
	VPMU_BOUNDARY_NONE,
	/* A bit of each selector does, which core sets in all of them. AMD: GuestOnly. */
	VPMU_BOUNDARY_GATED,
	/*
	 * The hardware does, in the same step as the exit. Arm PMUv3p5: MDCR_EL2.HPMD and HCCD. Intel:
	 * GLOBAL_CTRL by the VMCS or the MSR-load lists. Then global() and set_global() are about the
	 * guest's copy, and boundary() puts the host's in and out of the way.
	 */
	VPMU_BOUNDARY_ATOMIC,
};

/*
 * How much the guest reaches without a trap; each level includes the one before. "Reach" decides what
 * can differ at a save (RULES A2).
 */
enum vpmu_reach {
	/* Every access traps. */
	VPMU_REACH_NONE,
	/*
	 * Global control, enables, interrupt enables, status, pointer, user access, the cycle counter. The
	 * values of event counters and software increments (Arm PMEVCNTRn, PMSWINC) trap, so a counter
	 * with selector 0 and value 0 keeps them.
	 */
	VPMU_REACH_CONTROL,
	/* And the values of all event counters. Selectors and identification still trap. */
	VPMU_REACH_COUNTERS,
	/* And selectors: nothing traps. */
	VPMU_REACH_ALL,
};

/* Who receives the overflow interrupt of this CPU's PMU. */
enum vpmu_route { VPMU_ROUTE_HOST, VPMU_ROUTE_GUEST };

struct vpmu_hw_caps {
	uint64_t counters;           /* implemented counters */
	uint64_t selectable;         /* those of them that have a selector (Arm: all, 31 is PMCCFILTR) */
	uint64_t direct_values;      /* values direct at VPMU_REACH_CONTROL (Arm: the cycle counter) */
	uint64_t status;             /* bits of the status that are no counter's (x86: CTR_Frz) */
	uint64_t global_enable;      /* the bits of the global control word that let counters count */
	uint64_t global_reset;       /* global control word in HOST: nothing enabled */
	uint8_t  boundary;           /* enum vpmu_boundary */
	uint8_t  fine_traps;         /* 1: VPMU_REACH_CONTROL and _COUNTERS exist; 0: only NONE and ALL */
	/*
	 * 1: these describe less than there is (counters or events kept back from all guests), which a guest
	 * with direct access would find: always VPMU_REACH_NONE.
	 */
	uint8_t  reduced;
	/* Selectors can count other hardware threads (Arm PMEVTYPER.MT): never VPMU_REACH_ALL. */
	uint8_t  multithreaded;
	uint64_t host_counters;      /* counters that host events can use (vpmu/host.h), if there is host() */
	uint8_t  host_width;         /* their bits that are counted, 1 to 64 */
	/*
	 * Periods of host events are rounded up to a multiple of this, a power of two, for machines that lose
	 * overflows at other distances; 0 is 1.
	 */
	uint8_t  host_granule;
	/* 1: one enable for all counters in the global control word (Arm PMCR.E), 0: one each. */
	uint8_t  shared_enable;
	uint8_t  status_set;         /* 1: status_set works (x86: not before Intel v4, AMD PerfMonV2) */
	uint8_t  exact_writes;       /* 1: write takes all bits (Intel: FW_WRITES) */
	uint8_t  self_masking;       /* 1: the interrupt's route masks itself when it fires (Intel) */
	/*
	 * 1: a guest with direct registers reaches the counters that boundary() gave it and no other, where these
	 * are the first (partition_least) or more event counters, and fewer than all (Arm: MDCR_EL2.HPMN). As
	 * proved on this CPU, never as advertised (RULES B2).
	 */
	uint8_t  partitions;
	uint8_t  partition_least;
	/* PMU version, comparable by number (Arm: ID_AA64DFR0_EL1.PMUVer). */
	uint8_t  version;
	/*
	 * What a guest with direct access would identify, in the architecture's words. Arm: PMCEID0, PMCEID1,
	 * PMMIR, PMCR[31:16]. x86: VPMU_X86_IDENTITY(), available architectural events.
	 */
	uint64_t identity[4];
};

/*
 * identity[0] on x86: enum vpmu_x86_vendor + 1, widths in bits, and what a selector or a direct register could
 * reach: IN_TX and IN_TXCP are legal; there is no PERF_METRICS behind GLOBAL_CTRL and RDPMC.
 */
#define VPMU_X86_IDENTITY_TSX ((uint64_t)1 << 24)
#define VPMU_X86_IDENTITY_NO_METRICS ((uint64_t)1 << 25)
#define VPMU_X86_IDENTITY(vendor, gp_width, fixed_width) \
	(((uint64_t)(vendor) + 1) | (uint64_t)(gp_width) << 8 | (uint64_t)(fixed_width) << 16)

struct vpmu_hw;

/*
 * On x86 a selector holds its own enable and interrupt bits, and select() is given them as far as policy
 * allows; all of it is decided in a trap. So there select() may wait for start() to write the register of a
 * counter that is stopped, stop() writes 0, and interrupts_set() and interrupts_clear() do nothing.
 */
struct vpmu_hw_ops {
	uint32_t size;               /* sizeof(struct vpmu_hw_ops), for later growth */

	/* Clears / sets the enable bits of the counters in (mask). Arm: PMCNTENCLR, PMCNTENSET. */
	void (*stop)(struct vpmu_hw *hw, uint64_t mask);
	void (*start)(struct vpmu_hw *hw, uint64_t mask);
	/* returns: which counters have their enable bit set. */
	uint64_t (*started)(struct vpmu_hw *hw);

	/* Value of counter (i), all its bits. Arm: PMCCNTR, PMEVCNTRn. */
	uint64_t (*read)(struct vpmu_hw *hw, unsigned int i);
	void (*write)(struct vpmu_hw *hw, unsigned int i, uint64_t value);

	/* Selector of counter (i), vendor-encoded; core has already filtered it (policy, NSH). */
	void (*select)(struct vpmu_hw *hw, unsigned int i, uint64_t selector);
	uint64_t (*selected)(struct vpmu_hw *hw, unsigned int i);

	/* Overflow status. Arm: PMOVSSET (read, set), PMOVSCLR. */
	uint64_t (*status)(struct vpmu_hw *hw);
	void (*status_clear)(struct vpmu_hw *hw, uint64_t mask);
	void (*status_set)(struct vpmu_hw *hw, uint64_t mask);

	/* Per-counter overflow interrupt enable. Arm: PMINTENSET, PMINTENCLR. */
	uint64_t (*interrupts)(struct vpmu_hw *hw);
	void (*interrupts_clear)(struct vpmu_hw *hw, uint64_t mask);
	void (*interrupts_set)(struct vpmu_hw *hw, uint64_t mask);

	/* Global control word. Arm: PMCR_EL0 without its write-only bits. */
	uint64_t (*global)(struct vpmu_hw *hw);
	void (*set_global)(struct vpmu_hw *hw, uint64_t value);

	/* User access and indirect pointer. Arm: PMUSERENR_EL0, PMSELR_EL0. x86: NULL. */
	uint64_t (*user)(struct vpmu_hw *hw);
	void (*set_user)(struct vpmu_hw *hw, uint64_t value);
	uint64_t (*pointer)(struct vpmu_hw *hw);
	void (*set_pointer)(struct vpmu_hw *hw, uint64_t value);

	/*
	 * Whose counters count on which side of the boundary: those in (guest) only between enter and
	 * exit, those in (host) only outside. Arm p5: HPMD, HCCD. With caps.partitions, (guest) is also all that
	 * direct registers reach (HPMN), and the enables of the other counters are not in the global control
	 * word (HPME). Counters of host events that this moves from one enable to the other count on all the time.
	 */
	void (*boundary)(struct vpmu_hw *hw, uint64_t guest, uint64_t host);
	/*
	 * What the guest reaches from its next instruction on. Arm: MDCR_EL2.TPM, HDFGxTR_EL2. x86: the
	 * embedder's intercepts follow vpmu_x86_intercepts(); nothing is to be done.
	 */
	void (*reach)(struct vpmu_hw *hw, enum vpmu_reach reach);
	/*
	 * Interrupt routing between host and guest; (masked) as the guest's LVTPC asks. NULL where the
	 * line is attributed by status alone (Arm: one level-sensitive PPI).
	 */
	void (*route)(struct vpmu_hw *hw, enum vpmu_route route, int masked);

	/* ---- Host events. NULL, all three: there are none. ---- */

	/*
	 * A selector for host event (event), vendor-encoded, on counter (i), which is stopped; (flags): enum
	 * vpmu_host_flags. On which side of the boundary it counts is in the selector, where the architecture
	 * can say it there (AMD GuestOnly and HostOnly, Arm P, U and NSH).
	 */
	void (*host_select)(struct vpmu_hw *hw, unsigned int i, uint64_t event, unsigned int flags);
	/*
	 * The counters of host events that count between enter and exit (inside), and elsewhere (outside).
	 * From now on their global enables are kept on that side, whatever boundary() and set_global() say.
	 * With shared_enable, the word set_global() is given is completed so that they count, unless they are beyond
	 * what boundary() gave to a guest, with caps.partitions.
	 */
	void (*host)(struct vpmu_hw *hw, uint64_t inside, uint64_t outside);
	/* Nanoseconds, monotonic; no PMU register access. May be NULL on its own. */
	uint64_t (*time)(struct vpmu_hw *hw);
};

enum vpmu_host_flags {
	VPMU_HOST_USER = 1,
	VPMU_HOST_KERNEL = 2,
	VPMU_HOST_INSIDE = 4,
	VPMU_HOST_OUTSIDE = 8,
	VPMU_HOST_INTERRUPT = 16,
};

/* One physical PMU. Embedded first in the backend's own object; does not move while in use. */
struct vpmu_hw {
	const struct vpmu_hw_ops *ops;
	struct vpmu_hw_caps caps;    /* constant once the backend has initialised it */
	uint64_t accesses;           /* PMU register accesses so far (clause 4) */
};

#endif
