/* SPDX-License-Identifier: MIT */
/*
 * vpmu/vpmu.h - libvpmu, a virtual performance monitoring unit.
 *
 * The law, for every function here:
 *
 *  Memory.   The caller allocates every object, and it does not move while it is in use. The library
 *            allocates nothing, takes no lock, makes no system call, prints nothing and has no mutable
 *            globals. There is nothing to free, but a claim: vpmu_vm_end(). struct vpmu_state, the *saved* state, has no pointers.
 *            The members of the other objects are visible for their size only: read nothing but
 *            what a function returns, write nothing.
 *  NULL.     No pointer may be NULL unless the function says so; this is not checked.
 *  Errors.   int: 0 or a positive answer, negative VPMU_ERR_ codes grouped by whose fault it is. A call
 *            that fails changes nothing.
 *  Guests.   Nothing a guest does makes a call fail, crash or take unbounded work; it gets a fault.
 *  Contexts. Each function names one (RULES E1):
 *   [vcpu]    one caller per vCPU at a time;
 *   [cpu]     on that physical CPU, preemption and interrupts off, never from NMI;
 *   [nmi]     anywhere, NMI and signal handlers included: atomics only, no PMU register is touched;
 *   [vm], [machine]  any thread, may race with everything;
 *   [init]    before the object is shared: one caller.
 *
 * Life of a vCPU on a physical CPU:
 *
 *   load ─► ( enter ─► guest runs ─► exit ─► [trapped accesses, vpmu_count()] )* ─► put
 *
 * Who has the physical PMU: HOST; LIVE (a guest runs on it); PARKED (a guest exited, its counters stay
 * in the hardware, stopped). A *quiet* vCPU (no counter passes all its enables, no overflow is pending)
 * leaves it HOST and touches no PMU register at enter and exit.
 */
#ifndef VPMU_VPMU_H
#define VPMU_VPMU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vpmu/hardware.h>
#include <vpmu/policy.h>
#include <vpmu/source.h>

#ifdef __cplusplus
#error "libvpmu's objects hold C11 atomics: include it from C"
#endif

enum vpmu_error {
	/* The caller's arguments. */
	VPMU_ERR_PARAM = -1,         /* a value outside its documented range */
	VPMU_ERR_SIZE = -2,          /* a size or version member does not fit this library */
	/* The caller's order of calls. */
	VPMU_ERR_STATE = -3,         /* not now: wrong phase, not loaded, already loaded */
	/* This machine. */
	VPMU_ERR_UNSUPPORTED = -4,   /* the hardware or backend cannot do it */
	VPMU_ERR_BUSY = -6,          /* somebody has what it takes: see vpmu/host.h */
	VPMU_ERR_WATCHDOG = -7,      /* the same, and it is the host's watchdog that is in the way */
	VPMU_ERR_LIMIT = -5,         /* the caller's arguments: more than this library takes */
};

/* One English sentence for a code, never NULL. Context: any. */
VPMU_API const char *vpmu_strerror(int error);

/* Outcomes of a trapped guest access, and of vpmu_vcpu_enter(). */
enum vpmu_outcome {
	VPMU_NOT_MINE = 0,           /* not a PMU register: the embedder decides */
	VPMU_HANDLED = 1,            /* done; skip the instruction */
	VPMU_FAULT_UNDEF = 2,        /* deliver Undefined Instruction (Arm EC 0) to EL1 */
	VPMU_FAULT_EL1_TRAP = 3,     /* deliver the trapped access (Arm EC 0x18) to EL1 */
	VPMU_FAULT_GP = 5,           /* deliver #GP(0) (x86) */
	VPMU_AGAIN = 4,              /* vpmu_vcpu_enter(): something came up; look at interrupts, enter again */
};

/* ---- Counters and saved state ---------------------------------------------------------------- */

/*
 * The guest's PMU, complete: what it would read back. A plain value: copying it is a snapshot.
 * Arm meaning of the members in brackets, x86 in vpmu/x86.h; masks as in hardware.h.
 */
