/* SPDX-License-Identifier: MIT */
/*
 * hardware/model/x86_pmu.h - a software x86 PMU: the registers of one physical CPU, Intel or AMD,
 * and what makes its counters count.
 *
 * Written from the Intel SDM (vol. 3 ch. 20, vol. 4 table 2-2) and the AMD APM (vol. 2 ch. 13.2)
 * and from nothing else. It is the oracle of the tests, so it shares no code or table with core/.
 * Freestanding; no globals, no allocation, cannot fail.
 *
 * Not modelled: PEBS, LBR, BTS, PT, uncore, northbridge and L3 counters, transactions, SMM, AMD's
 * freeze, and what VMX and SVM do to DEBUGCTL. README.md has the choices that the manuals leave.
 *
 * Counter i: general-purpose below X86_PMU_FIXED, fixed counter i - X86_PMU_FIXED from there, the
 * layout of IA32_PERF_GLOBAL_CTRL.
 */
#ifndef VPMU_MODEL_X86_PMU_H
#define VPMU_MODEL_X86_PMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define X86_PMU_FIXED 32u        /* index of fixed counter 0 */
#define X86_PMU_GP_MAX 14u       /* 0CFH is no counter any more */
#define X86_PMU_FIXED_MAX 4u
#define X86_PMU_SLOTS_MAX (X86_PMU_GP_MAX + X86_PMU_FIXED_MAX)

/* ---- MSRs ---- */

#define X86_MSR_PERFCTR(n) (0xC1u + (n))
#define X86_MSR_PERFEVTSEL(n) (0x186u + (n))
#define X86_MSR_MISC_ENABLE 0x1A0u
#define X86_MSR_DEBUGCTL 0x1D9u
#define X86_MSR_FIXED_CTR(n) (0x309u + (n))
#define X86_MSR_PERF_CAPABILITIES 0x345u
#define X86_MSR_FIXED_CTR_CTRL 0x38Du
#define X86_MSR_GLOBAL_STATUS 0x38Eu
#define X86_MSR_GLOBAL_CTRL 0x38Fu
#define X86_MSR_STATUS_RESET 0x390u /* GLOBAL_OVF_CTRL before version 4 */
#define X86_MSR_STATUS_SET 0x391u
#define X86_MSR_GLOBAL_INUSE 0x392u
#define X86_MSR_PMC(n) (0x4C1u + (n))
#define X86_MSR_K7_EVNTSEL(n) (0xC0010000u + (n))
#define X86_MSR_K7_PERFCTR(n) (0xC0010004u + (n))
#define X86_MSR_PERF_CTL(n) (0xC0010200u + 2 * (n))
#define X86_MSR_PERF_CTR(n) (0xC0010201u + 2 * (n))
#define X86_MSR_AMD_GLOBAL_STATUS 0xC0000300u
#define X86_MSR_AMD_GLOBAL_CTL 0xC0000301u
#define X86_MSR_AMD_STATUS_CLR 0xC0000302u
#define X86_MSR_AMD_STATUS_SET 0xC0000303u

/* ---- Bits ---- */

#define X86_SEL_USR (UINT64_C(1) << 16)
#define X86_SEL_OS (UINT64_C(1) << 17)
#define X86_SEL_EDGE (UINT64_C(1) << 18)
#define X86_SEL_PC (UINT64_C(1) << 19)
#define X86_SEL_INT (UINT64_C(1) << 20)
#define X86_SEL_ANY (UINT64_C(1) << 21)
#define X86_SEL_EN (UINT64_C(1) << 22)
#define X86_SEL_INV (UINT64_C(1) << 23)
#define X86_SEL_CMASK(n) ((uint64_t)(n) << 24)
#define X86_SEL_IN_TX (UINT64_C(1) << 32)
#define X86_SEL_IN_TXCP (UINT64_C(1) << 33)
#define X86_SEL_GUEST_ONLY (UINT64_C(1) << 40) /* AMD */
#define X86_SEL_HOST_ONLY (UINT64_C(1) << 41)  /* AMD */

