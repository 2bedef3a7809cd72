/* SPDX-License-Identifier: MIT */
/* What the files of the KVM host share. */
#ifndef VPMU_KVM_INTERNAL_H
#define VPMU_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "engine.h"
#include "perf_source.h"
#include "time_source.h"
#include "vmm.h"

/* What KVM does with RDPMC for a guest without a PMU of KVM's. */
enum vmm_rdpmc {
	VMM_RDPMC_UNKNOWN,
	VMM_RDPMC_FAULTS,
	VMM_RDPMC_SILENT,
};

#define VMM_SITES 16u

struct vmm_pmu {
	struct vpmu_vcpu vcpu;
	struct vpmu_emulated emulated;
	struct vpmu_source *source;  /* one of: */
	struct vpmu_time_source time;
	struct vpmu_perf_source perf;
	/* The clock of `time`: of the guest, up to the last exit, and the thread's at the last enter. */
	uint64_t guest_time, entered;
	bool clocked;
	/*
	 * LVTPC of the kernel's APIC can only be read (RULES C3): that it masks itself when it delivers
	 * is kept here, until the guest has dealt with the overflows that caused it.
	 */
	bool masked;
	uint64_t cause;              /* status bits */
	uint64_t programmed;         /* counters that the guest has written to since */
	uint64_t misc_enable;
};

struct vmm_cpu {
	struct vmm *m;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool has_thread;
	bool started;                /* and has not ended */
	bool paused;                 /* under m->lock: out of KVM_RUN until the pause is over */
	uint64_t exits, msr_exits, pmis, pmis_masked, rdpmcs;
	struct vmm_pmu pmu;
	/* The breakpoint on the guest's #GP entry. */
	_Atomic uint64_t watched;    /* address; 0: not armed */
	uint64_t watch_until;
};

struct vmm {
	struct vmm_config config;
	struct pc *pc;
	struct pc_engine engine;     /* learns the entry from the PC's loader */
	struct pc_state entry;
	uint64_t entry_rax, entry_rbx, entry_rsi;
	int kvm, fd;
	int run_size;
	int ended;                   /* an eventfd: some CPU has reached the end */

	struct vpmu_machine machine;
	struct vpmu_vm vm;
	struct vpmu_x86_model model;
	struct vpmu_perf_host *host;
	struct vpmu_perf_system perf_system;
	struct vpmu_time_system time_system;
	enum vmm_source source;
	enum vmm_rdpmc rdpmc;
	bool breakpoints;            /* where RDPMC faults: the handler's exits */
	const char *why_no_pmu;
	uint64_t tsc_khz;

	pthread_mutex_t ports;       /* devices */
	pthread_mutex_t lock;        /* what follows */
	pthread_cond_t changed;
	_Atomic bool pausing;
	_Atomic bool ending;
	_Atomic bool stopped;
	enum vmm_result result;
	char error[200];

	/* Kernel instructions that are replaced by one that exits. Changed only in a pause. */
	uint64_t site[VMM_SITES];
	unsigned int sites;
	unsigned int scans;
	uint64_t pauses;

	struct vmm_cpu cpu[VMM_CPUS];
};