struct vpmu_state {
	uint64_t value[VPMU_COUNTER_MAX];     /* [PMEVCNTRn, PMCCNTR] */
	uint64_t selector[VPMU_COUNTER_MAX];  /* as the guest wrote it [PMEVTYPERn, PMCCFILTR] */
	uint64_t enabled;                     /* [PMCNTEN] */
	uint64_t interrupts;                  /* [PMINTEN] */
	uint64_t status;                      /* [PMOVS] */
	uint64_t global;                      /* [PMCR, writable bits only] */
	uint64_t user;                        /* [PMUSERENR] */
	uint64_t pointer;                     /* [PMSELR] */
	uint64_t debug;                       /* x86: DEBUGCTL */
	uint64_t pending;                     /* x86: overflows that still owe the guest a PMI */
};

enum vpmu_counter_state {
	VPMU_COUNTER_STOPPED,        /* an enable is off */
	VPMU_COUNTER_COUNTING,       /* passes all its enables and counts when the guest runs */
	VPMU_COUNTER_STARVED,        /* emulated: the source cannot count it now, or lost some of it */
	VPMU_COUNTER_DENIED,         /* enabled, but the policy keeps it from counting */
	VPMU_COUNTER_UNSUPPORTED,    /* enabled, but this machine does not have the event */
	VPMU_COUNTER_ABSENT,         /* the guest has no such counter */
};

struct vpmu_counter_status {
	enum vpmu_counter_state state;
	uint64_t value;
	uint64_t selector;
	/* Emulated: nanoseconds the event should have counted, and did. 0 where the hardware counts. */
	uint64_t enabled_time;
	uint64_t running_time;
};

/* ---- Objects ---------------------------------------------------------------------------------- */

struct vpmu_vcpu;
struct vpmu_arch;                /* the guest architecture, see vpmu/arm.h, vpmu/x86.h */
struct vpmu_switch;              /* the world switch */

/*
 * The two switches of mediated mode. They differ in cost, never in what the guest sees, but for one thing: of a
 * guest that never clears its overflow status, the eager one cannot tell a new overflow (decision 0006).
 */
enum vpmu_switch_kind { VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER };

/* What makes a VM's counters count. */
enum vpmu_mode {
	VPMU_MODE_MEDIATED,          /* the guest's counters are the hardware's, switched with it */
	VPMU_MODE_EMULATED,          /* events of a counting source; every access traps */
	/*
	 * Mediated, on the first counters of the hardware for good; the others stay the host's, also while
	 * the guest runs. What both share is intercepted, or split by the hardware (caps.partitions), and the
	 * interrupt is the host's (RULES B).
	 */
	VPMU_MODE_PARTITIONED,
	/*
	 * Mediated, and nothing is intercepted while the counters are in the hardware, selectors included: for the
	 * only guest that has any. There is nothing to enforce: no policy, and the model is the machine's PMU.
	 */
	VPMU_MODE_PASSTHROUGH,
	VPMU_MODE_OFF,               /* the guest has no PMU: its registers do not exist */
};

/* What vpmu_count() can count. */
enum vpmu_event_class {
	VPMU_EVENT_INSTRUCTIONS,
	VPMU_EVENT_BRANCHES,         /* x86 only: an Arm guest's branches never trap */
	VPMU_EVENT_CLASSES,
};

/* The host. */
struct vpmu_machine {
	struct vpmu_hw_caps caps;    /* what every CPU has */
	uint64_t anywhere[2];        /* Arm: what any CPU has of PMCEID0, PMCEID1 */
	_Atomic uint64_t claims;     /* VMs with hardware counters, and host events that count inside guests */
	struct vpmu_machine *whole;  /* where the claims are, if this is a part; or NULL */
};

enum vpmu_owner {
	VPMU_OWNER_HOST,
	VPMU_OWNER_LIVE,
	VPMU_OWNER_PARKED,
	VPMU_OWNER_TRANSITION,       /* between the first and the last register access of a change */
};

/* What the interrupt's entry (x86: LVTPC) holds (RULES C1). */
enum vpmu_cpu_route {
	VPMU_CPU_ROUTE_UNKNOWN,
	VPMU_CPU_ROUTE_HOST,
	VPMU_CPU_ROUTE_GUEST,
	VPMU_CPU_ROUTE_MASKED,       /* the guest's, and masked: it said so, or the entry did it itself */
};

