/* SPDX-License-Identifier: MIT */
/*
 * The isolation matrix on x86: Intel versions 4 and 5, and AMD PerfMonV2. An Intel guest beside an
 * AMD one exists only emulated: a mediated guest has the vendor of the CPU. And an Arm guest is on
 * an Arm machine.
 */
#include <string.h>

#include <vpmu/x86.h>

#include "isolation.h"
#include "script_source.h"
#include "x86_cpu.h"

#define CPUS 2u
#define FIXED X86_PMU_FIXED
#define VECTOR 0x40u             /* of every guest's LVTPC */
#define USERS (X86_SEL_USR | X86_SEL_OS)

/* ---- Events: each selector of each user has one of its own, and all happen everywhere ---- */

#define EVENT(who, i) ((uint16_t)(0x80 + 0x10 * (who) + (i)))
#define UMASK(i) ((uint8_t)(0x41 + (i)))
#define HOST_EVENT(who) ((uint16_t)(0xD0 + (who)))
#define SLOTS 0x01A4u
#define NOBODYS_EVENT 0x553Fu    /* never happens */
#define GP_MAX 8u
#define RAW_MAX (2 * GP_MAX + 2)

struct happening {
	struct x86_pmu_raw raw[RAW_MAX];
	struct x86_pmu_events events;
};

static void happen(struct happening *h, uint64_t n)
{
	size_t k = 0;

	for (unsigned int who = 0; who < 2; who++) {
		for (unsigned int i = 0; i < GP_MAX; i++)
			h->raw[k++] = (struct x86_pmu_raw){ EVENT(who, i), UMASK(i), n };
		h->raw[k++] = (struct x86_pmu_raw){ HOST_EVENT(who), 0, n };
	}
	h->events = (struct x86_pmu_events){ .instructions = n, .cycles = n, .reference_cycles = n,
					     .raw = h->raw, .raw_count = k };
}

/* ---- The world ---- */

struct user {
	const struct role *role;
	unsigned int who;
	unsigned int at;             /* its CPU */
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	struct x86_pmu bare;
	struct vpmu_host_event event;
	bool alive;                  /* the event */
	uint64_t expected;           /* of it, if it always had a counter */
};

struct world {
	const struct machine *machine;
	struct x86_pmu_config config;
	struct x86_cpu hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine host;
	struct user users[2];
	/* What the host's own driver left in the PMUs, or was there before. */
	struct x86_pmu left[CPUS];
	struct happening cost;
};

static struct world w;

static bool is_guest(const struct user *u)
{
	return u->role->kind == KIND_GUEST;
}

static bool is_emulated(const struct user *u)
{
	return u->role->mode == VPMU_MODE_EMULATED;
}

/* It has no PMU: it can look, and there is nothing else to do. */
static bool is_off(const struct user *u)
{
	return u->role->mode == VPMU_MODE_OFF;
}

static bool has_events(void)
{
	return w.users[0].role->kind == KIND_EVENT || w.users[1].role->kind == KIND_EVENT;
}

/* ---- Set-up ---- */

/* What the model of the CPU must know of host events is known before their first access. */
static void note_host_counters(struct x86_cpu *hw, void *context)
{
	const struct vpmu_cpu *cpu = context;

	hw->host_owned = cpu->host_counters;
}

static void init_cpu(unsigned int k)
{
	struct x86_cpu *hw = &w.hw[k];

	assert_int_equal(x86_cpu_init(hw, &w.config, true), 0);
	vpmu_machine_add(&w.host, &hw->x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&w.cpu[k], k, &hw->x86.hw), 0);
	hw->hook = note_host_counters;
	hw->hook_context = &w.cpu[k];
	/* The host's own instructions would be what its events count, too. */
	hw->cost = has_events() ? NULL : &w.cost.events;
	x86_pmu_set_lvtpc(&hw->pmu, X86_LVTPC_NMI);
	for (unsigned int i = 0; i < w.config.gp; i++)
		hw->pmu.gp[i] = 0x123400 + i;
	for (unsigned int i = 0; i < w.config.fixed; i++)
		hw->pmu.fixed[i] = 0x567800 + i;
	w.left[k] = hw->pmu;
}

