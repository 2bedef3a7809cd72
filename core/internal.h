/* SPDX-License-Identifier: MIT */
/*
 * core/internal.h - the two seams inside core: the guest architecture (core/arm, core/x86) and the world switch
 * (core/mediated.c, core/eager.c). Neither knows the other; core/vcpu.c ties them together.
 */
#ifndef VPMU_CORE_INTERNAL_H
#define VPMU_CORE_INTERNAL_H

#include <vpmu/vpmu.h>

#define VPMU_BIT(n) ((uint64_t)1 << (n))

/* Parts of struct vpmu_state, as bits. */
enum vpmu_item {
	VPMU_ITEM_GLOBAL = 1u << 0,
	VPMU_ITEM_ENABLED = 1u << 1,
	VPMU_ITEM_INTERRUPTS = 1u << 2,
	VPMU_ITEM_STATUS = 1u << 3,
	VPMU_ITEM_USER = 1u << 4,
	VPMU_ITEM_POINTER = 1u << 5,
	VPMU_ITEM_SELECTORS = 1u << 6,
};

#define VPMU_REACHES 4u              /* how many enum vpmu_reach there are */

#define VPMU_ITEMS_CONTROL                                                                         \
	(VPMU_ITEM_GLOBAL | VPMU_ITEM_ENABLED | VPMU_ITEM_INTERRUPTS | VPMU_ITEM_USER |            \
	 VPMU_ITEM_POINTER)
#define VPMU_ITEMS_ALL (VPMU_ITEMS_CONTROL | VPMU_ITEM_STATUS | VPMU_ITEM_SELECTORS)

/* The scalars of a state before a trapped access, and what else the access changed. */
struct vpmu_change {
	uint64_t enabled;
	uint64_t interrupts;
	uint64_t status;
	uint64_t global;
	uint64_t values;     /* mask of counters whose value was written */
	uint64_t selectors;  /* mask of counters whose selector was written */
};

/* What the guest architecture knows about a register file. All functions are pure but for (state). */
struct vpmu_arch {
	/* What the guest changes without a trap at each enum vpmu_reach, while its PMU is in the hardware. */
	uint32_t direct_items[VPMU_REACHES];
	/*
	 * A counter's enable is in its selector, and stopping it clears that. So starting one traps as selectors do,
	 * and those that never were started need not be loaded.
	 */
	bool enables_in_selectors;
	/* The interrupt is an edge: an overflow owes the guest one, in state.pending. Else it is a level. */
	bool edge;
	/* An overflow may carry into the next counter. */
	bool chains;
	/* Counters that pass all their enables, by these of the state. */
	uint64_t (*active)(const struct vpmu_vm *vm, uint64_t enabled, uint64_t global, uint64_t status);
	/* Level of the overflow interrupt line; edge: is one owed? */
	bool (*interrupt)(const struct vpmu_vm *vm, const struct vpmu_state *s);
	/* May counter (i) with (selector) not count under the VM's creation policy or (policy)? */
	bool (*denied)(const struct vpmu_vm *vm, const struct vpmu_policy *policy, unsigned int i,
		       uint64_t selector);
	/* Is the event one this machine has? Unknown events are taken for supported. */
	bool (*supported)(const struct vpmu_vm *vm, unsigned int i, uint64_t selector);
	/* The selector for the hardware: a subset of what the guest asks for (V4). */
	uint64_t (*filter)(const struct vpmu_vm *vm, const struct vpmu_policy *policy, unsigned int i,
			   uint64_t selector);
	/* Does counter (i) with (selector) count events of (event) in ring (user)? */
	bool (*matches)(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
			enum vpmu_event_class event, bool user);
	/*
	 * Adds (n) events of ring (user) to counter (i): width, overflow status and chaining; returns the
	 * counters written. Only i and i + 1 are read.
	 */
	uint64_t (*add)(const struct vpmu_vm *vm, struct vpmu_state *s, unsigned int i, bool user,
			uint64_t n);
	/*
	 * The event that counter (i) with (selector) counts, its period left alone; false: none, as far as
	 * a counting source is concerned (no ring, or counted in software).
	 */
	bool (*event)(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
		      struct vpmu_event *event);
	/* Events until counter (i) overflows; UINT64_MAX also for one more. */
	uint64_t (*distance)(const struct vpmu_vm *vm, const struct vpmu_state *s, unsigned int i);
	/* Counters that an overflow of one in (mask) may carry into. */
	uint64_t (*carries)(const struct vpmu_vm *vm, const struct vpmu_state *s, uint64_t mask);
	/* The bits that counter (i) has; the hardware's may have more. */
	uint64_t (*width)(const struct vpmu_vm *vm, unsigned int i);
	/* User access value for the hardware while everything is intercepted (RULES A6). */
	uint64_t (*closed_user)(const struct vpmu_vm *vm, const struct vpmu_state *s);
	/* Has the hardware every bit and event number that the guest's PMU has? */
	bool (*fits)(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps);
	/* Would direct access show the guest exactly its own PMU on this hardware? */
	bool (*shape_is)(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps);
	/* Could the guest have everything direct, identification included? */
	bool (*identity_is)(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps);
	/* Cuts (s), read from a hardware that keeps more bits, down to what the model has (V4). */
	void (*clean)(const struct vpmu_vm *vm, struct vpmu_state *s);
	/* Has a selector of (s), as read from the hardware, bits that the guest's PMU does not have? */
	bool (*escapes)(const struct vpmu_vm *vm, const struct vpmu_state *s);
	/* Is (s) a state that this model can have? */
	bool (*valid)(const struct vpmu_vm *vm, const struct vpmu_state *s);
	/* Is (policy) one for this architecture? */
	bool (*takes)(const struct vpmu_policy *policy);
	/* Edge: does the guest have a status register that it clears overflows in? */
	bool (*has_status)(const struct vpmu_vm *vm);
	/* Edge: the interrupt is delivered, and may stop the counters. Changes global or status. */
	void (*freeze)(const struct vpmu_vm *vm, struct vpmu_state *s);
	/* The power-on state. */
	void (*reset)(const struct vpmu_vm *vm, struct vpmu_state *s);
};