/* One physical CPU's PMU and its owner. */
struct vpmu_cpu {
	struct vpmu_hw *hw;
	struct vpmu_vcpu *loaded;    /* vCPU between load and put */
	struct vpmu_vcpu *resident;  /* vCPU whose state is in the hardware: LIVE or PARKED */
	_Atomic uint32_t owner;      /* enum vpmu_owner */
	_Atomic uint32_t mailbox;    /* requests from other CPUs */
	_Atomic bool occupied;       /* loaded is not NULL, for other CPUs */
	uint64_t known_value;        /* counters whose hardware value is known to be 0 */
	uint64_t known_selector;     /* counters whose hardware selector is hw_selector[] */
	uint64_t hw_selector[VPMU_COUNTER_MAX];
	uint64_t user;               /* last written user access value */
	uint64_t pointer;            /* last known pointer */
	uint64_t host_user;          /* the host's, restored at put */
	uint64_t host_pointer;
	uint64_t host_global;        /* restored when the guest leaves the hardware */
	uint64_t parked_global;      /* global control word to write back at enter */
	enum vpmu_reach reach;
	bool reclaimed;              /* the host may have used the PMU since a guest was in it */
	bool stopped;                /* parked by clearing the global enable: parked_global is the truth */
	struct vpmu_host_event *events; /* the host's own, see vpmu/host.h */
	uint64_t host_counters;      /* counters that they have */
	uint8_t route;               /* how the overflow interrupt is routed, enum vpmu_cpu_route */
	uint32_t vectors_due;        /* of overflows that were found before they came */
	uint32_t number;
};

struct vpmu_vm_config {
	uint32_t size;               /* sizeof(struct vpmu_vm_config) */
	enum vpmu_mode mode;
	enum vpmu_switch_kind switch_kind;  /* mediated */
	/*
	 * NULL: every event. Must outlive the VM: what it denies is not advertised, so never counts. (x86 fixed
	 * counters are taken out of the model by vpmu_x86_model_limit().)
	 */
	const struct vpmu_policy *policy;
};

/* One guest. */
struct vpmu_vm {
	struct vpmu_machine *machine;
	const struct vpmu_arch *arch;
	const void *model;           /* arch's description of this guest's PMU */
	const struct vpmu_switch *sw;
	enum vpmu_mode mode;
	bool claimed;                /* counts in machine->claims */
	const struct vpmu_policy *created_policy;
	_Atomic(const struct vpmu_policy *) policy;
	uint64_t counters;           /* what the guest has */
	uint64_t advertised[2];      /* what it is told to be able to count, for good [PMCEID0, PMCEID1] */
};

/* Deterministic counts, for bench/ and `vpmu run --stats`. All since vpmu_vcpu_init(). */
struct vpmu_vcpu_stats {
	uint64_t enters;
	uint64_t quiet;              /* enters with nothing in the hardware */
	uint64_t resumed;            /* enters from PARKED */
	uint64_t loads;              /* full loads (HOST to LIVE) */
	uint64_t saves;              /* full saves (PARKED to HOST) */
	uint64_t probes;             /* looks at the enables of a parked guest (RULES A1) */
	uint64_t switch_accesses;    /* PMU register accesses spent in all of these */
	uint64_t trapped_reads;
	uint64_t trapped_writes;
	uint64_t trap_accesses;      /* PMU register accesses spent in them and in vpmu_count() */
	uint64_t faults;
	uint64_t pmi_taken;
	uint64_t pmi_late;           /* interrupts that no unreported overflow explained */
	uint64_t pmi_given;          /* PMIs that vpmu_vcpu_pmi() handed out */
	uint64_t emulated_counted;   /* events given to vpmu_count() that reached a counter */
};

/* What of the VM's PMU this CPU lets the guest reach while it counts, and why not more. */
enum vpmu_reach_reason {
	VPMU_REACH_FINE_TRAPS,       /* control plane trapped, data plane direct */
	VPMU_REACH_OPEN,             /* nothing to enforce, and no fine-grained traps or passed through: all direct */
	VPMU_REACH_POLICY,           /* no fine-grained traps, a policy to enforce: all trapped */
	VPMU_REACH_UNSAFE,           /* the guest made, or could make, counters count others: all trapped */
	VPMU_REACH_SHAPE,            /* the guest's PMU is not what the hardware would show: all trapped */
	VPMU_REACH_SHARED,           /* the host counts beside the guest: what they share is trapped */
	VPMU_REACH_EMULATED,         /* its counters are not the hardware's: all trapped */
};

