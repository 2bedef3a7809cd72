/* SPDX-License-Identifier: MIT */
/* The x86 guest as core sees it: masks by model, what counts, and what may be in the hardware. */
#include <vpmu/host.h>

#include "x86.h"

const struct vpmu_x86_model *vpmu_x86_model(const struct vpmu_vm *vm)
{
	return vm->model;
}

/* ---- Masks ---- */

static bool is_intel(const struct vpmu_x86_model *m)
{
	return m->vendor == VPMU_X86_INTEL;
}

bool vpmu_x86_has_global(const struct vpmu_x86_model *m)
{
	return m->version >= 2;
}

uint64_t vpmu_x86_counters(const struct vpmu_x86_model *m)
{
	return (VPMU_BIT(m->gp) - 1) | (VPMU_BIT(m->fixed) - 1) << VPMU_X86_FIXED;
}

uint64_t vpmu_x86_value_mask(const struct vpmu_x86_model *m, unsigned int i)
{
	return VPMU_BIT(i < VPMU_X86_FIXED ? m->gp_width : m->fixed_width) - 1;
}

/* Only counter 2 can be checkpointed (SDM 20.3.6.5.1). */
static uint64_t intel_selector_mask(const struct vpmu_x86_model *m, unsigned int i)
{
	uint64_t mask = SEL_LOW & ~SEL_ANY;

	if (m->tsx)
		mask |= i == 2 ? SEL_IN_TX | SEL_IN_TXCP : SEL_IN_TX;
	return mask;
}

uint64_t vpmu_x86_selector_mask(const struct vpmu_x86_model *m, unsigned int i)
{
	if (i >= VPMU_X86_FIXED)
		return FIXED_BITS;
	if (is_intel(m))
		return intel_selector_mask(m, i);
	return (SEL_LOW & ~(SEL_ANY | SEL_PIN)) | SEL_AMD_EVENT_HIGH;
}

/* What freezes all counters would freeze the host's: never in a partition (RULES B). */
static bool can_freeze(const struct vpmu_vm *vm)
{
	return is_intel(vpmu_x86_model(vm)) && vm->mode != VPMU_MODE_PARTITIONED;
}

uint64_t vpmu_x86_status_mask(const struct vpmu_vm *vm)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	if (!vpmu_x86_has_global(m))
		return 0;
	return vpmu_x86_counters(m) | (can_freeze(vm) && m->version >= 4 ? STATUS_CTR_FRZ : 0);
}

/* Freezing exists from version 2 on, and with PDCM (SDM vol. 4, IA32_DEBUGCTL). */
uint64_t vpmu_x86_debug_mask(const struct vpmu_vm *vm)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	bool freezes = can_freeze(vm) && m->version >= 2 && m->pdcm;

	return m->debug_bits | (freezes ? DEBUGCTL_FREEZE_PERFMON : 0);
}

uint64_t vpmu_x86_capabilities(const struct vpmu_x86_model *m)
{
	return m->full_width_writes ? CAPABILITIES_FW_WRITES : 0;
}

/* ---- Selectors ---- */

static void put_bit(uint64_t *mask, unsigned int i, bool on)
{
	*mask = on ? *mask | VPMU_BIT(i) : *mask & ~VPMU_BIT(i);
}

void vpmu_x86_set_selector(struct vpmu_state *s, unsigned int i, uint64_t selector)
{
	bool is_gp = i < VPMU_X86_FIXED;

	s->selector[i] = selector;
	put_bit(&s->enabled, i, selector & (is_gp ? SEL_EN : FIXED_RINGS));
	put_bit(&s->interrupts, i, selector & (is_gp ? SEL_INT : FIXED_PMI));
}

static bool filter_denies(const struct vpmu_x86_model *m, const struct vpmu_policy *policy,
			  unsigned int i, uint64_t selector)
{
	if (!policy || !policy->x86)
		return false;
	if (i >= VPMU_X86_FIXED)
		return !vpmu_x86_filter_allows_fixed(policy->x86, i - VPMU_X86_FIXED);
	return !vpmu_x86_filter_allows(policy->x86, m->vendor, selector);
}

/* A later policy never allows what the guest could not have enumerated (RULES E3). */
static bool x86_denied(const struct vpmu_vm *vm, const struct vpmu_policy *policy, unsigned int i,
		       uint64_t selector)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	return filter_denies(m, policy, i, selector) ||
	       filter_denies(m, vm->created_policy, i, selector);
}

