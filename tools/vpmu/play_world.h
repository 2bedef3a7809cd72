/* SPDX-License-Identifier: MIT */
/* What a case happens in: physical CPUs, VMs, vCPUs, sources, and interrupts between them. */
#ifndef VPMU_TOOLS_PLAY_WORLD_H
#define VPMU_TOOLS_PLAY_WORLD_H

#include "play.h"

#include <vpmu/arm.h>
#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "model_hw.h"
#include "script_source.h"
#include "x86_cpu.h"

#define PLAY_TRACE_MAX 131072u      /* accesses since a mark that are remembered, for each CPU */
#define PLAY_CALLS_MAX 64u          /* source operations that are, for a message */
#define PLAY_RAW_MAX 8u             /* raw events of a run */
#define PLAY_POLICIES_MAX 32u       /* policies in use in a case */
#define PLAY_EVENTS_MAX 512u        /* events of a filter */
#define PLAY_MSRS_MAX 64u

struct play_model {
	struct vpmu_x86_model x86;
	struct vpmu_arm_model arm;
};

/* A filter as the script describes it. (kvm_pmu_event_filter, Linux uapi asm/kvm.h) */
struct play_filter {
	struct {
		uint32_t action;
		uint32_t nevents;
		uint32_t fixed_counter_bitmap;
		uint32_t flags;
		uint32_t pad[4];
		uint64_t events[PLAY_EVENTS_MAX];
	} kvm;
	uint32_t count;
	struct vpmu_event_range ranges[PLAY_EVENTS_MAX];
	bool is_compiled;            /* `compiled` is what the rest says */
	struct vpmu_x86_filter compiled;
	/* The script's lies, or UINT64_MAX. */
	uint64_t nevents, size;
};

/* A policy that a VM was given: immutable while one uses it. */
struct play_policy {
	struct vpmu_policy policy;
	struct vpmu_x86_filter x86;
	struct vpmu_event_range ranges[PLAY_EVENTS_MAX];
	bool taken;
};

struct play_vm {
	struct vpmu_vm vm;
	struct vpmu_machine part;    /* of the machine, if it may not run everywhere */
	struct play_model model;
	enum play_mode mode;
	const struct vpmu_policy *policy;
	bool exists;
	unsigned int first, count;   /* its vCPUs */
};

enum play_place { PLAY_NOWHERE, PLAY_OUT, PLAY_IN };

/* Counts of a vCPU and its CPU since the last mark. */
struct play_counts {
	uint64_t pmis, pmis_masked, apic_errors, pmis_taken, pmis_late, host_nmis, exits, enters;
};

struct play_vcpu {
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	struct play_run *run;
	struct play_vm *vm;
	bool exists;
	bool attached;
	enum play_place place;
	unsigned int cpu;            /* where it is or was */
	uint32_t lvtpc;
	uint64_t misc_enable;
	bool halted;
	bool line;                   /* Arm: the level last seen */
	struct play_counts counts;
	struct vpmu_script_source marked;
	struct vpmu_vcpu_stats marked_stats;
	struct vpmu_script_call calls[PLAY_CALLS_MAX];
	uint64_t call_count;
};

struct play_cpu {
	struct vpmu_cpu cpu;
	struct vpmu_hw *hw;
	struct model_pmu arm_pmu;
	struct model_hw arm;
	struct x86_cpu x86;
	struct play_run *run;
	bool at_boundary;            /* x86: entering or leaving, no access of the library */
	bool nmi_saw_host;           /* an NMI between two accesses did */
	bool nmi_touched;            /* what an NMI calls touched a register */
	bool line_taken;             /* Arm: the interrupt is active at the host */
	unsigned int overflow;       /* counter that overflows in so many looks; 0: none */
	uint64_t overflow_in;
	uint64_t host_debugctl;      /* Intel: while a guest runs */
	struct play_counts alone;    /* while no vCPU is here */
	uint64_t marked_accesses;
	/* PLAY_TRACE_MAX accesses. They stay when a CPU is made anew. */
	struct model_access *arm_trace;
	struct x86_cpu_access *x86_trace;
};