/* An emulated counter's event, or a parked one. */
struct vpmu_emulated_counter {
	struct vpmu_event event;     /* as created, with the period last asked for */
	uint64_t base;               /* source count that the guest's value includes */
	uint64_t due;                /* source count of the next hint, if event.period is not 0 */
	uint64_t enabled;            /* times at the last look */
	uint64_t running;
	uint64_t parked_at;          /* which parking it was */
	uint8_t residencies;         /* parked: begun without use since */
	bool drifted;                /* counted in a pause: base is not where it goes on */
};

/* What an emulated vCPU needs besides; masks of counters, which are slots of the source. */
struct vpmu_emulated {
	struct vpmu_source *source;
	_Atomic uint64_t hints;      /* overflows reported since they were last looked at */
	uint64_t parked;             /* slots of events that no counter has now */
	uint64_t parkings;           /* so far */
	uint64_t exists;             /* has an event */
	uint64_t running;            /* which counts for the guest */
	uint64_t paused;             /* which counts, but not for the guest */
	uint64_t settled;            /* looked at since the exit */
	uint64_t dirty;              /* to be worked out at the next enter */
	uint64_t rearm;              /* its hint came */
	uint64_t put_off;            /* and arming it again waits for another enter */
	uint64_t used;               /* needed an event in this residency */
	uint64_t starved;
	uint64_t unsupported;        /* needs an event that the source does not have */
	struct vpmu_emulated_counter counter[VPMU_COUNTER_MAX];
};

/* One guest CPU's PMU. */
struct vpmu_vcpu {
	struct vpmu_vm *vm;
	struct vpmu_cpu *cpu;        /* where it is loaded, or NULL */
	struct vpmu_emulated *emulated;  /* NULL in a mediated VM */
	struct vpmu_state state;     /* the guest's view; members listed in in_hw are stale */
	uint32_t in_hw;              /* state items whose truth is in the hardware */
	uint64_t in_hw_counters;     /* counters whose value is */
	/* Counters that select a class, in ring 0 (kernel), 1 (user). */
	uint64_t counts[VPMU_EVENT_CLASSES][2];
	bool counts_known;           /* no selector or policy changed since */
	bool busy;                   /* not quiet, judged on state when nothing is in the hardware */
	bool loaded;
	bool pmi_given;              /* since the last exit */
	bool interrupt_masked;       /* the guest's LVTPC is */
	bool clears;                 /* the guest has cleared an overflow that it was told of */
	uint64_t reported;           /* overflows told to the guest, and not seen cleared since */
	bool unsafe;                 /* made counters count outside the guest since load */
	_Atomic bool in_guest;
	uint64_t may_differ;         /* counters that are not at selector 0 and value 0 since then */
	bool touched_counters;       /* the guest has accessed an event counter since load */
	uint32_t quiet_looks;        /* consecutive looks that found it quiet */
	uint32_t exits;              /* exits since the last look */
	_Atomic(const struct vpmu_policy *) policy;  /* in use since the last enter */
	enum vpmu_reach_reason reason;
	struct vpmu_vcpu_stats stats;
};

/* Exits of a resident vCPU between two looks at its enables (RULES A1). A power of two. */
#define VPMU_LOOK_INTERVAL 256u

/* ---- Set-up ----------------------------------------------------------------------------------- */

/* vpmu_machine_init() - an empty machine. Context: [init]. */
VPMU_API void vpmu_machine_init(struct vpmu_machine *machine);

/*
 * vpmu_machine_add() - the machine has a CPU with the PMU (caps). Its capabilities become what all its
 * CPUs have. Context: [init], before a VM is created.
 */
VPMU_API void vpmu_machine_add(struct vpmu_machine *machine, const struct vpmu_hw_caps *caps);

/*
 * vpmu_machine_part() - an empty (part) of (machine), which is no part itself: the CPUs added to it are some of
 * the machine's, to which they are added too. A VM made with the part runs on no others, and may have what they have. Events of the
 * host and VMs are in each other's way (vpmu/host.h) wherever in the machine they are. Context: [init].
 */
