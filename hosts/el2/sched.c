/* SPDX-License-Identifier: MIT */
/*
 * sched.c - turns of guest CPUs on physical CPUs: round robin, slices of a fixed length by EL2's
 * timer.
 *
 * All vCPUs stand in one line. A CPU takes the one that has waited longest, is ready and may run
 * there; one in WFI is ready when an interrupt of its own is due. So a vCPU moves to whichever CPU
 * is free, unless its VM's "on" says otherwise. Under icount, with one CPU, the order is the same
 * every time.
 *
 * Nobody is woken up: who looks for work looks at all vCPUs, and a CPU without work says so (idle)
 * before it looks, so that whoever makes an interrupt due afterwards sends it one.
 */
#include "gic.h"
#include "tenant.h"

#define SLICE_MS 10u
#define TIMER_ENABLE BIT(0)
#define TIMER_MASKED BIT(1)

static struct spinlock lock;         /* power, turn, on of all vCPUs; what follows */
static uint32_t turns;
static atomic_bool stopping;

/* ---- EL2's timer ---- */

static uint64_t now(void)
{
	isb();
	return read_sysreg(cntpct_el0);
}

static void timer_at(uint64_t when)
{
	write_sysreg(cnthp_cval_el2, when);
	write_sysreg(cnthp_ctl_el2, TIMER_ENABLE);
	isb();
}

static void start_slice(void)
{
	timer_at(now() + read_sysreg(cntfrq_el0) / (1000 / SLICE_MS));
}

/* ---- Other CPUs ---- */

static void kick(const struct cpu *c)
{
	uint64_t a = c->mpidr;

	dsb(ish);
	write_sysreg(icc_sgi1r_el1, BIT(FIELD(a, 0, 4)) | FIELD(a, 4, 4) << 44 |
				    FIELD(a, 8, 8) << 16 | FIELD(a, 16, 8) << 32 |
				    FIELD(a, 32, 8) << 48);
	isb();
}

static void kick_idle(void)
{
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		if (&cpus[i] != this_cpu() && atomic_load(&cpus[i].idle))
			kick(&cpus[i]);
}

void sched_notify(struct vcpu *v)
{
	struct cpu *on;

	atomic_thread_fence(memory_order_seq_cst);
	on = *(struct cpu *volatile *)&v->on;
	if (on == this_cpu())
		return;
	if (on)
		kick(on);
	else
		kick_idle();
}

/* ---- Who is ready ---- */

#define PPI_VIRTUAL_TIMER 27u
#define PPI_PHYSICAL_TIMER 30u

/* When the timer's interrupt is due, by the physical counter. UINT64_MAX: never. */
static uint64_t expiry(const struct vcpu *v, uint32_t intid, uint64_t ctl, uint64_t compare)
{
	if (!(ctl & TIMER_ENABLE) || (ctl & TIMER_MASKED) || !tgic_takes(v, intid))
		return UINT64_MAX;
	return compare;
}

static uint64_t timers_expire(const struct vcpu *v)
{
	const struct context *x = &v->context;
	uint64_t compare = x->cntv_cval + v->vm->start, a, b;

	if (compare < x->cntv_cval)
		compare = UINT64_MAX;
	a = expiry(v, PPI_VIRTUAL_TIMER, x->cntv_ctl, compare);
	b = expiry(v, PPI_PHYSICAL_TIMER, x->cntp_ctl, x->cntp_cval);
	return a < b ? a : b;
}

/* An interrupt would end its WFI; PSTATE.I does not matter there. */
static bool is_due(struct vcpu *v)
{
	return tgic_has_pending(v) || tenant_pmu_due(v) || v->context.serror ||
	       now() >= timers_expire(v);
}

static bool may_run(const struct vcpu *v, const struct cpu *c)
{
	return v->power == VCPU_READY && !v->vm->ended &&
	       (v->vm->options->on & ~v->refused & 1u << c->index);
}

struct choice {
	struct vcpu *next;           /* NULL: nobody is ready */
	uint64_t deadline;           /* when a timer makes one ready; UINT64_MAX: none does */
};

static void consider(struct choice *choice, struct vcpu *v)
{
	if (v->waits && !is_due(v)) {
		uint64_t when = timers_expire(v);

		choice->deadline = when < choice->deadline ? when : choice->deadline;
		return;
	}
	/* Turns wrap around: what counts is the distance. */
	if (!choice->next || (int32_t)(v->turn - choice->next->turn) < 0)
		choice->next = v;
}

