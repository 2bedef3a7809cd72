/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <string.h>

#include "x86_rig.h"

#define FIXED X86_PMU_FIXED
#define FIXED_RINGS ((uint64_t)(X86_FIXED_OS | X86_FIXED_USR))
#define LVTPC_VECTOR 0x40u       /* of the guests; many use an NMI, which changes nothing here */

const char *const rig_edge_names[EDGES] = {
	[EDGE_LOAD] = "load",
	[EDGE_LOAD_AFTER_OTHER] = "load-after-other",
	[EDGE_LOAD_ELSEWHERE] = "load-elsewhere",
	[EDGE_ENTER_QUIET] = "enter-quiet",
	[EDGE_ENTER_FULL] = "enter-full",
	[EDGE_ENTER_AGAIN] = "enter-again",
	[EDGE_EXIT_PARKS] = "exit-parks",
	[EDGE_EXIT_QUIET_TWICE] = "exit-quiet-twice",
	[EDGE_EXIT_REQUEST] = "exit-request",
	[EDGE_EXIT_QUIET] = "exit-quiet",
	[EDGE_PUT_PARKED] = "put-parked",
	[EDGE_PUT_HOST] = "put-host",
	[EDGE_RECLAIM_PARKED] = "reclaim-parked",
	[EDGE_RECLAIM_HOST] = "reclaim-host",
	[EDGE_REQUEST_PARKED] = "request-parked",
	[EDGE_POLICY_PARKED] = "policy-parked",
	[EDGE_POLICY_HOST] = "policy-host",
	[EDGE_ACCESS_PARKED] = "access-parked",
	[EDGE_ACCESS_HOST] = "access-host",
	[EDGE_DIRECT_VALUE] = "direct-value",
	[EDGE_DIRECT_GLOBAL] = "direct-global",
	[EDGE_DIRECT_RDPMC] = "direct-rdpmc",
	[EDGE_COUNT_PARKED] = "count-parked",
	[EDGE_COUNT_HOST] = "count-host",
	[EDGE_LVTPC_PARKED] = "lvtpc-parked",
	[EDGE_LVTPC_HOST] = "lvtpc-host",
	[EDGE_VECTOR_PARKED] = "vector-parked",
	[EDGE_VECTOR_LATE] = "vector-late",
	[EDGE_PMI] = "pmi",
	[EDGE_MIGRATE_STATE] = "migrate-state",
	[EDGE_MIGRATE_MSRS] = "migrate-msrs",
};

static enum rig_shape shape_of_vcpu(unsigned int vcpu)
{
	return (enum rig_shape)(vcpu < 2 ? 0 : vcpu - 1);
}

static bool needs_residency(enum rig_edge edge)
{
	switch (edge) {
	case EDGE_ENTER_FULL:
	case EDGE_ENTER_AGAIN:
	case EDGE_EXIT_PARKS:
	case EDGE_EXIT_QUIET_TWICE:
	case EDGE_EXIT_REQUEST:
	case EDGE_PUT_PARKED:
	case EDGE_RECLAIM_PARKED:
	case EDGE_REQUEST_PARKED:
	case EDGE_POLICY_PARKED:
	case EDGE_ACCESS_PARKED:
	case EDGE_DIRECT_VALUE:
	case EDGE_DIRECT_GLOBAL:
	case EDGE_DIRECT_RDPMC:
	case EDGE_COUNT_PARKED:
	case EDGE_LVTPC_PARKED:
	case EDGE_VECTOR_PARKED:
		return true;
	default:
		return false;
	}
}

/* Global registers and RDPMC are direct only for a guest that has all counters. */
static bool has_all(enum rig_shape shape, enum x86_pmu_vendor vendor)
{
	return shape == SHAPE_OWN || shape == SHAPE_POLICY ||
	       (shape == SHAPE_OLD && vendor == X86_PMU_INTEL);
}

bool rig_edge_exists(enum rig_edge edge, unsigned int vcpu, enum x86_pmu_vendor vendor)
{
	enum rig_shape shape = shape_of_vcpu(vcpu);

	if (shape == SHAPE_EMULATED)
		return !needs_residency(edge);
	if (edge == EDGE_DIRECT_GLOBAL || edge == EDGE_DIRECT_RDPMC)
		return has_all(shape, vendor);
	return true;
}

/* ---- Policies ---- */

#define MASKED(event, mask, match, exclude) \
	((event) | (uint64_t)(mask) << 56 | (uint64_t)(match) << 8 | (uint64_t)(exclude) << 55)

/* Instructions and branches are C0 and C4 (Intel), C0 and C2 (AMD). */
static const struct rig_policy policies[RIG_POLICIES] = {
	{ .deny = true, .fixed = 1, .events = { 0xC0, 0x4F2E }, .count = 2 },
	{ .deny = false, .fixed = 2, .events = { 0xC0, 0xC4, 0xC2 }, .count = 3 },
	{ .deny = true, .masked = true, .fixed = 4, .count = 3,
	  .events = { MASKED(0x2E, 0xF0, 0x40, 0), MASKED(0x2E, 0xFF, 0x41, 1),
		      MASKED(0xC4, 0, 0, 0) } },
	{ .deny = false, .fixed = 0, .count = 0 },
	{ .deny = true, .fixed = 0, .count = 0 },
	{ .deny = false, .masked = true, .fixed = 0xF, .count = 2,
	  .events = { MASKED(0xC0, 0, 0, 0), MASKED(0xB7, 0x0F, 0x01, 0) } },
};

static void compile_policy(struct rig_policy *p, const struct rig_policy *from,
			   enum vpmu_x86_vendor vendor)
{
	struct {
		uint32_t action, nevents, fixed, flags, pad[4];
		uint64_t events[4];
	} kvm = { .action = from->deny, .nevents = from->count, .fixed = from->fixed,
		  .flags = from->masked };

	*p = *from;
	memcpy(kvm.events, from->events, sizeof(kvm.events));
	assert_int_equal(vpmu_x86_filter_compile(&p->filter, vendor, &kvm, sizeof(kvm)), 0);
	p->policy = (struct vpmu_policy){ .x86 = &p->filter };
}

/* KVM's documentation, by brute force. */
static bool lists(const struct rig_policy *p, uint64_t event, uint8_t umask)
{
	bool included = false, excluded = false;

	for (uint32_t k = 0; k < p->count; k++) {
		uint64_t e = p->events[k];
		uint8_t mask = p->masked ? (uint8_t)(e >> 56) : 0xFF;
		bool exclude = p->masked && e >> 55 & 1;

		if ((e & 0xF000000FF) != event || (umask & mask) != (uint8_t)(e >> 8))
			continue;
		included |= !exclude;
		excluded |= exclude;
	}
	return included && !excluded;
}

static bool policy_denies(const struct rig_policy *p, const struct x86_pmu *bare, unsigned int i)
{
	uint64_t key = bare->config.vendor == X86_PMU_AMD ? 0xF000000FF : 0xFF;

	if (!p)
		return false;
	if (i >= FIXED)
		return (p->fixed >> (i - FIXED) & 1) == p->deny;
	return lists(p, bare->selector[i] & key, (uint8_t)(bare->selector[i] >> 8)) == p->deny;
}

static bool denied(const struct rig_vcpu *g, unsigned int i)
{
	return policy_denies(g->policy, &g->bare, i) ||
	       policy_denies(g->vm->created, &g->bare, i);
}

static const struct vpmu_policy *policy_of(const struct rig_policy *p)
{
	return p ? &p->policy : NULL;
}

/* ---- Bare machines ---- */

static bool is_intel(const struct rig *r)
{
	return r->config.vendor == X86_PMU_INTEL;
}

static bool has_counter(const struct x86_pmu *pmu, unsigned int i)
{
	return i < pmu->config.gp || (i >= FIXED && i - FIXED < pmu->config.fixed);
}

/* A loop over the counters of (pmu). */
#define FOR_EACH_COUNTER(i, pmu) \
	for (unsigned int i = first_counter(pmu); i < 64; i = next_counter(pmu, i))

static unsigned int next_counter(const struct x86_pmu *pmu, unsigned int i)
{
	if (++i == pmu->config.gp)
		i = FIXED;
	return i < FIXED || i - FIXED < pmu->config.fixed ? i : 64;
}

