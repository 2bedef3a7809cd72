/* SPDX-License-Identifier: MIT */
/*
 * Many tenants of one host: VMs of all modes side by side on two physical CPUs, and the host's own events
 * beside them, on a random schedule. What each counter and each host event must show is counted apart, by
 * brute force: of every stretch of execution, what happened in it is added to each counter that by its
 * programming counts it. Only the places of host events (which have a counter now) are asked of the library.
 *
 * The schedule and the reference know no architecture; tenants_arm.c and tenants_x86.c have the registers,
 * and the software CPUs. Guests are polite profilers: they clear an overflow that they are told of.
 *
 * Two worlds run in step, each of whose mediated VMs has the other world switch: lazy equals eager if what
 * guests see is the same.
 */
#ifndef VPMU_TESTS_TENANTS_H
#define VPMU_TESTS_TENANTS_H

#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "script_source.h"
#include "support.h"
#include "x86_cpu.h"

/* What happens. The host's own instructions are of the first three: events of the host's count the others. */
enum tenant_event {
	TENANT_INSTRUCTIONS,
	TENANT_CYCLES,
	TENANT_REFERENCE_CYCLES,
	TENANT_BRANCHES,
	TENANT_BRANCH_MISSES,
	TENANT_REFERENCES,
	TENANT_MISSES,
	TENANT_EVENTS,
};

#define TENANT_NOT_IN_COST TENANT_BRANCHES

/* Rings, as bits. */
#define TENANT_KERNEL 1u
#define TENANT_USER 2u

#define TENANT_CPUS 2u
#define TENANT_COUNTERS 36u      /* indices of both architectures are below */
#define TENANT_HOST_EVENTS 7u    /* per CPU: one more than counters, now and then */
#define TENANT_POLICIES 4u

/* VMs by number; in the second world lazy and eager are exchanged. */
enum {
	TENANT_VM_LAZY,              /* 2 vCPUs */
	TENANT_VM_EAGER,
	TENANT_VM_PART_LAZY,
	TENANT_VM_PART_EAGER,
	TENANT_VM_EMULATED,          /* by a source with cheap reads */
	TENANT_VM_SCARCE,            /* emulated, by a source with two counters and dear reads */
	TENANT_VM_OFF,
	TENANT_VMS,
};

#define TENANT_VCPUS (TENANT_VMS + 1)

/* Columns of the matrix. */
enum tenant_mode {
	TENANT_NONE,                 /* nobody is loaded */
	TENANT_LAZY,
	TENANT_EAGER,
	TENANT_PART_LAZY,
	TENANT_PART_EAGER,
	TENANT_EMULATED,
	TENANT_OFF,
	TENANT_MODES,
};

/* Edges; with the owner before and the mode of who is loaded they make the cells (RULES A9). */
enum tenant_edge {
	TENANT_LOAD,                 /* the CPU was last used by the same vCPU or nobody */
	TENANT_LOAD_AFTER_OTHER,
	TENANT_LOAD_ELSEWHERE,       /* the vCPU was on another CPU last */
	TENANT_ENTER_HOST,           /* to HOST: quiet, or emulated */
	TENANT_ENTER_LIVE,
	TENANT_ENTER_POLICY,         /* and takes over a new policy */
	TENANT_EXIT_PARKED,
	TENANT_EXIT_HOST,
	TENANT_PUT,
	TENANT_RECLAIM,
	TENANT_REQUEST,              /* of a reclaim, by another CPU */
	TENANT_TRAP,
	TENANT_DIRECT,               /* untrapped access */
	TENANT_COUNT,                /* vpmu_count() */
	TENANT_COMPARE,
	TENANT_GUEST_RUN,
	TENANT_HOST_RUN,
	TENANT_PMI_GUEST,            /* a physical interrupt, and whose it was */
	TENANT_PMI_HOST,
	TENANT_PMI_BOTH,
	TENANT_PMI_LATE,
	TENANT_TOLD,                 /* the guest gets its interrupt */
	TENANT_CREATE,               /* host events */
	TENANT_REFUSED,              /* because of somebody */
	TENANT_DESTROY,
	TENANT_READ,
	TENANT_ROTATE,
	TENANT_SAMPLE,
	TENANT_EDGES,
};