VPMU_API void vpmu_machine_part(struct vpmu_machine *part, struct vpmu_machine *machine);

/*
 * vpmu_cpu_init() - physical CPU (number) and its PMU, in HOST: nothing enabled, no status, no interrupt
 * enable. Counter values and selectors are unknown and stay so until somebody needs them. Call it
 * again after the CPU was reset or powered off: vpmu_vcpu_put() and vpmu_host_event_destroy() come before that.
 * returns: 0; VPMU_ERR_SIZE: the backend's operation table has another size.
 * Context: [cpu], nothing loaded, no host event on it.
 */
VPMU_API int vpmu_cpu_init(struct vpmu_cpu *cpu, uint32_t number, struct vpmu_hw *hw);

/*
 * vpmu_vm_init() is done by the guest architecture: see vpmu_arm_vm_init() in vpmu/arm.h.
 *
 * vpmu_vcpu_init() - a vCPU in the power-on state, not loaded. Context: [init].
 */
VPMU_API void vpmu_vcpu_init(struct vpmu_vcpu *v, struct vpmu_vm *vm);

/*
 * vpmu_vcpu_attach() - the counting source of a vCPU of an emulated VM. (emulated) and (source) must
 * outlive it.
 * returns: 0; VPMU_ERR_STATE: the VM is not emulated, or (v) has a source; VPMU_ERR_SIZE: the source's
 * operation table has another size.
 * Context: [init], after vpmu_vcpu_init().
 */
VPMU_API int vpmu_vcpu_attach(struct vpmu_vcpu *v, struct vpmu_emulated *emulated,
			      struct vpmu_source *source);

/*
 * vpmu_vcpu_detach() - releases every event. Idempotent.
 * returns: 0; VPMU_ERR_STATE: it is loaded. Context: [vcpu].
 */
VPMU_API int vpmu_vcpu_detach(struct vpmu_vcpu *v);

/*
 * vpmu_vcpu_overflow() - the source's event in (slot) reached its period, or may have.
 * returns: true: the guest runs or is about to: make it exit, so that the overflow is looked at.
 * Context: [nmi].
 */
VPMU_API bool vpmu_vcpu_overflow(struct vpmu_vcpu *v, unsigned int slot);

/*
 * vpmu_vcpu_reset() - back to the power-on state, as after the guest CPU's reset.
 * returns: 0; VPMU_ERR_STATE: it is loaded.
 * Context: [vcpu].
 */
VPMU_API int vpmu_vcpu_reset(struct vpmu_vcpu *v);

/*
 * vpmu_vm_set_policy() - replaces the event policy; each vCPU obeys it from its next enter. What the
 * guest was told to exist does not change; a denied event stops counting (RULES E3).
 * returns: 0; VPMU_ERR_PARAM: (policy) is malformed, or of another architecture; VPMU_ERR_UNSUPPORTED: the VM is
 * passed through, and (policy) denies something.
 * Context: [vm]. The old policy may be freed when vpmu_policy_unused() says so.
 */
VPMU_API int vpmu_vm_set_policy(struct vpmu_vm *vm, const struct vpmu_policy *policy);

/*
 * vpmu_policy_unused() - does none of the (count) vCPUs in (vcpus), all vCPUs of their VM, use (policy)
 * any more? Never true for the policy that the VM was created with. Context: [vm]; "true" stays true.
 */
VPMU_API bool vpmu_policy_unused(struct vpmu_vcpu *const *vcpus, size_t count,
				 const struct vpmu_policy *policy);

/* ---- Residency -------------------------------------------------------------------------------- */

/*
 * vpmu_vcpu_load() - the vCPU becomes resident on (cpu). Costs at most 2 reads and 2 writes (user access and
 * pointer) and no other PMU access; the counters follow at the first enter that needs them.
 * (cpu) is NULL for an emulated guest that cannot reach a PMU register untrapped (another architecture's,
 * or one below a kernel that owns the PMU).
 * returns: 0; VPMU_ERR_STATE: (v) is loaded, or another vCPU is on (cpu), or emulated without a source;
 * VPMU_ERR_UNSUPPORTED: (cpu) lacks a counter the VM has, or is NULL and the VM mediated.
 * Context: [cpu]; [vcpu] without (cpu).
 */
