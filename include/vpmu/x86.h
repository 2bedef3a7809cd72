/* SPDX-License-Identifier: MIT */
/*
 * vpmu/x86.h - the x86 guest's PMU, Intel architectural performance monitoring and AMD: its model, and
 * what the guest's instructions do to it.
 *
 * Sources: Intel 64 and IA-32 Architectures SDM (SDM), vol. 3 ch. 20 and vol. 4; AMD64 Architecture
 * Programmer's Manual (APM), vol. 2 ch. 13.2. Intel versions 1 to 5, AMD up to PerfMonV2. PEBS, LBR,
 * BTS, PT, uncore and northbridge counters are not offered: their MSRs fault.
 *
 * Counter i of a mask is general-purpose counter i below 32, and fixed counter i - 32 from there (the
 * layout of IA32_PERF_GLOBAL_CTRL). In struct vpmu_state, `selector` is IA32_PERFEVTSELn (AMD: PERF_CTLn)
 * or a fixed counter's 4 bits of IA32_FIXED_CTR_CTRL; `enabled` and `interrupts` repeat their EN (fixed:
 * any ring) and INT (fixed: PMI) bits; `global`, `status` and `debug` are GLOBAL_CTRL, GLOBAL_STATUS and
 * DEBUGCTL.
 *
 * RESET is vpmu_vcpu_reset(). INIT leaves counters and event selects as they are (SDM vol. 3
 * table 10-1): no call. Both reset the local APIC, so vpmu_vcpu_lvtpc() with
 * VPMU_X86_LVTPC_RESET follows.
 *
 * The PMI is an edge. The embedder asks vpmu_vcpu_pmi() before each enter and delivers what it is told
 * to by the guest's LVTPC, whose value it reports with vpmu_vcpu_lvtpc().
 */
#ifndef VPMU_X86_H
#define VPMU_X86_H

#include <vpmu/vpmu.h>

#define VPMU_X86_FIXED 32u       /* index of the first fixed counter */
#define VPMU_X86_GP_MAX 8u       /* Intel; AMD has 4 or 6 */
#define VPMU_X86_FIXED_MAX 4u
#define VPMU_X86_WIDTH_MIN 32u
#define VPMU_X86_WIDTH_MAX 48u

enum vpmu_x86_vendor { VPMU_X86_INTEL, VPMU_X86_AMD };

/* Intel's architectural events, as bits of CPUID.0AH:EBX. */
enum vpmu_x86_event {
	VPMU_X86_CYCLES,
	VPMU_X86_INSTRUCTIONS,
	VPMU_X86_REFERENCE_CYCLES,
	VPMU_X86_LLC_REFERENCES,
	VPMU_X86_LLC_MISSES,
	VPMU_X86_BRANCHES,
	VPMU_X86_BRANCH_MISSES,
	VPMU_X86_SLOTS,
	VPMU_X86_EVENTS,
};

/* The guest's PMU, as its CPUID describes it. All 0 but size and vendor: no PMU. */
struct vpmu_x86_model {
	uint32_t size;               /* sizeof(struct vpmu_x86_model) */
	enum vpmu_x86_vendor vendor;
	/* Intel: 0..5, CPUID.0AH:EAX[7:0]. AMD: 0 none, 1 legacy or core extension, 2 PerfMonV2. */
	uint8_t version;
	uint8_t gp;                  /* Intel 0..8; AMD 4 without the core extension, 6 with; PerfMonV2 1..6 */
	uint8_t gp_width;            /* bits, 32..48; AMD 48 */
	uint8_t fixed;               /* Intel 0..4, 0 before version 2; AMD 0 */
	uint8_t fixed_width;         /* as gp_width; 0 without fixed counters */
	uint8_t events_length;       /* Intel: CPUID.0AH:EAX[31:24], 0..8 */
	uint8_t events_missing;      /* Intel: CPUID.0AH:EBX below that length: bit set = not available */
	bool pdcm;                   /* Intel: IA32_PERF_CAPABILITIES exists */
	bool full_width_writes;      /* Intel: IA32_PMCn exist; needs pdcm */
	bool core_extension;         /* AMD: PERF_CTL0..5; implied by version 2 */
	bool tsx;                    /* Intel: IN_TX and IN_TXCP are legal */
	bool metrics;                /* Intel, of a machine: it has PERF_METRICS. Not offered to guests */
	/* Intel: bits of DEBUGCTL that the embedder implements itself (BTF, RTM ...); never PMU bits. */
	uint64_t debug_bits;
};