extern const char *const tenant_edge_names[TENANT_EDGES];
extern const char *const tenant_mode_names[TENANT_MODES];
extern const char *const tenant_owner_names[3]; /* HOST, LIVE, PARKED */

struct tenant_world;

/* A counter as the guest programmed it, and what it must hold. */
struct tenant_counter {
	uint64_t value;
	enum tenant_event event;
	unsigned int rings;
};

struct tenant_policy {
	uint32_t allowed;            /* events, as bits */
	struct vpmu_policy policy;
	struct vpmu_event_range ranges[TENANT_EVENTS];
	struct vpmu_x86_filter filter;
};

struct tenant_vm {
	struct vpmu_vm vm;
	struct tenant_world *world;
	enum tenant_mode mode;
	struct vpmu_vm_config config;
	union {
		struct vpmu_arm_model arm;
		struct vpmu_x86_model x86;
	} model;
	uint64_t counters;
	bool alive;
	const struct tenant_policy *created; /* NULL: none */
	const struct tenant_policy *policy;
};

struct tenant_vcpu {
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	struct tenant_vm *vm;
	struct tenant_cpu *cpu, *last;
	bool in_guest;
	/* The reference: masks are of counters. */
	struct tenant_counter counter[TENANT_COUNTERS];
	uint64_t enabled;
	uint64_t global;             /* let through by the global control */
	uint64_t interrupts;
	uint64_t status;
	uint64_t clearing;           /* status that the access under way clears */
	uint64_t starved;            /* did not get all */
	uint64_t short_now;          /* in the last stretch */
	uint32_t allowed;            /* events, since the last enter */
	bool owed;                   /* an interrupt, where it is an edge */
	bool masked;                 /* its entry is, where there is one */
	bool handling;
	bool masks;                  /* the guest has its interrupts masked */
	struct vpmu_state saved;     /* while its VM does not live */
};

struct tenant_host_event {
	struct vpmu_host_event e;
	bool lives;
	bool owed;                   /* a sample */
	enum tenant_event event;
	uint64_t count, enabled, running;
};

struct tenant_cpu {
	struct tenant_world *world;
	union {
		struct {
			struct model_pmu pmu;
			struct model_hw hw;
		} arm;
		struct x86_cpu x86;
	} is;
	union {
		struct model_access arm;
		struct x86_cpu_access x86;
	} last_access;
	struct vpmu_hw *hw;
	struct vpmu_cpu cpu;
	struct tenant_vcpu *loaded, *last;
	struct tenant_host_event events[TENANT_HOST_EVENTS];
	uint32_t number;
	bool driven;                 /* the host has a PMU driver of its own here, and no events */
	unsigned int late;           /* interrupts not taken yet */
	bool boundary;               /* hooks come from the entry or exit itself */
	bool looks;                  /* an operation that may read while the owner is HOST */
	uint64_t accesses;           /* at the last NMI */
	uint64_t nmis;
};

