/* SPDX-License-Identifier: MIT */
/*
 * hardware/model/x86_cpu.h - a physical x86 CPU for tests: the software PMU of x86_pmu.h, and the
 * backend of hardware/x86 whose accesses execute on it in host ring 0.
 *
 * It is stricter than hardware: it counts the host's own instructions, so that a switch that leaves
 * a counter running at the boundary miscounts (RULES A4, F5); it records violations of hardware.h
 * and of RULES A3 to A5; and it calls out around every access, where a test puts an NMI.
 */
#ifndef VPMU_MODEL_X86_CPU_H
#define VPMU_MODEL_X86_CPU_H

#include "x86_hw.h"
#include "x86_pmu.h"

enum x86_cpu_op {
	X86_CPU_RDMSR,
	X86_CPU_WRMSR,
	X86_CPU_RDPMC,               /* index: ECX */
	X86_CPU_LVTPC,               /* written */
	/* Controls and fields of the VMCS: no PMU register accesses, but in the trace. */
	X86_CPU_GET_GUEST_GLOBAL,
	X86_CPU_SET_GUEST_GLOBAL,
	X86_CPU_SWITCH_GLOBAL,       /* index: on or off; value: the host's */
	X86_CPU_OPS,
};

struct x86_cpu_access {
	enum x86_cpu_op op;
	uint32_t index;
	uint64_t value;              /* read or written */
};

#define X86_CPU_VECTOR 0xF5u     /* of overflows while a guest owns the PMU */

struct x86_cpu {
	struct vpmu_x86_hw x86;      /* first. &cpu->x86.hw is what core gets */
	struct x86_pmu pmu;
	/* Executed by the host around every access, before entry, after exit. NULL: nothing. */
	const struct x86_pmu_events *cost;
	/* Called before and after every access, for instance as an NMI. NULL: nobody. */
	void (*hook)(struct x86_cpu *cpu, void *context);
	void *hook_context;
	/* The caller's storage; accesses beyond trace_size are counted and lost. NULL: none. */
	struct x86_cpu_access *trace;
	size_t trace_size;
	size_t trace_count;
	uint64_t guest_enabled;      /* counters that the backend enabled, or the guest itself */
	uint64_t host_owned;         /* counters of host events, said by the test: they are not a guest's */
	uint64_t time;               /* nanoseconds, passed on by the test */
	uint64_t host_instructions;  /* executed by the host so far, whoever counted them */
	uint64_t violations;
	const char *violation;       /* the first one */
};

/*
 * x86_cpu_init() - a CPU after RESET, its backend, and the default cost (a few host instructions,
 * among them a branch). (vmx_controls): the hypervisor switches GLOBAL_CTRL at the boundary
 * (Intel). EFER.SVME is set (AMD). (cpu) does not move from then on.
 * returns: 0, or the error of vpmu_x86_hw_init().
 */
int x86_cpu_init(struct x86_cpu *cpu, const struct x86_pmu_config *config, bool vmx_controls);

/*
 * x86_cpu_enter(), x86_cpu_exit() - the guest starts, stops executing (after vpmu_vcpu_enter(),
 * before vpmu_vcpu_exit()), with the host's last and first instructions. While it runs, its
 * instructions and direct accesses go to cpu->pmu: x86_pmu_retire(), x86_pmu_rdmsr() ...
 */
void x86_cpu_enter(struct x86_cpu *cpu);
void x86_cpu_exit(struct x86_cpu *cpu);

/* x86_cpu_host() - the host executes; also what a step of time is made of. */
void x86_cpu_host(struct x86_cpu *cpu, bool user, const struct x86_pmu_events *events);

/* ---- Machines ---- */

enum x86_cpu_class {
	X86_CPU_CORE2,               /* Intel v2: 2 + 3 counters of 40 bits, no full-width writes */
	X86_CPU_HASWELL,             /* Intel v3: 4 + 3, AnyThread, TSX */
	X86_CPU_SKYLAKE,             /* Intel v4: 8 + 3 */
	X86_CPU_ICELAKE,             /* Intel v5: 8 + 4 */
	X86_CPU_K7,                  /* AMD: 4 legacy counters */
	X86_CPU_ZEN2,                /* AMD: core extension, 6 */
	X86_CPU_ZEN4,                /* AMD: PerfMonV2, 6 */
	X86_CPU_CLASSES,
};

/* x86_cpu_class_config() - the configuration of a class, without errata and skid. */
void x86_cpu_class_config(enum x86_cpu_class class, struct x86_pmu_config *config);

/* x86_cpu_model() - (config) in the words of vpmu/x86.h. */
void x86_cpu_model(const struct x86_pmu_config *config, struct vpmu_x86_model *model);

#endif