static unsigned int first_counter(const struct x86_pmu *pmu)
{
	return next_counter(pmu, UINT_MAX);
}

static uint64_t value_of(const struct x86_pmu *pmu, unsigned int i)
{
	return i < FIXED ? pmu->gp[i] : pmu->fixed[i - FIXED];
}

static uint64_t selector_of(const struct x86_pmu *pmu, unsigned int i)
{
	return i < FIXED ? pmu->selector[i] : pmu->fixed_ctrl >> (4 * (i - FIXED)) & 0xF;
}

/* The machine of the model, with the wires of the physical one. */
static void bare_reset(struct rig_vcpu *g)
{
	const struct vpmu_x86_model *m = &g->vm->model;
	struct x86_pmu_config config = {
		.vendor = m->vendor == VPMU_X86_AMD ? X86_PMU_AMD : X86_PMU_INTEL,
		.version = m->version, .gp = m->gp, .gp_width = m->gp_width, .fixed = m->fixed,
		.fixed_width = m->fixed_width, .events_length = m->events_length,
		.pdcm = m->pdcm, .full_width_writes = m->full_width_writes, .tsx = m->tsx,
		.pin_control = true, .core_extension = m->core_extension,
	};

	if (g->vm->vm.mode == VPMU_MODE_MEDIATED)
		memcpy(config.counters_of, g->rig->config.counters_of, sizeof(config.counters_of));
	x86_pmu_reset(&g->bare, &config);
	g->lvtpc = X86_LVTPC_MASKED;
	g->owed = g->told = 0;
	g->maybe = g->clears = false;
}

/* Does counter (i) pass its enables? A ring is none, for general-purpose counters. */
static bool is_active(const struct rig_vcpu *g, unsigned int i)
{
	const struct x86_pmu *b = &g->bare;
	uint64_t enables = i < FIXED ? X86_SEL_EN : FIXED_RINGS;

	if (!has_counter(b, i) || !(selector_of(b, i) & enables))
		return false;
	if (b->global_status & X86_STATUS_CTR_FRZ)
		return false;
	return !rig_has_global(g) || b->global_ctrl >> i & 1;
}

bool rig_is_quiet(const struct rig_vcpu *g)
{
	FOR_EACH_COUNTER(i, &g->bare) {
		if (is_active(g, i))
			return false;
	}
	return true;
}

/* Overflows of counters with their interrupt enabled, as far as the status says. */
static uint64_t overflows(const struct rig_vcpu *g)
{
	const struct x86_pmu *b = &g->bare;
	uint64_t mask = 0;

	if (!b->global_status)
		return 0;
	FOR_EACH_COUNTER(i, b) {
		if (selector_of(b, i) & (i < FIXED ? X86_SEL_INT : X86_FIXED_PMI))
			mask |= BIT(i);
	}
	return b->global_status & mask;
}

/* Owed whatever becomes of the status: the library counted it, or there is none. */
#define NO_STATUS BIT(63)

/*
 * A guest that clears an overflow that its PMI has not told it of knows: the vector then finds
 * nothing.
 */
static void note_acks(struct rig_vcpu *g)
{
	uint64_t left = g->owed & (g->bare.global_status | NO_STATUS);

	g->maybe |= left != g->owed;
	g->owed = left;
}

/* The guest is seen to clear what it was told of. */
static void see_acks(struct rig_vcpu *g)
{
	g->clears |= (g->told & ~g->bare.global_status) != 0;
	g->told &= g->bare.global_status;
}

static void without_denied(struct rig_vcpu *g)
{
	if (!g->policy && !g->vm->created)
		return;
	FOR_EACH_COUNTER(i, &g->bare) {
		if (!denied(g, i))
			continue;
		if (i < FIXED)
			g->bare.selector[i] &= ~X86_SEL_EN;
		else
			g->bare.fixed_ctrl &= ~(FIXED_RINGS << (4 * (i - FIXED)));
	}
}

/*
 * The bare machine executes; (seen) by a hardware that a status bit can hide an overflow from, not
 * by the library's arithmetic.
 */
static void bare_retire(struct rig_vcpu *g, bool user, const struct x86_pmu_events *events,
			bool hardware)
{
	struct x86_pmu *b = &g->bare;
	struct x86_pmu old = *b;
	bool has_status = b->config.version >= 2;
	uint64_t fresh;

	without_denied(g);
	x86_pmu_retire(b, user, events);
	memcpy(b->selector, old.selector, sizeof(b->selector));
	b->fixed_ctrl = old.fixed_ctrl;
	(void)x86_pmu_take_interrupt(b);
	/* A late status, of an overflow that the guest cleared before it showed, hides as well. */
	if (g->rig->config.status_skid && g->cpu)
		old.global_status |= g->cpu->x86.pmu.global_status;
	if (b->interrupts != old.interrupts) {
		fresh = has_status && hardware ? overflows(g) & ~old.global_status : NO_STATUS;
		g->owed |= fresh;
		g->maybe |= !fresh;
	}
	/* With skid the entry may be unmasked by the time that the interrupt fires. */
	if (b->interrupts_masked != old.interrupts_masked && !g->rig->exact)
		g->maybe = true;
}

/* ---- Set-up ---- */

/* An NMI between two accesses: the host's handler must not think the PMU is its own (RULES A3). */
static void nmi(struct x86_cpu *x86, void *context)
{
	struct rig_cpu *c = context;
	uint64_t accesses = x86->x86.hw.accesses;
	enum vpmu_owner owner = vpmu_cpu_nmi_owner(&c->cpu);

	if (owner == VPMU_OWNER_HOST && !c->boundary)
		rig_fail(c->rig, "an NMI in the middle of a switch sees the owner HOST");
	assert_int_equal(x86->x86.hw.accesses, accesses);
}

/* As the host's PMU driver leaves it at start. */
static void host_starts(struct rig_cpu *c)
{
	struct x86_pmu *pmu = &c->x86.pmu;

	for (unsigned int i = 0; i < pmu->config.gp; i++)
		pmu->gp[i] = rng_next(&c->rig->rng) & (BIT(pmu->config.gp_width) - 1);
	for (unsigned int i = 0; i < pmu->config.fixed; i++)
		pmu->fixed[i] = rng_next(&c->rig->rng) & (BIT(pmu->config.fixed_width) - 1);
	x86_pmu_set_lvtpc(pmu, X86_LVTPC_NMI);
	c->left = *pmu;
}

static void init_cpu(struct rig *r, struct rig_cpu *c, uint32_t number)
{
	c->rig = r;
	assert_int_equal(x86_cpu_init(&c->x86, &r->config, true), 0);
	vpmu_machine_add(&r->machine, &c->x86.x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&c->cpu, number, &c->x86.x86.hw), 0);
	c->x86.hook = nmi;
	c->x86.hook_context = c;
	host_starts(c);
}

static void describe_intel(struct rig *r)
{
	r->vms[SHAPE_OLD].model.version = 2;
	r->vms[SHAPE_SMALL].model.version = 2;
	r->vms[SHAPE_SMALL].model.gp = 4;
	r->vms[SHAPE_SMALL].model.fixed = 2;
	r->vms[SHAPE_FIRST].model.version = 1;
	r->vms[SHAPE_FIRST].model.gp = 4;
	r->vms[SHAPE_FIRST].model.fixed = 0;
	r->vms[SHAPE_FIRST].model.fixed_width = 0;
	r->vms[SHAPE_FIRST].model.full_width_writes = false;
}

static void describe_amd(struct rig *r)
{
	r->vms[SHAPE_OLD].model.gp = 4;
	r->vms[SHAPE_SMALL].model.version = 1;
	r->vms[SHAPE_SMALL].model.gp = 4;
	r->vms[SHAPE_SMALL].model.core_extension = false;
	r->vms[SHAPE_FIRST].model.version = 1;
}

static void init_vm(struct rig *r, struct rig_vm *vm)
{
	struct vpmu_vm_config config = {
		.size = sizeof(config), .switch_kind = vm->kind, .policy = policy_of(vm->created),
		.mode = vm == &r->vms[SHAPE_EMULATED] ? VPMU_MODE_EMULATED : VPMU_MODE_MEDIATED,
	};

	vm->policy = vm->created;
	assert_int_equal(vpmu_x86_vm_init(&vm->vm, &r->machine, &vm->model, &config), 0);
}