/*
 * vpmu_x86_model_of() - the model that shows a guest the machine's own PMU, as far as it is offered.
 * returns: 0; VPMU_ERR_UNSUPPORTED: the machine has no x86 PMU.
 * Context: any, after vpmu_machine_add().
 */
VPMU_API int vpmu_x86_model_of(const struct vpmu_machine *machine, struct vpmu_x86_model *model);

/*
 * vpmu_x86_model_limit() - takes out of (model) what (source) cannot count, or NULL, and what (policy) denies,
 * or NULL, so that a guest is not offered what stands still (V12). Intel: events become unavailable, fixed
 * counters from the first such one on disappear. AMD cannot say that an event is missing.
 * returns: 0; VPMU_ERR_UNSUPPORTED: AMD without cycles, instructions, branches or branch misses, or Intel
 * without instructions and cycles: give the guest no PMU; VPMU_ERR_PARAM: (policy) is no x86 policy.
 * (model) is not changed by an error. Context: [init].
 */
VPMU_API int vpmu_x86_model_limit(struct vpmu_x86_model *model, struct vpmu_source *source,
				  const struct vpmu_policy *policy);

/*
 * vpmu_x86_vm_init() - a VM with the PMU (model), which must outlive it.
 * returns: 0; VPMU_ERR_SIZE: a size member is wrong; VPMU_ERR_PARAM: a member out of range, unknown mode,
 * or a malformed policy; VPMU_ERR_UNSUPPORTED: not emulated, and the machine has fewer counters, other
 * widths or vendor, cannot stop counters at the boundary (RULES A4), set overflow status, or write
 * counters exactly; or passed through, and not on Intel, with a policy, another PMU than the machine's, or
 * AnyThread; VPMU_ERR_BUSY, VPMU_ERR_WATCHDOG: a host event, another VM, or the host's watchdog is in the
 * way; VPMU_ERR_LIMIT: too many VMs (vpmu/host.h). Context: [init], after vpmu_machine_add().
 */
VPMU_API int vpmu_x86_vm_init(struct vpmu_vm *vm, struct vpmu_machine *machine,
			      const struct vpmu_x86_model *model,
			      const struct vpmu_vm_config *config);

/* ---- The guest's instructions ------------------------------------------------------------------ */

/*
 * vpmu_x86_rdmsr(), vpmu_x86_wrmsr() - an intercepted RDMSR or WRMSR at CPL 0. The library says nothing of
 * an instruction's own retirement: vpmu_count() after it, if it was emulated.
 * returns: VPMU_HANDLED, VPMU_FAULT_GP, VPMU_NOT_MINE; VPMU_ERR_STATE: the guest runs.
 * IA32_MISC_ENABLE is the embedder's: a write that changes BTS or PEBS unavailable faults, any other
 * is VPMU_NOT_MINE; reads go through vpmu_x86_misc_enable().
 * Context: [vcpu]; [cpu] while it is loaded. Between exit and enter.
 */
VPMU_API int vpmu_x86_rdmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
VPMU_API int vpmu_x86_wrmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t value);

struct vpmu_x86_rdpmc {
	uint32_t index;              /* ECX */
	uint8_t cpl;
	bool pce;                    /* CR4.PCE */
	bool protected_mode;         /* CR0.PE */
	uint64_t value;              /* out: EDX:EAX, cut to the counter's width */
};

/*
 * vpmu_x86_rdpmc() - an intercepted RDPMC. As vpmu_x86_rdmsr(), but never VPMU_NOT_MINE.
 * Context: [vcpu]; [cpu] while it is loaded. Between exit and enter.
 */