/* vmm.c: a message for the user; the end of the run. */
void vmm_say(struct vmm *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vmm_end(struct vmm *m, enum vmm_result result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * All CPUs out of KVM_RUN, until vmm_resume(). By a CPU's thread, which counts as out. False: another
 * pause came first; it is over now, and what the caller wanted may have been done.
 */
bool vmm_pause(struct vmm_cpu *c);
void vmm_resume(struct vmm_cpu *c);
/* A CPU's thread: waits for the end of a pause; has ended. */
void vmm_stand_by(struct vmm_cpu *c);
void vmm_leave(struct vmm_cpu *c);

/* vcpu.c */
int vmm_cpu_create(struct vmm *m, unsigned int id);
void *vmm_cpu_thread(void *cpu);
void vmm_cpu_kick(struct vmm_cpu *c);
int vmm_signals_init(void);
#define VMM_SIGNAL_OVERFLOW (SIGRTMIN)
#define VMM_SIGNAL_KICK (SIGRTMIN + 1)
/* From the loader's entry. */
int vmm_cpu_start(struct vmm_cpu *c);
/* Paging and privilege of the guest as hosts/pc wants them; setting takes flat data segments. */
int vmm_cpu_state(struct vmm_cpu *c, struct pc_state *s);
int vmm_cpu_set_state(struct vmm_cpu *c, const struct pc_state *s);
/* CS and SS of (s) into (k). */
void vmm_cpu_set_privilege(struct kvm_sregs *k, const struct pc_state *s);

/* kernel.c: the VM in the kernel. -1: *why. */
int vmm_kernel_open(struct vmm *m, const char **why);
int vmm_kernel_vm(struct vmm *m, const char **why);
int vmm_kernel_cpuid(struct vmm *m, struct vmm_cpu *c);

/* filter.c: KVM_X86_SET_MSR_FILTER from the library's table. */
int vmm_filter_set(int vm_fd, enum vpmu_x86_vendor vendor);

/* cpuid.c */
#define VMM_CPUID_MAX 128u
/* struct kvm_cpuid2 with its entries. */
struct vmm_cpuid {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entry[VMM_CPUID_MAX];
};

_Static_assert(offsetof(struct vmm_cpuid, entry) == sizeof(struct kvm_cpuid2), "kvm_cpuid2");

struct vmm_cpuid_config {
	const struct vpmu_vm *vm;
	enum vpmu_x86_vendor vendor;
	unsigned int cpus, id;
	bool deadline;
};

/* (c) as KVM supports it becomes the guest's. */
void vmm_cpuid_make(struct vmm_cpuid *c, const struct vmm_cpuid_config *config);

/* linux.c: 1: it is a bzImage and loaded; 0: it is none; -1: vmm_error(). */
int vmm_linux_load(struct vmm *m, const struct vmm_guest *guest);
/* Puts the initial ramdisk at the end of memory. Its address, 0 without one or on error. */
uint64_t vmm_initrd_load(struct vmm *m, const struct vmm_guest *guest);

/* mptable.c: at (at), which is (address) for the guest. Returns its size; 0: it does not fit. */
size_t vmm_mptable_make(void *at, size_t room, uint32_t address, unsigned int cpus);
#define VMM_MPTABLE_AT 0xf0000u
#define VMM_MPTABLE_ROOM 0x1000u

/* ports.c */
void vmm_port(struct vmm_cpu *c);
void vmm_input(struct vmm *m, const void *bytes, size_t size);

/* pmu.c: glue of one CPU. Between exit and enter, by its thread. */
int vmm_pmu_make(struct vmm *m, const char **why);
int vmm_pmu_init(struct vmm_cpu *c);
void vmm_pmu_fini(struct vmm_cpu *c);
/* False: the run is at its end. */
bool vmm_pmu_enter(struct vmm_cpu *c);
void vmm_pmu_exit(struct vmm_cpu *c);
/* False: #GP. */
bool vmm_pmu_rdmsr(struct vmm_cpu *c, uint32_t index, uint64_t *value);
bool vmm_pmu_wrmsr(struct vmm_cpu *c, uint32_t index, uint64_t value);

/* rdpmc.c. The guest is about to count: from now on RDPMC must be served. */
void vmm_rdpmc_needed(struct vmm_cpu *c);
/* After each exit: what was set for that may have to go. */
void vmm_rdpmc_look(struct vmm_cpu *c);
/* An OUT to VMM_PORT_RDPMC. False: it is no changed instruction. */
bool vmm_rdpmc_port(struct vmm_cpu *c);
/* A KVM_EXIT_DEBUG. */
void vmm_rdpmc_debug(struct vmm_cpu *c);
#define VMM_PORT_RDPMC 0xe4u
#define VMM_DR7_WATCH 0x402u         /* breakpoint 0, globally, on execution */

/* probe.c */
enum vmm_rdpmc vmm_probe(struct vmm *m, uint64_t *tsc_khz);

#endif