static void init_vcpu(struct rig_vcpu *g)
{
	vpmu_vcpu_init(&g->v, &g->vm->vm);
	g->policy = g->vm->policy;
	if (g->vm->vm.mode != VPMU_MODE_EMULATED)
		return;
	vpmu_script_source_init(&g->source, &g->v, rng_one_in(&g->rig->rng, 2));
	assert_int_equal(vpmu_vcpu_attach(&g->v, &g->emulated, &g->source.source), 0);
}

static void init_vms(struct rig *r, const struct rig_options *options)
{
	for (unsigned int i = 0; i < RIG_VMS; i++) {
		assert_int_equal(vpmu_x86_model_of(&r->machine, &r->vms[i].model), 0);
		r->vms[i].kind = options->kinds[i];
	}
	r->vms[SHAPE_POLICY].created = &r->policies[2];
	/* Events of IN_TXCP have no interrupt there (x86_emulated). */
	r->vms[SHAPE_EMULATED].model.tsx = false;
	if (is_intel(r))
		describe_intel(r);
	else
		describe_amd(r);
	for (unsigned int i = 0; i < RIG_VMS; i++)
		init_vm(r, &r->vms[i]);
}

void rig_init(struct rig *r, const struct rig_options *options)
{
	memset(r, 0, sizeof(*r));
	r->seed = options->seed;
	r->rng.state = r->seed * 2 + 1;
	r->noise.state = r->seed * 2 + 3;
	r->doing = "init";
	r->exact = !options->status_skid && !options->interrupt_skid;
	x86_cpu_class_config(options->class, &r->config);
	r->config.status_skid = options->status_skid;
	r->config.interrupt_skid = options->interrupt_skid;
	r->config.amd_vmrun_branch = options->amd_vmrun_branch;
	r->config.atom_instructions = options->atom_instructions;
	r->config.atom_branches = options->atom_branches;
	r->config.counters_of[X86_PMU_LLC_MISSES] = 0x5;
	for (unsigned int k = 0; k < RIG_POLICIES; k++)
		compile_policy(&r->policies[k], &policies[k],
			       is_intel(r) ? VPMU_X86_INTEL : VPMU_X86_AMD);
	vpmu_machine_init(&r->machine);
	for (uint32_t i = 0; i < RIG_CPUS; i++)
		init_cpu(r, &r->cpus[i], i);
	init_vms(r, options);
	for (unsigned int i = 0; i < RIG_VCPUS; i++) {
		r->vcpus[i].rig = r;
		r->vcpus[i].vm = &r->vms[shape_of_vcpu(i)];
		init_vcpu(&r->vcpus[i]);
		bare_reset(&r->vcpus[i]);
	}
}

void rig_init_plain(struct rig *r, enum x86_cpu_class class, enum vpmu_switch_kind kind,
		    uint64_t seed)
{
	struct rig_options options = { .class = class, .seed = seed };

	for (unsigned int i = 0; i < RIG_VMS; i++)
		options.kinds[i] = kind;
	rig_init(r, &options);
}

/* ---- The guest's words ---- */

static bool is_amd_core(const struct rig_vcpu *g)
{
	return g->bare.config.core_extension;
}

uint32_t rig_msr_selector(const struct rig_vcpu *g, unsigned int i)
{
	if (is_intel(g->rig))
		return i < FIXED ? X86_MSR_PERFEVTSEL(i) : X86_MSR_FIXED_CTR_CTRL;
	return is_amd_core(g) ? X86_MSR_PERF_CTL(i) : X86_MSR_K7_EVNTSEL(i);
}

uint32_t rig_msr_counter(const struct rig_vcpu *g, unsigned int i)
{
	if (i >= FIXED)
		return X86_MSR_FIXED_CTR(i - FIXED);
	if (is_intel(g->rig))
		return g->vm->model.full_width_writes ? X86_MSR_PMC(i) : X86_MSR_PERFCTR(i);
	return is_amd_core(g) ? X86_MSR_PERF_CTR(i) : X86_MSR_K7_PERFCTR(i);
}

uint32_t rig_msr_global(const struct rig_vcpu *g)
{
	return is_intel(g->rig) ? X86_MSR_GLOBAL_CTRL : X86_MSR_AMD_GLOBAL_CTL;
}

uint32_t rig_msr_status(const struct rig_vcpu *g)
{
	return is_intel(g->rig) ? X86_MSR_GLOBAL_STATUS : X86_MSR_AMD_GLOBAL_STATUS;
}

uint32_t rig_msr_reset(const struct rig_vcpu *g)
{
	return is_intel(g->rig) ? X86_MSR_STATUS_RESET : X86_MSR_AMD_STATUS_CLR;
}

bool rig_has_global(const struct rig_vcpu *g)
{
	return g->bare.config.version >= 2;
}

uint64_t rig_width(const struct rig_vcpu *g, unsigned int i)
{
	const struct x86_pmu_config *c = &g->bare.config;

	return BIT(i < FIXED ? c->gp_width : c->fixed_width) - 1;
}

uint64_t rig_event(const struct rig_vcpu *g, enum x86_pmu_kind kind)
{
	static const uint64_t codes[2][X86_PMU_KINDS] = {
		[X86_PMU_INTEL] = { 0x3C, 0xC0, 0x13C, 0x4F2E, 0x412E, 0xC4, 0xC5, 0x1A4 },
		[X86_PMU_AMD] = { 0x76, 0xC0, 0x100000120, 0xFF60, 0x964, 0xC2, 0xC3, 0x76 },
	};

	return codes[!is_intel(g->rig)][kind];
}

static const struct x86_pmu_raw raw_events[] = { { 0xB7, 0x01, 1 }, { 0x1B7, 0x02, 2 } };

struct x86_pmu_events rig_events(const struct rig *r, uint64_t n)
{
	(void)r;
	return (struct x86_pmu_events){
		.instructions = n, .cycles = 2 * n, .reference_cycles = 2 * n - n / 2,
		.branches = n / 5, .branch_misses = n / 50, .llc_references = n / 3,
		.llc_misses = n / 9, .raw = raw_events, .raw_count = ARRAY_SIZE(raw_events),
	};
}

/* ---- Observation ---- */

static void edge(struct rig_vcpu *g, enum rig_edge e)
{
	g->rig->matrix[e][g - g->rig->vcpus]++;
}

static void record(struct rig *r, uint64_t value)
{
	r->trace = (r->trace ^ value) * 0x100000001B3u;
	r->trace ^= r->trace >> 29;
}

enum vpmu_owner rig_owner(const struct rig_cpu *c)
{
	return vpmu_cpu_nmi_owner(&c->cpu);
}

static bool is_parked(const struct rig_vcpu *g)
{
	return g->cpu && rig_owner(g->cpu) == VPMU_OWNER_PARKED;
}

static bool is_mediated(const struct rig_vcpu *g)
{
	return g->vm->vm.mode == VPMU_MODE_MEDIATED;
}

/* ---- Invariants ---- */

/* Host events that were forgotten go on counting user mode. */
static void follow_host(struct rig_cpu *c)
{
	FOR_EACH_COUNTER(i, &c->left) {
		if (!selector_of(&c->x86.pmu, i))
			continue;
		if (i < FIXED)
			c->left.gp[i] = c->x86.pmu.gp[i];
		else
			c->left.fixed[i - FIXED] = c->x86.pmu.fixed[i - FIXED];
		c->left.global_status |= c->x86.pmu.global_status & BIT(i);
	}
}

/*
 * V1, V2, V7: nothing of a guest is on or can be read; what is there is what the host left, or 0.
 */
