/* SPDX-License-Identifier: MIT */
/*
 * profile.c - the monitor profiles itself and the guests, with libvpmu's events of the host.
 *
 * Each CPU has up to five events: those that are sampled count, too. EL2's are read once per exit, just
 * before the guest is entered, and what they have counted since the last time is the cause's of this exit
 * (the last instructions of an exit, after the reading, are the next one's). The guests' are read when a
 * vCPU is put.
 *
 * So that EL2 can be sampled, its interrupts are not masked while it is profiled, but by the priority mask
 * of the CPU interface, which lets PPI 23 alone through. profile_nmi() takes it wherever the monitor is: it
 * acknowledges it, which keeps all others out until it is ended, and notes the place. It touches nothing
 * that others use, and no PMU register; whose overflow it was is decided at the next safe point (settle()).
 * ELR_EL2 and SPSR_EL2 would not survive: while EL2 is interruptible, the guest's are in struct cpu.
 *
 * Masked are the first and last instructions of an exit (vectors.S, and below), and waiting. An overflow in
 * there shows at the next place that is not; of EL2's, once the guest runs: then its place is not known.
 */
#include "profile.h"
#include "string.h"
#include "tenant.h"

#include <vpmu/host.h>

#define EVENT_INST_RETIRED 0x08u
#define EVENT_CPU_CYCLES   0x11u

#define PSR_I_ONLY 2                 /* of DAIFSet, DAIFClr */

#define ROTATE_EVERY 256u

static struct profile profiles[CPU_MAX];
static uint64_t guests[VM_MAX][CPU_MAX][ROW_COUNT];
static uint32_t rows_used;           /* which of them count, bits */

/* Who comes first, if there are not enough counters. */
static const struct {
	const char *name;
	bool guest, user, kernel;
	bool sampled;
	bool other;                  /* not the event that is sampled */
	bool instructions;           /* always */
} rows[ROW_COUNT] = {
	[ROW_HOST] = { "el2.sampled", false, false, true, true, false, false },
	[ROW_GUEST] = { "guest.sampled", true, true, true, true, false, false },
	[ROW_HOST_OTHER] = { "el2.other", false, false, true, false, true, false },
	[ROW_EL0] = { "el0.instructions", true, true, false, false, false, true },
	[ROW_EL1] = { "el1.instructions", true, false, true, false, false, true },
};

static void must(int error)
{
	if (unlikely(error < 0))
		pmu_failed(error);
}

static bool uses(unsigned int row)
{
	return rows_used & 1u << row;
}

static bool counts_instructions(unsigned int row)
{
	return rows[row].instructions || rows[row].other != options.profile_instructions;
}

/* ---- Start ---- */

void profile_hide_key(void)
{
	char *key = (char *)(uintptr_t)options.profile_key_at;
	size_t length = strlen(options.profile_key);

	if (!key)
		return;
	memset(key, '-', length);
	dcache_clean_invalidate((uintptr_t)key, length);
	options.profile_key_at = NULL;
}

static bool wanted(unsigned int row)
{
	uint64_t event = counts_instructions(row) ? EVENT_INST_RETIRED : EVENT_CPU_CYCLES;

	if (!(options.profile & (rows[row].guest ? PROFILE_GUESTS : PROFILE_HOST)))
		return false;
	return pmu_the_machine()->caps.identity[0] & BIT(event);
}

static unsigned int bits_in(uint64_t mask)
{
	unsigned int n = 0;

	for (; mask; mask &= mask - 1)
		n++;
	return n;
}

static void choose_rows(void)
{
	unsigned int free = bits_in(pmu_host_counters());

	for (unsigned int row = 0; row < ROW_COUNT; row++) {
		if (!wanted(row))
			continue;
		if (free) {
			rows_used |= 1u << row;
			free--;
		} else if (rows[row].sampled) {
			machine_fail("profile: the guests leave the host too few counters: "
				     "give them less by \"counters=\"\n");
		}
	}
}