VPMU_API int vpmu_x86_rdpmc(struct vpmu_vcpu *v, struct vpmu_x86_rdpmc *rdpmc);

/*
 * vpmu_x86_cpuid() - replaces what CPUID says about performance monitoring in (regs), EAX EBX ECX EDX as the
 * embedder would answer: leaves 1, 7, 0AH, 14H, 1CH, 23H, 80000001H, 8000001BH, 80000022H. Other leaves
 * are left alone. Never changes for a VM. Context: any.
 */
VPMU_API void vpmu_x86_cpuid(const struct vpmu_vm *vm, uint32_t leaf, uint32_t subleaf,
			     uint32_t regs[4]);

/* vpmu_x86_misc_enable() - IA32_MISC_ENABLE for the guest, given the rest of it. Context: any. */
VPMU_API uint64_t vpmu_x86_misc_enable(const struct vpmu_vm *vm, uint64_t rest);

/*
 * vpmu_x86_debugctl() - DEBUGCTL for the hardware while the guest runs (the guest field of the VMCS), given the
 * host's as it is now: FREEZE_WHILE_SMM stays the host's; FREEZE_PERFMON_ON_PMI is the guest's while its
 * counters are in the hardware, else the library freezes when it hands out a PMI. Ask after
 * vpmu_vcpu_enter(), when DEBUGCTL was written or vpmu_x86_intercepts() changed between 0 and not 0.
 * Context: [vcpu].
 */
VPMU_API uint64_t vpmu_x86_debugctl(const struct vpmu_vcpu *v, uint64_t host);

/* ---- What runs direct -------------------------------------------------------------------------- */

/*
 * vpmu_x86_is_direct() - may the guest access MSR (index) without an intercept from its next instruction on?
 * Always false for DEBUGCTL, and for selectors and FIXED_CTR_CTRL but in a VM that is passed through.
 * vpmu_x86_rdpmc_is_direct() - the same for RDPMC, whatever its operand.
 * The answers change only in vpmu_vcpu_enter(), and all are the same while vpmu_x86_intercepts() is.
 * Context: [cpu], after vpmu_vcpu_enter().
 */
VPMU_API bool vpmu_x86_is_direct(const struct vpmu_vcpu *v, uint32_t index, bool write);
VPMU_API bool vpmu_x86_rdpmc_is_direct(const struct vpmu_vcpu *v);

/*
 * vpmu_x86_intercepts() - a word that is equal for equal intercept maps: bits 0..47 the counters whose MSRs
 * are direct, 48 GLOBAL_CTRL and GLOBAL_STATUS, 49 STATUS_RESET, 50 RDPMC, 51 selectors. 0: everything is
 * intercepted.
 * Context: as vpmu_x86_is_direct().
 */
VPMU_API uint64_t vpmu_x86_intercepts(const struct vpmu_vcpu *v);

/* ---- The interrupt ----------------------------------------------------------------------------- */

#define VPMU_X86_LVTPC_MASKED (1u << 16)
#define VPMU_X86_LVTPC_RESET VPMU_X86_LVTPC_MASKED

/*
 * vpmu_vcpu_lvtpc() - the guest's LVTPC is (value): after each write by the guest, each APIC reset, each
 * masking of itself, and a restore. An overflow while it was masked is lost, as in hardware.
 * returns: 0; VPMU_ERR_STATE: the guest runs.
 * Context: [vcpu]; [cpu] while it is loaded.
 */
VPMU_API int vpmu_vcpu_lvtpc(struct vpmu_vcpu *v, uint32_t value);

/* vpmu_x86_masks_lvtpc() - does this guest's LVTPC mask itself when it delivers? Context: any. */
VPMU_API bool vpmu_x86_masks_lvtpc(const struct vpmu_vm *vm);

/* ---- Save and restore -------------------------------------------------------------------------- */

