/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MEMORY 0x1000000u
#define SETTLE 4                     /* seconds, at most */

/* This kernel's clocks, which every kernel has, under the names of a processor's events. */
bool machine_software(struct vpmu_perf_host *host, struct vpmu_perf_system *sys)
{
	*host = (struct vpmu_perf_host){
		.encoding = VPMU_PERF_ENCODING_INTEL, .pmus = 1, .names = 2,
		.pmu[0] = { .name = "software", .type = PERF_TYPE_SOFTWARE, .all_cpus = true },
		.name[0] = { .name = "cpu-cycles", .config = { PERF_COUNT_SW_CPU_CLOCK }, .listed = 1 },
		.name[1] = { .name = "ref-cycles", .config = { PERF_COUNT_SW_TASK_CLOCK }, .listed = 1 },
	};
	return vpmu_perf_host_probe(host, sys) == VPMU_PERF_OK && !host->user_only;
}

static const char *start(struct vmm *m, enum program program, bool software)
{
	struct vmm_cpu *c = &m->cpu[0];
	struct kvm_regs regs = { .rflags = 2 };
	struct pc_state s;
	uint64_t entry;

	if (m->why_no_pmu)
		return m->why_no_pmu;
	calls_count(&m->perf_system, &m->time_system);
	if (software && !machine_software(m->host, &m->perf_system))
		return "this kernel gives no software perf events";
	if (software)
		m->source = VMM_SOURCE_PERF;
	if (!guest_load(m, program, &s, &entry))
		return "no memory for the guest";
	regs.rip = entry;
	regs.rsp = s.rsp;
	if (vmm_cpu_set_state(c, &s) || ioctl(c->fd, KVM_SET_REGS, &regs))
		return "KVM does not take the CPU's state";
	if (vmm_pmu_init(c))
		return "the PMU cannot be made";
	/* A clock in the kernel counts this thread, in the guest and outside. */
	c->pmu.perf.config.count_host = true;
	c->started = true;
	return NULL;
}

struct vmm *machine_new(enum program program, bool software, const char **why)
{
	const struct vmm_config config = {
		.ram = MEMORY, .cpus = 1, .source = VMM_SOURCE_TIME,
		.model = {
			.size = sizeof(config.model), .vendor = VPMU_X86_INTEL, .version = 5, .gp = 8,
			.gp_width = 48, .events_length = 7, .pdcm = true, .full_width_writes = true,
		},
	};
	struct vmm *m = vmm_create(&config, why);

	if (!m)
		return NULL;
	*why = start(m, program, software);
	if (!*why)
		return m;
	vmm_destroy(m);
	return NULL;
}

void machine_free(struct vmm *m)
{
	vmm_pmu_fini(&m->cpu[0]);
	vmm_destroy(m);
}

static void msr(struct vmm_cpu *c, bool write)
{
	struct kvm_run *run = c->run;
	uint64_t value = 0;

	c->msr_exits++;
	if (write)
		run->msr.error = !vmm_pmu_wrmsr(c, run->msr.index, run->msr.data);
	else
		run->msr.error = !vmm_pmu_rdmsr(c, run->msr.index, &value);
	run->msr.data = value;
}

static bool serve(struct vmm_cpu *c)
{
	switch (c->run->exit_reason) {
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		msr(c, c->run->exit_reason == KVM_EXIT_X86_WRMSR);
		return !c->run->msr.error;
	case KVM_EXIT_DEBUG:
		vmm_rdpmc_debug(c);
		return true;
	case KVM_EXIT_IO:
		if (c->run->io.port == PORT_SWITCHED)
			tally.switches++;
		return c->run->io.port == PORT_SWITCHED || vmm_rdpmc_port(c);
	default:
		fprintf(stderr, "bench: exit %u of KVM\n", c->run->exit_reason);
		return false;
	}
}

/* As the threads of hosts/kvm do. */
bool machine_step(struct vmm *m)
{
	struct vmm_cpu *c = &m->cpu[0];
	bool goes_on;
	int result, error;

	((volatile struct kvm_run *)c->run)->immediate_exit = 0;
	atomic_signal_fence(memory_order_seq_cst);
	if (!vmm_pmu_enter(c))
		return false;
	result = ioctl(c->fd, KVM_RUN, 0);
	error = errno;
	vmm_pmu_exit(c);
	c->exits++;
	goes_on = result == 0 ? serve(c) : error == EINTR || error == EAGAIN;
	vmm_rdpmc_look(c);
	return goes_on;
}

/* Once an RDPMC is replaced, the breakpoint that found it stays for a while, at some cost. */
bool machine_settle(struct vmm *m)
{
	time_t end = time(NULL) + SETTLE;

	do {
		if (!machine_step(m))
			return false;
	} while (m->cpu[0].watched && time(NULL) < end);
	return true;
}

bool machine_bare_step(struct vmm *m)
{
	struct vmm_cpu *c = &m->cpu[0];

	((volatile struct kvm_run *)c->run)->immediate_exit = 0;
	if (ioctl(c->fd, KVM_RUN, 0))
		return errno == EINTR || errno == EAGAIN;
	if (c->run->exit_reason != KVM_EXIT_X86_RDMSR &&
	    c->run->exit_reason != KVM_EXIT_X86_WRMSR)
		return false;
	c->run->msr.error = 0;
	c->run->msr.data = 0;
	return true;
}