void profile_init(void)
{
	if (!options.profile)
		return;
	if (!pmu_the_machine())
		machine_fail("profile: this machine has no PMU\n");
	choose_rows();
	if (!rows_used)
		machine_fail("profile: this machine does not count %s\n",
			     options.profile_instructions ? "instructions" : "cycles");
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		cpus[i].profile = &profiles[i];
}

static _Noreturn void refuse(int error)
{
	if (error != VPMU_ERR_BUSY)
		machine_fail("profile: %s\n", vpmu_strerror(error));
	machine_fail("profile: a guest, mediated or passed through, has all counters while it runs: give it "
		     "\"mode=partitioned\" with \"counters=N\", or let the host profile itself alone, by "
		     "\"profile=hypervisor\"\n");
}

static void create(struct cpu *c, unsigned int row)
{
	struct vpmu_host_event_config config = {
		.size = sizeof(config),
		.scope = rows[row].guest ? VPMU_SCOPE_CPU : VPMU_SCOPE_HYPERVISOR,
		.event = counts_instructions(row) ? EVENT_INST_RETIRED : EVENT_CPU_CYCLES,
		.user = rows[row].user,
		.kernel = rows[row].kernel,
		.exclude_host = rows[row].guest,
		.period = rows[row].sampled ? options.profile_period : 0,
	};
	int error = vpmu_host_event_create(&c->profile->event[row], pmu_the_machine(), &c->pmu.cpu, &config);

	if (error)
		refuse(error);
	c->profile->last[row] = 0;
}

void profile_cpu_init(struct cpu *c)
{
	if (!c->profile)
		return;
	for (unsigned int row = 0; row < ROW_COUNT; row++)
		if (uses(row))
			create(c, row);
	c->profile->alive = true;
	c->cause = CAUSE_START;
}

/* ---- Counts ---- */

/* What the event has counted since it was read last. */
static uint64_t counted(struct cpu *c, unsigned int row)
{
	struct profile *p = c->profile;
	struct vpmu_count now;
	uint64_t delta;

	must(vpmu_host_event_read(&p->event[row], &now));
	delta = now.value - p->last[row];
	p->last[row] = now.value;
	p->now[row] = (struct profile_count){ now.value, now.enabled, now.running };
	return delta;
}

static void account(struct cpu *c)
{
	struct profile_cause *cause = &c->profile->cause[c->cause];

	cause->times++;
	if (uses(ROW_HOST))
		cause->sampled += counted(c, ROW_HOST);
	if (uses(ROW_HOST_OTHER))
		cause->other += counted(c, ROW_HOST_OTHER);
}

static void account_guest(struct cpu *c)
{
	uint64_t *to = guests[c->vcpu ? c->vcpu->vm->index : 0][c->vcpu ? c->vcpu->index : c->index];

	for (unsigned int row = 0; row < ROW_COUNT; row++)
		if (uses(row) && rows[row].guest)
			to[row] += counted(c, row);
}

/* ---- Samples ---- */

static uint32_t hash(uint64_t value)
{
	value *= UINT64_C(0x9E3779B97F4A7C15);
	return (uint32_t)(value >> 32);
}

static void guest_sample(struct cpu *c)
{
	struct profile *p = c->profile;
	uint32_t vm = c->vcpu ? c->vcpu->vm->index : 0, vcpu = c->vcpu ? c->vcpu->index : c->index;
	uint32_t el = (p->guest_spsr & PSR_MODE_MASK) == PSR_MODE_EL0T || p->guest_spsr & PSR_A32 ? 0 : 1;
	uint32_t who = vm << 8 | vcpu << 4 | el;
	uint32_t at = hash(p->guest_elr ^ who);

	for (unsigned int i = 0; i < PROBES; i++, at++) {
		struct guest_place *g = &p->in_guests[at % GUEST_PLACES];

		if (!g->count)
			*g = (struct guest_place){ p->guest_elr, 0, who };
		if (g->pc == p->guest_elr && g->who == who) {
			g->count++;
			return;
		}
	}
	p->dropped++;
}

