/* SPDX-License-Identifier: MIT */
/*
 * Guests on software x86 CPUs: physical CPUs (hardware/model/x86_cpu.h), vCPUs of several VMs on
 * them, mediated and emulated side by side, and for each vCPU a bare machine (x86_pmu alone) that
 * does the same things. Whatever the schedule, a guest must see and count what its bare machine
 * does (V3), and after every step the invariants of docs/rules.md hold.
 *
 * A guest access runs direct where vpmu_x86_is_direct() says so; else the rig exits, gives it to
 * the library, counts the instruction and enters again, as a hypervisor does. The bare machine has
 * the guest's model; counters that the policy denies are switched off in it while something
 * retires.
 *
 * Interrupts. A bare machine interrupts at the overflow; the physical one up to interrupt_skid
 * steps later, and the host takes its vector when it likes: after put, with another guest, or never
 * on this CPU. So a PMI is *owed* from an overflow that found LVTPC unmasked on, and
 *  - the PMI of an owed overflow is handed out at the next enter, or, while its vector is still
 *    under way (latched or late) and nothing has saved the guest, at an enter before which that has
 *    arrived;
 *  - all that is owed at one enter is one PMI; one more is owed until the next exit if something
 *    overflows after the PMI of that exit was handed out;
 *  - no PMI is handed out that is not owed. There may be one or not (decision 0006) where the
 *    hardware's registers do not say: the guest has not cleared the status of a counter that
 *    overflowed again, or has cleared it before its PMI came.
 * Without skid (exact) the guest moreover exits before its next instruction.
 */
#ifndef VPMU_TESTS_X86_RIG_H
#define VPMU_TESTS_X86_RIG_H

#include "script_source.h"
#include "support.h"
#include "x86_cpu.h"

#define RIG_CPUS 2u
#define RIG_VMS 6u
#define RIG_VCPUS 7u

/* VMs by number. */
enum rig_shape {
	SHAPE_OWN,                   /* the machine's; 2 vCPUs */
	SHAPE_POLICY,                /* the same, created with a policy */
	SHAPE_OLD,                   /* Intel: version 2, all counters. AMD: PerfMonV2, 4 */
	SHAPE_SMALL,                 /* Intel: version 2, 4 + 2 counters. AMD: K7 */
	SHAPE_FIRST,                 /* Intel: version 1, 4 counters. AMD: core extension */
	SHAPE_EMULATED,              /* the machine's, by events of sources/script */
};

/* State edges; the matrix counts them per vCPU (RULES A9). */
enum rig_edge {
	EDGE_LOAD,                   /* load, the CPU was last used by the same vCPU or nobody */
	EDGE_LOAD_AFTER_OTHER,       /* load, another vCPU was here last */
	EDGE_LOAD_ELSEWHERE,         /* load, this vCPU was on another CPU last */
	EDGE_ENTER_QUIET,            /* HOST to HOST */
	EDGE_ENTER_FULL,             /* HOST to LIVE */
	EDGE_ENTER_AGAIN,            /* PARKED to LIVE */
	EDGE_EXIT_PARKS,             /* LIVE to PARKED */
	EDGE_EXIT_QUIET_TWICE,       /* LIVE to HOST: the looks of RULES A1; or eager */
	EDGE_EXIT_REQUEST,           /* LIVE to HOST: asked for by another CPU */
	EDGE_EXIT_QUIET,             /* HOST to HOST */
	EDGE_PUT_PARKED,
	EDGE_PUT_HOST,
	EDGE_RECLAIM_PARKED,
	EDGE_RECLAIM_HOST,
	EDGE_REQUEST_PARKED,         /* asked for by another CPU, done at the next poll or enter */
	EDGE_POLICY_PARKED,          /* a new policy taken over at enter while PARKED */
	EDGE_POLICY_HOST,
	EDGE_ACCESS_PARKED,          /* trapped access while PARKED */
	EDGE_ACCESS_HOST,
	EDGE_DIRECT_VALUE,           /* untrapped access to a counter, to GLOBAL_*, RDPMC */
	EDGE_DIRECT_GLOBAL,
	EDGE_DIRECT_RDPMC,
	EDGE_COUNT_PARKED,           /* vpmu_count() that reaches a counter */
	EDGE_COUNT_HOST,
	EDGE_LVTPC_PARKED,           /* the guest writes LVTPC */
	EDGE_LVTPC_HOST,
	EDGE_VECTOR_PARKED,          /* the vector is answered by the resident guest's status */
	EDGE_VECTOR_LATE,            /* nobody's, with this vCPU loaded */
	EDGE_PMI,                    /* vpmu_vcpu_pmi() hands one out */
	EDGE_MIGRATE_STATE,
	EDGE_MIGRATE_MSRS,
	EDGES,
};