static void shape(struct user *u)
{
	struct vpmu_x86_model *m = &u->model;
	bool amd = w.config.vendor == X86_PMU_AMD;
	struct x86_pmu_config foreign;

	assert_int_equal(vpmu_x86_model_of(&w.host, m), 0);
	m->tsx = false;
	switch (u->role->shape) {
	case SHAPE_OWN:
		break;
	case SHAPE_SMALL:
		m->gp = 4;
		m->version = 2;
		if (!amd)
			m->fixed = 2;
		break;
	case SHAPE_FIRST:
		m->gp = 4;
		m->version = 1;
		m->fixed = m->fixed_width = 0;
		m->full_width_writes = m->core_extension = false;
		break;
	case SHAPE_FOREIGN:
		x86_cpu_class_config(amd ? X86_CPU_SKYLAKE : X86_CPU_ZEN4, &foreign);
		foreign.tsx = false;
		x86_cpu_model(&foreign, m);
	}
	if (u->role->mode == VPMU_MODE_PARTITIONED)
		m->gp = 4;
	if (is_off(u))
		*m = (struct vpmu_x86_model){ .size = sizeof(*m), .vendor = m->vendor };
	m->debug_bits = 0;
}

static void bare_reset(struct user *u)
{
	const struct vpmu_x86_model *m = &u->model;
	const struct x86_pmu_config config = {
		.vendor = m->vendor == VPMU_X86_AMD ? X86_PMU_AMD : X86_PMU_INTEL,
		.version = m->version, .gp = m->gp, .gp_width = m->gp_width, .fixed = m->fixed,
		.fixed_width = m->fixed_width, .events_length = m->events_length,
		.events_missing = m->events_missing, .pdcm = m->pdcm,
		.full_width_writes = m->full_width_writes, .tsx = m->tsx, .pin_control = true,
		.core_extension = m->core_extension,
	};

	x86_pmu_reset(&u->bare, &config);
}

static int make_guest(struct user *u)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = u->role->mode,
					       .switch_kind = u->role->switch_kind };
	int error;

	shape(u);
	error = vpmu_x86_vm_init(&u->vm, &w.host, &u->model, &config);
	if (error)
		return error;
	vpmu_vcpu_init(&u->v, &u->vm);
	bare_reset(u);
	if (!is_emulated(u))
		return 0;
	vpmu_script_source_init(&u->source, &u->v, true);
	return vpmu_vcpu_attach(&u->v, &u->emulated, &u->source.source);
}

static int create_event(struct user *u)
{
	const struct role *r = u->role;
	const struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = HOST_EVENT(u->who),
		.user = true, .kernel = true, .exclude_guest = r->exclude_guest,
		.exclude_host = r->exclude_host, .period = r->period,
	};

	u->expected = 0;
	return vpmu_host_event_create(&u->event, &w.host, &w.cpu[0], &config);
}

static int make(struct user *u)
{
	switch (u->role->kind) {
	case KIND_GUEST:
		return make_guest(u);
	case KIND_EVENT:
		return create_event(u);
	case KIND_USER:
		break;
	}
	return 0;
}

static void power_on(const struct machine *m, const struct role *first, const struct role *second)
{
	memset(&w, 0, sizeof(w));
	w.machine = m;
	happen(&w.cost, 3);
	x86_cpu_class_config((enum x86_cpu_class)m->class, &w.config);
	vpmu_machine_init(&w.host);
	w.users[0] = (struct user){ .role = first };
	w.users[1] = (struct user){ .role = second, .who = 1 };
	for (unsigned int k = 0; k < CPUS; k++)
		init_cpu(k);
	if (isolation_excludes(first, second)) {
		isolation_same("making the first", 0, (uint64_t)make(&w.users[0]), 0);
		isolation_same("making the second", 0, (uint64_t)make(&w.users[1]),
			       (uint64_t)VPMU_ERR_BUSY);
		return;
	}
	for (unsigned int who = 0; who < 2; who++) {
		if (is_guest(&w.users[who]))
			isolation_same("making user", who, (uint64_t)make(&w.users[who]), 0);
	}
}

/* ---- What runs ---- */

/* Guest and host both have their events at all times; which are counted is the PMU's to know. */
static void count_events(bool inside, uint64_t n)
{
	for (unsigned int who = 0; who < 2; who++) {
		const struct role *r = w.users[who].role;

		if (w.users[who].alive && !(inside ? r->exclude_guest : r->exclude_host))
			w.users[who].expected += n;
	}
}