/* What makes the counters count: a world switch, or events. All [cpu], [vcpu] if emulated. */
struct vpmu_switch {
	/* Makes the guest's PMU ready to run; owner becomes LIVE if anything of it is in the hardware. */
	void (*enter)(struct vpmu_vcpu *v);
	/* The guest stopped; owner becomes PARKED or HOST. */
	void (*exit)(struct vpmu_vcpu *v);
	/* If resident: saves everything, scrubs but (host_owns); owner becomes HOST. */
	void (*evict)(struct vpmu_vcpu *v, uint64_t host_owns);
	/*
	 * May be NULL. The residency ends; the guest's state is replaced; a write is about to change it.
	 */
	void (*put)(struct vpmu_vcpu *v);
	void (*replace)(struct vpmu_vcpu *v);
	void (*begin)(struct vpmu_vcpu *v);
	/*
	 * Where anything of the guest is elsewhere: bring (items) and the values of (counters) up to date in
	 * v->state, and carry a change of v->state there.
	 */
	void (*pull)(struct vpmu_vcpu *v, uint32_t items, uint64_t counters);
	void (*push)(struct vpmu_vcpu *v, const struct vpmu_change *change);
	/* May be NULL. The guest reads counters by an instruction that is direct for all or for none. */
	void (*show)(struct vpmu_vcpu *v);
};

extern const struct vpmu_switch vpmu_mediated_switch;
extern const struct vpmu_switch vpmu_eager_switch;
extern const struct vpmu_switch vpmu_emulated_switch;

/* vcpu.c, for the guest architectures. */
int vpmu_vm_init(struct vpmu_vm *vm, struct vpmu_machine *machine, const struct vpmu_arch *arch,
		 const void *model, uint64_t counters, const struct vpmu_vm_config *config);
