/* SPDX-License-Identifier: MIT */
/*
 * hardware/model/model_hw.h - `struct vpmu_hw` over the software PMUv3: each operation is the MRS
 * or MSR that a backend at EL2 would execute, with the instructions around it.
 *
 * It is stricter than hardware: it counts EL2's own instructions, so that a switch that leaves a
 * counter running at the boundary miscounts (RULES F5); it records violations of hardware.h and
 * of RULES A3 to A5; and it calls out around every access, where a test puts an NMI.
 */
#ifndef VPMU_MODEL_OPS_H
#define VPMU_MODEL_OPS_H

#include <vpmu/hardware.h>

#include "model_pmu.h"

/* One PMU register access of EL2. */
struct model_access {
	uint32_t reg;
	bool write;
	uint64_t value;
};

struct model_hw {
	struct vpmu_hw hw;           /* first: the operations get back from here */
	struct model_pmu *pmu;
	bool guest_runs;             /* set by the test between enter and exit */
	/* What EL2 executes on each side of an access; NULL: nothing. */
	const struct model_events *cost;
	/* Called before and after every access, for instance as an NMI. NULL: nobody. */
	void (*hook)(struct model_hw *mhw, void *context);
	void *hook_context;
	/*
	 * The caller's storage; accesses beyond (trace_size) are counted and lost. NULL: no
	 * trace.
	 */
	struct model_access *trace;
	size_t trace_size;
	size_t trace_count;
	uint64_t violations;
	const char *violation;       /* the first one */
	uint64_t guest;              /* counters that boundary() gave to a guest */
	uint64_t inside;             /* of host events: counters that count in guests, and outside */
	uint64_t outside;
	uint32_t reach;              /* enum vpmu_reach */
	uint32_t hpmn;               /* event counters in range 1 */
	uint64_t global;             /* what set_global() was last given, while PMCR.E is shared */
	const char *unpartitioned;   /* why caps.partitions is 0 */
	uint64_t time;               /* nanoseconds, passed on by the test */
};

/*
 * model_hw_init() - a backend for (pmu), which is in the state that model_pmu_reset() leaves.
 * EL2's set-up as the monitor's: HPMN is N, range 2 off, everything intercepted, HPMD and HCCD
 * off. caps.partitions says what model_probe() found.
 */
void model_hw_init(struct model_hw *mhw, struct model_pmu *pmu);

/*
 * model_probe() - is HPMN enforced? What the monitor does at its start, on a copy of (pmu). returns: NULL: yes;
 * else why not. (*least): the smallest HPMN.
 */
const char *model_probe(const struct model_pmu *pmu, unsigned int *least);

/* The machine classes that behave differently (arm.md 8.1). All have 6 counters, as in QEMU. */
enum model_class {
	MODEL_P5_HPMN,               /* as the architecture says: p5, fine-grained traps, HPMN is enforced */
	MODEL_P5_FGT,                /* QEMU 10 "max": p5, fine-grained traps, HPMN is not enforced */
	MODEL_P5,                    /* QEMU 7.2 "max": p5 without them */
	MODEL_P1,                    /* neoverse-n1: HPMD, no HCCD, no fine-grained traps */
	MODEL_V3,                    /* cortex-a57: neither */
	MODEL_CLASSES,
};

/*
 * model_class_config() - the configuration of a class, as real parts are: EL3, every common event
 * below.
 */
void model_class_config(enum model_class class, struct model_config *config);

#endif