static void host_runs(uint64_t n)
{
	struct happening h;

	happen(&h, n);
	for (unsigned int k = 0; k < CPUS; k++) {
		x86_cpu_host(&w.hw[k], false, &h.events);
		x86_cpu_host(&w.hw[k], true, &h.events);
		w.hw[k].time += 2 * n;
	}
	count_events(false, 2 * n);
}

static void enter(struct user *u)
{
	int answer;

	do {
		answer = vpmu_vcpu_enter(&u->v, 0);
	} while (answer == VPMU_AGAIN);
	isolation_same("enter", u->who, (uint64_t)answer, 0);
	x86_cpu_enter(&w.hw[u->at]);
}

static void leave_guest(struct user *u)
{
	x86_cpu_exit(&w.hw[u->at]);
	isolation_same("exit", u->who, (uint64_t)vpmu_vcpu_exit(&u->v, 0), 0);
}

static bool feed_source(struct user *u, bool user, const struct x86_pmu_events *events)
{
	struct vpmu_script_raw raw[2 * RAW_MAX];
	struct vpmu_script_burst burst = { .user = user, .raw = raw, .nanoseconds = 1 };

	burst.amount[VPMU_MEANS_INSTRUCTIONS] = events->instructions;
	burst.amount[VPMU_MEANS_CYCLES] = events->cycles;
	burst.amount[VPMU_MEANS_REFERENCE_CYCLES] = events->reference_cycles;
	for (size_t k = 0; k < events->raw_count; k++) {
		const struct x86_pmu_raw *r = &events->raw[k];

		raw[burst.raw_count++] = (struct vpmu_script_raw){
			r->event | (uint64_t)r->umask << 8, r->n };
	}
	raw[burst.raw_count++] = (struct vpmu_script_raw){ SLOTS, events->cycles };
	return vpmu_script_source_run(&u->source, &burst);
}

static void retire(struct user *u, bool user, uint64_t n)
{
	struct happening h;

	happen(&h, n);
	x86_pmu_retire(&u->bare, user, &h.events);
	x86_pmu_retire(&w.hw[u->at].pmu, user, &h.events);
	w.hw[u->at].time += n;
	if (u->at == 0)
		count_events(true, n);
	if (is_emulated(u) && feed_source(u, user, &h.events)) {
		leave_guest(u);
		enter(u);
	}
}

/* ---- Interrupts ---- */

static void take_samples(struct vpmu_cpu *cpu)
{
	const struct vpmu_host_event *e;

	while ((e = vpmu_cpu_sample(cpu)))
		isolation_true("a sample of a living event",
			       (w.users[0].alive && e == &w.users[0].event) ||
				       (w.users[1].alive && e == &w.users[1].event));
}

/* What is latched is taken; the guest that is loaded, if any, has not overflowed: none is its. */
static void take_interrupts(unsigned int k)
{
	while (x86_pmu_take_interrupt(&w.hw[k].pmu) != X86_PMU_NO_INTERRUPT) {
		enum vpmu_pmi pmi = vpmu_cpu_pmi(&w.cpu[k]);

		isolation_true("an interrupt is not the next guest's",
			       pmi == VPMU_PMI_LATE || pmi == VPMU_PMI_HOST);
		isolation_true("an interrupt of the host", pmi == VPMU_PMI_LATE || has_events());
		take_samples(&w.cpu[k]);
	}
}

static void is_not_interrupted(struct user *u)
{
	isolation_same("vpmu_vcpu_interrupt", u->who, (uint64_t)vpmu_vcpu_interrupt(&u->v), 0);
	isolation_same("vpmu_vcpu_pmi", u->who, (uint64_t)vpmu_vcpu_pmi(&u->v), 0);
}

/* ---- The guest's instructions, against its bare machine ---- */

enum op { RDMSR, WRMSR, RDPMC };

struct access {
	enum op op;
	uint32_t index;
	uint64_t value;
	bool user, pce;              /* RDPMC */
};

static bool execute(struct x86_pmu *pmu, struct access *a)
{
	switch (a->op) {
	case RDMSR:
		return x86_pmu_rdmsr(pmu, a->index, &a->value);
	case WRMSR:
		return x86_pmu_wrmsr(pmu, a->index, a->value);
	case RDPMC:
		break;
	}
	return x86_pmu_rdpmc(pmu, a->index, a->user ? 3 : 0, a->pce, true, &a->value);
}

