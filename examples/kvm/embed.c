/* SPDX-License-Identifier: MIT */
/* The embedding. docs/embedding.md says what a VMM does that serves more than this guest needs. */
#include "embed.h"

#include <linux/kvm.h>
#include <signal.h>
#include <time.h>

#include <vpmu/x86.h>

#include "perf_source.h"
#include "time_source.h"

#define LVT_MODE(value) ((value) >> 8 & 7)
#define MODE_NMI 4u

static struct {
	struct vpmu_machine machine;
	struct vpmu_vm vm;
	struct vpmu_vcpu vcpu;
	struct vpmu_emulated emulated;
	struct vpmu_x86_model model;     /* these outlive the vCPU */
	struct vpmu_source *source;      /* one of: */
	struct vpmu_perf_source perf;
	struct vpmu_time_source time;
	struct vpmu_perf_host host;
	struct vpmu_perf_system perf_system;
	struct vpmu_time_system time_system;
	uint64_t guest_time, entered;    /* nanoseconds: up to the last exit; the thread's */
	uint32_t lvtpc;
	void (*kick)(void);
} pmu;

static void check(int result)
{
	need(result >= 0, 1, vpmu_strerror(result));
}

/* ---- The counting source: perf events of this thread where there are any, else its time ---- */

static uint64_t thread_time(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t guest_time(void *unused)
{
	(void)unused;
	return pmu.guest_time;
}

static void kick(void *unused)
{
	(void)unused;
	pmu.kick();
}

static bool count_by_perf(void)
{
	const struct vpmu_perf_config config = {
		.host = &pmu.host, .system = &pmu.perf_system, .encoding = VPMU_PERF_ENCODING_INTEL,
		.signal = SIGRTMIN, .kick = kick, .only = -1,
	};

	pmu.perf_system = vpmu_perf_linux;
	(void)vpmu_perf_host_find(&pmu.host, "");
	if (vpmu_perf_host_probe(&pmu.host, &pmu.perf_system) ||
	    vpmu_perf_source_init(&pmu.perf, &pmu.vcpu, &config))
		return false;
	need(!vpmu_perf_signal_init(SIGRTMIN), 1, "no signal handler");
	vpmu_perf_signal_target(&pmu.perf);
	pmu.source = &pmu.perf.source;
	return true;
}

static void count_by_time(uint64_t tsc_khz)
{
	const struct vpmu_time_config config = {
		.system = &pmu.time_system, .clock = guest_time, .signal = SIGRTMIN, .kick = kick,
		.core_khz = tsc_khz, .reference_khz = tsc_khz,
	};

	pmu.time_system = vpmu_time_linux;
	vpmu_time_source_init(&pmu.time, &pmu.vcpu, &config);
	need(!vpmu_time_signal_init(SIGRTMIN), 1, "no signal handler");
	vpmu_time_signal_target(&pmu.time);
	pmu.source = &pmu.time.source;
}

const char *pmu_source(void)
{
	return pmu.source == &pmu.time.source ? "time" : "perf events";
}

/* ---- Creation ---- */

void pmu_create(uint64_t tsc_khz, void (*kick_function)(void))
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };

	pmu.kick = kick_function;
	pmu.lvtpc = VPMU_X86_LVTPC_RESET;
	pmu.model = (struct vpmu_x86_model){
		.size = sizeof(pmu.model), .vendor = VPMU_X86_INTEL, .version = 5, .gp = 4,
		.gp_width = 48, .events_length = 7,
	};
	if (!count_by_perf())
		count_by_time(tsc_khz);
	/* What the source cannot count is not offered. */
	check(vpmu_x86_model_limit(&pmu.model, pmu.source, NULL));
	vpmu_machine_init(&pmu.machine);
	check(vpmu_x86_vm_init(&pmu.vm, &pmu.machine, &pmu.model, &config));
	vpmu_vcpu_init(&pmu.vcpu, &pmu.vm);
	check(vpmu_vcpu_attach(&pmu.vcpu, &pmu.emulated, pmu.source));
	/* For good: no PMU of a physical CPU is involved that the vCPU would leave. */
	check(vpmu_vcpu_load(&pmu.vcpu, NULL));
	check(vpmu_vcpu_lvtpc(&pmu.vcpu, pmu.lvtpc));
}