bool vpmu_vcpu_is_resident(const struct vpmu_vcpu *v);
/* Brings items and counter values up to date before an access looks at them. */
void vpmu_vcpu_pull(struct vpmu_vcpu *v, uint32_t items, uint64_t counters);
/* The scalars before a change, which is about to be made. */
struct vpmu_change vpmu_vcpu_change(struct vpmu_vcpu *v);
/* After an access changed v->state. */
void vpmu_vcpu_push(struct vpmu_vcpu *v, const struct vpmu_change *change);

/* vcpu.c: what the source of an emulated vCPU has reported since the exit is looked at. */
void vpmu_vcpu_take_hints(struct vpmu_vcpu *v);
/* pmi.c: the overflows in v->state.status, just read from the hardware, that the guest was not told of. */
void vpmu_vcpu_note(struct vpmu_vcpu *v);
/* vcpu.c: what of its PMU the vCPU, which is loaded, may reach now. */
void vpmu_vcpu_judge_reach(struct vpmu_vcpu *v);
/* host.c: a VM with counters of the hardware is made. returns: 0, or who is in the way, as an error. */
int vpmu_host_claim_vm(struct vpmu_vm *vm);
/* host.c: another vCPU is loaded on (cpu), or left the hardware: host events are placed anew. */
void vpmu_host_schedule(struct vpmu_cpu *cpu);
/* host.c: a guest gets the counters in (mask): no host event has them any more. */
void vpmu_host_yield(struct vpmu_cpu *cpu, uint64_t mask);
/* host.c: takes overflows of host events; were there any? */
bool vpmu_host_pmi(struct vpmu_cpu *cpu);
/* pmi.c: edge: the guest masks its interrupt's entry, or unmasks it. */
void vpmu_vcpu_mask_interrupt(struct vpmu_vcpu *v, bool masked);
/*
 * Edge: must clearing an overflow trap? Of one that was told and is cleared and set again unseen, the next look at
 * the status would not know that it is a new one. While the entry is masked that does not matter: nothing is sent.
 */
static inline bool vpmu_vcpu_watches_acks(const struct vpmu_vcpu *v)
{
	return v->reported && !v->interrupt_masked;
}

/* pmi.c: edge: what is owed, but not to a masked entry. */
void vpmu_vcpu_lose(struct vpmu_vcpu *v);
/* pmi.c: edge: a trapped access changed the interrupt enables; (old) is what they were. */
void vpmu_vcpu_switched(struct vpmu_vcpu *v, uint64_t old);
/* pmi.c: a trapped access changed the status; (old) is what it was. */
void vpmu_vcpu_noted(struct vpmu_vcpu *v, uint64_t old);

static inline uint64_t vpmu_active(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	return vm->arch->active(vm, s->enabled, s->global, s->status);
}

/* Not quiet: a counter passes all its enables, or an overflow is pending (RULES A1). */
static inline bool vpmu_state_is_busy(const struct vpmu_vm *vm, const struct vpmu_state *s)
{
	return vpmu_active(vm, s) || (!vm->arch->edge && vm->arch->interrupt(vm, s));
}

/*
 * (i) if it is below (size), else 0, also under speculation: every subscript that a guest chose goes through
 * here after its bounds check (Spectre v1).
 */
static inline unsigned int vpmu_clamp(unsigned int i, unsigned int size)
{
	uint64_t below = (uint64_t)i - size;

	__asm__("" : "+r"(below));
	return i & (unsigned int)(0 - (below >> 63));
}

/*
 * What active() looks at. A status that is no counter's stops them all (x86: CTR_Frz): the guest may have
 * cleared it untrapped, and a PMI sets it if DEBUGCTL says so.
 */
static inline uint32_t vpmu_enables(const struct vpmu_vcpu *v)
{
	uint32_t items = VPMU_ITEM_GLOBAL | VPMU_ITEM_ENABLED;

	if (v->state.debug || v->state.status & ~v->vm->counters)
		items |= VPMU_ITEM_STATUS;
	return items;
}

/* A loop over the set bits of a mask: takes out and returns the lowest one. (*mask) is not 0. */
static inline unsigned int vpmu_mask_next(uint64_t *mask)
{
	unsigned int i = (unsigned int)__builtin_ctzll(*mask);

	*mask &= *mask - 1;
	return i;
}

#endif
