/* SPDX-License-Identifier: MIT */
/* The PMUv3 guest as core sees it: masks by version, what counts, and what may be in the hardware. */
#include "pmuv3.h"

const struct vpmu_arm_model *vpmu_arm_model(const struct vpmu_vm *vm)
{
	return vm->model;
}

/* ---- Masks ---- */

uint64_t vpmu_arm_global_mask(const struct vpmu_arm_model *m)
{
	return PMCR_E | PMCR_DP | PMCR_LC | (m->version >= VPMU_ARM_V3P5 ? PMCR_LP : 0);
}

/*
 * P, U and evtCount. The other filter bits are RES0 for a guest without EL2, EL3 and other Security states.
 */
uint64_t vpmu_arm_selector_mask(const struct vpmu_arm_model *m, unsigned int i)
{
	uint64_t filter = EVTYPER_P | EVTYPER_U;

	if (i == VPMU_ARM_CYCLE)
		return filter;
	return filter | (m->version >= VPMU_ARM_V3P1 ? 0xFFFF : 0x3FF);
}

uint64_t vpmu_arm_value_mask(const struct vpmu_arm_model *m, unsigned int i)
{
	return i == VPMU_ARM_CYCLE || m->version >= VPMU_ARM_V3P5 ? UINT64_MAX : UINT32_MAX;
}

/* ---- Events ---- */

static uint32_t event_of(unsigned int i, uint64_t selector)
{
	return i == VPMU_ARM_CYCLE ? EVENT_CPU_CYCLES : (uint32_t)selector & 0xFFFF;
}

bool vpmu_arm_counts_at(uint64_t selector, unsigned int el)
{
	return !(selector & (el == 0 ? EVTYPER_U : EVTYPER_P));
}

static bool arm_denied(const struct vpmu_vm *vm, const struct vpmu_policy *policy, unsigned int i,
		       uint64_t selector)
{
	uint32_t event = event_of(i, selector);

	/* They say nothing about the machine (vpmu/policy.h). */
	if (event == EVENT_SW_INCR || event == EVENT_CHAIN)
		return false;
	/* A later policy never allows what the guest could not have enumerated (RULES E3). */
	return !vpmu_policy_allows(policy, event) ||
	       !vpmu_policy_allows(vm->created_policy, event);
}

/* Has (ceid), PMCEID0 and PMCEID1, the event? Of all but common events it does not speak: (others). */
static bool names(const uint64_t ceid[2], uint32_t event, bool others)
{
	uint32_t common = event & ~0x4000u;

	if (common > 0x3F)
		return others;
	return ceid[common / 32] & VPMU_BIT(common % 32 + (event == common ? 0 : 32));
}

static bool arm_supported(const struct vpmu_vm *vm, unsigned int i, uint64_t selector)
{
	const struct vpmu_arm_model *m = vpmu_arm_model(vm);
	uint32_t event = event_of(i, selector);

	return event == EVENT_SW_INCR || i == VPMU_ARM_CYCLE ||
	       names(m->ceid, event, !m->listed_only);
}

/* Some CPU has it, but the guest is told that there is none: then it does not count (V12). */
static bool is_hidden(const struct vpmu_vm *vm, unsigned int i, uint64_t selector)
{
	uint32_t event = event_of(i, selector);

	return !arm_supported(vm, i, selector) && names(vm->machine->anywhere, event, true);
}

static uint64_t arm_filter(const struct vpmu_vm *vm, const struct vpmu_policy *policy,
			   unsigned int i, uint64_t selector)
{
	/* NSH is outside the mask: nothing counts at EL2. */
	selector &= vpmu_arm_selector_mask(vpmu_arm_model(vm), i);
	if (arm_denied(vm, policy, i, selector) || is_hidden(vm, i, selector))
		selector |= EVTYPER_P | EVTYPER_U;
	return selector;
}

/* STALL_SLOT* in PMCEID1. */
#define CEID1_SLOTS ((uint64_t)7 << (EVENT_STALL_SLOT_FIRST - 0x20))

static bool is_slot_event(uint32_t event)
{
	return event >= EVENT_STALL_SLOT_FIRST && event <= EVENT_STALL_SLOT_LAST;
}

/* Event (bit) of PMCEID (half): 0x00.. and from PMUv3p1 in the upper words 0x4000.. */
static uint32_t ceid_event(unsigned int half, unsigned int bit)
{
	return (bit >= 32 ? 0x4000u : 0) + 32 * half + bit % 32;
}