static void check_host(struct rig *r, struct rig_cpu *c)
{
	const struct x86_pmu *pmu = &c->x86.pmu;

	follow_host(c);
	FOR_EACH_COUNTER(i, pmu) {
		if (value_of(pmu, i) && value_of(pmu, i) != value_of(&c->left, i))
			rig_fail(r, "HOST: counter %u still holds %#llx", i,
				 (unsigned long long)value_of(pmu, i));
		if (selector_of(pmu, i) && selector_of(pmu, i) != selector_of(&c->left, i))
			rig_fail(r, "HOST: selector %u is %#llx", i,
				 (unsigned long long)selector_of(pmu, i));
	}
	if (pmu->global_status & ~c->left.global_status && r->exact)
		rig_fail(r, "HOST: status %#llx", (unsigned long long)pmu->global_status);
	if (pmu->global_ctrl != c->left.global_ctrl && !pmu->guest)
		rig_fail(r, "V7: the host finds GLOBAL_CTRL %#llx, not %#llx",
			 (unsigned long long)pmu->global_ctrl,
			 (unsigned long long)c->left.global_ctrl);
	if ((pmu->lvtpc & ~X86_LVTPC_MASKED) != X86_LVTPC_NMI ||
	    (pmu->lvtpc != X86_LVTPC_NMI && r->exact && !pmu->nmi))
		rig_fail(r, "V7: the host finds LVTPC %#x", pmu->lvtpc);
}

/* V1: held by an enable that the guest does not write. */
static void check_parked(struct rig *r, const struct rig_cpu *c)
{
	FOR_EACH_COUNTER(i, &c->x86.pmu) {
		if (x86_pmu_counts(&c->x86.pmu, i, false) || x86_pmu_counts(&c->x86.pmu, i, true))
			rig_fail(r, "PARKED: counter %u counts in the host", i);
	}
}

/* V4: what the hardware counts is what the guest asked for and may. */
static void check_counting(struct rig *r, const struct rig_cpu *c, const struct rig_vcpu *g,
			   unsigned int i)
{
	for (unsigned int user = 0; user < 2; user++) {
		bool hardware = x86_pmu_counts(&c->x86.pmu, i, user);
		bool bare = has_counter(&g->bare, i) && x86_pmu_counts(&g->bare, i, user) &&
			    !denied(g, i);

		if (hardware != bare)
			rig_fail(r, "LIVE: vCPU %d: counter %u %s in ring %u",
				 (int)(g - r->vcpus), i, hardware ? "counts" : "does not count",
				 user ? 3 : 0);
	}
}

static void check_live(struct rig *r, const struct rig_cpu *c, const struct rig_vcpu *g)
{
	const struct x86_pmu *pmu = &c->x86.pmu;
	uint64_t shown = vpmu_x86_intercepts(&g->v);

	FOR_EACH_COUNTER(i, pmu) {
		check_counting(r, c, g, i);
		if ((shown >> i & 1 || shown >> 50 & 1) &&
		    value_of(pmu, i) != value_of(&g->bare, i))
			rig_fail(r, "LIVE: vCPU %d: direct counter %u is %#llx, bare %#llx",
				 (int)(g - r->vcpus), i, (unsigned long long)value_of(pmu, i),
				 (unsigned long long)value_of(&g->bare, i));
		if (i < FIXED && pmu->selector[i] & (X86_SEL_PC | X86_SEL_ANY))
			rig_fail(r, "LIVE: selector %u is %#llx", i,
				 (unsigned long long)pmu->selector[i]);
	}
	if (shown != g->intercepts)
		rig_fail(r, "LIVE: the intercepts changed without an enter");
}

static void check_cpu(struct rig *r, struct rig_cpu *c)
{
	if (c->x86.violations)
		rig_fail(r, "violation: %s", c->x86.violation);
	switch (rig_owner(c)) {
	case VPMU_OWNER_HOST:
		check_host(r, c);
		break;
	case VPMU_OWNER_PARKED:
		if (!c->loaded || c->loaded->in_guest)
			rig_fail(r, "PARKED, but no guest is or one runs");
		check_parked(r, c);
		break;
	case VPMU_OWNER_LIVE:
		if (!c->loaded || !c->loaded->in_guest)
			rig_fail(r, "LIVE, but no guest runs");
		check_live(r, c, c->loaded);
		break;
	case VPMU_OWNER_TRANSITION:
		rig_fail(r, "TRANSITION after the call");
	}
}

/* The CPU that something just happened on. */
static void check_here(struct rig_vcpu *g)
{
	if (g->cpu)
		check_cpu(g->rig, g->cpu);
}

void rig_check(struct rig *r)
{
	for (unsigned int i = 0; i < RIG_CPUS; i++)
		check_cpu(r, &r->cpus[i]);
}

static void same(struct rig_vcpu *g, const char *what, unsigned int i, uint64_t got, uint64_t bare)
{
	if (got != bare)
		rig_fail(g->rig, "vCPU %d: %s %u is %#llx, bare %#llx", (int)(g - g->rig->vcpus),
			 what, i, (unsigned long long)got, (unsigned long long)bare);
}

static enum vpmu_counter_state state_of(const struct rig_vcpu *g, unsigned int i)
{
	if (!has_counter(&g->bare, i))
		return VPMU_COUNTER_ABSENT;
	if (!is_active(g, i))
		return VPMU_COUNTER_STOPPED;
	return denied(g, i) ? VPMU_COUNTER_DENIED : VPMU_COUNTER_COUNTING;
}

static void compare_counter(struct rig_vcpu *g, const struct vpmu_state *s, unsigned int i)
{
	struct vpmu_counter_status status;

	if (has_counter(&g->bare, i)) {
		same(g, "value", i, s->value[i], value_of(&g->bare, i));
		same(g, "selector", i, s->selector[i], selector_of(&g->bare, i));
	} else {
		same(g, "absent value", i, s->value[i], 0);
		same(g, "absent selector", i, s->selector[i], 0);
	}
	assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
	same(g, "status value", i, status.value, s->value[i]);
	if (g->rig->exact)
		same(g, "state", i, status.state, state_of(g, i));
}

void rig_compare(struct rig_vcpu *g)
{
	struct vpmu_state s, again;

	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &again), 0);
	assert_memory_equal(&s, &again, sizeof(s));
	for (unsigned int i = 0; i < 64; i++)
		compare_counter(g, &s, i);
	if (rig_has_global(g)) {
		same(g, "GLOBAL_CTRL", 0, s.global, g->bare.global_ctrl);
		if (!g->rig->config.status_skid)
			same(g, "GLOBAL_STATUS", 0, s.status, g->bare.global_status);
	}
	same(g, "DEBUGCTL", 0, s.debug, g->bare.debugctl);
}

/* ---- PMIs ---- */

/* May a vector be on its way where (g) was last? */
static bool may_come(const struct rig_vcpu *g)
{
	const struct x86_pmu *pmu;

	if (!g->last)
		return false;
	pmu = &g->last->x86.pmu;
	return pmu->late_interrupt || pmu->late_status ||
	       x86_pmu_interrupt(pmu) == X86_CPU_VECTOR;
}

/* And nobody has looked at the overflow yet? */
static bool is_under_way(const struct rig_vcpu *g)
{
	return is_parked(g) && may_come(g);
}

static void set_lvtpc(struct rig_vcpu *g, uint32_t value)
{
	g->lvtpc = value;
	assert_int_equal(vpmu_vcpu_lvtpc(&g->v, value), 0);
	x86_pmu_set_lvtpc(&g->bare, value);
}

/*
 * A guest that never clears its status is given every vector that could be its, when vectors are
 * late.
 */
static bool is_explained(const struct rig_vcpu *g)
{
	return g->owed || g->maybe || (!g->rig->exact && !g->clears && overflows(g));
}

static void deliver(struct rig_vcpu *g)
{
	if (g->lvtpc & X86_LVTPC_MASKED)
		rig_fail(g->rig, "vCPU %d: a PMI through a masked entry", (int)(g - g->rig->vcpus));
	if (!is_explained(g))
		rig_fail(g->rig, "vCPU %d: a PMI that nothing explains", (int)(g - g->rig->vcpus));
	if (g->given)
		rig_fail(g->rig, "vCPU %d: two PMIs in one exit", (int)(g - g->rig->vcpus));
	edge(g, EDGE_PMI);
	g->rig->pmis++;
	g->told |= overflows(g);
	g->owed = 0;
	g->maybe = false;
	g->given = true;
	if (vpmu_x86_masks_lvtpc(&g->vm->vm))
		set_lvtpc(g, g->lvtpc | X86_LVTPC_MASKED);
}