/*
 * vpmu_x86_get_msr(), vpmu_x86_set_msr() - host-initiated access, in any order. Other rules than the guest's:
 * counters take all bits of their width, GLOBAL_STATUS is writable, STATUS_RESET and STATUS_SET do
 * nothing, and an MSR that the model lacks reads 0 and takes 0.
 * returns: VPMU_HANDLED, VPMU_NOT_MINE; VPMU_ERR_PARAM: a value that the model cannot have;
 * VPMU_ERR_STATE: the guest runs.
 * Context: [vcpu]; [cpu] while it is loaded.
 */
VPMU_API int vpmu_x86_get_msr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
VPMU_API int vpmu_x86_set_msr(struct vpmu_vcpu *v, uint32_t index, uint64_t value);

/*
 * vpmu_x86_msr_list() - the MSRs that hold this VM's PMU, each once: getting them all and setting them on
 * another vCPU of the same model makes an equal PMU, but for a PMI not yet delivered (struct vpmu_state
 * has that too).
 * returns: how many there are; up to (max) are stored. Context: any.
 */
VPMU_API size_t vpmu_x86_msr_list(const struct vpmu_vm *vm, uint32_t *out, size_t max);

/* ---- The register table, for documentation and tests ------------------------------------------- */

struct vpmu_x86_reg_info {
	const char *name;            /* for a family, the stem "IA32_PMC<n>" */
	uint32_t index;              /* of member 0 */
	uint8_t members;             /* 1, or more for a family */
	uint8_t stride;              /* between the members of a family */
	enum vpmu_x86_vendor vendor;
	uint8_t since;               /* version */
	bool offered;                /* false: every access faults */
	bool readable;
	bool writable;
	bool may_be_direct;
	const char *condition;       /* what else it takes to exist, or "" */
};

/* vpmu_x86_reg_info() - row (row). returns: 0; VPMU_ERR_PARAM: no such row. Context: any. */
VPMU_API int vpmu_x86_reg_info(size_t row, struct vpmu_x86_reg_info *out);

/* ---- Event policy: KVM's kvm_pmu_event_filter --------------------------------------------------- */

#define VPMU_X86_FILTER_EVENTS_MAX 300u

/* One event to look for: (umask & mask) == match. Sorted by event, then excludes last. */
struct vpmu_x86_filter_entry {
	uint16_t event;
	uint8_t mask;
	uint8_t match;
	bool exclude;
};

/* A compiled filter. Immutable once compiled; may be copied. */
struct vpmu_x86_filter {
	bool deny;                   /* listed events are denied, the others allowed */
	uint16_t count;
	uint32_t fixed_bitmap;
	struct vpmu_x86_filter_entry entry[VPMU_X86_FILTER_EVENTS_MAX];
};

/*
 * vpmu_x86_filter_compile() - a struct kvm_pmu_event_filter (Linux uapi, KVM_SET_PMU_EVENT_FILTER) of (size)
 * bytes at (bytes), in this machine's byte order, for a guest of (vendor). Use it as vpmu_policy.x86.
 * returns: 0; VPMU_ERR_SIZE (EFAULT): (size) is less than the header and its nevents need; VPMU_ERR_LIMIT
 * (E2BIG): more than 300 events; VPMU_ERR_PARAM (EINVAL): unknown action or flags, or an invalid masked
 * entry. Without KVM_PMU_EVENT_FLAG_MASKED_EVENTS entries with other bits are dropped, as KVM does.
 * Context: any.
 */
VPMU_API int vpmu_x86_filter_compile(struct vpmu_x86_filter *out, enum vpmu_x86_vendor vendor,
				     const void *bytes, size_t size);

/*
 * vpmu_x86_filter_allows() - may general-purpose counters count (selector)? _fixed: may fixed counter (i) count?
 * Context: any; cost bounded by log2(300) plus the entries of one event.
 */
VPMU_API bool vpmu_x86_filter_allows(const struct vpmu_x86_filter *f, enum vpmu_x86_vendor vendor,
				     uint64_t selector);
VPMU_API bool vpmu_x86_filter_allows_fixed(const struct vpmu_x86_filter *f, unsigned int i);

#endif