VPMU_API int vpmu_vcpu_load(struct vpmu_vcpu *v, struct vpmu_cpu *cpu);

/*
 * vpmu_vcpu_enter() - the guest is about to execute; last PMU call before the boundary.
 * (nesting) is 0; other levels are refused.
 * returns: 0; VPMU_AGAIN: emulated, an overflow came up: look at vpmu_vcpu_interrupt() and call again; VPMU_ERR_STATE: not loaded, or already in the guest; VPMU_ERR_PARAM: nesting.
 * Context: [cpu].
 */
VPMU_API int vpmu_vcpu_enter(struct vpmu_vcpu *v, unsigned int nesting);

/*
 * vpmu_vcpu_exit() - the guest stopped executing; first PMU call after the boundary. If the exit is a
 * physical interrupt, acknowledge it at the interrupt controller before: the eager switch makes a
 * level-sensitive line drop.
 * returns: as vpmu_vcpu_enter().
 * Context: [cpu].
 */
VPMU_API int vpmu_vcpu_exit(struct vpmu_vcpu *v, unsigned int nesting);

/*
 * vpmu_vcpu_put() - ends the residency: everything of the guest is saved, values that others could read are
 * scrubbed; the host's global control, user access and pointer come back. Nobody is loaded then, but
 * the host still calls vpmu_cpu_reclaim() before it uses the PMU.
 * returns: 0; VPMU_ERR_STATE: not loaded, or in the guest.
 * Context: [cpu]; [vcpu] if it was loaded without a CPU.
 */
VPMU_API int vpmu_vcpu_put(struct vpmu_vcpu *v);

/*
 * vpmu_cpu_reclaim() - the host is going to use this CPU's PMU: what a parked guest has in it is saved
 * and scrubbed. Idempotent, and free in HOST; the guest stays loaded.
 *
 * libvpmu remembers what the hardware holds, so the host calls this before *every* period of use, with
 * all counters in (host_owns) that it may write or select for, also when nothing is loaded. They are not
 * scrubbed first. Enables, status and interrupt enables that the host leaves behind are swept away
 * before a guest is loaded.
 *
 * It comes before: the host's PMU driver touches a register; the host schedules events; a return to host
 * user mode (and on Arm with VHE to host EL0, without VHE to a host kernel at EL1) that could count or
 * read; CPU offline, suspend, crash dump.
 * returns: 0; VPMU_ERR_STATE: a guest is between enter and exit here.
 * Context: [cpu].
 */
VPMU_API int vpmu_cpu_reclaim(struct vpmu_cpu *cpu, uint64_t host_owns);

/*
 * vpmu_cpu_request_reclaim() - asks another CPU for a reclaim, at its next exit, enter or poll: everything is
 * scrubbed, and the host may then write any counter until a guest is entered there. returns: true: a guest is loaded there: make that CPU exit (send it an interrupt).
 * Context: [machine].
 */
VPMU_API bool vpmu_cpu_request_reclaim(struct vpmu_cpu *cpu);

/* vpmu_cpu_poll() - carries out requests from other CPUs. Context: [cpu], guest not running. */
VPMU_API void vpmu_cpu_poll(struct vpmu_cpu *cpu);

/*
 * vpmu_cpu_nmi_owner() - who has this CPU's PMU; in HOST alone a handler may look at what the host itself
 * put there after a reclaim. Context: [nmi].
 */
VPMU_API enum vpmu_owner vpmu_cpu_nmi_owner(const struct vpmu_cpu *cpu);

enum vpmu_pmi {
	VPMU_PMI_GUEST,
	VPMU_PMI_LATE,
	VPMU_PMI_HOST,               /* see vpmu_cpu_sample() */
	VPMU_PMI_BOTH,
};