/* The hypervisor asks before each enter. */
static void ask(struct rig_vcpu *g)
{
	struct rig *r = g->rig;
	int given;

	r->doing = "pmi";
	given = vpmu_vcpu_pmi(&g->v);
	if (given == 1)
		deliver(g);
	else if (g->owed && !g->given && !is_under_way(g))
		rig_fail(r, "vCPU %d: a PMI is lost", (int)(g - r->vcpus));
	if (!may_come(g))
		g->maybe = false;
	x86_pmu_set_lvtpc(&g->bare, g->lvtpc);
}

/* What vpmu_vcpu_interrupt() says wakes a halted vCPU. */
static void check_owed(struct rig_vcpu *g)
{
	int owed = vpmu_vcpu_interrupt(&g->v);

	if (owed != 0 && owed != 1)
		rig_fail(g->rig, "vpmu_vcpu_interrupt() is %d", owed);
	if (owed ? !is_explained(g) : g->owed && !is_under_way(g))
		rig_fail(g->rig, "vCPU %d: vpmu_vcpu_interrupt() is %d", (int)(g - g->rig->vcpus),
			 owed);
}

/* ---- Interrupts of the CPU ---- */

static void take_vector(struct rig_cpu *c)
{
	struct rig_vcpu *g = c->loaded;
	uint64_t accesses = c->x86.x86.hw.accesses;
	enum vpmu_pmi pmi;

	c->rig->doing = "vector";
	pmi = vpmu_cpu_pmi(&c->cpu);
	if (c->x86.x86.hw.accesses - accesses > 2)
		rig_fail(c->rig, "%u accesses", (unsigned int)(c->x86.x86.hw.accesses - accesses));
	c->rig->vectors++;
	if (pmi == VPMU_PMI_LATE) {
		c->rig->late++;
		if (g)
			edge(g, EDGE_VECTOR_LATE);
		return;
	}
	if (!g || !is_explained(g))
		rig_fail(c->rig, "a vector is given to a guest that did not overflow");
	edge(g, EDGE_VECTOR_PARKED);
}

/* The host's handler: while the PMU is its own it unmasks its entry, which masked itself. */
static void take_nmi(struct rig_cpu *c)
{
	c->rig->nmis++;
	if (rig_owner(c) == VPMU_OWNER_HOST)
		x86_pmu_set_lvtpc(&c->x86.pmu, X86_LVTPC_NMI);
}

void rig_take_interrupts(struct rig_cpu *c)
{
	int vector;

	while ((vector = x86_pmu_take_interrupt(&c->x86.pmu)) != X86_PMU_NO_INTERRUPT) {
		if (vector == X86_PMU_NMI)
			take_nmi(c);
		else if (vector == X86_CPU_VECTOR)
			take_vector(c);
		else
			rig_fail(c->rig, "vector %#x", (unsigned int)vector);
	}
	check_cpu(c->rig, c);
}

/* ---- The hypervisor ---- */

static const struct x86_pmu_events host_events = {
	.instructions = 3, .cycles = 6, .reference_cycles = 6, .branches = 1, .branch_misses = 1,
	.llc_references = 2, .llc_misses = 1, .raw = raw_events, .raw_count = 2,
};

/* Instructions of the hypervisor itself. */
static void hypervisor_works(struct rig_cpu *c)
{
	if (c->rig->calm)
		return;
	for (uint64_t n = rng_below(&c->rig->noise, 3); n; n--)
		x86_cpu_host(&c->x86, false, &host_events);
	/* The NMI of a host event, or of a guest's overflow that was late. */
	if (rig_owner(c) == VPMU_OWNER_HOST && c->x86.pmu.nmi)
		rig_take_interrupts(c);
}

void rig_load(struct rig_vcpu *g, struct rig_cpu *c)
{
	uint64_t accesses = c->x86.x86.hw.accesses;

	g->rig->doing = "load";
	assert_int_equal(vpmu_vcpu_load(&g->v, &c->cpu), 0);
	if (c->x86.x86.hw.accesses != accesses)
		rig_fail(g->rig, "load: %u accesses",
			 (unsigned int)(c->x86.x86.hw.accesses - accesses));
	if (g->last && g->last != c)
		edge(g, EDGE_LOAD_ELSEWHERE);
	edge(g, c->last && c->last != g ? EDGE_LOAD_AFTER_OTHER : EDGE_LOAD);
	g->cpu = g->last = c;
	g->given = false;
	c->loaded = c->last = g;
	check_here(g);
}

static void enter_edge(struct rig_vcpu *g, enum vpmu_owner before, bool new_policy)
{
	bool live = rig_owner(g->cpu) == VPMU_OWNER_LIVE;
	bool parked = before == VPMU_OWNER_PARKED;

	if (new_policy)
		edge(g, parked ? EDGE_POLICY_PARKED : EDGE_POLICY_HOST);
	else if (parked && g->cpu->asked)
		edge(g, EDGE_REQUEST_PARKED);
	else if (parked)
		edge(g, EDGE_ENTER_AGAIN);
	else
		edge(g, live ? EDGE_ENTER_FULL : EDGE_ENTER_QUIET);
}

static void cross_boundary(struct rig_cpu *c, bool enter)
{
	c->boundary = true;
	if (enter)
		x86_cpu_enter(&c->x86);
	else
		x86_cpu_exit(&c->x86);
	c->boundary = false;
}

/* The VMCS's DEBUGCTL; VM exit clears the register. */
static void set_debugctl(struct rig_vcpu *g, bool enter)
{
	if (is_intel(g->rig))
		g->cpu->x86.pmu.debugctl = enter ? vpmu_x86_debugctl(&g->v, 0) : 0;
}

static void enter_once(struct rig_vcpu *g)
{
	int outcome;

	do {
		ask(g);
		g->rig->doing = "enter";
		outcome = vpmu_vcpu_enter(&g->v, 0);
	} while (outcome == VPMU_AGAIN);
	assert_int_equal(outcome, 0);
}

/* A1: what is quiet costs nothing; what is not is in the hardware. */
static void check_quiet(struct rig_vcpu *g, enum vpmu_owner before, uint64_t accesses)
{
	struct rig_cpu *c = g->cpu;
	bool loads = is_mediated(g) && !rig_is_quiet(g);
	bool eager = is_mediated(g) && g->vm->kind == VPMU_SWITCH_EAGER;

	if (rig_owner(c) == VPMU_OWNER_HOST && loads)
		rig_fail(g->rig, "vCPU %d is not quiet, and nothing was loaded",
			 (int)(g - g->rig->vcpus));
	if (before != VPMU_OWNER_HOST || loads || eager)
		return;
	if (rig_owner(c) != VPMU_OWNER_HOST || c->x86.x86.hw.accesses != accesses)
		rig_fail(g->rig, "vCPU %d is quiet, and was loaded", (int)(g - g->rig->vcpus));
}

void rig_enter(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;
	enum vpmu_owner before = rig_owner(c);
	bool new_policy = g->policy != g->vm->policy;
	uint64_t accesses;

	accesses = c->x86.x86.hw.accesses;
	enter_once(g);
	enter_edge(g, before, new_policy);
	c->asked = false;
	g->policy = g->vm->policy;
	g->in_guest = true;
	g->intercepts = vpmu_x86_intercepts(&g->v);
	if (g->rig->exact)
		check_quiet(g, before, accesses);
	set_debugctl(g, true);
	cross_boundary(c, true);
	check_here(g);
}

static void exit_edge(struct rig_vcpu *g, enum vpmu_owner before)
{
	if (before != VPMU_OWNER_LIVE)
		edge(g, EDGE_EXIT_QUIET);
	else if (rig_owner(g->cpu) == VPMU_OWNER_PARKED)
		edge(g, EDGE_EXIT_PARKS);
	else
		edge(g, g->cpu->asked ? EDGE_EXIT_REQUEST : EDGE_EXIT_QUIET_TWICE);
}

void rig_leave(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;
	enum vpmu_owner before = rig_owner(c);

	g->rig->doing = "exit";
	cross_boundary(c, false);
	set_debugctl(g, false);
	g->in_guest = false;
	g->given = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	exit_edge(g, before);
	c->asked = false;
	hypervisor_works(c);
	/* What the library freezes is frozen when it hands out the PMI. */
	if (g->bare.debugctl)
		ask(g);
	check_here(g);
}