static bool same_place(const struct host_place *a, const struct host_place *b)
{
	return a->pc == b->pc && a->lr == b->lr && a->depth == b->depth &&
	       !memcmp(a->frame, b->frame, sizeof(a->frame));
}

static void host_sample(struct profile *p, const struct host_place *place)
{
	uint32_t at = hash(place->pc ^ (uint64_t)place->lr << 20 ^ (uint64_t)place->frame[0] << 40);

	for (unsigned int i = 0; i < PROBES; i++, at++) {
		struct host_place *h = &p->in_host[at % HOST_PLACES];

		if (!h->count)
			*h = *place;
		if (same_place(h, place)) {
			h->count++;
			return;
		}
	}
	p->dropped++;
}

/* Of one overflow. Its place in EL2 is known if that was interrupted for it. */
static void take_sample(struct cpu *c, unsigned int row)
{
	static const struct host_place unknown = { .pc = PLACE_UNKNOWN }, idle = { .pc = PLACE_IDLE };
	struct profile *p = c->profile;

	p->samples[row]++;
	if (rows[row].guest)
		guest_sample(c);
	else
		host_sample(p, p->noted ? &p->note : p->waits ? &idle : &unknown);
}

void profile_samples(struct cpu *c)
{
	struct vpmu_host_event *e;

	while ((e = pmu_sample(c)) && c->profile)
		take_sample(c, (unsigned int)(e - c->profile->event));
}

/* ---- EL2 interrupted ---- */

static uint32_t image_offset(uint64_t pc)
{
	uint64_t offset = pc - machine.image.start;

	return offset < PLACE_IDLE ? (uint32_t)offset : PLACE_UNKNOWN;
}

/* Frame records (AAPCS64) on this CPU's stack alone: the last one's is 0. */
static void walk(const struct cpu *c, struct host_place *place, uint64_t fp)
{
	uint64_t low = c->stack_top - STACK_SIZE;

	while (place->depth < FRAMES && fp % 16 == 0 && fp >= low && fp <= c->stack_top - 16) {
		const uint64_t *record = (const uint64_t *)fp;

		place->frame[place->depth++] = image_offset(record[1]);
		low = fp + 16;
		fp = record[0];
	}
}

void profile_nmi(uint64_t pc, uint64_t fp, uint64_t lr)
{
	uint32_t intid = (uint32_t)read_sysreg(icc_iar1_el1);
	struct cpu *c = this_cpu();
	struct profile *p = c->profile;

	if (intid >= INTID_SPECIAL)
		return;  /* withdrawn */
	if (intid != PPI_PMU)
		machine_fail("interrupt %u in the monitor\n", intid);
	p->note = (struct host_place){ .pc = image_offset(pc), .lr = image_offset(lr) };
	walk(c, &p->note, fp);
	p->came = true;
}

static void set_priority_mask(uint64_t mask)
{
	write_sysreg(icc_pmr_el1, mask);
	isb();
}

static inline void mask_interrupts(void)
{
	__asm__ volatile("msr daifset, %0" : : "i" (PSR_I_ONLY) : "memory");
}

static inline void unmask_interrupts(void)
{
	__asm__ volatile("msr daifclr, %0" : : "i" (PSR_I_ONLY) : "memory");
	isb();
}

/*
 * PPI 23 interrupted EL2: whose was it? As from a guest, but for the place. No exit of its own. Interrupts are
 * masked.
 */
static void settle(struct cpu *c)
{
	struct profile *p = c->profile;
	uint32_t cause = c->cause;

	p->came = false;
	p->noted = true;
	if (vm_count)
		tenant_interrupt(c, PPI_PMU);
	else
		gic_forward(c, PPI_PMU);
	p->noted = false;
	c->cause = cause;
}

/* Between two calls into libvpmu, with the guest exited. */
static void settle_if_came(struct cpu *c)
{
	if (likely(!c->profile->came))
		return;
	mask_interrupts();
	settle(c);
	unmask_interrupts();
}