static uint64_t advertise(const struct vpmu_vm *vm, unsigned int half)
{
	const struct vpmu_arm_model *m = vpmu_arm_model(vm);
	uint64_t rest = m->ceid[half];
	uint64_t ceid = 0;

	if (m->version < VPMU_ARM_V3P1)
		rest &= UINT32_MAX;
	while (rest) {
		unsigned int bit = vpmu_mask_next(&rest);
		uint32_t event = ceid_event(half, bit);

		/* Without PMMIR.SLOTS a slot count cannot be read (D13.11). */
		if (is_slot_event(event) && !m->mmir)
			continue;
		if (!arm_denied(vm, NULL, 0, event))
			ceid |= VPMU_BIT(bit);
	}
	return ceid;
}

static bool arm_matches(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
			enum vpmu_event_class event, bool user)
{
	if (i == VPMU_ARM_CYCLE || event != VPMU_EVENT_INSTRUCTIONS)
		return false;
	return event_of(i, selector) == EVENT_INST_RETIRED && arm_supported(vm, i, selector) &&
	       vpmu_arm_counts_at(selector, user ? 0 : 1);
}

/* ---- Counting in software: IncrementEventCounter() ---- */

static uint64_t arm_active(const struct vpmu_vm *vm, uint64_t enabled, uint64_t global, uint64_t status)
{
	(void)status;
	return global & PMCR_E ? enabled & vm->counters : 0;
}

/* PMCNTEN is not part of it (D13.3.1). */
static bool arm_interrupt(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	return s->global & PMCR_E && s->status & s->interrupts & vm->counters;
}

/* Bits below the one whose carry is the overflow. LC is RES1: the cycle counter has 64. */
static uint64_t overflow_mask(const struct vpmu_state *s, unsigned int i)
{
	return i == VPMU_ARM_CYCLE || s->global & PMCR_LP ? UINT64_MAX : UINT32_MAX;
}

/* What is not advertised does not count (V12), in software either. */
static bool has_chain(const struct vpmu_vm *vm)
{
	return vpmu_arm_model(vm)->ceid[0] & VPMU_BIT(EVENT_CHAIN);
}

/* Both of a pair are in one range: HPMN is N. */
static uint64_t arm_carries(const struct vpmu_vm *vm, const struct vpmu_state *s, uint64_t mask)
{
	uint64_t rest = has_chain(vm) ? mask << 1 & vm->counters & ~CYCLE_BIT : 0;
	uint64_t odd = 0;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		if (event_of(i, s->selector[i]) == EVENT_CHAIN)
			odd |= VPMU_BIT(i);
	}
	return odd;
}

/* Does the CHAIN event that an overflow of (i) in ring (user) generates count in (i) + 1? */
static bool chains(const struct vpmu_vm *vm, const struct vpmu_state *s, unsigned int i, bool user)
{
	if (!has_chain(vm) || s->global & PMCR_LP)
		return false;
	if (i % 2 || i + 1 >= vpmu_arm_model(vm)->counters)
		return false;
	return event_of(i + 1, s->selector[i + 1]) == EVENT_CHAIN &&
	       vpmu_arm_counts_at(s->selector[i + 1], user ? 0 : 1) &&
	       vpmu_active(vm, s) & VPMU_BIT(i + 1);
}

/* One counter; returns how often it overflowed, at most once per 2^32 events. */
static uint64_t add_one(const struct vpmu_vm *vm, struct vpmu_state *s, unsigned int i, uint64_t n)
{
	uint64_t mask = overflow_mask(s, i);
	uint64_t old = s->value[i];
	uint64_t low = (old & mask) + (n & mask);
	uint64_t carries;

	s->value[i] = (old + n) & vpmu_arm_value_mask(vpmu_arm_model(vm), i);
	if (mask == UINT64_MAX)
		carries = low < (n & mask);
	else
		carries = (low >> 32) + (n >> 32);
	if (carries)
		s->status |= VPMU_BIT(i);
	return carries;
}

uint64_t vpmu_arm_add(const struct vpmu_vm *vm, struct vpmu_state *s, unsigned int i, bool user,
		      uint64_t n)
{
	uint64_t carries = add_one(vm, s, i, n);

	if (!carries || !chains(vm, s, i, user))
		return VPMU_BIT(i);
	add_one(vm, s, i + 1, carries);
	return VPMU_BIT(i) | VPMU_BIT(i + 1);
}

/* ---- Hardware ---- */

/*
 * EN=1 sends every EL0 access to EL2, 0 every one to the guest's EL1 (RULES A6). Without a PMU they are UNDEF, which
 * only EL2 can say.
 */
static uint64_t arm_closed_user(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	return s->user || vm->mode == VPMU_MODE_OFF ? PMUSERENR_EN : 0;
}