/* Somebody looks before the vector is taken. */
static void look(struct rig_vcpu *g)
{
	if (g->rig->calm)
		return;
	switch (rng_below(&g->rig->noise, 16)) {
	case 0:
		check_owed(g);
		break;
	case 1:
		rig_compare(g);
		break;
	case 2:
		ask(g);
		break;
	default:
		break;
	}
}

void rig_exit(struct rig_vcpu *g)
{
	rig_leave(g);
	look(g);
	/*
	 * Interrupts may stay disabled for long: the vector is taken now or when another guest
	 * runs.
	 */
	if (g->rig->calm || rng_one_in(&g->rig->noise, 2))
		rig_take_interrupts(g->cpu);
	look(g);
}

void rig_bounce(struct rig_vcpu *g, unsigned int n)
{
	enum vpmu_owner before = rig_owner(g->cpu);

	cross_boundary(g->cpu, false);
	set_debugctl(g, false);
	while (n-- && rig_owner(g->cpu) == VPMU_OWNER_LIVE) {
		assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
		exit_edge(g, before);
		before = rig_owner(g->cpu);
		assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
		enter_edge(g, before, false);
		before = rig_owner(g->cpu);
	}
	g->intercepts = vpmu_x86_intercepts(&g->v);
	set_debugctl(g, true);
	cross_boundary(g->cpu, true);
	check_here(g);
}

void rig_put(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;

	g->rig->doing = "put";
	edge(g, is_parked(g) ? EDGE_PUT_PARKED : EDGE_PUT_HOST);
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	g->cpu = NULL;
	c->loaded = NULL;
	if (rig_owner(c) != VPMU_OWNER_HOST)
		rig_fail(g->rig, "not HOST after put");
	hypervisor_works(c);
	check_cpu(g->rig, c);
}

/* The library counts what the bare machine executed. */
static void count(struct rig_vcpu *g, enum vpmu_event_class event, bool user, uint64_t n)
{
	struct x86_pmu_events events = { 0 };
	uint64_t counted = vpmu_vcpu_stats(&g->v)->emulated_counted;

	if (event == VPMU_EVENT_INSTRUCTIONS)
		events.instructions = n;
	else
		events.branches = n;
	bare_retire(g, user, &events, false);
	assert_int_equal(vpmu_count(&g->v, event, user, n), 0);
	if (vpmu_vcpu_stats(&g->v)->emulated_counted != counted)
		edge(g, is_parked(g) ? EDGE_COUNT_PARKED : EDGE_COUNT_HOST);
	/* The request freezes at once. */
	if (g->bare.debugctl & X86_DEBUGCTL_FREEZE_PERFMON)
		ask(g);
}

void rig_count(struct rig_vcpu *g, enum vpmu_event_class event, bool user, uint64_t n)
{
	g->rig->doing = "count";
	count(g, event, user, n);
	check_here(g);
}

static void reclaim(struct rig *r, struct rig_cpu *c, uint64_t will_write)
{
	if (c->loaded)
		edge(c->loaded, is_parked(c->loaded) ? EDGE_RECLAIM_PARKED : EDGE_RECLAIM_HOST);
	assert_int_equal(vpmu_cpu_reclaim(&c->cpu, will_write), 0);
	if (rig_owner(c) != VPMU_OWNER_HOST)
		rig_fail(r, "not HOST after a reclaim");
}

void rig_reclaim(struct rig_cpu *c)
{
	struct rig *r = c->rig;
	uint64_t accesses;

	r->doing = "reclaim";
	reclaim(r, c, 0);
	hypervisor_works(c);
	check_cpu(r, c);
	accesses = c->x86.x86.hw.accesses;
	assert_int_equal(vpmu_cpu_reclaim(&c->cpu, 0), 0);
	assert_int_equal(c->x86.x86.hw.accesses, accesses);
}

/*
 * Another CPU asks. If the guest does not run here, the hypervisor polls, or not until it enters.
 */
void rig_request_reclaim(struct rig_cpu *c)
{
	struct rig *r = c->rig;
	enum vpmu_owner before = rig_owner(c);

	r->doing = "request reclaim";
	if (vpmu_cpu_request_reclaim(&c->cpu) != (c->loaded != NULL))
		rig_fail(r, "the answer is not whether a guest is loaded");
	c->asked = true;
	if ((c->loaded && c->loaded->in_guest) || rng_one_in(&r->rng, 2))
		return;
	vpmu_cpu_poll(&c->cpu);
	c->asked = false;
	if (rig_owner(c) != VPMU_OWNER_HOST)
		rig_fail(r, "not HOST after a poll");
	if (c->loaded && before == VPMU_OWNER_PARKED)
		edge(c->loaded, EDGE_REQUEST_PARKED);
	check_cpu(r, c);
}

/*
 * Running vCPUs are made to exit: how soon they would by themselves differs between the switches.
 */
void rig_set_policy(struct rig *r, struct rig_vm *vm, const struct rig_policy *policy)
{
	bool kicked[RIG_VCPUS] = { false };

	for (unsigned int i = 0; i < RIG_VCPUS; i++) {
		kicked[i] = r->vcpus[i].vm == vm && r->vcpus[i].in_guest;
		if (kicked[i])
			rig_exit(&r->vcpus[i]);
	}
	assert_int_equal(vpmu_vm_set_policy(&vm->vm, policy_of(policy)), 0);
	vm->policy = policy;
	for (unsigned int i = 0; i < RIG_VCPUS; i++) {
		if (kicked[i])
			rig_enter(&r->vcpus[i]);
	}
}

/* ---- The host ---- */

static void host_write(struct rig_cpu *c, uint32_t index, uint64_t value)
{
	if (!x86_pmu_wrmsr(&c->x86.pmu, index, value))
		rig_fail(c->rig, "the host's write of %#x to MSR %#x faults", (unsigned int)value,
			 index);
}

static uint32_t host_msr(const struct rig *r, bool selector, unsigned int i)
{
	if (is_intel(r))
		return selector ? X86_MSR_PERFEVTSEL(i) : X86_MSR_PMC(i);
	return selector ? X86_MSR_PERF_CTL(i) : X86_MSR_PERF_CTR(i);
}

/* Counts instructions in both rings, with an interrupt. */
static void host_programs(struct rig_cpu *c, unsigned int i, uint64_t value)
{
	const uint64_t selector = 0xC0 | X86_SEL_EN | X86_SEL_USR | X86_SEL_OS | X86_SEL_INT;

	if (i < FIXED) {
		host_write(c, host_msr(c->rig, true, i), 0);
		host_write(c, host_msr(c->rig, false, i), value);
		host_write(c, host_msr(c->rig, true, i), selector);
		return;
	}
	host_write(c, X86_MSR_FIXED_CTR(i - FIXED), value);
	host_write(c, X86_MSR_FIXED_CTR_CTRL,
		   c->x86.pmu.fixed_ctrl | (uint64_t)0xB << (4 * (i - FIXED)));
}

/* (keep): the bits that selectors keep, of a fixed counter too. */
static void host_stops(struct rig_cpu *c, uint64_t mask, uint64_t keep)
{
	for (unsigned int i = 0; i < c->rig->config.gp; i++) {
		if (mask >> i & 1)
			host_write(c, host_msr(c->rig, true, i), c->x86.pmu.selector[i] & keep);
	}
	if (is_intel(c->rig))
		host_write(c, X86_MSR_FIXED_CTR_CTRL,
			   keep ? c->x86.pmu.fixed_ctrl & UINT64_C(0xAAAA) : 0);
	if (keep)
		return;
	host_write(c, is_intel(c->rig) ? X86_MSR_STATUS_RESET : X86_MSR_AMD_STATUS_CLR,
		   x86_pmu_counters(&c->rig->config));
}