static int trap(struct user *u, struct access *a)
{
	struct vpmu_x86_rdpmc rdpmc = { .index = a->index, .cpl = a->user ? 3 : 0, .pce = a->pce,
					.protected_mode = true };
	int outcome;

	if (a->op == RDMSR)
		return vpmu_x86_rdmsr(&u->v, a->index, &a->value);
	if (a->op == WRMSR)
		return vpmu_x86_wrmsr(&u->v, a->index, a->value);
	outcome = vpmu_x86_rdpmc(&u->v, &rdpmc);
	if (outcome == VPMU_HANDLED)
		a->value = rdpmc.value;
	return outcome;
}

static bool is_direct(const struct user *u, const struct access *a)
{
	if (a->op == RDPMC)
		return vpmu_x86_rdpmc_is_direct(&u->v);
	return vpmu_x86_is_direct(&u->v, a->index, a->op == WRMSR);
}

/* In the guest. */
static void access(struct user *u, struct access a)
{
	static const char *const names[] = { "RDMSR", "WRMSR", "RDPMC" };
	struct access bare = a;
	bool ok, bare_ok;

	if (is_direct(u, &a)) {
		ok = execute(&w.hw[u->at].pmu, &a);
	} else {
		leave_guest(u);
		ok = trap(u, &a) == VPMU_HANDLED;
		enter(u);
	}
	if (is_off(u)) {
		/* DEBUGCTL, and the P6's two counters for whoever probes them: they read 0. */
		isolation_same(names[a.op], a.index, ok ? a.value : 0, 0);
		isolation_same("without a PMU, there is", a.index,
			       ok && a.index - X86_MSR_PERFCTR(0) >= 2 &&
				       a.index != X86_MSR_DEBUGCTL, false);
		return;
	}
	bare_ok = execute(&u->bare, &bare);
	isolation_same(names[a.op], a.index, ok, bare_ok);
	if (ok)
		isolation_same(names[a.op], a.index, a.value, bare.value);
}

static void wrmsr(struct user *u, uint32_t index, uint64_t value)
{
	access(u, (struct access){ .op = WRMSR, .index = index, .value = value });
}

/* Not the PMU's: MISC_ENABLE, and AMD's DEBUGCTL. */
static bool is_embedders(const struct user *u, uint32_t index)
{
	return index == X86_MSR_MISC_ENABLE ||
	       (index == X86_MSR_DEBUGCTL && u->bare.config.vendor == X86_PMU_AMD);
}

/* Every MSR of a PMU, of either vendor and any version. */
static uint32_t msrs[2048];
static size_t msr_count;

static void list_msrs(void)
{
	static const uint32_t firsts[] = { 0, 0xC0000000, 0xC0010000 };

	for (size_t r = 0; r < ARRAY_SIZE(firsts); r++) {
		for (uint32_t index = firsts[r]; index < firsts[r] + 0x1000; index++) {
			if (!x86_pmu_is_msr(index))
				continue;
			assert_true(msr_count < ARRAY_SIZE(msrs));
			msrs[msr_count++] = index;
		}
	}
}

/* What faults is written to as well. */
static void sweep_msrs(struct user *u)
{
	for (size_t k = 0; k < msr_count; k++) {
		uint64_t value;

		if (is_embedders(u, msrs[k]))
			continue;
		access(u, (struct access){ .op = RDMSR, .index = msrs[k] });
		if (!x86_pmu_rdmsr(&u->bare, msrs[k], &value) &&
		    !x86_pmu_wrmsr(&u->bare, msrs[k], 0))
			wrmsr(u, msrs[k], 0);
	}
}

static void rdpmc(struct user *u, uint32_t index)
{
	access(u, (struct access){ .op = RDPMC, .index = index });
	access(u, (struct access){ .op = RDPMC, .index = index, .user = true, .pce = true });
}

/* In range and out of it; one without CR4.PCE. */
static void sweep_rdpmc(struct user *u)
{
	static const uint32_t types[] = { 0, 0x40000000, 0x20000000, 0x80000000 };

	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (uint32_t i = 0; i < 16; i++)
			rdpmc(u, types[t] | i);
		for (uint32_t i = 16; i; i <<= 1)
			rdpmc(u, types[t] | i);
	}
	access(u, (struct access){ .op = RDPMC, .index = 0, .user = true });
}

static void sweep(struct user *u)
{
	sweep_msrs(u);
	sweep_rdpmc(u);
}

/* ---- Its registers ---- */

static bool is_amd(const struct user *u)
{
	return u->bare.config.vendor == X86_PMU_AMD;
}

