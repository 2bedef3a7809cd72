/* SPDX-License-Identifier: MIT */
/*
 * The isolation matrix on Arm, on every class of machine. The host is EL2, and user mode is EL0 of
 * a host that gives it all of PMUSERENR_EL0.
 */
#include <string.h>

#include <vpmu/arm.h>

#include "isolation.h"
#include "model_hw.h"
#include "script_source.h"

#define CPUS 2u
#define CYCLE VPMU_ARM_CYCLE
#define HOST_USER 0xFu
#define HOST_POINTER 3u

/* ---- Events: each selector of each user has one of its own, and all happen everywhere ---- */

#define EVENT(who, i) (0x300u + 0x20u * (who) + (i))
#define HOST_EVENT(who) (0x380u + (who))
#define EVENTS_MAX 6u
#define OTHERS_MAX (2 * EVENTS_MAX + 2)

struct happening {
	struct model_event_count others[OTHERS_MAX];
	struct model_events events;
};

static void happen(struct happening *h, uint64_t n)
{
	size_t k = 0;

	for (unsigned int who = 0; who < 2; who++) {
		for (unsigned int i = 0; i < EVENTS_MAX; i++)
			h->others[k++] = (struct model_event_count){ EVENT(who, i), n };
		h->others[k++] = (struct model_event_count){ HOST_EVENT(who), n };
	}
	h->events = (struct model_events){ n, n, h->others, k };
}

/* ---- The world ---- */

struct user {
	const struct role *role;
	unsigned int who;
	unsigned int at;             /* its CPU */
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	struct model_pmu bare;
	struct vpmu_host_event event;
	bool alive;                  /* the event */
	uint64_t expected;           /* of it, if it always had a counter */
};

struct world {
	const struct machine *machine;
	struct model_config config;
	struct model_pmu pmu[CPUS];
	struct model_hw hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine host;
	struct user users[2];
	/* What the host's own driver left in the PMUs, or was there before. */
	struct model_pmu left[CPUS];
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

static void init_cpu(unsigned int k)
{
	model_pmu_reset(&w.pmu[k], &w.config, k + 1);
	model_hw_init(&w.hw[k], &w.pmu[k]);
	vpmu_machine_add(&w.host, &w.hw[k].hw.caps);
	assert_int_equal(vpmu_cpu_init(&w.cpu[k], k, &w.hw[k].hw), 0);
	/* The host's own instructions would be what its events count, too. */
	w.hw[k].cost = has_events() ? NULL : &w.cost.events;
	w.pmu[k].pmuserenr = HOST_USER;
	w.pmu[k].pmselr = HOST_POINTER;
	w.left[k] = w.pmu[k];
}

static void shape(struct user *u)
{
	struct vpmu_arm_model *m = &u->model;

	assert_int_equal(vpmu_arm_model_of(&w.host, m), 0);
	if (u->role->shape == SHAPE_SMALL) {
		m->counters = 3;
		m->version = VPMU_ARM_V3;
		m->ceid[0] &= UINT32_MAX;
		m->ceid[1] &= UINT32_MAX;
	}
	if (u->role->mode == VPMU_MODE_PARTITIONED)
		m->counters = 3;
}

static void bare_reset(struct user *u)
{
	const struct vpmu_arm_model *m = &u->model;
	const struct model_config config = {
		.version = m->version, .counters = m->counters, .id = m->id, .mmir = m->mmir,
		.no_el2 = true, .ceid = { m->ceid[0], m->ceid[1] },
	};

	model_pmu_reset(&u->bare, &config, 0);
}

static int make_guest(struct user *u)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = u->role->mode,
					       .switch_kind = u->role->switch_kind };
	int error;

	shape(u);
	error = vpmu_arm_vm_init(&u->vm, &w.host, &u->model, &config);
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
	return is_guest(u) ? make_guest(u) : create_event(u);
}

static void power_on(const struct machine *m, const struct role *first, const struct role *second)
{
	memset(&w, 0, sizeof(w));
	w.machine = m;
	happen(&w.cost, 3);
	model_class_config((enum model_class)m->class, &w.config);
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
		model_retire(&w.pmu[k], 2, &h.events);
		w.hw[k].time += n;
	}
	count_events(false, n);
}