static enum vpmu_arm_version capped(uint32_t pmuver)
{
	return pmuver > VPMU_ARM_V3P5 ? VPMU_ARM_V3P5 : (enum vpmu_arm_version)pmuver;
}

static bool arm_fits(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	return caps->version >= vpmu_arm_model(vm)->version;
}

/* Fewer counters than the hardware's, if it keeps to them: PMCR.N and all masks at EL1 are as HPMN says. */
static bool is_part(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	return caps->partitions && caps->fine_traps && !(vm->counters & ~caps->counters) &&
	       vpmu_arm_model(vm)->counters >= caps->partition_least;
}

static bool arm_shape_is(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	const struct vpmu_arm_model *m = vpmu_arm_model(vm);

	/*
	 * PMCR reads have no trap of their own, so N, IMP and IDCODE must be the hardware's. From PMUv3p7
	 * on, direct registers have bits that this library does not save (FZO, the instruction counter).
	 */
	if (caps->counters != vm->counters && !is_part(vm, caps))
		return false;
	return caps->identity[3] == m->id && caps->version == m->version;
}

static bool arm_identity_is(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	const struct vpmu_arm_model *m = vpmu_arm_model(vm);

	if (caps->identity[0] != m->ceid[0] || caps->identity[1] != m->ceid[1])
		return false;
	/* What another CPU has must be kept from counting there, in a selector that is read back here. */
	if (m->listed_only || vm->machine->anywhere[0] & ~m->ceid[0] ||
	    vm->machine->anywhere[1] & ~m->ceid[1])
		return false;
	if (m->version >= VPMU_ARM_V3P4 && caps->identity[2] != m->mmir)
		return false;
	return m->mmir || !(m->ceid[1] & CEID1_SLOTS);
}

static bool arm_escapes(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	uint64_t rest = vm->counters;
	uint64_t any = 0;

	while (rest)
		any |= s->selector[vpmu_mask_next(&rest)];
	return any & ~vpmu_arm_selector_mask(vpmu_arm_model(vm), 0);
}

static uint64_t arm_width(const struct vpmu_vm *vm, unsigned int i)
{
	return vpmu_arm_value_mask(vpmu_arm_model(vm), i);
}

static bool arm_event(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
		      struct vpmu_event *event)
{
	(void)vm;
	event->selector = event_of(i, selector);
	event->meaning = VPMU_MEANS_RAW;
	if (event->selector == EVENT_INST_RETIRED)
		event->meaning = VPMU_MEANS_INSTRUCTIONS;
	if (event->selector == EVENT_CPU_CYCLES)
		event->meaning = VPMU_MEANS_CYCLES;
	event->user = vpmu_arm_counts_at(selector, 0);
	event->kernel = vpmu_arm_counts_at(selector, 1);
	/* SW_INCR and CHAIN are counted in software. */
	return (event->user || event->kernel) && event->selector != EVENT_SW_INCR &&
	       event->selector != EVENT_CHAIN;
}

static uint64_t arm_distance(const struct vpmu_vm *vm, const struct vpmu_state *s, unsigned int i)
{
	uint64_t mask = overflow_mask(s, i);
	uint64_t left = mask - (s->value[i] & mask);

	(void)vm;
	return left == UINT64_MAX ? left : left + 1;
}

/* ---- States ---- */

static void arm_clean(const struct vpmu_vm *vm, struct vpmu_state *s)
{
	const struct vpmu_arm_model *m = vpmu_arm_model(vm);
	uint64_t rest = vm->counters;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		s->value[i] &= vpmu_arm_value_mask(m, i);
		s->selector[i] &= vpmu_arm_selector_mask(m, i);
	}
	s->enabled &= vm->counters;
	s->interrupts &= vm->counters;
	s->status &= vm->counters;
	s->global = (s->global & vpmu_arm_global_mask(m)) | PMCR_LC;
	s->user &= PMUSERENR_MASK;
	s->pointer &= PMSELR_MASK;
}

static bool counter_is_valid(const struct vpmu_vm *vm, const struct vpmu_state *s, unsigned int i)
{
	const struct vpmu_arm_model *m = vpmu_arm_model(vm);

	if (!(vm->counters & VPMU_BIT(i)))
		return !s->value[i] && !s->selector[i];
	return !(s->value[i] & ~vpmu_arm_value_mask(m, i)) &&
	       !(s->selector[i] & ~vpmu_arm_selector_mask(m, i));
}