static bool has_global(const struct user *u)
{
	return u->bare.config.version >= 2;
}

static uint32_t selector_msr(const struct user *u, unsigned int i)
{
	if (!is_amd(u))
		return X86_MSR_PERFEVTSEL(i);
	return u->bare.config.core_extension ? X86_MSR_PERF_CTL(i) : X86_MSR_K7_EVNTSEL(i);
}

static uint32_t counter_msr(const struct user *u, unsigned int i)
{
	if (!is_amd(u))
		return u->bare.config.full_width_writes ? X86_MSR_PMC(i) : X86_MSR_PERFCTR(i);
	return u->bare.config.core_extension ? X86_MSR_PERF_CTR(i) : X86_MSR_K7_PERFCTR(i);
}

static void write_global(struct user *u, uint64_t value)
{
	if (has_global(u))
		wrmsr(u, is_amd(u) ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, value);
}

static void clear_status(struct user *u)
{
	if (has_global(u))
		wrmsr(u, is_amd(u) ? X86_MSR_AMD_STATUS_CLR : X86_MSR_STATUS_RESET,
		      x86_pmu_counters(&u->bare.config));
}

static uint64_t pattern(const struct user *u, unsigned int i)
{
	return (u->bare.config.full_width_writes || is_amd(u) ? UINT64_C(0x5A0000000000) : 0) |
	       0x5AA50000u | u->who << 24 | i * 0x101u;
}

/* The first counter overflows on the way. */
static void write_pattern(struct user *u)
{
	const struct x86_pmu_config *c = &u->bare.config;
	uint64_t fixed_ctrl = 0;

	write_global(u, 0);
	for (unsigned int i = 0; i < c->gp; i++) {
		wrmsr(u, selector_msr(u, i), 0);
		wrmsr(u, counter_msr(u, i),
		      i ? pattern(u, i) : (0 - UINT64_C(20)) & (BIT(c->gp_width) - 1));
		wrmsr(u, selector_msr(u, i),
		      USERS | X86_SEL_EN | X86_SEL_INT | (uint64_t)UMASK(i) << 8 | EVENT(u->who, i));
	}
	for (unsigned int i = 0; i < c->fixed; i++) {
		wrmsr(u, X86_MSR_FIXED_CTR(i), pattern(u, i) + 0x77);
		fixed_ctrl |= (uint64_t)(X86_FIXED_OS | X86_FIXED_USR | X86_FIXED_PMI) << (4 * i);
	}
	if (c->fixed)
		wrmsr(u, X86_MSR_FIXED_CTR_CTRL, fixed_ctrl);
	write_global(u, x86_pmu_counters(c));
}

static void switch_on_one(struct user *u)
{
	wrmsr(u, selector_msr(u, 1), USERS | X86_SEL_EN | NOBODYS_EVENT);
	write_global(u, x86_pmu_counters(&u->bare.config));
}

static void switch_off(struct user *u)
{
	write_global(u, 0);
	for (unsigned int i = 0; i < u->bare.config.gp && !has_global(u); i++)
		wrmsr(u, selector_msr(u, i), u->bare.selector[i] & ~X86_SEL_EN);
}

static void set_lvtpc(struct user *u)
{
	isolation_same("LVTPC", u->who, (uint64_t)vpmu_vcpu_lvtpc(&u->v, VECTOR), 0);
	x86_pmu_set_lvtpc(&u->bare, VECTOR);
}

/* ---- Guests ---- */

static void arrive(struct user *u)
{
	struct vpmu_cpu *cpu = &w.cpu[u->at];
	struct vpmu_vcpu *v = cpu->loaded;

	if (v == &u->v)
		return;
	if (v)
		isolation_same("put of another", u->who, (uint64_t)vpmu_vcpu_put(v), 0);
	isolation_same("load", u->who, (uint64_t)vpmu_vcpu_load(&u->v, cpu), 0);
}

static void looks_without_a_pmu(struct user *u)
{
	arrive(u);
	enter(u);
	sweep(u);
	retire(u, false, 21);
	sweep(u);
	leave_guest(u);
	host_runs(19);
}

static void guest_fills(struct user *u)
{
	if (is_off(u)) {
		looks_without_a_pmu(u);
		return;
	}
	arrive(u);
	set_lvtpc(u);
	enter(u);
	write_pattern(u);
	retire(u, false, 40);
	retire(u, true, 13);
	isolation_true("an overflow", u->bare.interrupts);
	leave_guest(u);
	if (!is_emulated(u) && u->role->switch_kind == VPMU_SWITCH_LAZY)
		isolation_same("PARKED", u->who, vpmu_cpu_nmi_owner(&w.cpu[u->at]),
			       VPMU_OWNER_PARKED);
}