/* Architecture and machine. */
struct tenant_arch {
	const char *name;
	bool edge;                   /* interrupts are */
	bool self_masking;           /* their entry is masked when one is told */
	bool host_rings;             /* the host has rings that its events tell apart */
	unsigned int class;
	void (*init_cpu)(struct tenant_cpu *c);
	/* Model and counters, of a machine that has its CPUs. */
	void (*describe)(struct tenant_vm *vm);
	int (*init_vm)(struct tenant_vm *vm);
	void (*compile)(struct tenant_policy *p, const struct tenant_arch *arch);
	/* Is (i) for one event only? */
	bool (*is_fixed)(unsigned int i, enum tenant_event *event);
	uint64_t (*encoding)(const struct tenant_arch *arch, enum tenant_event event);
	/* All bits of counter (i), and those whose carry is the overflow. */
	uint64_t (*width)(const struct tenant_vm *vm, unsigned int i);
	uint64_t (*wraps)(const struct tenant_vm *vm, unsigned int i);
	/* The guest writes what the reference has. */
	void (*write_control)(struct tenant_vcpu *g, unsigned int i);
	void (*write_value)(struct tenant_vcpu *g, unsigned int i);
	void (*write_global)(struct tenant_vcpu *g);
	void (*clear_status)(struct tenant_vcpu *g, uint64_t mask);
	/* The interrupt's entry is (g->masked). NULL: there is none. */
	void (*set_entry)(struct tenant_vcpu *g);
	/* And reads; (other): by another instruction, where there is one. */
	uint64_t (*read_value)(struct tenant_vcpu *g, unsigned int i, bool other);
	uint64_t (*read_status)(struct tenant_vcpu *g);
	/* A guest without a PMU tries, and faults. */
	void (*probe)(struct tenant_vcpu *g);
	/* Counters that the global control of (s) lets through. */
	uint64_t (*global_of)(const struct tenant_vm *vm, const struct vpmu_state *s);
	/* The CPU crosses the boundary; executes; has an interrupt, which is taken. */
	void (*cross)(struct tenant_cpu *c, bool enter);
	void (*execute)(struct tenant_cpu *c, bool guest, unsigned int ring, const uint64_t *amount);
	/* returns: how many interrupts it has; (take): takes those that are latched. */
	unsigned int (*interrupts)(struct tenant_cpu *c, bool take);
	void (*burst)(const struct tenant_arch *arch, struct vpmu_script_burst *burst,
		      struct vpmu_script_raw *raw, const uint64_t *amount);
	void (*pass)(struct tenant_cpu *c, uint64_t nanoseconds);
	/* The host, which owns it, leaves (value) in counter (i). */
	void (*scribble)(struct tenant_cpu *c, unsigned int i, uint64_t value);
	/* NULL, or what is wrong with the hardware now that (owner) has it. */
	const char *(*wrong)(const struct tenant_cpu *c, enum vpmu_owner owner);
};

extern const struct tenant_arch tenant_arm_classes[MODEL_CLASSES];
#define TENANT_X86_CLASSES 3u
extern const struct tenant_arch tenant_x86_classes[TENANT_X86_CLASSES];

struct tenant_world {
	const struct tenant_arch *arch;
	struct vpmu_machine machine;
	struct tenant_cpu cpus[TENANT_CPUS];
	struct tenant_vm vms[TENANT_VMS];
	struct tenant_vcpu vcpus[TENANT_VCPUS];
	struct tenant_policy policies[TENANT_POLICIES];
	struct rng rng;              /* of the schedule: the same in both worlds */
	struct rng noise;            /* of the host alone */
	uint64_t seed, step;
	uint64_t trace;              /* hash of all that guests saw */
	uint64_t matrix[TENANT_EDGES][3][TENANT_MODES];
	const char *doing;
	bool crowded;                /* events that count inside guests live, and no mediated VM does */
	bool created;                /* a host event, in this step */
	/* Statistics. */
	uint64_t migrations, restarts, busy, starved, samples;
};

/* (swapped): lazy and eager are exchanged. */
void tenants_init(struct tenant_world *w, const struct tenant_arch *arch, bool swapped, uint64_t seed);
/* One random step. */
void tenants_step(struct tenant_world *w);
/*
 * After a step of each: a pinned event that one of them refused, whose guest has other counters now, ends in the
 * other too.
 */
void tenants_agree(struct tenant_world *a, struct tenant_world *b);
/* Everything is looked at. */
void tenants_look(struct tenant_world *w);
/* Can the cell be hit? */
bool tenants_cell_exists(const struct tenant_arch *arch, enum tenant_edge edge, enum vpmu_owner owner,
			 enum tenant_mode mode);

/* For the architectures. */
void tenant_exit(struct tenant_vcpu *g);
void tenant_enter(struct tenant_vcpu *g);
void tenant_trapped(struct tenant_vcpu *g);
void tenant_direct(struct tenant_vcpu *g);
/* An NMI between two accesses; (wrote): the last access changed something. */
void tenant_nmi(struct tenant_cpu *c, bool wrote);

#define tenant_fail(w, ...) \
	do { \
		print_error("class %s, seed %llu, step %llu, %s: ", (w)->arch->name, \
			    (unsigned long long)(w)->seed, (unsigned long long)(w)->step, \
			    (w)->doing); \
		print_error(__VA_ARGS__); \
		print_error("\n"); \
		fail(); \
	} while (0)

#endif