/* The lock is held. */
static struct choice choose(const struct cpu *c)
{
	struct choice choice = { NULL, UINT64_MAX };

	for (unsigned int i = 0; i < vm_count; i++)
		for (unsigned int j = 0; j < vms[i].cpu_count; j++)
			if (may_run(&vms[i].vcpu[j], c))
				consider(&choice, &vms[i].vcpu[j]);
	return choice;
}

/* ---- Load and put ---- */

/* Translations are tagged with the VM, not with its CPU. */
static void drop_translations(struct cpu *c, struct vcpu *v)
{
	if (v->vm->last_on[c->index] == v)
		return;
	v->vm->last_on[c->index] = v;
	__asm__ volatile("tlbi vmalle1" : : : "memory");
	__asm__ volatile("ic iallu" : : : "memory");
	dsb(nsh);
	isb();
}

static void load(struct cpu *c, struct vcpu *v)
{
	c->vcpu = v;
	write_sysreg(vttbr_el2, v->vm->vttbr);
	write_sysreg(cntvoff_el2, v->vm->start);
	write_sysreg(vmpidr_el2, BIT(31) | v->index);
	isb();
	drop_translations(c, v);
	tgic_load(c);
	context_load(&v->context);
	tenant_pmu_load(c, v);
	if (v->last && v->last != c)
		v->migrations++;
	v->last = c;
	v->slices++;
}

static void put(struct cpu *c, struct vcpu *v)
{
	tenant_pmu_put(c, v);
	context_save(&v->context);
	tgic_put(c);
	c->vcpu = NULL;
}

/* The vCPU's turn is over; another CPU may take it from now on. */
static void leave_turn(struct cpu *c)
{
	struct vcpu *v = c->vcpu;

	profile_turn(c);
	put(c, v);
	spin_lock(&lock);
	v->on = NULL;
	v->turn = ++turns;
	if (v->power == VCPU_RUNNING)
		v->power = VCPU_READY;
	spin_unlock(&lock);
	kick_idle();
}

/* ---- The end ---- */

static _Noreturn void stop_here(struct cpu *c)
{
	profile_cpu_off(c);
	atomic_store(&c->stopped, true);
	for (;;)
		wfi();
}

static _Noreturn void end_machine(struct cpu *c)
{
	uint64_t deadline = now() + read_sysreg(cntfrq_el0);

	profile_cpu_off(c);
	atomic_store(&stopping, true);
	for (unsigned int i = 0; i < machine.cpu_count; i++) {
		if (&cpus[i] == c || atomic_load(&cpus[i].power) != CPU_ON)
			continue;
		kick(&cpus[i]);
		while (!atomic_load(&cpus[i].stopped) && now() < deadline)
			__asm__ volatile("yield");
	}
	for (unsigned int i = 0; i < vm_count; i++)
		vuart_end(&vms[i]);
	if (options.stats)
		tenant_stats();
	profile_print();
	machine_off();
}

static bool all_ended(void)
{
	for (unsigned int i = 0; i < vm_count; i++)
		if (!vms[i].ended && vms[i].options->awaited)
			return false;
	return true;
}

/* returns: whether it was the last that counts. */
static bool end_vm(const struct cpu *c, struct vm *vm)
{
	bool all;

	vuart_end(vm);
	spin_lock(&lock);
	vm->ended = true;
	all = all_ended();
	spin_unlock(&lock);
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		if (&cpus[i] != c)
			kick(&cpus[i]);
	return all;
}

void sched_vm_off(struct cpu *c)
{
	bool all = end_vm(c, c->vcpu->vm);

	c->turn_over = true;
	if (!all)
		return;
	leave_turn(c);
	end_machine(c);
}

/* ---- Turns ---- */

static void take(struct cpu *c, struct vcpu *v)
{
	v->power = VCPU_RUNNING;
	v->on = c;
	v->waits = false;
	atomic_store(&c->idle, false);
}

/* Interrupts that come while no guest runs here. */
static void idle_interrupt(struct cpu *c)
{
	uint32_t intid = (uint32_t)read_sysreg(icc_iar1_el1);

	if (intid < INTID_SPECIAL)
		tenant_interrupt(c, intid);
}