static void guest_looks(struct user *u)
{
	if (is_off(u)) {
		looks_without_a_pmu(u);
		return;
	}
	arrive(u);
	set_lvtpc(u);
	take_interrupts(u->at);
	is_not_interrupted(u);
	enter(u);
	/* One counter goes in and out before it looks at any. */
	switch_on_one(u);
	retire(u, false, 21);
	leave_guest(u);
	assert_int_equal(vpmu_cpu_reclaim(&w.cpu[u->at], 0), 0);
	enter(u);
	/* Quiet: everything is intercepted. */
	switch_off(u);
	sweep(u);
	/* Now it counts, and reaches what it can. */
	switch_on_one(u);
	sweep(u);
	retire(u, false, 21);
	retire(u, true, 21);
	sweep(u);
	leave_guest(u);
	take_interrupts(u->at);
	is_not_interrupted(u);
	host_runs(19);
}

static void guest_is_back(struct user *u)
{
	uint64_t interrupts = u->bare.interrupts;

	if (is_off(u)) {
		looks_without_a_pmu(u);
		return;
	}
	arrive(u);
	take_interrupts(u->at);
	isolation_same("the PMI owed", u->who, (uint64_t)vpmu_vcpu_pmi(&u->v), 1);
	isolation_same("one more PMI", u->who, (uint64_t)vpmu_vcpu_pmi(&u->v), 0);
	enter(u);
	sweep(u);
	retire(u, false, 23);
	retire(u, true, 29);
	sweep(u);
	leave_guest(u);
	isolation_same("overflows", u->who, u->bare.interrupts, interrupts);
	take_interrupts(u->at);
	is_not_interrupted(u);
	enter(u);
	clear_status(u);
	leave_guest(u);
}

static void is_found_quiet(struct user *u)
{
	enter(u);
	switch_off(u);
	leave_guest(u);
	for (unsigned int n = 0; n < 3 * VPMU_LOOK_INTERVAL; n++) {
		enter(u);
		leave_guest(u);
	}
	isolation_true("zero cost again", w.cpu[u->at].resident == NULL);
}

static void event_comes_and_goes(struct user *u)
{
	struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = HOST_EVENT(u->who),
		.user = true, .kernel = true, .exclude_guest = true,
	};
	struct vpmu_host_event e;
	struct vpmu_count count;

	w.hw[u->at].cost = NULL;
	assert_int_equal(vpmu_host_event_create(&e, &w.host, &w.cpu[u->at], &config), 0);
	host_runs(7);
	assert_int_equal(vpmu_host_event_read(&e, &count), 0);
	isolation_same("beside it, the host's count", u->who, count.value,
		       count.running ? 14 : 0);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	w.hw[u->at].cost = has_events() ? NULL : &w.cost.events;
}

static void guest_leaves(struct user *u, enum way way)
{
	struct vpmu_cpu *cpu = &w.cpu[u->at];

	switch (way) {
	case WAY_RECLAIM:
		assert_int_equal(vpmu_cpu_reclaim(cpu, 0), 0);
		break;
	case WAY_REQUEST:
		assert_true(vpmu_cpu_request_reclaim(cpu));
		vpmu_cpu_poll(cpu);
		break;
	case WAY_QUIET:
		is_found_quiet(u);
		break;
	case WAY_EVENT:
		event_comes_and_goes(u);
		break;
	default:
		assert_int_equal(vpmu_vcpu_put(&u->v), 0);
	}
	if (way == WAY_OTHER_CPU)
		u->at ^= 1;
}

/* ---- The host: what it finds, at CPL 0 and in user mode ---- */

static bool is_hosts(uint64_t value, uint64_t left)
{
	return value == 0 || value == left;
}