/* CPUID may hide an architectural event; software that programs it all the same counts (M09). */
static bool x86_supported(const struct vpmu_vm *vm, unsigned int i, uint64_t selector)
{
	(void)vm;
	(void)i;
	(void)selector;
	return true;
}

/*
 * Pin control has faulted on real parts (M14). AMD's counters stop at the boundary by GuestOnly, which only
 * this function sets (RULES A4).
 */
static uint64_t x86_filter(const struct vpmu_vm *vm, const struct vpmu_policy *policy,
			   unsigned int i, uint64_t selector)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	bool denied = x86_denied(vm, policy, i, selector);

	selector &= vpmu_x86_selector_mask(m, i);
	if (i >= VPMU_X86_FIXED)
		return denied ? 0 : selector;
	selector &= ~SEL_PIN;
	if (denied)
		selector &= ~SEL_EN;
	return is_intel(m) ? selector : selector | SEL_AMD_GUEST_ONLY;
}

/* ---- Counting ---- */

/* SDM 20.2.4: from version 4 on nothing counts while CTR_Frz is set. */
static uint64_t x86_active(const struct vpmu_vm *vm, uint64_t enabled, uint64_t global, uint64_t status)
{
	if (status & STATUS_CTR_FRZ)
		return 0;
	return enabled & global & vm->counters;
}

static bool x86_interrupt(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	(void)vm;
	return s->pending;
}

static uint64_t x86_add(const struct vpmu_vm *vm, struct vpmu_state *s, unsigned int i, bool user,
			uint64_t n)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	uint64_t mask = vpmu_x86_value_mask(m, i);
	uint64_t left = mask - s->value[i];

	(void)user;
	s->value[i] = (s->value[i] + n) & mask;
	if (n <= left)
		return VPMU_BIT(i);
	s->status |= VPMU_BIT(i) & vpmu_x86_status_mask(vm);
	s->pending |= VPMU_BIT(i) & s->interrupts;
	return VPMU_BIT(i);
}

static uint64_t x86_distance(const struct vpmu_vm *vm, const struct vpmu_state *s, unsigned int i)
{
	return vpmu_x86_value_mask(vpmu_x86_model(vm), i) - s->value[i] + 1;
}

static uint64_t x86_carries(const struct vpmu_vm *vm, const struct vpmu_state *s, uint64_t mask)
{
	(void)vm;
	(void)s;
	(void)mask;
	return 0;
}

static uint64_t x86_width(const struct vpmu_vm *vm, unsigned int i)
{
	return vpmu_x86_value_mask(vpmu_x86_model(vm), i);
}

/*
 * FREEZE_PERFMON_ON_PMI: legacy freezing (versions 2 and 3) clears GLOBAL_CTRL, streamlined freezing sets
 * CTR_Frz (SDM 18.4.7, 20.2.4.1).
 */
static void x86_freeze(const struct vpmu_vm *vm, struct vpmu_state *s)
{
	if (!(s->debug & DEBUGCTL_FREEZE_PERFMON))
		return;
	if (vpmu_x86_model(vm)->version >= 4)
		s->status |= STATUS_CTR_FRZ;
	else
		s->global = 0;
}

static bool x86_has_status(const struct vpmu_vm *vm)
{
	return vpmu_x86_has_global(vpmu_x86_model(vm));
}

/* ---- Hardware ---- */

static uint64_t x86_closed_user(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	(void)vm;
	(void)s;
	return 0;
}

static bool same_widths(const struct vpmu_x86_model *m, uint64_t identity)
{
	uint64_t own = VPMU_X86_IDENTITY(m->vendor, m->gp_width, m->fixed_width);
	uint64_t compared = 0xFF | (m->gp ? 0xFF00 : 0) | (m->fixed ? 0xFF0000 : 0);

	return !((own ^ identity) & compared);
}

/* A counter of another width would overflow elsewhere; one that cannot be set could not be switched. */
static bool x86_fits(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	/* Of a guest without a PMU nothing ever gets there. */
	if (!vm->counters)
		return true;
	if (vpmu_x86_model(vm)->tsx && !(caps->identity[0] & VPMU_X86_IDENTITY_TSX))
		return false;
	return caps->boundary != VPMU_BOUNDARY_NONE && caps->status_set && caps->exact_writes &&
	       caps->version >= vpmu_x86_model(vm)->version &&
	       same_widths(vpmu_x86_model(vm), caps->identity[0]);
}

/* PERF_METRICS would be reached through a direct GLOBAL_CTRL or RDPMC. */
static bool x86_shape_is(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	if (!(caps->identity[0] & VPMU_X86_IDENTITY_NO_METRICS))
		return false;
	return caps->counters == vm->counters && vpmu_x86_has_global(vpmu_x86_model(vm));
}

