/* SPDX-License-Identifier: MIT */
/* Which events there are, and what they mean. SDM 20.2.1.2; AMD PPR, "Core Performance Monitor Counters". */
#include "x86.h"

struct event {
	uint16_t code;       /* unit mask and event select */
	enum vpmu_event_meaning meaning;
};

/* In the order of CPUID.0AH:EBX. Nobody but the hardware can count slots. */
static const struct event architectural[VPMU_X86_EVENTS] = {
	[VPMU_X86_CYCLES] = { 0x003C, VPMU_MEANS_CYCLES },
	[VPMU_X86_INSTRUCTIONS] = { 0x00C0, VPMU_MEANS_INSTRUCTIONS },
	[VPMU_X86_REFERENCE_CYCLES] = { 0x013C, VPMU_MEANS_REFERENCE_CYCLES },
	[VPMU_X86_LLC_REFERENCES] = { 0x4F2E, VPMU_MEANS_LLC_REFERENCES },
	[VPMU_X86_LLC_MISSES] = { 0x412E, VPMU_MEANS_LLC_MISSES },
	[VPMU_X86_BRANCHES] = { 0x00C4, VPMU_MEANS_BRANCHES },
	[VPMU_X86_BRANCH_MISSES] = { 0x00C5, VPMU_MEANS_BRANCH_MISSES },
	[VPMU_X86_SLOTS] = { 0x01A4, VPMU_MEANS_RAW },
};

/* The same on every family that has the counters; others are RAW and pass unmodified (M53). */
static const struct event amd[] = {
	{ 0x0076, VPMU_MEANS_CYCLES },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS },
	{ 0x00C2, VPMU_MEANS_BRANCHES },
	{ 0x00C3, VPMU_MEANS_BRANCH_MISSES },
};

static const enum vpmu_x86_event fixed[VPMU_X86_FIXED_MAX] = {
	VPMU_X86_INSTRUCTIONS, VPMU_X86_CYCLES, VPMU_X86_REFERENCE_CYCLES, VPMU_X86_SLOTS,
};

uint16_t vpmu_x86_event_code(enum vpmu_x86_event e)
{
	return architectural[e].code;
}

enum vpmu_x86_event vpmu_x86_fixed_event(unsigned int i)
{
	return fixed[i];
}

enum vpmu_event_meaning vpmu_x86_meaning(enum vpmu_x86_vendor vendor, uint64_t code)
{
	const struct event *events = vendor == VPMU_X86_INTEL ? architectural : amd;
	size_t count = vendor == VPMU_X86_INTEL ? VPMU_X86_EVENTS : sizeof(amd) / sizeof(amd[0]);

	for (size_t i = 0; i < count; i++) {
		if (events[i].code == code)
			return events[i].meaning;
	}
	return VPMU_MEANS_RAW;
}

/* The bits of a selector that say what is counted. */
#define EVENT_BITS (SEL_EVENT | SEL_UMASK | SEL_AMD_EVENT_HIGH)

static uint64_t event_bits(const struct vpmu_x86_model *m, uint64_t selector)
{
	uint64_t bits = SEL_EVENT | SEL_UMASK | SEL_EDGE | SEL_INV | SEL_CMASK;

	bits |= m->vendor == VPMU_X86_AMD ? SEL_AMD_EVENT_HIGH : SEL_IN_TX | SEL_IN_TXCP;
	return selector & bits;
}

/* IN_TXCP makes no difference to what happens outside a transaction. */
static bool is_plain(const struct vpmu_x86_model *m, uint64_t selector)
{
	uint64_t modifiers = SEL_EDGE | SEL_INV | SEL_CMASK;

	if (m->vendor == VPMU_X86_INTEL)
		modifiers |= SEL_IN_TX | SEL_IN_TXCP;
	return !(selector & modifiers);
}

static bool fixed_event(unsigned int i, uint64_t selector, struct vpmu_event *event)
{
	const struct event *e = &architectural[fixed[i]];

	event->selector = e->code;
	event->meaning = e->meaning;
	event->user = selector & FIXED_USR;
	event->kernel = selector & FIXED_OS;
	event->checkpointed = false;
	return event->user || event->kernel;
}

bool vpmu_x86_event(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
		    struct vpmu_event *event)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	if (i >= VPMU_X86_FIXED)
		return fixed_event(i - VPMU_X86_FIXED, selector, event);
	event->selector = event_bits(m, selector);
	event->meaning = VPMU_MEANS_RAW;
	if (is_plain(m, selector))
		event->meaning = vpmu_x86_meaning(m->vendor, event->selector);
	event->user = selector & SEL_USR;
	event->kernel = selector & SEL_OS;
	event->checkpointed = m->vendor == VPMU_X86_INTEL && selector & SEL_IN_TXCP;
	return event->user || event->kernel;
}

static const enum vpmu_event_meaning class_means[VPMU_EVENT_CLASSES] = {
	[VPMU_EVENT_INSTRUCTIONS] = VPMU_MEANS_INSTRUCTIONS,
	[VPMU_EVENT_BRANCHES] = VPMU_MEANS_BRANCHES,
};

/*
 * What the hypervisor executes is not in a transaction, and each event is alone in its cycle: a CMASK of 1
 * changes nothing, more is never reached. INV and edge count cycles, of which it has none; but without a CMASK
 * INV is ignored (SDM 20.2.1.1).
 */
static bool counts_emulated(const struct vpmu_x86_model *m, uint64_t selector)
{
	bool inverted = selector & SEL_INV && selector & SEL_CMASK;

	if (inverted || selector & SEL_EDGE || (selector & SEL_CMASK) > VPMU_BIT(24))
		return false;
	return m->vendor == VPMU_X86_AMD || !(selector & SEL_IN_TX);
}

bool vpmu_x86_matches(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
		      enum vpmu_event_class class, bool user)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	struct vpmu_event event;

	if (i < VPMU_X86_FIXED) {
		if (!counts_emulated(m, selector))
			return false;
		selector &= SEL_USR | SEL_OS | EVENT_BITS;
		if (m->vendor == VPMU_X86_INTEL)
			selector &= SEL_LOW;
	}
	if (!vpmu_x86_event(vm, i, selector, &event))
		return false;
	return event.meaning == class_means[class] && (user ? event.user : event.kernel);
}
