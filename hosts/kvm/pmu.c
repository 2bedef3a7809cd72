/* SPDX-License-Identifier: MIT */
/* The embedding: what this machine asks the library, and when. No counting logic. */
#include "internal.h"

#include <vpmu/host.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MISC_ENABLE 0x1a0u
#define FIXED_CTRL 0x38du
#define PERFCTR 0xc1u
#define PMC 0x4c1u
#define FIXED_CTR 0x309u
#define PERFEVTSEL 0x186u
#define K7_EVNTSEL 0xc0010000u
#define AMD_CTL 0xc0010200u
#define SELECTOR_ENABLE (1u << 22)

/* LVTPC of the APIC's registers (SDM vol. 3, table 11-1). */
#define LVTPC 0x340u
#define LVTPC_MODE(v) ((v) >> 8 & 7)
#define MODE_FIXED 0u
#define MODE_NMI 4u
#define MSI_ADDRESS 0xfee00000u

/* ---- The source ---- */

static uint64_t thread_time(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Between exit and enter it stands still. */
static uint64_t guest_time(void *cpu)
{
	return ((struct vmm_cpu *)cpu)->pmu.guest_time;
}

static void kick(void *cpu)
{
	((volatile struct kvm_run *)((struct vmm_cpu *)cpu)->run)->immediate_exit = 1;
}

static enum vpmu_perf_encoding encoding_of(enum vpmu_x86_vendor vendor)
{
	return vendor == VPMU_X86_AMD ? VPMU_PERF_ENCODING_AMD : VPMU_PERF_ENCODING_INTEL;
}

static void make_source(struct vmm_cpu *c)
{
	struct vmm *m = c->m;
	struct vmm_pmu *p = &c->pmu;
	const struct vpmu_time_config time = {
		.system = &m->time_system, .clock = guest_time, .kick = kick, .context = c,
		.core_khz = m->tsc_khz, .reference_khz = m->tsc_khz,
		.signal = VMM_SIGNAL_OVERFLOW, .any_ring = true,
	};
	const struct vpmu_perf_config perf = {
		.host = m->host, .system = &m->perf_system, .kick = kick, .context = c,
		.encoding = encoding_of(m->config.model.vendor), .signal = VMM_SIGNAL_OVERFLOW,
		.only = -1,
	};

	if (m->source == VMM_SOURCE_PERF) {
		(void)vpmu_perf_source_init(&p->perf, &p->vcpu, &perf);
		p->source = &p->perf.source;
		return;
	}
	vpmu_time_source_init(&p->time, &p->vcpu, &time);
	p->source = &p->time.source;
}

/*
 * The guest's clock stands still until it is entered: a timer that expires before finds it where it was, and
 * on a slow host would do so for ever.
 */
#define SOON 10000u                  /* nanoseconds */

static int set_timer(struct vpmu_time_system *sys, timer_t timer, uint64_t nanoseconds)
{
	if (nanoseconds && nanoseconds < SOON)
		nanoseconds = SOON;
	return vpmu_time_linux.set(sys, timer, nanoseconds);
}

static void choose_source(struct vmm *m)
{
	enum vpmu_perf_error error = VPMU_PERF_NO_MEMORY;

	m->time_system = vpmu_time_linux;
	m->time_system.set = set_timer;
	m->perf_system = vpmu_perf_linux;
	m->host = calloc(1, sizeof(*m->host));
	if (m->host && m->config.source != VMM_SOURCE_TIME) {
		(void)vpmu_perf_host_find(m->host, "");
		error = vpmu_perf_host_probe(m->host, &m->perf_system);
	}
	m->source = m->config.source;
	if (m->source == VMM_SOURCE_AUTO)
		m->source = error ? VMM_SOURCE_TIME : VMM_SOURCE_PERF;
}

/* ---- The VM ---- */

static int make_vm(struct vmm *m, const char **why)
{
	const struct vpmu_vm_config config = {
		.size = sizeof(config), .mode = VPMU_MODE_EMULATED, .policy = m->config.policy,
	};
	int error = vpmu_x86_vm_init(&m->vm, &m->machine, &m->model, &config);

	*why = error ? vpmu_strerror(error) : NULL;
	return error;
}

static void give_none(struct vmm *m, const char *why)
{
	m->why_no_pmu = why;
	m->model = (struct vpmu_x86_model){
		.size = sizeof(m->model), .vendor = m->config.model.vendor,
	};
}

/* RULES D3, F4: why this guest gets no PMU, or NULL. */
static const char *obstacle(struct vmm *m)
{
	const struct vpmu_policy *policy =
		m->model.vendor == VPMU_X86_INTEL ? m->config.policy : NULL;

	if (!m->model.version)
		return "none was asked for";
	if (m->rdpmc == VMM_RDPMC_UNKNOWN)
		return "what this KVM does with RDPMC could not be found out";
	if (m->config.no_patch)
		return "RDPMC cannot be served without changing guest text";
	if (vpmu_x86_model_limit(&m->model, m->cpu[0].pmu.source, policy))
		return m->model.vendor == VPMU_X86_AMD ?
			"an AMD guest cannot be told that an event is missing, and some are" :
			"neither cycles nor instructions can be counted";
	return NULL;
}

/*
 * Versions 2 to 4 without fixed counters are legal, but Linux from 6.11 on takes 0 of them for 64. Version 5
 * lists them one by one. (Version 1 has no fixed counters, and no way to stop all others while an interrupt is
 * handled: what overflows meanwhile is a second interrupt that Linux does not expect.)
 */
static void avoid_no_fixed(struct vmm *m)
{
	if (m->model.vendor == VPMU_X86_INTEL && m->model.version >= 2 &&
	    !m->model.fixed)
		m->model.version = 5;
}

int vmm_pmu_make(struct vmm *m, const char **why)
{
	const char *none;

	vpmu_machine_init(&m->machine);
	m->model = m->config.model;
	if (make_vm(m, why))
		return -1;
	choose_source(m);
	m->rdpmc = vmm_probe(m, &m->tsc_khz);
	make_source(&m->cpu[0]);
	none = obstacle(m);
	if (none)
		give_none(m, none);
	avoid_no_fixed(m);
	vpmu_vm_end(&m->vm);
	return make_vm(m, why);
}

static const char *rdpmc_name(const struct vmm *m)
{
	if (m->rdpmc == VMM_RDPMC_SILENT)
		return "KVM answers with zeros: found in the kernel's text and patched beforehand";
	if (m->rdpmc != VMM_RDPMC_FAULTS)
		return "unknown";
	return m->breakpoints ? "faults: patched when it does" :
		"faults unseen: found in the kernel's text and patched beforehand";
}

void vmm_pmu(const struct vmm *m, struct vmm_pmu_info *out)
{
	*out = (struct vmm_pmu_info){
		.model = m->model, .why = m->why_no_pmu,
		.source = m->source == VMM_SOURCE_PERF ? "perf" : "time",
		.rdpmc = rdpmc_name(m),
	};
}

/* ---- A CPU ---- */

int vmm_pmu_init(struct vmm_cpu *c)
{
	struct vmm_pmu *p = &c->pmu;
	int error;

	p->misc_enable = 1; /* fast strings */
	vpmu_vcpu_init(&p->vcpu, &c->m->vm);
	make_source(c);
	if (c->m->source == VMM_SOURCE_PERF) {
		error = vpmu_perf_signal_init(VMM_SIGNAL_OVERFLOW);
		vpmu_perf_signal_target(&p->perf);
	} else {
		error = vpmu_time_signal_init(VMM_SIGNAL_OVERFLOW);
		vpmu_time_signal_target(&p->time);
	}
	if (!error)
		error = vpmu_vcpu_attach(&p->vcpu, &p->emulated, p->source);
	if (!error)
		error = vpmu_vcpu_load(&p->vcpu, NULL);
	if (!error)
		error = vpmu_vcpu_lvtpc(&p->vcpu, 0);
	return error;
}

void vmm_pmu_fini(struct vmm_cpu *c)
{
	struct vmm_pmu *p = &c->pmu;

	(void)vpmu_vcpu_put(&p->vcpu);
	(void)vpmu_vcpu_detach(&p->vcpu);
	vpmu_time_signal_target(NULL);
	vpmu_perf_signal_target(NULL);
	if (c->m->source == VMM_SOURCE_PERF)
		vpmu_perf_source_fini(&p->perf);
	else
		vpmu_time_source_fini(&p->time);
}

/* ---- The interrupt (RULES C3) ---- */

static uint32_t read_lvtpc(struct vmm_cpu *c)
{
	struct kvm_lapic_state apic;
	uint32_t value = VPMU_X86_LVTPC_MASKED;

	if (ioctl(c->fd, KVM_GET_LAPIC, &apic) == 0)
		memcpy(&value, apic.regs + LVTPC, sizeof(value));
	return value;
}

static bool deliver(struct vmm_cpu *c, uint32_t lvtpc)
{
	struct kvm_msi msi = { .address_lo = MSI_ADDRESS | c->id << 12, .data = lvtpc & 0xff };

	if (lvtpc & VPMU_X86_LVTPC_MASKED)
		return false;
	if (LVTPC_MODE(lvtpc) == MODE_NMI)
		return ioctl(c->fd, KVM_NMI, 0) == 0;
	if (LVTPC_MODE(lvtpc) == MODE_FIXED)
		return ioctl(c->m->fd, KVM_SIGNAL_MSI, &msi) > 0;
	return false;
}

static bool has_status(const struct vmm_cpu *c)
{
	return c->m->model.version >= 2;
}

/*
 * With a status, what overflows while it is masked is found there, as in hardware. Without one (version 1) it
 * stays owed in the library until it is known whether the guest has seen it.
 */
static void mask(struct vmm_cpu *c)
{
	struct vmm_pmu *p = &c->pmu;
	struct vpmu_state s;

	if (vpmu_vcpu_get_state(&p->vcpu, &s))
		return;
	p->cause = s.status;
	p->programmed = 0;
	p->masked = !has_status(c) || p->cause;
	if (p->masked && has_status(c))
		(void)vpmu_vcpu_lvtpc(&p->vcpu, VPMU_X86_LVTPC_MASKED);
}

static void interrupt(struct vmm_cpu *c)
{
	struct vmm_pmu *p = &c->pmu;

	if (p->masked || vpmu_vcpu_pmi(&p->vcpu) != 1)
		return;
	if (!deliver(c, read_lvtpc(c))) {
		c->pmis_masked++;
		return;
	}
	c->pmis++;
	if (vpmu_x86_masks_lvtpc(&c->m->vm))
		mask(c);
}

/* The counters that MSR (index) programs. */
static uint64_t programs(uint32_t index)
{
	static const uint32_t families[] = { PERFCTR, PMC, PERFEVTSEL };

	for (unsigned int i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (index - families[i] < VPMU_X86_GP_MAX)
			return 1ull << (index - families[i]);
	}
	if (index - FIXED_CTR < VPMU_X86_FIXED_MAX)
		return 1ull << (VPMU_X86_FIXED + index - FIXED_CTR);
	return index == FIXED_CTRL ? ~0ull << VPMU_X86_FIXED : 0;
}

static bool is_dealt_with(const struct vmm_cpu *c, const struct vpmu_state *s)
{
	const struct vmm_pmu *p = &c->pmu;

	if (!has_status(c))
		return p->programmed;
	return !(s->status & p->cause & ~p->programmed);
}

/* A guest that has dealt with the overflow has taken the mask away, which nobody sees. */
static void unmask(struct vmm_cpu *c, uint32_t index)
{
	struct vmm_pmu *p = &c->pmu;
	struct vpmu_state s;

	if (!p->masked || vpmu_vcpu_get_state(&p->vcpu, &s))
		return;
	p->programmed |= programs(index);
	if (!is_dealt_with(c, &s))
		return;
	p->masked = false;
	if (has_status(c))
		(void)vpmu_vcpu_lvtpc(&p->vcpu, 0);
	else if (!(s.pending & ~p->programmed))
		(void)vpmu_vcpu_pmi(&p->vcpu);
}

/* ---- Enter, exit ---- */

/* The thread's time costs a system call: only while it counts for something. */
static bool needs_clock(const struct vmm_pmu *p)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (p->time.event[i].counts)
			return true;
	}
	return false;
}