void pmu_destroy(void)
{
	check(vpmu_vcpu_put(&pmu.vcpu));
	check(vpmu_vcpu_detach(&pmu.vcpu));
	vpmu_time_signal_target(NULL);
	vpmu_perf_signal_target(NULL);
	if (pmu.source == &pmu.time.source)
		vpmu_time_source_fini(&pmu.time);
	else
		vpmu_perf_source_fini(&pmu.perf);
}

void pmu_filter(uint8_t *allowed, uint32_t msrs)
{
	struct vpmu_x86_reg_info row;

	for (size_t i = 0; vpmu_x86_reg_info(i, &row) == 0; i++) {
		for (unsigned int j = 0; j < row.members; j++) {
			uint32_t index = row.index + j * row.stride;

			if (index < msrs)
				allowed[index / 8] &= (uint8_t)~(1u << index % 8);
		}
	}
}

/* ---- CPUID ---- */

static void answer(struct kvm_cpuid_entry2 *e)
{
	uint32_t r[4] = { e->eax, e->ebx, e->ecx, e->edx };

	vpmu_x86_cpuid(&pmu.vm, e->function, e->index, r);
	e->eax = r[0];
	e->ebx = r[1];
	e->ecx = r[2];
	e->edx = r[3];
}

void pmu_cpuid(struct kvm_cpuid2 *cpuid)
{
	bool has_leaf = false;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		has_leaf |= cpuid->entries[i].function == 0xa;
	/* A host of AMD's does not: its guest is a chimera here, hosts/kvm makes a better one. */
	if (!has_leaf)
		cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){ .function = 0xa };
	for (uint32_t i = 0; i < cpuid->nent; i++)
		answer(&cpuid->entries[i]);
}

/* ---- Enter, exit ---- */

/* LVTPC of an Intel guest masks itself when, and only when, its interrupt was accepted. */
static void deliver(void (*nmi)(void))
{
	if (pmu.lvtpc & VPMU_X86_LVTPC_MASKED || LVT_MODE(pmu.lvtpc) != MODE_NMI)
		return;
	nmi();
	if (vpmu_x86_masks_lvtpc(&pmu.vm))
		pmu_lvtpc(pmu.lvtpc | VPMU_X86_LVTPC_MASKED);
}

void pmu_enter(void (*nmi)(void))
{
	int again;

	do {
		if (vpmu_vcpu_pmi(&pmu.vcpu) == 1)
			deliver(nmi);
		again = vpmu_vcpu_enter(&pmu.vcpu, 0);
		check(again);
	} while (again == VPMU_AGAIN);
	pmu.entered = thread_time();
}

void pmu_exit(void)
{
	pmu.guest_time += thread_time() - pmu.entered;
	check(vpmu_vcpu_exit(&pmu.vcpu, 0));
}

/* ---- Accesses ---- */

bool pmu_msr(uint32_t index, bool write, uint64_t *value)
{
	int outcome = write ? vpmu_x86_wrmsr(&pmu.vcpu, index, *value) :
		vpmu_x86_rdmsr(&pmu.vcpu, index, value);

	check(outcome);
	/* RDMSR or WRMSR has retired, and the processor did not see it. */
	if (outcome == VPMU_HANDLED)
		check(vpmu_count(&pmu.vcpu, VPMU_EVENT_INSTRUCTIONS, false, 1));
	return outcome == VPMU_HANDLED;
}

void pmu_lvtpc(uint32_t value)
{
	pmu.lvtpc = value;
	check(vpmu_vcpu_lvtpc(&pmu.vcpu, value));
}