/*
 * CPUID always exits, but direct selectors and status mean what the hardware's version makes of them. AMD's
 * selectors have GuestOnly, which only we set (RULES A4).
 */
static bool x86_identity_is(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	return caps->boundary == VPMU_BOUNDARY_ATOMIC && m->version == caps->version &&
	       m->tsx == !!(caps->identity[0] & VPMU_X86_IDENTITY_TSX);
}

static bool x86_escapes(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	(void)vm;
	(void)s;
	return false;
}

/* ---- States ---- */

/* Of a guest that writes them itself. */
static void clean_selectors(const struct vpmu_vm *vm, struct vpmu_state *s)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	uint64_t rest = vm->counters;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		vpmu_x86_set_selector(s, i, s->selector[i] & vpmu_x86_selector_mask(m, i));
	}
}

static void x86_clean(const struct vpmu_vm *vm, struct vpmu_state *s)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	uint64_t rest = vm->counters;

	if (vm->mode == VPMU_MODE_PASSTHROUGH)
		clean_selectors(vm, s);

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		s->value[i] &= vpmu_x86_value_mask(m, i);
	}
	s->status &= vpmu_x86_status_mask(vm);
	s->global &= vm->counters;
}

static bool counter_is_valid(const struct vpmu_vm *vm, const struct vpmu_state *s, unsigned int i)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	if (!(vm->counters & VPMU_BIT(i)))
		return !s->value[i] && !s->selector[i];
	return !(s->value[i] & ~vpmu_x86_value_mask(m, i)) &&
	       !(s->selector[i] & ~vpmu_x86_selector_mask(m, i));
}

/* Do the masks say what the selectors say? */
static bool masks_are_valid(const struct vpmu_state *s)
{
	struct vpmu_state derived = { 0 };

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		vpmu_x86_set_selector(&derived, i, s->selector[i]);
	return derived.enabled == s->enabled && derived.interrupts == s->interrupts;
}

static bool x86_valid(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (!counter_is_valid(vm, s, i))
			return false;
	}
	if (!masks_are_valid(s) || s->user || s->pointer)
		return false;
	if (s->status & ~vpmu_x86_status_mask(vm) || s->pending & ~vm->counters)
		return false;
	if (!vpmu_x86_has_global(m) && s->global != vm->counters)
		return false;
	return !(s->global & ~vm->counters) && !(s->debug & ~vpmu_x86_debug_mask(vm));
}

/* General-purpose counters start globally enabled, for software that does not know GLOBAL_CTRL (M18). */
static void x86_reset(const struct vpmu_vm *vm, struct vpmu_state *s)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	*s = (struct vpmu_state){ .global = VPMU_BIT(m->gp) - 1 };
}

static bool x86_takes(const struct vpmu_policy *policy)
{
	return !policy || policy->x86;
}

#define DIRECT_ITEMS (VPMU_ITEM_GLOBAL | VPMU_ITEM_STATUS)
#define SELECTOR_ITEMS (VPMU_ITEM_SELECTORS | VPMU_ITEM_ENABLED | VPMU_ITEM_INTERRUPTS)

static const struct vpmu_arch x86_arch = {
	.direct_items = {
		[VPMU_REACH_NONE] = VPMU_ITEM_STATUS,
		[VPMU_REACH_CONTROL] = DIRECT_ITEMS,
		[VPMU_REACH_COUNTERS] = DIRECT_ITEMS,
		[VPMU_REACH_ALL] = DIRECT_ITEMS | SELECTOR_ITEMS,
	},
	.enables_in_selectors = true,
	.edge = true,
	.active = x86_active,
	.interrupt = x86_interrupt,
	.denied = x86_denied,
	.supported = x86_supported,
	.filter = x86_filter,
	.matches = vpmu_x86_matches,
	.add = x86_add,
	.event = vpmu_x86_event,
	.distance = x86_distance,
	.carries = x86_carries,
	.width = x86_width,
	.closed_user = x86_closed_user,
	.fits = x86_fits,
	.shape_is = x86_shape_is,
	.identity_is = x86_identity_is,
	.escapes = x86_escapes,
	.clean = x86_clean,
	.valid = x86_valid,
	.takes = x86_takes,
	.has_status = x86_has_status,
	.freeze = x86_freeze,
	.reset = x86_reset,
};

/* ---- Set-up ---- */

static bool width_is_valid(uint8_t width)
{
	return width >= VPMU_X86_WIDTH_MIN && width <= VPMU_X86_WIDTH_MAX;
}