static void enter(struct user *u)
{
	int answer;

	do {
		answer = vpmu_vcpu_enter(&u->v, 0);
	} while (answer == VPMU_AGAIN);
	isolation_same("enter", u->who, (uint64_t)answer, 0);
	/* Though it traps, more than EN lets EL0 at the registers on some machines (RULES A6). */
	if (w.pmu[u->at].mdcr_el2 & MODEL_MDCR_TPM)
		isolation_true("PMUSERENR_EL0 while all is trapped", w.pmu[u->at].pmuserenr <= 1);
	w.hw[u->at].guest_runs = true;
}

static void leave_guest(struct user *u)
{
	w.hw[u->at].guest_runs = false;
	isolation_same("exit", u->who, (uint64_t)vpmu_vcpu_exit(&u->v, 0), 0);
}

static bool feed_source(struct user *u, unsigned int el, const struct model_events *events)
{
	struct vpmu_script_raw raw[OTHERS_MAX];
	struct vpmu_script_burst burst = { .user = el == 0, .raw = raw, .nanoseconds = 1 };

	burst.amount[VPMU_MEANS_INSTRUCTIONS] = events->instructions;
	burst.amount[VPMU_MEANS_CYCLES] = events->cycles;
	for (size_t k = 0; k < events->other_count; k++)
		raw[burst.raw_count++] = (struct vpmu_script_raw){ events->others[k].event,
								   events->others[k].n };
	return vpmu_script_source_run(&u->source, &burst);
}

static void retire(struct user *u, unsigned int el, uint64_t n)
{
	struct happening h;

	happen(&h, n);
	model_retire(&u->bare, el, &h.events);
	model_retire(&w.pmu[u->at], el, &h.events);
	w.hw[u->at].time += n;
	if (u->at == 0)
		count_events(true, n);
	if (is_emulated(u) && feed_source(u, el, &h.events)) {
		leave_guest(u);
		enter(u);
	}
}

/* ---- Interrupts: one line for all ---- */

static void take_samples(struct vpmu_cpu *cpu)
{
	const struct vpmu_host_event *e;

	while ((e = vpmu_cpu_sample(cpu)))
		isolation_true("a sample of a living event",
			       (w.users[0].alive && e == &w.users[0].event) ||
				       (w.users[1].alive && e == &w.users[1].event));
}

/* Is it loaded there, and has overflowed? It may be while the host looks. */
static bool interrupts(const struct user *u, unsigned int k)
{
	return is_guest(u) && w.cpu[k].loaded == &u->v && u->bare.pmovs & u->bare.pminten;
}

/* One that was latched before the switch arrives: nobody else's. Then the line is low. */
static void take_interrupt(unsigned int k)
{
	bool guest = interrupts(&w.users[0], k) || interrupts(&w.users[1], k);
	enum vpmu_pmi pmi = vpmu_cpu_pmi(&w.cpu[k]);

	isolation_true("an interrupt of the guest",
		       guest || (pmi != VPMU_PMI_GUEST && pmi != VPMU_PMI_BOTH));
	isolation_true("an interrupt of the host",
		       has_events() || (pmi != VPMU_PMI_HOST && pmi != VPMU_PMI_BOTH));
	take_samples(&w.cpu[k]);
	isolation_same("the line of CPU", k, model_interrupt(&w.pmu[k]), false);
}

/* ---- The guest's instructions, against its bare machine ---- */

struct access {
	uint32_t reg;
	unsigned int el;
	bool write;
	uint64_t value;
};

static int outcome_of(enum model_result result)
{
	if (result == MODEL_EXECUTED)
		return VPMU_HANDLED;
	return result == MODEL_UNDEF ? VPMU_FAULT_UNDEF : VPMU_FAULT_EL1_TRAP;
}

/* Which fault EL0 gets for a counter that does not exist depends on the order of checks. */
static int normal(unsigned int el, int outcome)
{
	if (outcome == VPMU_NOT_MINE)
		return VPMU_FAULT_UNDEF;
	return el == 0 && outcome == VPMU_FAULT_UNDEF ? VPMU_FAULT_EL1_TRAP : outcome;
}