/* An event of the host's. */
struct play_host_event {
	struct vpmu_host_event event;
	struct play_cpu *cpu;
	bool exists;
	struct play_vm *vm;          /* in which it counts, or NULL */
	struct play_vcpu *vcpu;
	uint64_t samples;            /* since the last mark */
	uint64_t guest_samples;      /* of them those that interrupted a guest */
};

struct play_saved {
	bool exists;
	struct vpmu_state state;
	size_t msr_count;
	struct {
		uint32_t index;
		uint64_t value;
	} msr[PLAY_MSRS_MAX];
};

struct play_world {
	struct vpmu_machine machine;
	bool machine_exists;
	const struct play_arg *machine_args;
	struct play_cpu cpus[PLAY_CPUS_MAX];
	struct play_vm vms[PLAY_VMS_MAX];
	struct play_vcpu vcpus[PLAY_VCPUS_MAX];
	unsigned int vcpu_count;
	uint64_t lacks;              /* meanings that no source supports */
	struct play_filter filters[PLAY_SLOTS_MAX];
	struct play_policy policies[PLAY_POLICIES_MAX];
	struct play_saved saved[PLAY_SLOTS_MAX];
	struct play_host_event events[PLAY_SLOTS_MAX];
	bool bare_exists;            /* then CPU 0 is the machine */
	struct play_model bare_model;
};

/* ---- play_world.c ---- */

struct play_world *play_world_new(struct play_run *r);
void play_world_free(struct play_world *w);
/* Ends every vCPU and looks whether a contract was broken. */
void play_world_end(struct play_run *r);

/* New physical CPUs, with (args) on top of the file's hardware; every VM is gone. */
void play_machine_new(struct play_run *r, const struct play_arg *args);
/* Which hardware there is, made when first needed. */
void play_need_machine(struct play_run *r);

/* returns what the library says. What VM (n) was is destroyed. */
int play_vm_create(struct play_run *r, unsigned int n, const struct play_arg *args);
/* Its vCPUs end, and what it claimed of the machine is given back. */
void play_vm_end(struct play_run *r, struct play_vm *vm);
void play_vcpu_destroy(struct play_run *r, struct play_vcpu *v);

/* The current vCPU, with its VM and machine, which are there now. */
struct play_vcpu *play_vcpu(struct play_run *r);
/* The same, and its VM has the needs of the step called (what). */
struct play_vcpu *play_emulated_vcpu(struct play_run *r, const char *what);
/* The current CPU. */
struct play_cpu *play_cpu(struct play_run *r);
struct play_vm *play_vm(struct play_run *r);

static inline bool play_is_mediated(const struct play_vm *vm)
{
	return vm->mode >= PLAY_LAZY;
}

/* Emulated vCPUs are on a physical CPU where the host counts beside them. */
static inline bool play_on_hardware(const struct play_run *r, const struct play_vm *vm)
{
	return play_is_mediated(vm) || r->what->file->host_events;
}

/* Policy of filter (number); UINT64_MAX: none. returns what compiling it says. */
int play_policy_new(struct play_run *r, uint64_t number, const struct vpmu_policy **policy);
int play_compile(struct play_run *r, uint64_t number, struct vpmu_x86_filter *out);
/* Arm: does filter (number) allow (event)? */
bool play_filter_allows(struct play_run *r, uint64_t number, uint64_t event);
/* play_host.c: a number below (below) */
uint64_t play_random(struct play_run *r, uint64_t below);

/* ---- play_shape.c: from keys to models and configurations ---- */

void play_model_init(struct play_run *r, struct play_model *model,
		     const struct play_arg *const *args, unsigned int count);
void play_x86_config(struct play_run *r, unsigned int cpu, struct x86_pmu_config *config,
		     bool *vmx);
/* What the software PMU was not made for is senseless. */
void play_check_x86_config(struct play_run *r, const struct x86_pmu_config *c);
void play_arm_config(struct play_run *r, unsigned int cpu, struct model_config *config);

