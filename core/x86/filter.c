/* SPDX-License-Identifier: MIT */
/*
 * KVM's struct kvm_pmu_event_filter, compiled into a sorted list (Linux uapi, asm/kvm.h of x86;
 * Documentation/virt/kvm/api.rst, KVM_SET_PMU_EVENT_FILTER). Answers are those of Linux, in its
 * order of errors: the header, its action and flags, the limit, the events' bytes, the events.
 */
#include <vpmu/x86.h>

/* What Linux calls struct kvm_pmu_event_filter, up to its events. */
struct header {
	uint32_t action;
	uint32_t nevents;
	uint32_t fixed_counter_bitmap;
	uint32_t flags;
	uint32_t pad[4];             /* anything, as in Linux */
};

#define ACTION_ALLOW 0u
#define ACTION_DENY 1u
#define FLAG_MASKED_EVENTS 1u

/* A selector's and an event's event select: bits 7:0, AMD also 35:32. */
#define EVENT_LOW 0xFFull
#define EVENT_HIGH (0xFull << 32)
#define UMASK (0xFFull << 8)

/* The rest of a masked event; bits 15:8 are what the masked unit mask must be. */
#define ENTRY_EXCLUDE (1ull << 55)
#define ENTRY_MASK (0xFFull << 56)

static uint64_t event_bits(enum vpmu_x86_vendor vendor)
{
	return EVENT_LOW | (vendor == VPMU_X86_AMD ? EVENT_HIGH : 0);
}

/* An event select as 12 bits without a gap. */
static uint16_t event_of(uint64_t selector, enum vpmu_x86_vendor vendor)
{
	uint64_t event = selector & event_bits(vendor);

	return (uint16_t)((event & EVENT_LOW) | event >> 24);
}

static uint8_t umask_of(uint64_t selector)
{
	return (uint8_t)(selector >> 8);
}

/* (bytes) need not be aligned. */
static uint64_t event_at(const void *bytes, size_t i)
{
	uint64_t event;

	__builtin_memcpy(&event, (const char *)bytes + sizeof(struct header) + i * sizeof(event),
			 sizeof(event));
	return event;
}

static bool is_masked(const struct header *h)
{
	return h->flags & FLAG_MASKED_EVENTS;
}

/* Has (event) only bits that mean something? */
static bool is_sound(const struct header *h, enum vpmu_x86_vendor vendor, uint64_t event)
{
	uint64_t valid = event_bits(vendor) | UMASK;

	if (is_masked(h))
		valid |= ENTRY_EXCLUDE | ENTRY_MASK;
	return !(event & ~valid);
}

static int check(const struct header *h, enum vpmu_x86_vendor vendor, const void *bytes,
		 size_t size)
{
	if (h->action > ACTION_DENY || h->flags & ~FLAG_MASKED_EVENTS)
		return VPMU_ERR_PARAM;
	if (h->nevents > VPMU_X86_FILTER_EVENTS_MAX)
		return VPMU_ERR_LIMIT;
	if ((size - sizeof(*h)) / sizeof(uint64_t) < h->nevents)
		return VPMU_ERR_SIZE;
	for (size_t i = 0; is_masked(h) && i < h->nevents; i++) {
		if (!is_sound(h, vendor, event_at(bytes, i)))
			return VPMU_ERR_PARAM;
	}
	return 0;
}

static struct vpmu_x86_filter_entry entry_of(const struct header *h, enum vpmu_x86_vendor vendor,
					     uint64_t event)
{
	return (struct vpmu_x86_filter_entry){
		.event = event_of(event, vendor),
		.mask = is_masked(h) ? (uint8_t)(event >> 56) : 0xFF,
		.match = umask_of(event),
		.exclude = is_masked(h) && event & ENTRY_EXCLUDE,
	};
}

/* A key in 13 bits, so that comparing never overflows (M94): by event, then excludes last. */
static unsigned int order(const struct vpmu_x86_filter_entry *e)
{
	return (unsigned int)e->event << 1 | e->exclude;
}

/* Into its place in the sorted list: at most 300 moves. The caller has seen that there is room. */
static void insert(struct vpmu_x86_filter *f, struct vpmu_x86_filter_entry e)
{
	uint16_t i = f->count++;

	for (; i > 0 && order(&f->entry[i - 1]) > order(&e); i--)
		f->entry[i] = f->entry[i - 1];
	f->entry[i] = e;
}

int vpmu_x86_filter_compile(struct vpmu_x86_filter *out, enum vpmu_x86_vendor vendor,
			    const void *bytes, size_t size)
{
	struct header h;
	int error;

	if (size < sizeof(h))
		return VPMU_ERR_SIZE;
	__builtin_memcpy(&h, bytes, sizeof(h));
	error = check(&h, vendor, bytes, size);
	if (error)
		return error;
	out->deny = h.action == ACTION_DENY;
	out->count = 0;
	out->fixed_bitmap = h.fixed_counter_bitmap;
	for (size_t i = 0; i < h.nevents; i++) {
		uint64_t event = event_at(bytes, i);

		if (is_sound(&h, vendor, event))
			insert(out, entry_of(&h, vendor, event));
	}
	return 0;
}

/* The first entry that is not below (event). */
static size_t lower_bound(const struct vpmu_x86_filter *f, uint16_t event)
{
	size_t low = 0;
	size_t high = f->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->entry[middle].event < event)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Included and not excluded. */
static bool is_listed(const struct vpmu_x86_filter *f, uint16_t event, uint8_t umask)
{
	bool included = false;

	for (size_t i = lower_bound(f, event); i < f->count && f->entry[i].event == event; i++) {
		const struct vpmu_x86_filter_entry *e = &f->entry[i];

		if ((umask & e->mask) != e->match)
			continue;
		if (e->exclude)
			return false;
		included = true;
	}
	return included;
}

bool vpmu_x86_filter_allows(const struct vpmu_x86_filter *f, enum vpmu_x86_vendor vendor,
			    uint64_t selector)
{
	return is_listed(f, event_of(selector, vendor), umask_of(selector)) != f->deny;
}

bool vpmu_x86_filter_allows_fixed(const struct vpmu_x86_filter *f, unsigned int i)
{
	return i < VPMU_X86_FIXED_MAX && (f->fixed_bitmap >> i & 1) != f->deny;
}
