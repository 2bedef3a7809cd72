/* SPDX-License-Identifier: MIT */
/* What the guest does: register accesses, CPUID, running, halting. */
#include "play_world.h"

#define IA32_MISC_ENABLE 0x1A0u

static bool runs_direct(const struct play_vcpu *v)
{
	return v->place == PLAY_IN && play_is_mediated(v->vm);
}

/* A guest step needs a guest: one that runs, or one that the hypervisor emulates. */
static struct play_vcpu *guest(struct play_run *r)
{
	struct play_vcpu *v = play_vcpu(r);

	if (v->halted)
		play_senseless(r, "the vCPU is halted: only an interrupt wakes it");
	if (v->place == PLAY_NOWHERE)
		play_go_in(r, v);
	return v;
}

/* ---- x86 ---- */

/* IA32_MISC_ENABLE is the embedder's, which is us. */
static int misc_enable(struct play_vcpu *v, bool write, uint64_t *value)
{
	int said = write ? vpmu_x86_wrmsr(&v->v, IA32_MISC_ENABLE, *value) : VPMU_NOT_MINE;

	if (said != VPMU_NOT_MINE)
		return said;
	if (write)
		v->misc_enable = *value;
	else
		*value = vpmu_x86_misc_enable(&v->vm->vm, v->misc_enable);
	return VPMU_HANDLED;
}

static int trapped_msr(struct play_vcpu *v, uint32_t index, bool write, uint64_t *value)
{
	if (index == IA32_MISC_ENABLE)
		return misc_enable(v, write, value);
	return write ? vpmu_x86_wrmsr(&v->v, index, *value) : vpmu_x86_rdmsr(&v->v, index, value);
}

/* By hand or not, an access that traps is one between exit and enter. */
static int guest_msr(struct play_run *r, uint32_t index, bool write, uint64_t *value)
{
	struct play_vcpu *v = guest(r);
	struct x86_pmu *pmu = &r->world->cpus[v->cpu].x86.pmu;
	bool paused = v->place == PLAY_IN;
	int said;

	if (runs_direct(v) && vpmu_x86_is_direct(&v->v, index, write)) {
		bool fine = write ? x86_pmu_wrmsr(pmu, index, *value)
				  : x86_pmu_rdmsr(pmu, index, value);

		play_service(r, v);
		return fine ? VPMU_HANDLED : VPMU_FAULT_GP;
	}
	if (paused)
		play_exit(r, v);
	said = trapped_msr(v, index, write, value);
	play_resume(r, v, paused);
	return said;
}

static int access_msr(struct play_run *r, uint32_t index, bool write, uint64_t *value)
{
	if (play_is_bare(r))
		return play_bare_msr(r, index, write, value);
	return guest_msr(r, index, write, value);
}

static void wrmsr(struct play_run *r, const struct play_arg *args)
{
	uint32_t index = (uint32_t)play_arg(r, args, 0);
	uint64_t value = play_arg(r, args, 1);

	play_accessed(r, "WRMSR", access_msr(r, index, true, &value));
}

static uint64_t rdmsr(struct play_run *r, const struct play_arg *args)
{
	uint64_t value = 0;

	play_accessed(r, "RDMSR", access_msr(r, (uint32_t)play_arg(r, args, 0), false, &value));
	return r->value = value;
}

static int guest_rdpmc(struct play_run *r, struct vpmu_x86_rdpmc *p)
{
	struct play_vcpu *v = guest(r);
	bool paused = v->place == PLAY_IN;
	int said;

	if (runs_direct(v) && vpmu_x86_rdpmc_is_direct(&v->v))
		return x86_pmu_rdpmc(&r->world->cpus[v->cpu].x86.pmu, p->index, p->cpl, p->pce,
				     p->protected_mode, &p->value)
			       ? VPMU_HANDLED
			       : VPMU_FAULT_GP;
	if (paused)
		play_exit(r, v);
	said = vpmu_x86_rdpmc(&v->v, p);
	play_resume(r, v, paused);
	return said;
}