static void check_registers(unsigned int k)
{
	const struct x86_pmu *now = &w.hw[k].pmu, *left = &w.left[k];
	uint64_t foreign = ~w.cpu[k].host_counters;

	for (unsigned int i = 0; i < now->config.gp; i++) {
		if (!(foreign >> i & 1))
			continue;
		isolation_true("the host finds 0 or its own value",
			       is_hosts(now->gp[i], left->gp[i]));
		isolation_true("the host finds 0 or its own selector",
			       is_hosts(now->selector[i], left->selector[i]));
	}
	for (unsigned int i = 0; i < now->config.fixed; i++)
		isolation_true("the host finds 0 or its own fixed counter",
			       is_hosts(now->fixed[i], left->fixed[i]));
	isolation_true("the host finds 0 or its own FIXED_CTR_CTRL",
		       is_hosts(now->fixed_ctrl, left->fixed_ctrl));
	isolation_true("the host finds 0 or its own status",
		       is_hosts(now->global_status & foreign, left->global_status & foreign));
	if (!w.cpu[k].events)
		isolation_same("the host's GLOBAL_CTRL", k, now->global_ctrl, left->global_ctrl);
	isolation_same("DEBUGCTL", k, now->debugctl, 0);
	isolation_same("LVTPC's vector", k, now->lvtpc & 0xFF, X86_LVTPC_NMI & 0xFF);
	isolation_same("controls of the boundary", k, now->vmx_controls,
		       w.cpu[k].host_counters && now->config.vendor == X86_PMU_INTEL);
}

/* Ring 3 with CR4.PCE; what it gets is the host's or nothing. */
static void read_in_user_mode(unsigned int k)
{
	const struct x86_pmu *pmu = &w.hw[k].pmu;

	for (uint32_t n = 0; n < 0x100; n++) {
		uint32_t index = (n & 0xC0) << 24 | (n & 0x3F);
		uint64_t value, left = 0;

		if (!x86_pmu_rdpmc(pmu, index, 3, true, true, &value))
			continue;
		(void)x86_pmu_rdpmc(&w.left[k], index, 3, true, true, &left);
		if (index < 0x40 && w.cpu[k].host_counters >> index & 1)
			continue;
		isolation_true("ring 3 reads 0 or the host's", is_hosts(value, left));
	}
}

static void host_looks(void)
{
	for (unsigned int k = 0; k < CPUS; k++) {
		take_interrupts(k);
		check_registers(k);
		read_in_user_mode(k);
	}
	host_runs(17);
	for (unsigned int k = 0; k < CPUS; k++) {
		check_registers(k);
		read_in_user_mode(k);
	}
}

/* The host's own driver. It has stopped its counters, and leaves all else as it was. */
static void driver_counts(void)
{
	struct x86_pmu *pmu = &w.hw[0].pmu;
	bool amd = pmu->config.vendor == X86_PMU_AMD;

	assert_int_equal(vpmu_cpu_reclaim(&w.cpu[0], w.hw[0].x86.hw.caps.counters), 0);
	for (unsigned int i = 0; i < pmu->config.gp; i++) {
		pmu->gp[i] = 0x0F0F00 + i;
		pmu->selector[i] = USERS | X86_SEL_INT | (uint64_t)UMASK(i) << 8 | EVENT(1, i);
	}
	for (unsigned int i = 0; i < pmu->config.fixed; i++)
		pmu->fixed[i] = 0x0E0E00 + i;
	pmu->global_ctrl = 5;
	pmu->global_status = 3;
	if (!amd)
		pmu->host_global = 5;
	w.left[0] = *pmu;
}

static void user_looks(void)
{
	for (unsigned int k = 0; k < CPUS; k++)
		assert_int_equal(vpmu_cpu_reclaim(&w.cpu[k], 0), 0);
	host_looks();
}

static void user_fills(void)
{
	if (!has_events())
		driver_counts();
	user_looks();
}

/* ---- Host events ---- */

static void check_event(struct user *u)
{
	struct vpmu_count count;

	assert_int_equal(vpmu_host_event_read(&u->event, &count), 0);
	if (count.running == count.enabled)
		isolation_same("the event's count", u->who, count.value, u->expected);
	isolation_true("no more than there were", count.value <= u->expected);
}

static void event_begins(struct user *u)
{
	if (u->alive)
		return;
	isolation_same("creating the event", u->who, (uint64_t)create_event(u), 0);
	u->alive = true;
	check_event(u);
}

static void event_fills(struct user *u)
{
	event_begins(u);
	/* Past its period, and nobody has taken the interrupt yet. */
	host_runs(35);
	check_event(u);
}

static void event_looks(struct user *u)
{
	event_begins(u);
	isolation_true("no sample yet", vpmu_cpu_sample(&w.cpu[0]) != &u->event);
	host_looks();
	check_event(u);
}