/* ---- play_loop.c: the hypervisor ---- */

void play_load_vcpu(struct play_run *r, struct play_vcpu *v);
void play_enter(struct play_run *r, struct play_vcpu *v);
void play_exit(struct play_run *r, struct play_vcpu *v);
void play_put(struct play_run *r, struct play_vcpu *v);
/* In the guest, by whatever it takes. */
void play_go_in(struct play_run *r, struct play_vcpu *v);
/*
 * For something that a running guest forbids: exits if it runs. play_resume() enters again if that
 * was so. Neither does anything when the step is made by hand.
 */
bool play_pause(struct play_run *r, struct play_vcpu *v);
void play_resume(struct play_run *r, struct play_vcpu *v, bool paused);
/* Asks for the guest's interrupt and delivers it. */
void play_deliver(struct play_run *r, struct play_vcpu *v);
/* If something interrupts the guest now, it exits and enters. */
void play_service(struct play_run *r, struct play_vcpu *v);
/* The host takes an interrupt on (cpu); (v), which is there, ran, or NULL: nobody did. */
void play_take_interrupt(struct play_run *r, struct play_cpu *cpu, struct play_vcpu *v,
			 bool in_guest);
/* The host executed something, and takes what interrupts it on (cpu). */
void play_host_interrupts(struct play_run *r, struct play_cpu *cpu);
/* returns what the library says, and follows it. */
int play_boundary(struct play_run *r, struct play_vcpu *v, bool enter);

/* What the guest, or the host, executed in one ring. */
struct play_burst {
	bool user;
	uint64_t instructions, cycles, reference, branches, branch_misses, llc, llc_misses;
	struct {
		uint64_t event, n;
	} raw[PLAY_RAW_MAX];
	unsigned int raw_count;
	uint64_t nanoseconds;
};

/* ---- play_events.c: bursts ---- */

struct play_burst play_burst_of(struct play_run *r, const struct play_arg *args);
/* The guest executed it. returns: true: it must exit. */
bool play_guest_ran(struct play_run *r, struct play_vcpu *v, const struct play_burst *burst);
void play_bare_ran(struct play_run *r, const struct play_burst *burst);
void play_host_ran(struct play_run *r, struct play_cpu *cpu, const struct play_burst *burst);

#define PLAY_RUN_KEYS \
	"user cycles= ref= branches= branch_misses= llc= llc_misses= raw()="

/* ---- play_host.c ---- */

/* What play_pause() and play_resume() are, of the vCPU that runs on (cpu), if there is one. */
struct play_vcpu *play_pause_cpu(struct play_run *r, const struct play_cpu *cpu);
void play_resume_cpu(struct play_run *r, struct play_vcpu *paused);

/* ---- play_beside.c ---- */

void play_take_samples(struct play_run *r, struct play_cpu *cpu, bool in_guest);
void play_host_events_end(struct play_run *r);
/* (vm) or (v) ends: it is senseless that an event counts in it. */
void play_check_no_event(struct play_run *r, const struct play_vm *vm, const struct play_vcpu *v);

/* ---- play_bare.c ---- */

/* The machine of mode bare. */
struct play_cpu *play_bare(struct play_run *r);
/* Of the current VM, or of the bare machine. */
const struct play_model *play_current_model(struct play_run *r);
void play_bare_interrupts(struct play_run *r);
int play_bare_msr(struct play_run *r, uint32_t index, bool write, uint64_t *value);
int play_bare_rdpmc(struct play_run *r, struct vpmu_x86_rdpmc *p);
int play_bare_sysreg(struct play_run *r, struct vpmu_arm_access *access);

/* ---- play_trace.c ---- */

void play_mark(struct play_run *r);
void play_print_trace(struct play_run *r);
/* Watches the accesses of (cpu) from now on. */
void play_watch(struct play_run *r, struct play_cpu *cpu);
/* Breaches of contracts so far; NULL: none. */
const char *play_breach(struct play_run *r);

#endif /* VPMU_TOOLS_PLAY_WORLD_H */