bool vmm_pmu_enter(struct vmm_cpu *c)
{
	struct vmm_pmu *p = &c->pmu;

	do {
		if (c->m->ending)
			return false;
		interrupt(c);
	} while (vpmu_vcpu_enter(&p->vcpu, 0) == VPMU_AGAIN);
	p->clocked = c->m->source == VMM_SOURCE_TIME && needs_clock(p);
	if (p->clocked)
		p->entered = thread_time();
	return true;
}

void vmm_pmu_exit(struct vmm_cpu *c)
{
	struct vmm_pmu *p = &c->pmu;

	if (p->clocked)
		p->guest_time += thread_time() - p->entered;
	(void)vpmu_vcpu_exit(&p->vcpu, 0);
}

/* ---- Accesses ---- */

/* Is a counter selected for counting by this write? */
static bool enables(uint32_t index, uint64_t value)
{
	if (index == FIXED_CTRL)
		return value;
	if (index - AMD_CTL < 12)
		return !(index & 1) && value & SELECTOR_ENABLE;
	return (index - PERFEVTSEL < VPMU_X86_GP_MAX || index - K7_EVNTSEL < 4) &&
	       value & SELECTOR_ENABLE;
}

static bool finish(struct vmm_pmu *p, int outcome)
{
	if (outcome == VPMU_HANDLED)
		(void)vpmu_count(&p->vcpu, VPMU_EVENT_INSTRUCTIONS, false, 1);
	return outcome == VPMU_HANDLED;
}

bool vmm_pmu_rdmsr(struct vmm_cpu *c, uint32_t index, uint64_t *value)
{
	struct vmm_pmu *p = &c->pmu;

	if (index == MISC_ENABLE) {
		*value = vpmu_x86_misc_enable(&c->m->vm, p->misc_enable);
		return finish(p, VPMU_HANDLED);
	}
	return finish(p, vpmu_x86_rdmsr(&p->vcpu, index, value));
}

bool vmm_pmu_wrmsr(struct vmm_cpu *c, uint32_t index, uint64_t value)
{
	struct vmm_pmu *p = &c->pmu;
	int outcome = vpmu_x86_wrmsr(&p->vcpu, index, value);

	if (index == MISC_ENABLE && outcome == VPMU_NOT_MINE) {
		p->misc_enable = value;
		outcome = VPMU_HANDLED;
	}
	if (outcome == VPMU_HANDLED)
		unmask(c, index);
	if (outcome == VPMU_HANDLED && enables(index, value))
		vmm_rdpmc_needed(c);
	return finish(p, outcome);
}