static bool arm_valid(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (!counter_is_valid(vm, s, i))
			return false;
	}
	if ((s->enabled | s->interrupts | s->status) & ~vm->counters)
		return false;
	if (s->global & ~vpmu_arm_global_mask(vpmu_arm_model(vm)) || !(s->global & PMCR_LC))
		return false;
	return !(s->user & ~(uint64_t)PMUSERENR_MASK) && !(s->pointer & ~(uint64_t)PMSELR_MASK);
}

/* Warm reset leaves most of it UNKNOWN; 0 is a value of UNKNOWN that leaks nothing. */
static void arm_reset(const struct vpmu_vm *vm, struct vpmu_state *s)
{
	(void)vm;
	*s = (struct vpmu_state){ .global = PMCR_LC };
}

static bool arm_takes(const struct vpmu_policy *policy)
{
	return !policy || !policy->x86;
}

static const struct vpmu_arch arm_arch = {
	.direct_items = {
		[VPMU_REACH_NONE] = VPMU_ITEM_STATUS,
		[VPMU_REACH_CONTROL] = VPMU_ITEMS_CONTROL | VPMU_ITEM_STATUS,
		[VPMU_REACH_COUNTERS] = VPMU_ITEMS_CONTROL | VPMU_ITEM_STATUS,
		[VPMU_REACH_ALL] = VPMU_ITEMS_ALL,
	},
	.chains = true,
	.active = arm_active,
	.interrupt = arm_interrupt,
	.denied = arm_denied,
	.supported = arm_supported,
	.filter = arm_filter,
	.matches = arm_matches,
	.add = vpmu_arm_add,
	.event = arm_event,
	.distance = arm_distance,
	.carries = arm_carries,
	.width = arm_width,
	.closed_user = arm_closed_user,
	.fits = arm_fits,
	.shape_is = arm_shape_is,
	.identity_is = arm_identity_is,
	.escapes = arm_escapes,
	.clean = arm_clean,
	.valid = arm_valid,
	.takes = arm_takes,
	.reset = arm_reset,
};

/* ---- Set-up ---- */

static bool version_is_known(uint32_t version)
{
	return version == VPMU_ARM_V3 || version == VPMU_ARM_V3P1 || version == VPMU_ARM_V3P4 ||
	       version == VPMU_ARM_V3P5;
}

/* Of a VM of mode off: no register exists in version 0. */
static const struct vpmu_arm_model nothing = { .size = sizeof(nothing) };

int vpmu_arm_vm_init(struct vpmu_vm *vm, struct vpmu_machine *machine,
		     const struct vpmu_arm_model *model, const struct vpmu_vm_config *config)
{
	int error;

	if (model->size != sizeof(*model))
		return VPMU_ERR_SIZE;
	if (config->mode == VPMU_MODE_OFF)
		return vpmu_vm_init(vm, machine, &arm_arch, &nothing, 0, config);
	if (!version_is_known(model->version) || model->counters > VPMU_ARM_EVENTS_MAX)
		return VPMU_ERR_PARAM;
	if (model->id > UINT16_MAX || config->size != sizeof(*config))
		return model->id > UINT16_MAX ? VPMU_ERR_PARAM : VPMU_ERR_SIZE;
	if (!arm_takes(config->policy))
		return VPMU_ERR_PARAM;
	if (config->mode != VPMU_MODE_EMULATED && machine->caps.version < model->version)
		return VPMU_ERR_UNSUPPORTED;
	error = vpmu_vm_init(vm, machine, &arm_arch, model,
			     (VPMU_BIT(model->counters) - 1) | CYCLE_BIT, config);
	if (error)
		return error;
	vm->advertised[0] = advertise(vm, 0);
	vm->advertised[1] = advertise(vm, 1);
	return 0;
}

int vpmu_arm_model_of(const struct vpmu_machine *machine, struct vpmu_arm_model *model)
{
	const struct vpmu_hw_caps *caps = &machine->caps;
	const uint64_t *identity = caps->identity;

	/* 0: no PMU. 0xF: not the architected one. */
	if (caps->version == 0 || caps->version == 0xF)
		return VPMU_ERR_UNSUPPORTED;
	*model = (struct vpmu_arm_model){
		.size = sizeof(*model),
		.version = capped(caps->version),
		/* Event counters are numbered without gaps. */
		.counters = (uint32_t)__builtin_ctzll(~(caps->counters & ~CYCLE_BIT)),
		.id = (uint32_t)identity[3],
		.ceid = { identity[0], identity[1] },
		.mmir = identity[2],
	};
	return 0;
}

uint64_t vpmu_arm_dfr0(const struct vpmu_vm *vm, uint64_t host)
{
	return (host & ~(uint64_t)0xF00) | (uint64_t)vpmu_arm_model(vm)->version << 8;
}