static uint64_t rdpmc(struct play_run *r, const struct play_arg *args)
{
	struct vpmu_x86_rdpmc rdpmc = {
		.index = (uint32_t)play_arg(r, args, 0),
		.cpl = (uint8_t)play_option(r, args, "cpl", 0),
		.pce = play_option(r, args, "pce", 0),
		.protected_mode = play_option(r, args, "pe", 1),
	};

	play_accessed(r, "RDPMC",
		      play_is_bare(r) ? play_bare_rdpmc(r, &rdpmc) : guest_rdpmc(r, &rdpmc));
	return r->value = rdpmc.value;
}

static uint64_t cpuid(struct play_run *r, const struct play_arg *args)
{
	unsigned int n = play_arg_count(args);
	unsigned int which = play_index(r, args, 1, 4);
	uint32_t host = n > 3 ? (uint32_t)play_arg(r, args, 3) : 0;
	uint32_t regs[4] = { host, host, host, host };

	vpmu_x86_cpuid(&play_vm(r)->vm, (uint32_t)play_arg(r, args, 0),
		       n > 2 ? (uint32_t)play_arg(r, args, 2) : 0, regs);
	return r->value = regs[which];
}

static void set_lvtpc(struct play_run *r, const struct play_arg *args)
{
	uint32_t value = (uint32_t)play_arg(r, args, 0);
	struct play_vcpu *v;
	bool paused;
	int said;

	if (play_is_bare(r)) {
		play_bare(r)->x86.pmu.lvtpc = value;
		play_returned(r, "the write of LVTPC", VPMU_HANDLED);
		return;
	}
	v = guest(r);
	paused = play_pause(r, v);
	said = vpmu_vcpu_lvtpc(&v->v, value);
	if (!said)
		v->lvtpc = value;
	play_resume(r, v, paused);
	play_returned(r, "vpmu_vcpu_lvtpc", said ? said : VPMU_HANDLED);
}

static uint64_t get_lvtpc(struct play_run *r, const struct play_arg *args)
{
	(void)args;
	return play_is_bare(r) ? play_bare(r)->x86.pmu.lvtpc : play_vcpu(r)->lvtpc;
}

static void hlt(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = guest(r);

	(void)args;
	if (v->place == PLAY_IN)
		play_exit(r, v);
	v->halted = true;
	play_service(r, v);
}

/* ---- Arm ---- */

/* What the CPU executes itself, or -1: it traps to EL2. */
static int direct_sysreg(struct play_run *r, struct play_vcpu *v, struct vpmu_arm_access *access)
{
	switch (model_guest_access(&r->world->cpus[v->cpu].arm_pmu, access->el, access->reg,
				   access->write, &access->value)) {
	case MODEL_EXECUTED: return VPMU_HANDLED;
	case MODEL_UNDEF: return VPMU_FAULT_UNDEF;
	case MODEL_TRAP_EL1: return VPMU_FAULT_EL1_TRAP;
	default: return -1;
	}
}

static int guest_sysreg(struct play_run *r, struct vpmu_arm_access *access)
{
	struct play_vcpu *v = guest(r);
	bool paused = v->place == PLAY_IN;
	int said = runs_direct(v) ? direct_sysreg(r, v, access) : -1;

	if (said >= 0) {
		play_service(r, v);
		return said;
	}
	if (paused)
		play_exit(r, v);
	said = vpmu_arm_access(&v->v, access);
	/* A write may have changed the level of the line. */
	if (!paused)
		play_deliver(r, v);
	play_resume(r, v, paused);
	return said;
}

static int access_sysreg(struct play_run *r, struct vpmu_arm_access *access)
{
	return play_is_bare(r) ? play_bare_sysreg(r, access) : guest_sysreg(r, access);
}

static uint32_t sysreg(struct play_run *r, uint64_t number)
{
	if (number & ~(uint64_t)VPMU_ARM_SYSREG_MASK)
		play_senseless(r, "%#llx is no system register", (unsigned long long)number);
	return (uint32_t)number;
}

static void msr(struct play_run *r, const struct play_arg *args)
{
	struct vpmu_arm_access access = {
		.reg = sysreg(r, play_arg(r, args, 0)),
		.el = play_find_option(args, "el0") ? 0 : 1,
		.write = true,
		.value = play_arg(r, args, 1),
	};

	play_accessed(r, "MSR", access_sysreg(r, &access));
}

static uint64_t mrs(struct play_run *r, const struct play_arg *args)
{
	struct vpmu_arm_access access = {
		.reg = sysreg(r, play_arg(r, args, 0)),
		.el = play_option(r, args, "el", 1) ? 1 : 0,
	};

	play_accessed(r, "MRS", access_sysreg(r, &access));
	return r->value = access.value;
}