static bool intel_events_are_valid(const struct vpmu_x86_model *m)
{
	return m->events_length <= VPMU_X86_EVENTS && !(m->events_missing >> m->events_length) &&
	       !(m->debug_bits & DEBUGCTL_PMU);
}

static bool intel_is_valid(const struct vpmu_x86_model *m)
{
	if (m->version > 5 || m->gp > VPMU_X86_GP_MAX || m->fixed > VPMU_X86_FIXED_MAX)
		return false;
	if ((m->version == 0 && m->gp) || (m->version < 2 && m->fixed))
		return false;
	if ((m->gp && !width_is_valid(m->gp_width)) || (m->fixed && !width_is_valid(m->fixed_width)))
		return false;
	return intel_events_are_valid(m) && (m->pdcm || !m->full_width_writes) && !m->core_extension &&
	       !m->metrics;
}

static bool amd_gp_is_valid(const struct vpmu_x86_model *m)
{
	if (m->version == 0)
		return m->gp == 0;
	if (m->version == 1)
		return m->gp == (m->core_extension ? 6 : 4);
	return m->gp >= 1 && m->gp <= 6;
}

static bool amd_is_valid(const struct vpmu_x86_model *m)
{
	if (m->version > 2 || !amd_gp_is_valid(m) || (m->gp && m->gp_width != VPMU_X86_WIDTH_MAX))
		return false;
	return !m->fixed && !m->events_length && !m->events_missing && !m->pdcm &&
	       !m->full_width_writes && !m->tsx && !m->metrics && !m->debug_bits;
}

static bool model_is_valid(const struct vpmu_x86_model *m)
{
	if (m->vendor == VPMU_X86_INTEL)
		return intel_is_valid(m);
	return m->vendor == VPMU_X86_AMD && amd_is_valid(m);
}

/* Architectural events that CPUID says are missing: those the machine lacks or the creation policy denies too (V12). */
static uint64_t missing(const struct vpmu_vm *vm)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	uint64_t mask = m->events_missing;

	if (vm->mode != VPMU_MODE_EMULATED && m->vendor == VPMU_X86_INTEL)
		mask |= ~vm->machine->caps.identity[1] & (VPMU_BIT(m->events_length) - 1);
	for (unsigned int e = 0; e < m->events_length; e++) {
		if (x86_denied(vm, NULL, 0, vpmu_x86_event_code((enum vpmu_x86_event)e)))
			mask |= VPMU_BIT(e);
	}
	return mask;
}

/* What a VM of mode off is, whatever the model: CPUID and MSRs without a PMU. */
static const struct vpmu_x86_model nothing[] = {
	[VPMU_X86_INTEL] = { .size = sizeof(nothing[0]), .vendor = VPMU_X86_INTEL },
	[VPMU_X86_AMD] = { .size = sizeof(nothing[0]), .vendor = VPMU_X86_AMD },
};

int vpmu_x86_vm_init(struct vpmu_vm *vm, struct vpmu_machine *machine,
		     const struct vpmu_x86_model *model, const struct vpmu_vm_config *config)
{
	struct vpmu_vm made;
	int error;

	if (model->size != sizeof(*model))
		return VPMU_ERR_SIZE;
	if (config->size != sizeof(*config))
		return VPMU_ERR_SIZE;
	if (!model_is_valid(model) || !x86_takes(config->policy))
		return VPMU_ERR_PARAM;
	if (config->mode == VPMU_MODE_OFF)
		model = &nothing[model->vendor];
	error = vpmu_vm_init(&made, machine, &x86_arch, model, vpmu_x86_counters(model), config);
	if (error)
		return error;
	/* Without a counter there is nothing to switch. */
	if (config->mode != VPMU_MODE_EMULATED && made.counters && !x86_fits(&made, &machine->caps)) {
		vpmu_vm_end(&made);
		return VPMU_ERR_UNSUPPORTED;
	}
	made.advertised[0] = missing(&made);
	*vm = made;
	return 0;
}

/* ---- Models ---- */

static uint8_t run_length(uint64_t mask, unsigned int from, uint8_t max)
{
	uint8_t n = 0;

	while (n < max && mask & VPMU_BIT(from + n))
		n++;
	return n;
}