/* The host's own counts are right (nobody else's counters are its own). */
static void host_counts_exactly(struct rig_cpu *c, uint64_t mask)
{
	struct x86_pmu before = c->x86.pmu;

	for (unsigned int n = 0; n < 5; n++)
		x86_cpu_host(&c->x86, n & 1, &host_events);
	for (unsigned int i = 0; i < c->rig->config.gp; i++) {
		uint64_t width = BIT(c->rig->config.gp_width) - 1;

		if (mask >> i & 1 && c->x86.pmu.gp[i] != ((before.gp[i] + 15) & width))
			rig_fail(c->rig, "the host's counter %u moved from %#llx to %#llx", i,
				 (unsigned long long)before.gp[i],
				 (unsigned long long)c->x86.pmu.gp[i]);
	}
}

void rig_host_counts(struct rig_cpu *c)
{
	struct rig *r = c->rig;
	uint64_t mask = rng_next(&r->rng) & x86_pmu_counters(&r->config);
	bool clean = !rng_one_in(&r->rng, 3);

	r->doing = "host counts";
	reclaim(r, c, mask);
	host_write(c, is_intel(r) ? X86_MSR_GLOBAL_CTRL : X86_MSR_AMD_GLOBAL_CTL,
		   x86_pmu_counters(&r->config));
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t value = rng_value(&r->rng) & (BIT(r->config.gp_width) - 1);

		if (mask >> i & 1)
			host_programs(c, i, value);
	}
	host_counts_exactly(c, mask);
	c->left = c->x86.pmu;
	rig_take_interrupts(c);
	/* Forgetting some is allowed: it is swept away. */
	host_stops(c, mask, clean ? 0 : ~X86_SEL_OS);
	if (rng_one_in(&r->rng, 2))
		host_write(c, is_intel(r) ? X86_MSR_GLOBAL_CTRL : X86_MSR_AMD_GLOBAL_CTL,
			   rng_next(&r->rng) & x86_pmu_counters(&r->config));
	c->left = c->x86.pmu;
	check_cpu(r, c);
}

void rig_host_works(struct rig_cpu *c)
{
	struct rig *r = c->rig;

	r->doing = "host works";
	for (unsigned int n = 0; n < 4; n++)
		x86_cpu_host(&c->x86, n & 1, &host_events);
	rig_take_interrupts(c);
}

/* ---- Save and restore ---- */

static void retire_source(struct rig_vcpu *g)
{
	if (is_mediated(g))
		return;
	assert_int_equal(vpmu_vcpu_detach(&g->v), 0);
	assert_int_equal(g->source.live, 0);
	assert_int_equal(g->source.misuse, 0);
}

static void reborn(struct rig_vcpu *g)
{
	memset(&g->v, 0xA5, sizeof(g->v));
	init_vcpu(g);
	g->clears = false;
}

static void migrate_state(struct rig_vcpu *g)
{
	bool lvtpc_first = rng_one_in(&g->rig->noise, 2);
	struct vpmu_state s, again;

	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	retire_source(g);
	reborn(g);
	if (lvtpc_first)
		set_lvtpc(g, g->lvtpc);
	assert_int_equal(vpmu_vcpu_set_state(&g->v, &s), 0);
	if (!lvtpc_first)
		set_lvtpc(g, g->lvtpc);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &again), 0);
	assert_memory_equal(&s, &again, sizeof(s));
	edge(g, EDGE_MIGRATE_STATE);
}

#define MSRS_MAX 64u

/* In any order: a random rotation, forwards or backwards. */
static void set_msrs(struct rig_vcpu *g, const uint32_t *index, const uint64_t *value, size_t n)
{
	size_t start = rng_below(&g->rig->noise, n);
	size_t step = rng_one_in(&g->rig->noise, 2) ? 1 : n - 1;

	for (size_t k = 0; k < n; k++) {
		size_t at = (start + k * step) % n;

		assert_int_equal(vpmu_x86_set_msr(&g->v, index[at], value[at]), VPMU_HANDLED);
	}
}

static void migrate_msrs(struct rig_vcpu *g)
{
	uint32_t index[MSRS_MAX];
	uint64_t value[MSRS_MAX];
	size_t n = vpmu_x86_msr_list(&g->vm->vm, index, MSRS_MAX);

	assert_in_range(n, 1, MSRS_MAX);
	for (size_t k = 0; k < n; k++)
		assert_int_equal(vpmu_x86_get_msr(&g->v, index[k], &value[k]), VPMU_HANDLED);
	retire_source(g);
	reborn(g);
	set_msrs(g, index, value, n);
	set_lvtpc(g, g->lvtpc);
	edge(g, EDGE_MIGRATE_MSRS);
}

/* What the MSRs do not hold is a PMI not yet delivered. */
void rig_migrate(struct rig_vcpu *g, bool by_msrs)
{
	g->rig->doing = "migrate";
	if (by_msrs && !g->owed && !g->maybe)
		migrate_msrs(g);
	else
		migrate_state(g);
	g->policy = g->vm->policy;
	g->given = false;
	rig_compare(g);
	check_owed(g);
}

void rig_reset(struct rig_vcpu *g)
{
	g->rig->doing = "reset";
	assert_int_equal(vpmu_vcpu_reset(&g->v), 0);
	bare_reset(g);
	set_lvtpc(g, X86_LVTPC_MASKED);
	rig_compare(g);
}

/* ---- The guest ---- */

static bool execute(struct x86_pmu *pmu, const struct rig_access *a, uint64_t *value)
{
	switch (a->op) {
	case RIG_RDMSR:
		return x86_pmu_rdmsr(pmu, a->index, value);
	case RIG_WRMSR:
		return x86_pmu_wrmsr(pmu, a->index, *value);
	case RIG_RDPMC:
		return x86_pmu_rdpmc(pmu, a->index, a->user ? 3 : 0, a->pce, true, value);
	}
	return false;
}

static bool access_bare(struct rig_vcpu *g, const struct rig_access *a, uint64_t *value)
{
	if (a->op != RIG_RDPMC && !x86_pmu_is_msr(a->index))
		return false;
	return execute(&g->bare, a, value);
}

static const struct x86_pmu_events one = { .instructions = 1 };

static void retire(struct rig_vcpu *g, bool user, const struct x86_pmu_events *events)
{
	bare_retire(g, user, events, is_mediated(g));
	x86_pmu_retire(&g->cpu->x86.pmu, user, events);
}

/* A vCPU that is loaded nowhere. */
static struct rig_vcpu *random_idle(struct rig *r)
{
	struct rig_vcpu *g = &r->vcpus[rng_below(&r->noise, RIG_VCPUS)];

	return g->cpu ? NULL : g;
}

/*
 * RULES C2: the vector stays latched while (g) is put, and another guest is loaded and perhaps
 * entered, which it makes exit. Guests do not see that, so it is no step of the schedule.
 */
static void detour(struct rig_vcpu *g, struct rig_vcpu *other)
{
	struct rig_cpu *c = g->cpu;

	rig_put(g);
	rig_load(other, c);
	/* A policy is taken over when the schedule says so. */
	if (other->policy == other->vm->policy && rng_one_in(&g->rig->noise, 2)) {
		rig_enter(other);
		rig_leave(other);
	}
	rig_take_interrupts(c);
	rig_put(other);
	rig_load(g, c);
}

/* The host does something with the PMU before interrupts are enabled. */
static void dawdle(struct rig_vcpu *g)
{
	struct rig_vcpu *other;

	if (g->rig->calm)
		return;
	other = random_idle(g->rig);
	look(g);
	if (other && g->policy == g->vm->policy && rng_one_in(&g->rig->noise, 3))
		detour(g, other);
	else if (rng_one_in(&g->rig->noise, 8))
		rig_reclaim(g->cpu);
}

/* A vector or NMI ends the guest's time slice before its next instruction. */
static void settle(struct rig_vcpu *g)
{
	while (x86_pmu_interrupt(&g->cpu->x86.pmu) != X86_PMU_NO_INTERRUPT) {
		rig_leave(g);
		dawdle(g);
		rig_take_interrupts(g->cpu);
		look(g);
		rig_enter(g);
	}
}

/* Exact: an overflow with its PMI owed has made the guest exit. */
static void after_action(struct rig_vcpu *g)
{
	settle(g);
	if (g->owed && !g->given && g->rig->exact)
		rig_fail(g->rig, "vCPU %d: the guest runs on with a PMI owed",
			 (int)(g - g->rig->vcpus));
	check_here(g);
}