extern const char *const rig_edge_names[EDGES];
/* Can (edge) happen to vCPU (vcpu) of a machine of (vendor)? */
bool rig_edge_exists(enum rig_edge edge, unsigned int vcpu, enum x86_pmu_vendor vendor);

/* A policy as KVM's ioctl takes it, and compiled. */
struct rig_policy {
	bool deny;
	bool masked;
	uint32_t fixed;
	uint64_t events[4];
	uint32_t count;
	struct vpmu_x86_filter filter;
	struct vpmu_policy policy;
};

#define RIG_POLICIES 6u

struct rig_vm {
	struct vpmu_vm vm;
	struct vpmu_x86_model model;
	const struct rig_policy *created;   /* NULL: none */
	const struct rig_policy *policy;
	enum vpmu_switch_kind kind;
};

struct rig_cpu {
	struct rig *rig;
	struct x86_cpu x86;
	struct vpmu_cpu cpu;
	struct rig_vcpu *loaded, *last;
	bool asked;                  /* a reclaim was asked for and may not be done yet */
	bool boundary;               /* hooks come from the entry or exit itself */
	/* What the host left in the PMU, or power-on values. */
	struct x86_pmu left;
};

struct rig_vcpu {
	struct vpmu_vcpu v;
	struct rig *rig;
	struct rig_vm *vm;
	struct rig_cpu *cpu, *last;
	struct x86_pmu bare;
	const struct rig_policy *policy;    /* in force since the last enter */
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	uint32_t lvtpc;              /* the guest's */
	bool in_guest;
	uint64_t owed;               /* overflows that nobody told the guest of, by a PMI */
	bool maybe;                  /* one that may be told or not */
	uint64_t told;               /* overflows told and not seen cleared since */
	bool clears;                 /* it was seen to clear one */
	bool given;                  /* since the last exit */
	uint64_t intercepts;         /* when it was entered */
};

struct rig_options {
	enum x86_cpu_class class;
	enum vpmu_switch_kind kinds[RIG_VMS];
	uint32_t status_skid, interrupt_skid;
	bool amd_vmrun_branch, atom_instructions, atom_branches;
	uint64_t seed;
};

struct rig {
	struct vpmu_machine machine;
	struct rig_cpu cpus[RIG_CPUS];
	struct rig_vm vms[RIG_VMS];
	struct rig_vcpu vcpus[RIG_VCPUS];
	struct x86_pmu_config config;
	struct rig_policy policies[RIG_POLICIES];
	struct rng rng;              /* of the schedule: the same for both switches */
	struct rng noise;            /* of the host, which traps differ for */
	uint64_t seed, step;
	uint64_t matrix[EDGES][RIG_VCPUS];
	uint64_t trace;              /* hash of all that guests read */
	const char *doing;
	bool exact;                  /* no skid */
	bool calm;                   /* the hypervisor does what it is told, at once, and no more */
	/* Statistics that tests look at. */
	uint64_t direct, trapped, vectors, late, nmis, pmis;
};

void rig_init(struct rig *r, const struct rig_options *options);
/* All VMs with one switch, no skid. */
void rig_init_plain(struct rig *r, enum x86_cpu_class class, enum vpmu_switch_kind kind,
		    uint64_t seed);