static void intel_model(const struct vpmu_hw_caps *caps, struct vpmu_x86_model *m)
{
	m->version = caps->version > 5 ? 5 : caps->version;
	m->gp = run_length(caps->counters, 0, VPMU_X86_GP_MAX);
	m->fixed = m->version < 2 ? 0 : run_length(caps->counters, VPMU_X86_FIXED, VPMU_X86_FIXED_MAX);
	m->fixed_width = m->fixed ? (uint8_t)(caps->identity[0] >> 16) : 0;
	m->events_length = caps->identity[1] & VPMU_BIT(VPMU_X86_SLOTS) ? 8 : 7;
	m->events_missing = (uint8_t)(~caps->identity[1] & (VPMU_BIT(m->events_length) - 1));
	m->tsx = caps->identity[0] & VPMU_X86_IDENTITY_TSX;
	m->pdcm = caps->exact_writes;
	m->full_width_writes = caps->exact_writes;
}

static void amd_model(const struct vpmu_hw_caps *caps, struct vpmu_x86_model *m)
{
	m->version = caps->version > 2 ? 2 : caps->version;
	m->gp = run_length(caps->counters, 0, 6);
	m->core_extension = m->version == 2 || m->gp == 6;
}

int vpmu_x86_model_of(const struct vpmu_machine *machine, struct vpmu_x86_model *model)
{
	const struct vpmu_hw_caps *caps = &machine->caps;
	uint8_t vendor = (uint8_t)caps->identity[0];

	if (!caps->counters || vendor < 1 || vendor > 2)
		return VPMU_ERR_UNSUPPORTED;
	*model = (struct vpmu_x86_model){
		.size = sizeof(*model),
		.vendor = (enum vpmu_x86_vendor)(vendor - 1),
		.gp_width = (uint8_t)(caps->identity[0] >> 8),
	};
	if (model->vendor == VPMU_X86_INTEL)
		intel_model(caps, model);
	else
		amd_model(caps, model);
	return model_is_valid(model) ? 0 : VPMU_ERR_UNSUPPORTED;
}

/* Can (source) count what (policy) lets a general-purpose counter count? */
static bool can_count(struct vpmu_source *source, const struct vpmu_policy *policy,
		      const struct vpmu_x86_model *m, uint16_t code)
{
	const struct vpmu_event event = {
		.selector = code, .meaning = vpmu_x86_meaning(m->vendor, code),
		.user = true, .kernel = true,
	};

	if (filter_denies(m, policy, 0, code))
		return false;
	return !source || source->ops->supports(source, &event);
}

static int limit_amd(const struct vpmu_x86_model *m, struct vpmu_source *source,
		     const struct vpmu_policy *policy)
{
	static const uint16_t expected[] = { 0x76, 0xC0, 0xC2, 0xC3 };

	for (unsigned int i = 0; i < 4; i++) {
		if (!can_count(source, policy, m, expected[i]))
			return VPMU_ERR_UNSUPPORTED;
	}
	return 0;
}

/* A fixed counter is not subject to the policy's list of events, only to its bitmap. */
static bool can_count_fixed(struct vpmu_source *source, const struct vpmu_policy *policy,
			    const struct vpmu_x86_model *m, unsigned int i)
{
	uint16_t code = vpmu_x86_event_code(vpmu_x86_fixed_event(i));

	return !filter_denies(m, policy, VPMU_X86_FIXED + i, 0) && can_count(source, NULL, m, code);
}

#define ENOUGH (VPMU_BIT(VPMU_X86_INSTRUCTIONS) | VPMU_BIT(VPMU_X86_CYCLES))

static int limit_intel(struct vpmu_x86_model *m, struct vpmu_source *source,
		       const struct vpmu_policy *policy)
{
	uint64_t countable = 0;
	uint8_t fixed = 0;

	for (unsigned int e = 0; e < VPMU_X86_EVENTS; e++) {
		if (can_count(source, policy, m, vpmu_x86_event_code((enum vpmu_x86_event)e)))
			countable |= VPMU_BIT(e);
	}
	while (fixed < m->fixed && can_count_fixed(source, policy, m, fixed))
		fixed++;
	if (!(countable & ENOUGH) && !fixed)
		return VPMU_ERR_UNSUPPORTED;
	m->events_missing |= (uint8_t)(~countable & (VPMU_BIT(m->events_length) - 1));
	m->fixed = fixed;
	if (!fixed)
		m->fixed_width = 0;
	return 0;
}

int vpmu_x86_model_limit(struct vpmu_x86_model *model, struct vpmu_source *source,
			 const struct vpmu_policy *policy)
{
	if (!x86_takes(policy))
		return VPMU_ERR_PARAM;
	if (!model->version)
		return 0;
	if (model->vendor == VPMU_X86_AMD)
		return limit_amd(model, source, policy);
	return limit_intel(model, source, policy);
}