static void end_interrupts(struct cpu *c)
{
	mask_interrupts();
	if (c->profile->came)
		settle(c);
	set_priority_mask(0xFF);
}

/* ---- The monitor's moments ---- */

static void allow_interrupts(struct cpu *c)
{
	struct profile *p = c->profile;

	c->guest_elr = p->guest_elr = read_sysreg(elr_el2);
	c->guest_spsr = p->guest_spsr = read_sysreg(spsr_el2);
	c->interruptible = true;
	c->cause = CAUSE_OTHER;
	set_priority_mask(PRIORITY_OTHERS);
	unmask_interrupts();
}

void profile_exit(struct pmu *pmu)
{
	struct cpu *c = this_cpu();

	if (c->profile)
		allow_interrupts(c);
	if (pmu->present)
		must(vpmu_vcpu_exit(pmu->vcpu, 0));
	if (c->profile)
		settle_if_came(c);
}

/* An emulated PMU's interrupt, as in pmu_enter() and sched_leave(). */
static void tell_line(struct cpu *c)
{
	if (!c->pmu.line_stale)
		return;
	if (!c->vcpu) {
		pmu_line(&c->pmu);
		return;
	}
	tenant_pmu_line(c);
	tgic_flush(c);
}

/* VPMU_AGAIN: as in pmu_enter(). */
static void enter(struct pmu *pmu)
{
	int error;

	if (!pmu->present)
		return;
	do {
		error = vpmu_vcpu_enter(pmu->vcpu, 0);
	} while (error == VPMU_AGAIN);
	must(error);
}

/* The last interrupt of EL2 may have come while libvpmu was on its way into the guest. */
static void enter_masked(struct cpu *c)
{
	mask_interrupts();
	if (likely(!c->profile->came))
		return;
	if (c->pmu.present)
		must(vpmu_vcpu_exit(c->pmu.vcpu, 0));
	settle(c);
	tell_line(c);
	if (c->vcpu)
		tgic_flush(c);
	enter(&c->pmu);
}

void profile_enter(struct pmu *pmu)
{
	struct cpu *c = this_cpu();

	if (!c->profile) {
		tell_line(c);
		enter(pmu);
		return;
	}
	if (c->interruptible)
		settle_if_came(c);
	account(c);
	/* Guests give counters up without a word. */
	if (++c->profile->entries % ROTATE_EVERY == 0)
		must(vpmu_cpu_rotate(&c->pmu.cpu));
	profile_samples(c);
	tell_line(c);
	enter(pmu);
	if (!c->interruptible)
		return;
	enter_masked(c);
	set_priority_mask(0xFF);
	c->interruptible = false;
	guest_resume_at(c, c->guest_elr, c->guest_spsr);
}

void profile_turn(struct cpu *c)
{
	if (!c->profile)
		return;
	settle_if_came(c);
	account(c);
	c->cause = CAUSE_TURN;
}

void profile_wait(struct cpu *c)
{
	if (!c->profile || !c->profile->alive)
		return;
	end_interrupts(c);
	account(c);
	c->profile->waits_in = c->cause;
	c->profile->waits = true;
}

void profile_waited(struct cpu *c)
{
	struct profile *p = c->profile;

	if (!p || !p->alive)
		return;
	c->cause = CAUSE_IDLE;
	account(c);
	p->waits = false;
	p->cause[p->waits_in].times--;   /* it goes on */
	c->cause = p->waits_in;
	if (!c->interruptible)
		return;
	set_priority_mask(PRIORITY_OTHERS);
	unmask_interrupts();
}

void profile_put(struct cpu *c)
{
	if (!c->profile || !c->profile->alive)
		return;
	settle_if_came(c);
	account_guest(c);
}

void profile_was_put(struct cpu *c)
{
	if (c->profile)
		profile_samples(c);
}

/* ---- The end ---- */

static void end_event(struct cpu *c, unsigned int row)
{
	struct profile *p = c->profile;

	must(vpmu_host_event_destroy(&p->event[row]));
	p->total[row].value += p->now[row].value;
	p->total[row].enabled += p->now[row].enabled;
	p->total[row].running += p->now[row].running;
	p->now[row] = (struct profile_count){ 0, 0, 0 };
}