/* What an untrapped access shows; the emulated guest's hardware is never reached. */
static bool is_direct(const struct rig_vcpu *g, const struct rig_access *a)
{
	if (a->op == RIG_RDPMC)
		return vpmu_x86_rdpmc_is_direct(&g->v);
	return vpmu_x86_is_direct(&g->v, a->index, a->op == RIG_WRMSR);
}

static void direct_edge(struct rig_vcpu *g, const struct rig_access *a)
{
	if (a->op == RIG_RDPMC)
		edge(g, EDGE_DIRECT_RDPMC);
	else if (a->index == rig_msr_global(g) || a->index == rig_msr_status(g) ||
		 a->index == rig_msr_reset(g))
		edge(g, EDGE_DIRECT_GLOBAL);
	else
		edge(g, EDGE_DIRECT_VALUE);
}

static int trapped(struct rig_vcpu *g, struct rig_access *a)
{
	struct vpmu_x86_rdpmc rdpmc = { .index = a->index, .cpl = a->user ? 3 : 0, .pce = a->pce,
					.protected_mode = true };
	int outcome;

	switch (a->op) {
	case RIG_RDMSR:
		return vpmu_x86_rdmsr(&g->v, a->index, &a->value);
	case RIG_WRMSR:
		return vpmu_x86_wrmsr(&g->v, a->index, a->value);
	case RIG_RDPMC:
		break;
	}
	outcome = vpmu_x86_rdpmc(&g->v, &rdpmc);
	if (outcome == VPMU_HANDLED)
		a->value = rdpmc.value;
	return outcome;
}

/* An instruction of the guest is finished: emulated, or by itself. */
static void trap(struct rig_vcpu *g, struct rig_access *a, bool *ok)
{
	int outcome;

	rig_exit(g);
	edge(g, is_parked(g) ? EDGE_ACCESS_PARKED : EDGE_ACCESS_HOST);
	g->rig->doing = "trapped access";
	outcome = trapped(g, a);
	if (outcome < 0)
		rig_fail(g->rig, "error %d", outcome);
	*ok = outcome == VPMU_HANDLED;
	g->rig->trapped++;
}

static void compare_access(struct rig_vcpu *g, const struct rig_access *a, bool ok, bool bare_ok,
			   uint64_t bare)
{
	static const char *const ops[] = { "RDMSR", "WRMSR", "RDPMC" };
	bool skip = g->rig->config.status_skid && a->index == rig_msr_status(g);

	if (ok != bare_ok || (ok && a->op != RIG_WRMSR && !skip && a->value != bare))
		rig_fail(g->rig, "vCPU %d: %s %#x of %#llx: %s, bare %s; bare %#llx",
			 (int)(g - g->rig->vcpus), ops[a->op], a->index,
			 (unsigned long long)a->value, ok ? "done" : "#GP",
			 bare_ok ? "done" : "#GP", (unsigned long long)bare);
	record(g->rig, ok);
	if (!skip)
		record(g->rig, a->value);
}

bool rig_access(struct rig_vcpu *g, struct rig_access *a)
{
	bool user = a->op == RIG_RDPMC && a->user;
	uint64_t bare = a->value;
	bool ok, bare_ok, direct;

	settle(g);
	direct = is_direct(g, a);
	if (direct) {
		g->rig->direct++;
		ok = execute(&g->cpu->x86.pmu, a, &a->value);
	} else {
		trap(g, a, &ok);
	}
	bare_ok = access_bare(g, a, &bare);
	if (a->op == RIG_WRMSR)
		note_acks(g);
	g->rig->doing = "access";
	compare_access(g, a, ok, bare_ok, bare);
	if (direct) {
		direct_edge(g, a);
		if (ok)
			retire(g, user, &one);
	} else {
		see_acks(g);
		if (ok)
			count(g, VPMU_EVENT_INSTRUCTIONS, user, 1);
		hypervisor_works(g->cpu);
		check_here(g);
		rig_enter(g);
	}
	after_action(g);
	return ok;
}

uint64_t rig_rdmsr(struct rig_vcpu *g, uint32_t index)
{
	struct rig_access a = { .op = RIG_RDMSR, .index = index };

	assert_true(rig_access(g, &a));
	return a.value;
}

void rig_wrmsr(struct rig_vcpu *g, uint32_t index, uint64_t value)
{
	struct rig_access a = { .op = RIG_WRMSR, .index = index, .value = value };

	assert_true(rig_access(g, &a));
}

uint64_t rig_rdpmc(struct rig_vcpu *g, uint32_t ecx)
{
	struct rig_access a = { .op = RIG_RDPMC, .index = ecx };

	assert_true(rig_access(g, &a));
	return a.value;
}

/*
 * A masked entry loses what is owed; with skid it may yet come through when it is unmasked again.
 */
static void mask_owed(struct rig_vcpu *g)
{
	if (!(g->lvtpc & X86_LVTPC_MASKED))
		return;
	g->maybe = !g->rig->exact && (g->owed || g->maybe);
	g->owed = 0;
}

/* The local APIC's registers are trapped. */
void rig_lvtpc(struct rig_vcpu *g, uint32_t value)
{
	settle(g);
	rig_exit(g);
	edge(g, is_parked(g) ? EDGE_LVTPC_PARKED : EDGE_LVTPC_HOST);
	g->rig->doing = "LVTPC";
	see_acks(g);
	set_lvtpc(g, value | LVTPC_VECTOR);
	mask_owed(g);
	count(g, VPMU_EVENT_INSTRUCTIONS, false, 1);
	check_here(g);
	rig_enter(g);
	after_action(g);
}

/* ---- Guest code ---- */

/*
 * What a selector that means nothing to the source counts of (events): by a PMU with that one
 * counter.
 */
static uint64_t amount(const struct rig_vcpu *g, uint64_t selector,
		       const struct x86_pmu_events *events)
{
	struct x86_pmu_config config = { .vendor = g->bare.config.vendor, .version = 1, .gp = 1,
					 .gp_width = 63, .events_length = 8 };
	struct x86_pmu scratch;

	x86_pmu_reset(&scratch, &config);
	scratch.selector[0] = selector | X86_SEL_EN | X86_SEL_OS;
	x86_pmu_retire(&scratch, false, events);
	return scratch.gp[0];
}

static bool run_source(struct rig_vcpu *g, bool user, const struct x86_pmu_events *events)
{
	struct vpmu_script_raw raw[VPMU_COUNTER_MAX];
	struct vpmu_script_burst burst = { .user = user, .raw = raw, .nanoseconds = 1 };

	burst.amount[VPMU_MEANS_INSTRUCTIONS] = events->instructions;
	burst.amount[VPMU_MEANS_CYCLES] = events->cycles;
	burst.amount[VPMU_MEANS_REFERENCE_CYCLES] = events->reference_cycles;
	burst.amount[VPMU_MEANS_LLC_REFERENCES] = events->llc_references;
	burst.amount[VPMU_MEANS_LLC_MISSES] = events->llc_misses;
	burst.amount[VPMU_MEANS_BRANCHES] = events->branches;
	burst.amount[VPMU_MEANS_BRANCH_MISSES] = events->branch_misses;
	for (unsigned int i = 0; i < 64; i++) {
		const struct vpmu_event *e = &g->source.slot[i].event;

		if (g->source.slot[i].exists && e->meaning == VPMU_MEANS_RAW)
			raw[burst.raw_count++] = (struct vpmu_script_raw){
				e->selector, amount(g, e->selector, events) };
	}
	return vpmu_script_source_run(&g->source, &burst);
}

void rig_run(struct rig_vcpu *g, bool user, uint64_t n)
{
	struct x86_pmu_events events = rig_events(g->rig, n);

	settle(g);
	g->rig->doing = "run";
	retire(g, user, &events);
	if (!is_mediated(g) && run_source(g, user, &events)) {
		rig_exit(g);
		rig_enter(g);
	}
	after_action(g);
}

void rig_retire(struct rig_vcpu *g, bool user, uint64_t n)
{
	struct x86_pmu_events events = rig_events(g->rig, n);

	g->rig->doing = "retire";
	retire(g, user, &events);
	rig_check(g->rig);
}