/* A group of IA32_FIXED_CTR_CTRL. */
#define X86_FIXED_OS 1u
#define X86_FIXED_USR 2u
#define X86_FIXED_ANY 4u
#define X86_FIXED_PMI 8u

#define X86_STATUS_LBR_FRZ (UINT64_C(1) << 58)
#define X86_STATUS_CTR_FRZ (UINT64_C(1) << 59)
#define X86_STATUS_OVF_BUF (UINT64_C(1) << 62)
#define X86_STATUS_COND_CHGD (UINT64_C(1) << 63)

#define X86_DEBUGCTL_FREEZE_PERFMON (UINT64_C(1) << 12)
#define X86_DEBUGCTL_FREEZE_SMM (UINT64_C(1) << 14)

#define X86_CAP_FREEZE_SMM (UINT64_C(1) << 12)
#define X86_CAP_FW_WRITES (UINT64_C(1) << 13)

#define X86_MISC_PERFMON (UINT64_C(1) << 7)
#define X86_MISC_NO_BTS (UINT64_C(1) << 11)
#define X86_MISC_NO_PEBS (UINT64_C(1) << 12)

#define X86_LVTPC_MASKED (1u << 16)
#define X86_LVTPC_NMI (4u << 8)

/* ---- Which PMU it is ---- */

enum x86_pmu_vendor { X86_PMU_INTEL, X86_PMU_AMD };

/* Intel's architectural events in the order of CPUID.0AH:EBX; AMD's events of the same meaning. */
enum x86_pmu_kind {
	X86_PMU_CYCLES,
	X86_PMU_INSTRUCTIONS,
	X86_PMU_REFERENCE_CYCLES,
	X86_PMU_LLC_REFERENCES,
	X86_PMU_LLC_MISSES,
	X86_PMU_BRANCHES,
	X86_PMU_BRANCH_MISSES,
	X86_PMU_SLOTS,               /* this machine has one per cycle. AMD: no such event */
	X86_PMU_KINDS,
};

/* An event that only some general-purpose counters can count. */
struct x86_pmu_constraint {
	uint16_t event;
	uint8_t umask;
	uint32_t counters;
};

struct x86_pmu_config {
	enum x86_pmu_vendor vendor;
	/* Intel: CPUID.0AH:EAX[7:0], 0 (none) to 5. AMD: 1 legacy, core extension; 2 PerfMonV2. */
	uint8_t version;
	uint8_t gp;                  /* Intel 0..X86_PMU_GP_MAX; AMD 4, 6 with the core extension */
	uint8_t gp_width;            /* bits, 1..63 */
	uint8_t fixed;               /* Intel from version 2: 0..X86_PMU_FIXED_MAX */
	uint8_t fixed_width;
	uint8_t events_length;       /* Intel: CPUID.0AH:EAX[31:24] */
	uint8_t events_missing;      /* Intel: CPUID.0AH:EBX; only fixed counters count these */
	bool pdcm;                   /* IA32_PERF_CAPABILITIES exists */
	bool full_width_writes;      /* IA32_PMCn exist; needs pdcm */
	bool freeze_smm;             /* DEBUGCTL.FREEZE_WHILE_SMM exists; needs pdcm */
	bool anythread;              /* versions 3 and 4: AnyThread can be set; else reserved */
	bool pin_control;            /* selector bit 19 can be set; new parts: reserved */
	bool tsx;                    /* IN_TX, and on counter 2 IN_TXCP, can be set */
	/* Version 1 with IA32_PERF_GLOBAL_CTRL, as in vol. 4; vol. 3 has it from version 2. */
	bool global_ctrl_v1;
	bool core_extension;         /* AMD: PERF_CTL0..5; implied by version 2 */
	uint64_t debugctl;           /* other bits of DEBUGCTL that can be set (LBR, BTF ...) */
	/* General-purpose counters that can count an event of each kind. 0: all of them. */
	uint32_t counters_of[X86_PMU_KINDS];
	const struct x86_pmu_constraint *constraints;
	size_t constraint_count;

