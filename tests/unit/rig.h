/* SPDX-License-Identifier: MIT */
/*
 * Guests on software PMUs: physical CPUs (hardware/model), vCPUs of several VMs on them, and for
 * each vCPU a bare machine that does the same things alone. Whatever the schedule, a guest must
 * see and count what its bare machine does (V3), and after every step the invariants of docs/rules.md
 * hold.
 *
 * A guest access runs directly if the physical PMU executes it; if it traps to EL2, the rig
 * exits, counts the instruction, gives the access to vpmu_arm_access() and enters again, as a
 * monitor does.
 */
#ifndef VPMU_TESTS_RIG_H
#define VPMU_TESTS_RIG_H

#include "support.h"

#define RIG_CPUS 2u
#define RIG_VMS 3u
#define RIG_VCPUS 4u

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
	EDGE_ACCESS_PARKED,          /* trapped access while PARKED */
	EDGE_ACCESS_HOST,
	EDGE_COUNT_PARKED,           /* vpmu_count() that reaches a counter while PARKED */
	EDGES,
};

extern const char *const rig_edge_names[EDGES];

struct rig_vm {
	struct vpmu_vm vm;
	struct vpmu_arm_model model;
	const struct vpmu_policy *created;
	const struct vpmu_policy *policy;
	enum vpmu_switch_kind kind;
};

struct rig_cpu {
	struct rig *rig;
	struct model_pmu pmu;
	struct model_hw hw;
	struct vpmu_cpu cpu;
	struct rig_vcpu *loaded, *last;
	uint64_t host_value[32];     /* what the host left in a counter, or power-on rubbish */
	uint64_t host_user, host_pointer;
	bool asked;                  /* a reclaim was asked for and may not be done yet */
};

struct rig_vcpu {
	struct vpmu_vcpu v;
	struct rig *rig;
	struct rig_vm *vm;
	struct rig_cpu *cpu, *last;
	struct model_pmu bare;
	const struct vpmu_policy *policy; /* in force since the last enter */
	bool in_guest;
};

struct rig {
	struct vpmu_machine machine;
	struct rig_cpu cpus[RIG_CPUS];
	struct rig_vm vms[RIG_VMS];
	struct rig_vcpu vcpus[RIG_VCPUS];
	struct model_config hw_config;
	struct rng rng;              /* of the schedule: the same for both switches */
	struct rng noise;            /* of the monitor, which traps differ for */
	uint64_t seed, step;
	uint64_t matrix[EDGES][RIG_VCPUS];
	uint64_t trace;              /* hash of all that guests saw */
	const char *doing;
	bool hostile; /* guests set RES0 bits too: compared with nothing but the invariants */
	/* Statistics that tests look at. */
	uint64_t direct, trapped, pmi_guest, pmi_late, nmis;
};

/*
 * rig_init() - CPUs of (class) with rubbish in them, and on them: VM 0 with 2 vCPUs and the
 * machine's own PMU; VM 1 with 1 and a policy; VM 2 with 1 and a smaller PMU than the machine's, which
 * is also older unless a CPU can give away a part of its own.
 */
void rig_init(struct rig *r, enum model_class class, enum vpmu_switch_kind kind, uint64_t seed);
/* The same with a class for each CPU and a switch for each VM. */
void rig_init_mixed(struct rig *r, const enum model_class *classes,
		    const enum vpmu_switch_kind *kinds, uint64_t seed);

/* The monitor. Each checks what it did. */
void rig_load(struct rig_vcpu *g, struct rig_cpu *c);
void rig_enter(struct rig_vcpu *g);
void rig_exit(struct rig_vcpu *g);
void rig_put(struct rig_vcpu *g);
void rig_count(struct rig_vcpu *g, bool user, uint64_t n);
void rig_reclaim(struct rig_cpu *c);
void rig_request_reclaim(struct rig_cpu *c);
void rig_set_policy(struct rig *r, struct rig_vm *vm, const struct vpmu_policy *policy);
/* The host takes some counters for itself, runs, and leaves rubbish in them. */
void rig_host_counts(struct rig_cpu *c);
/* Host software with no PMU of its own runs at every EL that it may. */
void rig_host_works(struct rig_cpu *c);
/* A vCPU that is loaded nowhere moves into a new one through its saved state; or is reset. */
void rig_migrate(struct rig_vcpu *g);
void rig_reset(struct rig_vcpu *g);

/* The guest, which is in_guest. */
uint64_t rig_read(struct rig_vcpu *g, uint32_t reg);
void rig_write(struct rig_vcpu *g, uint32_t reg, uint64_t value);
int rig_access(struct rig_vcpu *g, unsigned int el, uint32_t reg, bool write, uint64_t *value);
void rig_run(struct rig_vcpu *g, unsigned int el, uint64_t n);

/* The vCPU, not in the guest, against its bare machine: every register. */
void rig_compare(struct rig_vcpu *g);
/* Invariants of all CPUs; called after each function above. */
void rig_check(struct rig *r);

/* One random step of everything above. */
void rig_step(struct rig *r);

#define rig_fail(r, ...) \
	do { \
		print_error("seed %llu, step %llu, %s: ", (unsigned long long)(r)->seed, \
			    (unsigned long long)(r)->step, (r)->doing); \
		print_error(__VA_ARGS__); \
		print_error("\n"); \
		fail(); \
	} while (0)

#endif