/*
 * vpmu_cpu_pmi() - the overflow interrupt was taken; whose is it? Decided by status, never by time (C2).
 * returns: VPMU_PMI_GUEST: forward it to the loaded vCPU; VPMU_PMI_HOST: host events overflowed, ask
 * vpmu_cpu_sample(); VPMU_PMI_BOTH; VPMU_PMI_LATE: no unreported overflow of the loaded vCPU or the host explains
 * it: end it at the interrupt controller, deliver nothing.
 * Context: [cpu], after vpmu_vcpu_exit(). A handler that is an NMI, as the host's entry is on x86, only notes
 * that it came; this is called back in [cpu], before the next enter. Costs at most 2 PMU register reads, and where host events sample
 * one more, and 5 accesses for each of them that overflowed.
 */
VPMU_API enum vpmu_pmi vpmu_cpu_pmi(struct vpmu_cpu *cpu);

/* ---- Software events -------------------------------------------------------------------------- */

/*
 * vpmu_count() - the hypervisor executed (n) events of the guest's in ring (user) itself. They count in
 * the counters that select them, subject to enables, filters and policy, with overflow (RULES A7). Free
 * unless a counter selects the event; then at most 3 PMU register accesses and 2 per such counter, and
 * where the guest selects events untrapped one per counter it has.
 * returns: 0; VPMU_ERR_STATE: the guest runs (LIVE); VPMU_ERR_PARAM: unknown class.
 * Context: [vcpu]; [cpu] while it is loaded. Between exit and enter. A trapped Arm access has a flag for
 * this: vpmu_arm_access.count. On x86 an instruction retires after its effect: call it after.
 */
VPMU_API int vpmu_count(struct vpmu_vcpu *v, enum vpmu_event_class event, bool user, uint64_t n);

/* ---- Looking ---------------------------------------------------------------------------------- */

/*
 * vpmu_vcpu_get_state() - copies the guest's PMU to (out), reading the hardware where the truth is there.
 * Changes nothing. returns: 0; VPMU_ERR_STATE: the guest runs.
 * Context: [vcpu]; [cpu] while it is loaded.
 */
VPMU_API int vpmu_vcpu_get_state(struct vpmu_vcpu *v, struct vpmu_state *out);

/*
 * vpmu_vcpu_set_state() - replaces the guest's PMU by (in), for instance after migration.
 * returns: 0; VPMU_ERR_STATE: it is loaded; VPMU_ERR_PARAM: a bit outside the model's masks.
 * Context: [vcpu].
 */
VPMU_API int vpmu_vcpu_set_state(struct vpmu_vcpu *v, const struct vpmu_state *in);

/*
 * vpmu_vcpu_counter() - what counter (i) does. returns: 0; VPMU_ERR_PARAM: i >= VPMU_COUNTER_MAX;
 * VPMU_ERR_STATE: the guest runs. Context: as vpmu_vcpu_get_state().
 */
VPMU_API int vpmu_vcpu_counter(struct vpmu_vcpu *v, unsigned int i, struct vpmu_counter_status *out);

/*
 * vpmu_vcpu_interrupt() - the level of the guest's overflow interrupt line by the architecture's
 * formula; on x86, is a PMI owed that its LVTPC does not mask? returns: 0 or 1; VPMU_ERR_STATE: the guest runs.
 * Context: as vpmu_vcpu_get_state().
 */
VPMU_API int vpmu_vcpu_interrupt(struct vpmu_vcpu *v);

/*
 * vpmu_vcpu_pmi() - where the interrupt is an edge (x86): is one to be delivered to the guest now? Consumes
 * it; at most one per exit.
 * returns: 1: deliver what LVTPC says; on an Intel guest (vpmu_x86_masks_lvtpc()) mask LVTPC if it was
 * accepted, and report that with vpmu_vcpu_lvtpc(). 0: none. VPMU_ERR_STATE: the guest runs.
 * Whether a halted vCPU must wake: vpmu_vcpu_interrupt().
 * Context: as vpmu_vcpu_get_state().
 */
VPMU_API int vpmu_vcpu_pmi(struct vpmu_vcpu *v);

/* Statistics so far. Context: [vcpu]. */
VPMU_API const struct vpmu_vcpu_stats *vpmu_vcpu_stats(const struct vpmu_vcpu *v);


/* What a loaded vCPU may reach, and why not more. Context: [cpu]. */
VPMU_API enum vpmu_reach_reason vpmu_vcpu_reach_reason(const struct vpmu_vcpu *v);

#endif