/* The hypervisor. Each checks what it did. */
void rig_load(struct rig_vcpu *g, struct rig_cpu *c);
void rig_enter(struct rig_vcpu *g);
void rig_exit(struct rig_vcpu *g);
/* The same with interrupts disabled: what is latched stays so. */
void rig_leave(struct rig_vcpu *g);
/* Up to (n) exits and enters without an instruction in between, while the guest is resident. */
void rig_bounce(struct rig_vcpu *g, unsigned int n);
void rig_put(struct rig_vcpu *g);
void rig_count(struct rig_vcpu *g, enum vpmu_event_class event, bool user, uint64_t n);
void rig_reclaim(struct rig_cpu *c);
void rig_request_reclaim(struct rig_cpu *c);
/* (policy) NULL: none. */
void rig_set_policy(struct rig *r, struct rig_vm *vm, const struct rig_policy *policy);
/* The host takes some counters for itself, counts exactly, and leaves rubbish in them. */
void rig_host_counts(struct rig_cpu *c);
void rig_host_works(struct rig_cpu *c);
/* Interrupts that the CPU has latched are taken. The guest is not running. */
void rig_take_interrupts(struct rig_cpu *c);
/*
 * A vCPU that is loaded nowhere moves into a new one through its saved state or MSRs; or is reset.
 */
void rig_migrate(struct rig_vcpu *g, bool by_msrs);
void rig_reset(struct rig_vcpu *g);

/* The guest, which is in_guest. */
struct rig_access {
	enum { RIG_RDMSR, RIG_WRMSR, RIG_RDPMC } op;
	uint32_t index;
	uint64_t value;
	bool user, pce;              /* RDPMC */
};

/* returns: false: #GP. */
bool rig_access(struct rig_vcpu *g, struct rig_access *a);
uint64_t rig_rdmsr(struct rig_vcpu *g, uint32_t index);
void rig_wrmsr(struct rig_vcpu *g, uint32_t index, uint64_t value);
uint64_t rig_rdpmc(struct rig_vcpu *g, uint32_t ecx);
void rig_lvtpc(struct rig_vcpu *g, uint32_t value);
/* (n) instructions, and what comes with them. */
void rig_run(struct rig_vcpu *g, bool user, uint64_t n);
/*
 * A mediated guest executes, and exits for another reason than the vector that it may have caused:
 * rig_leave().
 */
void rig_retire(struct rig_vcpu *g, bool user, uint64_t n);

/* What rig_run() makes of (n). */
struct x86_pmu_events rig_events(const struct rig *r, uint64_t n);
/*
 * MSRs of this guest: selector, counter (widest writes), GLOBAL_CTRL, GLOBAL_STATUS and its reset.
 */
uint32_t rig_msr_selector(const struct rig_vcpu *g, unsigned int i);
uint32_t rig_msr_counter(const struct rig_vcpu *g, unsigned int i);
uint32_t rig_msr_global(const struct rig_vcpu *g);
uint32_t rig_msr_status(const struct rig_vcpu *g);
uint32_t rig_msr_reset(const struct rig_vcpu *g);
bool rig_has_global(const struct rig_vcpu *g);
/* No counter of the bare machine passes its enables. */
bool rig_is_quiet(const struct rig_vcpu *g);
/* All that the guest's counters can hold. */
uint64_t rig_width(const struct rig_vcpu *g, unsigned int i);
/* The guest's encoding of instructions and branches. */
uint64_t rig_event(const struct rig_vcpu *g, enum x86_pmu_kind kind);

/* The vCPU, not in the guest, against its bare machine: every register. */
void rig_compare(struct rig_vcpu *g);
/* Invariants of all CPUs; called after each function above. */
void rig_check(struct rig *r);

enum vpmu_owner rig_owner(const struct rig_cpu *c);

#define rig_fail(r, ...) \
	do { \
		print_error("seed %llu, step %llu, %s: ", (unsigned long long)(r)->seed, \
			    (unsigned long long)(r)->step, (r)->doing); \
		print_error(__VA_ARGS__); \
		print_error("\n"); \
		fail(); \
	} while (0)

#endif