static void event_ends(struct user *u)
{
	if (!u->alive)
		return;
	check_event(u);
	assert_int_equal(vpmu_host_event_destroy(&u->event), 0);
	u->alive = false;
}

/* ---- The matrix's calls ---- */

static void fill(unsigned int who)
{
	struct user *u = &w.users[who];

	switch (u->role->kind) {
	case KIND_GUEST:
		guest_fills(u);
		break;
	case KIND_EVENT:
		event_fills(u);
		break;
	case KIND_USER:
		user_fills();
	}
}

static void leave(unsigned int who, enum way way)
{
	struct user *u = &w.users[who];

	if (is_guest(u))
		guest_leaves(u, way);
	else if (way == WAY_END)
		event_ends(u);
}

static void look(unsigned int who)
{
	struct user *u = &w.users[who];

	switch (u->role->kind) {
	case KIND_GUEST:
		guest_looks(u);
		break;
	case KIND_EVENT:
		event_looks(u);
		break;
	case KIND_USER:
		user_looks();
	}
}

static void back(unsigned int who)
{
	struct user *u = &w.users[who];

	switch (u->role->kind) {
	case KIND_GUEST:
		guest_is_back(u);
		break;
	case KIND_EVENT:
		event_begins(u);
		host_runs(3);
		check_event(u);
		break;
	case KIND_USER:
		user_looks();
	}
}

static void finish(void)
{
	for (unsigned int who = 0; who < 2; who++) {
		struct user *u = &w.users[who];

		if (is_guest(u) && u->v.loaded)
			assert_int_equal(vpmu_vcpu_put(&u->v), 0);
		event_ends(u);
		if (is_guest(u))
			vpmu_vm_end(&u->vm);
	}
	host_looks();
	isolation_same("claims", 0, w.host.claims, 0);
	for (unsigned int k = 0; k < CPUS; k++) {
		if (w.hw[k].violations)
			print_error("%s: %s\n", isolation_cell, w.hw[k].violation);
		assert_int_equal(w.hw[k].violations, 0);
	}
}

#define GUEST(n, m, s, sh) \
	{ .name = n, .kind = KIND_GUEST, .mode = VPMU_MODE_##m, \
	  .switch_kind = VPMU_SWITCH_##s, .shape = SHAPE_##sh }

static const struct role roles[] = {
	{ .name = "host event inside", .kind = KIND_EVENT, .exclude_host = true },
	{ .name = "host event outside", .kind = KIND_EVENT, .exclude_guest = true },
	{ .name = "host sampling outside", .kind = KIND_EVENT, .exclude_guest = true,
	  .period = 50 },
	{ .name = "host sampling all", .kind = KIND_EVENT, .period = 50 },
	GUEST("mediated lazy", MEDIATED, LAZY, OWN),
	GUEST("mediated eager", MEDIATED, EAGER, OWN),
	GUEST("mediated small", MEDIATED, LAZY, SMALL),
	GUEST("mediated version 1", MEDIATED, LAZY, FIRST),
	GUEST("partitioned lazy", PARTITIONED, LAZY, OWN),
	GUEST("partitioned eager", PARTITIONED, EAGER, OWN),
	GUEST("emulated", EMULATED, LAZY, OWN),
	GUEST("emulated, other vendor", EMULATED, LAZY, FOREIGN),
	GUEST("off", OFF, LAZY, OWN),
	{ .name = "user mode", .kind = KIND_USER },
	/* Not with AnyThread, and not on AMD. */
	GUEST("passed through lazy", PASSTHROUGH, LAZY, OWN),
	GUEST("passed through eager", PASSTHROUGH, EAGER, OWN),
};

#define MACHINE(n, c, without, all) \
	{ .name = n, .class = c, .roles = roles, .role_count = ARRAY_SIZE(roles) - (without), \
	  .cells = all, .power_on = power_on, .fill = fill, .leave = leave, .look = look, \
	  .back = back, .finish = finish }

static const struct machine machines[] = {
	MACHINE("skylake", X86_CPU_SKYLAKE, 2, 750),
	MACHINE("icelake", X86_CPU_ICELAKE, 0, 856),
	MACHINE("zen4", X86_CPU_ZEN4, 2, 750),
};

int main(int argc, char **argv)
{
	list_msrs();
	return isolation_run(machines, ARRAY_SIZE(machines), argc > 1 ? argv[1] : NULL);
}