static int trap(struct user *u, struct access *a)
{
	struct vpmu_arm_access access = { .reg = a->reg, .el = (uint8_t)a->el, .write = a->write,
					  .value = a->value };
	int outcome;

	leave_guest(u);
	outcome = vpmu_arm_access(&u->v, &access);
	a->value = access.value;
	enter(u);
	return outcome;
}

/* In the guest. */
static void access(struct user *u, struct access a)
{
	struct model_pmu *pmu = &w.pmu[u->at];
	uint64_t bare_value = a.value;
	enum model_result result = model_guest_access(pmu, a.el, a.reg, a.write, &a.value);
	int outcome = result == MODEL_TRAP_EL2 ? trap(u, &a) : outcome_of(result);
	enum model_result bare;

	if (is_off(u)) {
		isolation_same("without a PMU, outcome", a.reg, (uint64_t)normal(1, outcome),
			       VPMU_FAULT_UNDEF);
		return;
	}
	bare = model_guest_access(&u->bare, a.el, a.reg, a.write, &bare_value);
	isolation_same(a.write ? "outcome of writing" : "outcome of reading", a.reg,
		       (uint64_t)normal(a.el, outcome), (uint64_t)normal(a.el, outcome_of(bare)));
	if (bare == MODEL_EXECUTED)
		isolation_same(a.el ? "EL1: register" : "EL0: register", a.reg, a.value,
			       bare_value);
}

static void msr(struct user *u, uint32_t reg, uint64_t value)
{
	access(u, (struct access){ .reg = reg, .el = 1, .write = true, .value = value });
}

static bool is_absent(const struct user *u, uint32_t reg)
{
	struct model_pmu attempt = u->bare;
	uint64_t value = 0;

	return model_guest_access(&attempt, 1, reg, false, &value) != MODEL_EXECUTED;
}

/* Both ELs read it; the kernel writes what it cannot read, PMSWINC_EL0 included. */
static void sweep_register(struct user *u, uint32_t reg)
{
	access(u, (struct access){ .reg = reg, .el = 1 });
	access(u, (struct access){ .reg = reg, .el = 0 });
	if (is_off(u) || is_absent(u, reg))
		msr(u, reg, 0);
}

/* All encodings that a register of the PMU has or could have: op1, CRn, CRm. */
static const struct { uint8_t op1, crn, crm; } spaces[] = {
	{ 3, 9, 12 }, { 3, 9, 13 }, { 3, 9, 14 }, { 0, 9, 14 },
	{ 3, 14, 8 }, { 3, 14, 9 }, { 3, 14, 10 }, { 3, 14, 11 },
	{ 3, 14, 12 }, { 3, 14, 13 }, { 3, 14, 14 }, { 3, 14, 15 },
};

#define ENCODINGS (8 * (uint32_t)ARRAY_SIZE(spaces))

static uint32_t encoding(uint32_t n)
{
	return VPMU_ARM_SYSREG(3, spaces[n / 8].op1, spaces[n / 8].crn, spaces[n / 8].crm, n % 8);
}

static void sweep(struct user *u)
{
	uint64_t pointer = u->bare.pmselr;

	for (uint32_t n = 0; n < ENCODINGS; n++)
		sweep_register(u, encoding(n));
	for (uint32_t i = 0; i < 32; i++) {
		msr(u, MODEL_PMSELR, i);
		sweep_register(u, MODEL_PMXEVCNTR);
		sweep_register(u, MODEL_PMXEVTYPER);
	}
	msr(u, MODEL_PMSELR, pointer);
}

/* ---- Its registers ---- */