	/* Steps until an overflow's status bit is set, until its interrupt fires. 0: at once. */
	uint32_t status_skid;
	uint32_t interrupt_skid;

	/*
	 * Errata. All count as ring 0 of the guest.
	 *  amd_vmrun_branch: VMRUN counts as a branch of the guest. Bound: 1 per entry.
	 *  atom_instructions, atom_branches: VM entry and VM exit count as one each. Bound: 2 per
	 *  entry and exit together. (Avoton to Sierra Forest have both, Clearwater Forest the
	 *  first; that IRET and far transfers over-count too is the event stream's business.)
	 */
	bool amd_vmrun_branch;
	bool atom_instructions;
	bool atom_branches;
};

#define X86_PMU_VECTORS 256

/* The state. Tests may look; only `svme` and `vmx_controls` are for others to write. */
struct x86_pmu {
	struct x86_pmu_config config;
	uint64_t selector[X86_PMU_GP_MAX];
	uint64_t gp[X86_PMU_GP_MAX];
	uint64_t fixed[X86_PMU_FIXED_MAX];
	uint64_t fixed_ctrl;
	uint64_t global_ctrl;
	uint64_t global_status;
	uint64_t debugctl;
	uint64_t misc_enable;
	/* Intel VMX: the GLOBAL_CTRL that VM entry loads and VM exit saves; that VM exit loads. */
	uint64_t guest_global;
	uint64_t host_global;
	bool guest;                  /* a guest executes */
	bool svme;                   /* EFER.SVME; without: GuestOnly, HostOnly count nothing */
	bool vmx_controls;           /* Intel: entry and exit switch GLOBAL_CTRL */
	/* Overflows that are not visible yet, and in how many steps they are, by slot. */
	uint64_t late_status;
	uint64_t late_interrupt;
	uint32_t status_in[X86_PMU_SLOTS_MAX];
	uint32_t interrupt_in[X86_PMU_SLOTS_MAX];
	uint32_t lvtpc;
	/* Latched, not taken. */
	bool nmi;
	uint64_t irr[X86_PMU_VECTORS / 64];
	/* Since reset: interrupts latched; lost to the mask; refused by the APIC (vector < 16). */
	uint64_t interrupts;
	uint64_t interrupts_masked;
	uint64_t interrupts_illegal;
};

/* x86_pmu_reset() - power-up and RESET. INIT changes nothing here. */
void x86_pmu_reset(struct x86_pmu *pmu, const struct x86_pmu_config *config);

/* ---- Instructions ---- */

/*
 * x86_pmu_is_msr() - is (index) a performance-monitoring MSR, of either vendor and any version?
 * Then the answer of rdmsr and wrmsr is the machine's. Includes DEBUGCTL and MISC_ENABLE, and those
 * that this machine lacks (PEBS, LBR, PT, uncore ...), which fault.
 */
bool x86_pmu_is_msr(uint32_t index);

/* RDMSR, WRMSR at CPL 0, in whatever mode the CPU is. returns: false: #GP, nothing changed. */
bool x86_pmu_rdmsr(const struct x86_pmu *pmu, uint32_t index, uint64_t *value);
bool x86_pmu_wrmsr(struct x86_pmu *pmu, uint32_t index, uint64_t value);

/* RDPMC; (pce) CR4.PCE, (pe) CR0.PE. returns: false: #GP. */
bool x86_pmu_rdpmc(const struct x86_pmu *pmu, uint32_t ecx, unsigned int cpl, bool pce, bool pe,
		   uint64_t *value);