/* ---- Running ---- */

/* The part of (all) that falls into events done..done + n of (of). */
static uint64_t share(uint64_t all, uint64_t done, uint64_t n, uint64_t of)
{
	__extension__ typedef unsigned __int128 wide;

	return (uint64_t)((wide)all * (done + n) / of) - (uint64_t)((wide)all * done / of);
}

static struct play_burst portion(const struct play_burst *b, uint64_t done, uint64_t n)
{
	uint64_t of = b->instructions;
	struct play_burst part = *b;

	part.instructions = n;
	part.cycles = share(b->cycles, done, n, of);
	part.reference = share(b->reference, done, n, of);
	part.branches = share(b->branches, done, n, of);
	part.branch_misses = share(b->branch_misses, done, n, of);
	part.llc = share(b->llc, done, n, of);
	part.llc_misses = share(b->llc_misses, done, n, of);
	part.nanoseconds = part.cycles;
	for (unsigned int i = 0; i < b->raw_count; i++)
		part.raw[i].n = share(b->raw[i].n, done, n, of);
	return part;
}

static void run_portion(struct play_run *r, struct play_vcpu *v, const struct play_burst *b)
{
	if (play_is_bare(r)) {
		play_bare_ran(r, b);
	} else if (play_guest_ran(r, v, b)) {
		play_exit(r, v);
		play_enter(r, v);
	} else {
		play_service(r, v);
	}
}

#define PORTIONS_MAX 10000000u

static void run(struct play_run *r, const struct play_arg *args)
{
	struct play_burst b = play_burst_of(r, args);
	uint64_t step = play_option(r, args, "step", b.instructions);
	bool until_pmi = play_find_option(args, "until_pmi");
	struct play_vcpu *v = play_is_bare(r) ? NULL : guest(r);
	const struct play_counts *counts = v ? &v->counts : &play_bare(r)->alone;
	uint64_t pmis = counts->pmis;

	if (!b.instructions)
		step = 1;
	if (!step || b.instructions / step > PORTIONS_MAX)
		play_senseless(r, "more than %u portions", PORTIONS_MAX);
	if (v)
		play_go_in(r, v);
	if (!b.instructions) {
		run_portion(r, v, &b);
		r->executed = 0;
		return;
	}
	for (r->executed = 0; r->executed < b.instructions;) {
		uint64_t left = b.instructions - r->executed;
		struct play_burst part = portion(&b, r->executed, left < step ? left : step);

		run_portion(r, v, &part);
		r->executed += part.instructions;
		if (until_pmi && counts->pmis != pmis)
			return;
	}
}

const struct play_command play_guest_commands[] = {
	{ .name = "wrmsr", .run = wrmsr, .assigns = true, .needs = PLAY_NEEDS_X86 | PLAY_TAKES_BARE },
	{ .name = "lvtpc", .run = set_lvtpc, .min = 1, .max = 1,
	  .needs = PLAY_NEEDS_X86 | PLAY_TAKES_BARE },
	{ .name = "hlt", .run = hlt },
	{ .name = "msr", .run = msr, .assigns = true,
	  .needs = PLAY_NEEDS_ARM | PLAY_TAKES_BARE, .options = "el0" },
	{ .name = "run", .run = run, .min = 1, .max = 1, .needs = PLAY_TAKES_BARE,
	  .options = PLAY_RUN_KEYS " step= until_pmi" },
	{ 0 },
};

const struct play_function play_guest_functions[] = {
	{ "rdmsr", 1, 1, PLAY_NEEDS_X86 | PLAY_TAKES_BARE, NULL, rdmsr },
	{ "rdpmc", 1, 1, PLAY_NEEDS_X86 | PLAY_TAKES_BARE, "cpl= pce= pe=", rdpmc },
	{ "cpuid", 2, 4, PLAY_NEEDS_X86, NULL, cpuid },
	{ "lvtpc", 0, 0, PLAY_NEEDS_X86 | PLAY_TAKES_BARE, NULL, get_lvtpc },
	{ "mrs", 1, 1, PLAY_NEEDS_ARM | PLAY_TAKES_BARE, "el=", mrs },
	{ 0 },
};