void profile_cpu_off(struct cpu *c)
{
	struct profile *p = c->profile;

	if (!p || !p->alive)
		return;
	end_interrupts(c);
	account(c);
	profile_samples(c);
	for (unsigned int row = 0; row < ROW_COUNT; row++)
		if (uses(row))
			end_event(c, row);
	p->alive = false;
	c->interruptible = false;
}

/* ---- Printing: for the command, which knows the key and the monitor's symbols ---- */

static void line(const char *what)
{
	console_printf("vpmu-profile %s %s", options.profile_key, what);
}

static void print_events(const struct cpu *c)
{
	const struct profile *p = c->profile;

	for (unsigned int row = 0; row < ROW_COUNT; row++) {
		const struct profile_count *n = &p->total[row];

		if (!uses(row))
			continue;
		line("event");
		console_printf(" %u %s %lu %lu %lu %lu\n", c->index, rows[row].name, n->value, n->enabled,
			       n->running, p->samples[row]);
	}
}

static const char *cause_name(unsigned int cause)
{
	switch (cause) {
	case CAUSE_OTHER:
		return "other";
	case CAUSE_TURN:
		return "(turn)";
	case CAUSE_IDLE:
		return "(idle)";
	case CAUSE_START:
		return "(start)";
	}
	return stats_exit_name(cause);
}

static void print_causes(const struct cpu *c)
{
	for (unsigned int i = 0; i < CAUSE_COUNT; i++) {
		const struct profile_cause *cause = &c->profile->cause[i];

		if (!cause->times)
			continue;
		line("cause");
		console_printf(" %u %s %lu %lu %lu\n", c->index, cause_name(i), cause->times, cause->sampled,
			       cause->other);
	}
}

static void print_in_guests(const struct cpu *c)
{
	for (unsigned int i = 0; i < GUEST_PLACES; i++) {
		const struct guest_place *g = &c->profile->in_guests[i];

		if (!g->count)
			continue;
		line("guest-sample");
		console_printf(" %u %u %u %lx %u\n", g->who >> 8, g->who >> 4 & 0xF, g->who & 0xF, g->pc,
			       g->count);
	}
}

static void print_host_place(const struct host_place *h)
{
	line("host-sample");
	console_printf(" %u %x %x", h->count, h->pc, h->lr);
	for (unsigned int i = 0; i < h->depth; i++)
		console_printf(" %x", h->frame[i]);
	console_printf("\n");
}

static void print_in_host(const struct cpu *c)
{
	for (unsigned int i = 0; i < HOST_PLACES; i++)
		if (c->profile->in_host[i].count)
			print_host_place(&c->profile->in_host[i]);
}

static void print_guests(void)
{
	for (unsigned int vm = 0; vm < VM_MAX; vm++) {
		for (unsigned int vcpu = 0; vcpu < CPU_MAX; vcpu++) {
			const uint64_t *n = guests[vm][vcpu];

			if (!(n[ROW_GUEST] | n[ROW_EL0] | n[ROW_EL1]))
				continue;
			line("guest");
			console_printf(" %u %u %lu %lu %lu\n", vm, vcpu, n[ROW_GUEST], n[ROW_EL0], n[ROW_EL1]);
		}
	}
}

static void print_cpu(const struct cpu *c)
{
	print_events(c);
	print_causes(c);
	print_in_guests(c);
	print_in_host(c);
	if (!c->profile->dropped)
		return;
	line("dropped");
	console_printf(" %u %lu\n", c->index, c->profile->dropped);
}

/* A guest may have left the console in the middle of a line. */
void profile_print(void)
{
	if (!options.profile)
		return;
	console_printf("\n");
	line("begin");
	console_printf(" %s %lu\n", options.profile_instructions ? "instructions" : "cycles",
		       options.profile_period);
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		print_cpu(&cpus[i]);
	print_guests();
	line("end\n");
}