/* x86_pmu_cpuid() - puts what the machine's CPUID says about performance monitoring into (regs). */
void x86_pmu_cpuid(const struct x86_pmu *pmu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/*
 * x86_pmu_vmenter(), x86_pmu_vmexit() - VM entry, VMRUN; VM exit, #VMEXIT. Intel: switch
 * GLOBAL_CTRL.
 * returns: false: guest_global (host_global) has a reserved bit, the entry fails, nothing changed.
 */
bool x86_pmu_vmenter(struct x86_pmu *pmu);
void x86_pmu_vmexit(struct x86_pmu *pmu);

/* ---- Events ---- */

struct x86_pmu_raw {
	uint16_t event;
	uint8_t umask;
	uint64_t n;
};

/*
 * What happened while some instructions executed in one ring. Never more than one event of a kind
 * in a cycle, so with at most as many of each kind as cycles:
 *  CMASK 1 counts as CMASK 0, above that nothing; INV (with CMASK 1) the cycles without an event,
 *  above that all cycles; edge tells all events apart, and cycles, which never pause, not at all.
 */
struct x86_pmu_events {
	uint64_t instructions;
	uint64_t cycles;             /* slots too */
	uint64_t reference_cycles;
	uint64_t branches;
	uint64_t branch_misses;
	uint64_t llc_references;
	uint64_t llc_misses;
	const struct x86_pmu_raw *raw; /* others */
	size_t raw_count;
};

/*
 * x86_pmu_retire() - the CPU, in the mode it is in, executed in ring 3 (user) or 0 with these
 * events. Every instruction is a step towards what is late. Overflows of this call are seen at its
 * end: nothing is lost in a large call, but freezing and skid are exact only for callers that
 * respect x86_pmu_horizon().
 */
void x86_pmu_retire(struct x86_pmu *pmu, bool user, const struct x86_pmu_events *events);

/* x86_pmu_retire_sibling() - the other thread of the core did: AnyThread counters count it. */
void x86_pmu_retire_sibling(struct x86_pmu *pmu, bool user, const struct x86_pmu_events *events);

/* x86_pmu_step() - one step without any event. */
void x86_pmu_step(struct x86_pmu *pmu);

struct x86_pmu_horizon {
	uint64_t events;             /* of any one kind but cycles; 1 .. UINT64_MAX: no limit */
	uint64_t cycles;             /* and reference cycles, slots; likewise */
};

/*
 * x86_pmu_horizon() - as everything is now, how many events in ring (user) the next call may have
 * at most, so that no overflow, late status or late interrupt comes before its end.
 */
struct x86_pmu_horizon x86_pmu_horizon(const struct x86_pmu *pmu, bool user);

/* x86_pmu_counts() - would counter (i) count its event in ring (user), in the present mode? */
bool x86_pmu_counts(const struct x86_pmu *pmu, unsigned int i, bool user);

/* x86_pmu_counters() - all counters, as bits of GLOBAL_CTRL. */
uint64_t x86_pmu_counters(const struct x86_pmu_config *config);

/* ---- The local APIC's part ---- */

/*
 * x86_pmu_set_lvtpc() - the CPU's LVT entry: vector [7:0], delivery mode [10:8], mask [16]. An
 * interrupt that comes while it is masked is lost. Intel's masks itself when it fires.
 */
void x86_pmu_set_lvtpc(struct x86_pmu *pmu, uint32_t value);

#define X86_PMU_NO_INTERRUPT (-1)
#define X86_PMU_NMI X86_PMU_VECTORS /* also what SMI and INIT are delivered as */

/* x86_pmu_interrupt() - what is latched: X86_PMU_NMI first, then the highest vector; or none. */
int x86_pmu_interrupt(const struct x86_pmu *pmu);
/* x86_pmu_take_interrupt() - the same, and it is no longer latched. */
int x86_pmu_take_interrupt(struct x86_pmu *pmu);

#endif