/* The first counter overflows on the way. */
static void write_pattern(struct user *u)
{
	msr(u, MODEL_PMCR, 0);
	for (unsigned int i = 0; i < u->model.counters; i++) {
		msr(u, MODEL_PMEVCNTR(i),
		    i ? 0x5AA50000u | u->who << 24 | i * 0x101u : UINT32_MAX - 20);
		msr(u, MODEL_PMEVTYPER(i), EVENT(u->who, i));
	}
	msr(u, MODEL_PMCCNTR, UINT64_C(0x5A005AA500770000) | u->who);
	msr(u, MODEL_PMCCFILTR, 0);
	msr(u, MODEL_PMUSERENR, u->who ? 0x9 : 0xF);
	msr(u, MODEL_PMSELR, 1 + u->who);
	msr(u, MODEL_PMINTENSET, 5 | BIT(CYCLE));
	msr(u, MODEL_PMCNTENSET, UINT32_MAX);
	msr(u, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC | MODEL_PMCR_DP);
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
	retire(u, 1, 21);
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
	enter(u);
	write_pattern(u);
	retire(u, 1, 40);
	retire(u, 0, 13);
	leave_guest(u);
	isolation_true("an overflow", model_interrupt(&u->bare));
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
	take_interrupt(u->at);
	isolation_same("the line of guest", u->who, (uint64_t)vpmu_vcpu_interrupt(&u->v), 0);
	enter(u);
	/* One counter goes in and out before it looks at any. */
	msr(u, MODEL_PMCNTENSET, BIT(CYCLE));
	msr(u, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	retire(u, 1, 21);
	leave_guest(u);
	assert_int_equal(vpmu_cpu_reclaim(&w.cpu[u->at], 0), 0);
	enter(u);
	/* Quiet: everything is intercepted. */
	msr(u, MODEL_PMCR, MODEL_PMCR_LC);
	sweep(u);
	/* Now it counts, and reaches what it can, at EL0 too. */
	msr(u, MODEL_PMUSERENR, 0xF);
	msr(u, MODEL_PMCNTENSET, UINT32_MAX);
	msr(u, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	sweep(u);
	retire(u, 1, 21);
	retire(u, 0, 21);
	sweep(u);
	if (!has_events())
		isolation_same("the line", u->at, model_interrupt(&w.pmu[u->at]), false);
	leave_guest(u);
	take_interrupt(u->at);
	isolation_same("the line of guest", u->who, (uint64_t)vpmu_vcpu_interrupt(&u->v), 0);
	host_runs(19);
}

static void is_interrupted_as_alone(struct user *u)
{
	isolation_same("the line of guest", u->who, (uint64_t)vpmu_vcpu_interrupt(&u->v),
		       model_interrupt(&u->bare));
}

static void guest_is_back(struct user *u)
{
	if (is_off(u)) {
		looks_without_a_pmu(u);
		return;
	}
	arrive(u);
	is_interrupted_as_alone(u);
	enter(u);
	sweep(u);
	retire(u, 1, 23);
	retire(u, 0, 29);
	sweep(u);
	leave_guest(u);
	is_interrupted_as_alone(u);
	enter(u);
	msr(u, MODEL_PMOVSCLR, UINT32_MAX);
	leave_guest(u);
	is_interrupted_as_alone(u);
	take_interrupt(u->at);
}

/* Its overflow is pending until it clears it: nobody is quiet with an interrupt to come. */
static void is_found_quiet(struct user *u)
{
	enter(u);
	msr(u, MODEL_PMCR, MODEL_PMCR_LC | MODEL_PMCR_DP);
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
	isolation_same("beside it, the host's count", u->who, count.value, count.running ? 7 : 0);
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

/* ---- The host: what it finds at EL2, and at EL0 ---- */

static bool is_hosts(uint64_t value, uint64_t left)
{
	return value == 0 || value == left;
}

static void check_registers(unsigned int k)
{
	const struct model_pmu *now = &w.pmu[k], *left = &w.left[k];
	uint64_t foreign = ~w.cpu[k].host_counters;

	for (unsigned int i = 0; i < now->config.counters; i++) {
		if (foreign >> i & 1)
			isolation_true("the host finds 0 or its own value",
				       is_hosts(now->pmevcntr[i], left->pmevcntr[i]));
	}
	isolation_true("the host finds 0 or its own cycles", is_hosts(now->pmccntr, left->pmccntr));
	isolation_same("enables", k, now->pmcnten & foreign, left->pmcnten & foreign);
	isolation_same("interrupt enables", k, now->pminten & foreign, left->pminten & foreign);
	isolation_true("the host finds 0 or its own status",
		       is_hosts(now->pmovs & foreign, left->pmovs & foreign));
	if (!w.cpu[k].host_counters)
		isolation_same("PMCR_EL0", k, now->pmcr, left->pmcr);
}

/* What an event of the host's left behind is the host's, too. */
static bool is_hosts_selector(uint64_t value)
{
	return (value & 0xFFFF) == HOST_EVENT(0) || (value & 0xFFFF) == HOST_EVENT(1);
}

/* The host opens its PMU to EL0 again; what EL0 gets is the host's or nothing. */
static void read_register_in_user_mode(unsigned int k, uint32_t reg)
{
	struct model_pmu now = w.pmu[k], left = w.left[k];
	uint64_t value = 0, own = 0;

	now.mdcr_el2 = now.config.counters;
	left.mdcr_el2 = now.mdcr_el2;
	now.hdfgrtr_el2 = left.hdfgrtr_el2 = 0;
	if (model_guest_access(&now, 0, reg, false, &value) != MODEL_EXECUTED)
		return;
	isolation_same("EL0 reads, too, alone", reg, model_guest_access(&left, 0, reg, false, &own),
		       MODEL_EXECUTED);
	if (value != own && value && !is_hosts_selector(value))
		isolation_same("EL0 reads", reg, value, own);
}

static void read_in_user_mode(unsigned int k)
{
	isolation_same("PMUSERENR_EL0 of CPU", k, w.pmu[k].pmuserenr, HOST_USER);
	isolation_same("PMSELR_EL0 of CPU", k, w.pmu[k].pmselr, HOST_POINTER);
	/* What the host's own events have is the host's to show. */
	if (w.cpu[k].host_counters)
		return;
	for (uint32_t n = 0; n < ENCODINGS; n++)
		read_register_in_user_mode(k, encoding(n));
}

static void host_looks(bool user)
{
	for (unsigned int n = 0; n < 2; n++) {
		for (unsigned int k = 0; k < CPUS; k++) {
			take_interrupt(k);
			check_registers(k);
			if (user)
				read_in_user_mode(k);
		}
		host_runs(17);
	}
}

/* The host's own driver. It has stopped its counters, and leaves all else as it was. */
static void driver_counts(void)
{
	struct model_pmu *pmu = &w.pmu[0];

	assert_int_equal(vpmu_cpu_reclaim(&w.cpu[0], w.hw[0].hw.caps.counters), 0);
	for (unsigned int i = 0; i < pmu->config.counters; i++) {
		pmu->pmevcntr[i] = 0x0F0F00 + i;
		pmu->pmevtyper[i] = MODEL_FILTER_NSH | EVENT(1, i);
	}
	pmu->pmccntr = 0x0E0E00;
	pmu->pmovs = 3;
	w.left[0] = *pmu;
}

static void user_looks(void)
{
	for (unsigned int k = 0; k < CPUS; k++)
		assert_int_equal(vpmu_cpu_reclaim(&w.cpu[k], 0), 0);
	host_looks(true);
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
	host_runs(60);
	check_event(u);
}

static void event_looks(struct user *u)
{
	event_begins(u);
	isolation_true("no sample yet", vpmu_cpu_sample(&w.cpu[0]) != &u->event);
	host_looks(false);
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
	host_looks(true);
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
	GUEST("partitioned lazy", PARTITIONED, LAZY, OWN),
	GUEST("partitioned eager", PARTITIONED, EAGER, OWN),
	GUEST("emulated", EMULATED, LAZY, OWN),
	GUEST("off", OFF, LAZY, OWN),
	GUEST("passed through lazy", PASSTHROUGH, LAZY, OWN),
	GUEST("passed through eager", PASSTHROUGH, EAGER, OWN),
	{ .name = "user mode", .kind = KIND_USER },
};

#define MACHINE(n, c) \
	{ .name = n, .class = c, .roles = roles, .role_count = ARRAY_SIZE(roles), \
	  .cells = 603, .power_on = power_on, .fill = fill, .leave = leave, .look = look, \
	  .back = back, .finish = finish }

static const struct machine machines[] = {
	MACHINE("p5hpmn", MODEL_P5_HPMN),
	MACHINE("p5fgt", MODEL_P5_FGT),
	MACHINE("p5", MODEL_P5),
	MACHINE("p1", MODEL_P1),
	MACHINE("v3", MODEL_V3),
};

int main(int argc, char **argv)
{
	return isolation_run(machines, ARRAY_SIZE(machines), argc > 1 ? argv[1] : NULL);
}