static struct vcpu *find_work(struct cpu *c)
{
	for (;;) {
		struct choice choice;

		if (atomic_load(&stopping))
			stop_here(c);
		atomic_store(&c->idle, true);
		spin_lock(&lock);
		choice = choose(c);
		if (choice.next)
			take(c, choice.next);
		spin_unlock(&lock);
		if (choice.next)
			return choice.next;
		timer_at(choice.deadline);
		profile_wait(c);
		wfi();
		idle_interrupt(c);
		profile_waited(c);
	}
}

/*
 * Its PMU keeps it from this CPU: back into the line, where it was, for another to take. Which CPUs have which
 * PMU does not change, so that this one need not ask again. Refused by all that it may run on, its guest ends.
 */
static void put_back(struct cpu *c, struct vcpu *v)
{
	uint32_t left;

	spin_lock(&lock);
	v->refused |= 1u << c->index;
	v->refusals++;
	left = v->vm->options->on & ~v->refused & ((1u << machine.cpu_count) - 1);
	v->on = NULL;
	v->power = VCPU_READY;
	spin_unlock(&lock);
	kick_idle();
	if (left)
		return;
	console_printf("vpmu: guest %u ends: no CPU is left that may run its CPU %u\n"
		       "[%u] vpmu-verdict: 125\n", v->vm->index, v->index, v->vm->index);
	if (end_vm(c, v->vm))
		end_machine(c);
}

static struct vcpu *find_admitted(struct cpu *c)
{
	for (;;) {
		struct vcpu *v = find_work(c);

		if (hetero_may_run(v, c))
			return v;
		put_back(c, v);
	}
}

void sched_run(struct cpu *c)
{
	struct vcpu *v = find_admitted(c);

	load(c, v);
	c->turn_over = false;
	start_slice();
	tenant_pmu_line(c);
	tgic_flush(c);
	pmu_enter(&c->pmu);
	vcpu_resume(&v->regs, c->stack_top);
}

/* Does another wait for this CPU? */
static bool is_wanted(const struct cpu *c)
{
	struct choice choice;

	spin_lock(&lock);
	choice = choose(c);
	spin_unlock(&lock);
	return choice.next != NULL;
}

void sched_slice_ended(struct cpu *c)
{
	if (is_wanted(c))
		c->turn_over = true;
	else
		start_slice();
	/* An overflow may have sent no interrupt (docs/qemu.md). */
	c->pmu.line_stale = c->pmu.backing;
}

void sched_wait(struct cpu *c)
{
	c->vcpu->waits = true;
	c->vcpu->waited++;
	c->turn_over = true;
}

void sched_leave(struct cpu *c, struct regs *r)
{
	if (unlikely(c->turn_over || c->vcpu->vm->ended || atomic_load(&stopping))) {
		c->vcpu->regs = *r;
		leave_turn(c);
		sched_run(c);
	}
	tenant_pmu_line(c);
	tgic_flush(c);
	pmu_enter(&c->pmu);
}

/* ---- Power of a guest's CPUs ---- */

bool sched_vcpu_on(struct vcpu *v, uint64_t entry, uint64_t context)
{
	bool off;

	spin_lock(&lock);
	off = v->power == VCPU_OFF && !v->on;
	if (off) {
		context_reset(&v->context, entry);
		v->regs = (struct regs){ .x = { context } };
		v->waits = false;
		tgic_vcpu_reset(v);
		tenant_pmu_reset(v);
		v->turn = ++turns;
		v->power = VCPU_READY;
	}
	spin_unlock(&lock);
	kick_idle();
	return off;
}

void sched_vcpu_off(struct cpu *c)
{
	spin_lock(&lock);
	c->vcpu->power = VCPU_OFF;
	spin_unlock(&lock);
	c->turn_over = true;
}

bool sched_is_off(struct vcpu *v)
{
	bool off;

	spin_lock(&lock);
	off = v->power == VCPU_OFF && !v->on;
	spin_unlock(&lock);
	return off;
}

void sched_init(struct cpu *c)
{
	uintptr_t sgi = c->gicr + GICR_SGI_FRAME;

	/* Besides those of gic.c: the kick, the slice's end, and the guests' timers. */
	gic_write(sgi, GIC_ISENABLER, 1u << 0 | 1u << PPI_HYP_TIMER | 1u << PPI_VIRTUAL_TIMER |
				      1u << PPI_PHYSICAL_TIMER);
	tenant_pmu_cpu_init(c);
	atomic_store(&c->power, CPU_ON);
}
