/* SPDX-License-Identifier: MIT */
/*
 * pmu.c - libvpmu's calls at the monitor's moments, and nothing of the PMU's own.
 *
 * The vCPU is loaded when its CPU starts and put when it goes off; in between every exit to EL2 is
 * an exit of libvpmu's and every ERET an enter. A machine without a PMU has none of it.
 */
#include "monitor.h"
#include "partition.h"
#include "probe.h"

static struct vpmu_machine pmu_machine;
static struct vpmu_vm vm;
static struct vpmu_arm_model model;
static struct vpmu_policy policy;
static struct vpmu_vcpu vcpus[CPU_MAX];
static struct pmu_backing backings[CPU_MAX];
static uint64_t partitions;          /* counters that guests have for good */
static bool machine_counts[SKIPPED_KINDS];  /* what the hardware has counted when it traps */

void pmu_failed(int error)
{
	machine_fail("libvpmu: %s\n", vpmu_strerror(error));
}

static void must(int error)
{
	if (unlikely(error < 0))
		pmu_failed(error);
}

static const struct vpmu_armv8_base base = { .mdcr_el2 = MDCR_BASE };

static const struct vpmu_policy *choose_policy(struct vpmu_policy *out, const struct vm_options *o)
{
	if (!o->policy_given)
		return NULL;
	*out = (struct vpmu_policy){
		.ranges = o->policy,
		.range_count = o->policy_count,
		.allow_listed = o->policy_allow,
	};
	return out;
}

/* The other CPUs are off still and are taken to be like this one; vpmu_vcpu_load() checks it. */
struct vpmu_machine *pmu_machine_init(void)
{
	struct pmu *pmu = &cpus[0].pmu;
	struct probe probe;

	vpmu_machine_init(&pmu_machine);
	if (vpmu_armv8_init(&pmu->hw, &base) == VPMU_ERR_UNSUPPORTED)
		return NULL;
	probe = probe_machine();
	machine_counts[SKIPPED_SYSREG] = probe.sysreg_counts;
	machine_counts[SKIPPED_SMC] = probe.smc_counts;
	machine_counts[SKIPPED_WFI] = probe.wfi_counts;
	vpmu_machine_add(&pmu_machine, &pmu->hw.hw.caps);
	return &pmu_machine;
}

static const enum vpmu_mode modes[] = {
	[PMU_MEDIATED] = VPMU_MODE_MEDIATED,
	[PMU_PARTITIONED] = VPMU_MODE_PARTITIONED,
	[PMU_EMULATED] = VPMU_MODE_EMULATED,
	[PMU_PASSTHROUGH] = VPMU_MODE_PASSTHROUGH,
};

/* A part leaves the host some; an emulated PMCCNTR takes one. */
uint32_t pmu_choose_counters(const struct vm_options *o, uint32_t there)
{
	if (o->counters)
		return o->counters;
	if (o->mode == PMU_PARTITIONED)
		return (there + 1) / 2;
	return o->mode == PMU_EMULATED && there > 1 ? there - 1 : there;
}

static void choose_version(struct vpmu_arm_model *shape, const struct vm_options *o)
{
	if (o->version > (uint32_t)shape->version)
		machine_fail("option \"version=\": this machine's PMU is older\n");
	if (o->version)
		shape->version = (enum vpmu_arm_version)o->version;
}

static _Noreturn void refuse_vm(unsigned int index, int error)
{
	enum pmu_mode mode = options.vm[index].mode;

	if (error == VPMU_ERR_BUSY && mode == PMU_PASSTHROUGH)
		machine_fail("guest %u: \"mode=passthrough\" is for the only guest with counters of the "
			     "hardware, and without a host that counts: give it \"mode=mediated\"\n", index);
	if (error == VPMU_ERR_BUSY)
		machine_fail("guest %u: the host counts inside guests, or another one has \"mode=passthrough\": "
			     "give that one \"mode=mediated\", or this one \"mode=partitioned\"\n", index);
	if (error == VPMU_ERR_UNSUPPORTED && mode == PMU_PASSTHROUGH)
		machine_fail("guest %u: \"mode=passthrough\" shows it the whole PMU, which is more than it shall "
			     "have: give it \"mode=mediated\"\n", index);
	if (error == VPMU_ERR_UNSUPPORTED)
		machine_fail("guest %u: this machine's PMU cannot be had in its mode: "
			     "give it another \"mode=\"\n", index);
	machine_fail("guest %u: its PMU: %s\n", index, vpmu_strerror(error));
}

void pmu_vm_init(struct vpmu_vm *out, struct vpmu_machine *on, struct vpmu_arm_model *shape,
		 const struct vpmu_policy *events, const struct vm_options *o)
{
	struct vpmu_vm_config config = {
		.size = sizeof(config),
		.mode = modes[o->mode],
		.switch_kind = o->eager ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY,
		.policy = events,
	};
	int error;

	choose_version(shape, o);
	error = vpmu_arm_vm_init(out, on, shape, &config);
	if (error)
		refuse_vm((unsigned int)(o - options.vm), error);
	if (o->mode == PMU_PARTITIONED)
		partitions |= BIT(shape->counters) - 1;
}

void pmu_set_present(struct pmu *pmu, bool present)
{
	pmu->present = present;
	pmu->plain = present && !options.profile;
}

struct vpmu_machine *pmu_the_machine(void)
{
	return pmu_machine.caps.counters ? &pmu_machine : NULL;
}

uint64_t pmu_host_counters(void)
{
	return pmu_machine.caps.counters & ~(partitions | BIT(VPMU_ARM_CYCLE));
}

#define ARM_EVENT_BITS 0xFFFFu

void pmu_vcpu_init(struct vpmu_vcpu *v, struct vpmu_vm *of, struct pmu_backing *backing)
{
	vpmu_vcpu_init(v, of);
	if (!backing)
		return;
	vpmu_host_source_init(&backing->source, &pmu_machine, v, ARM_EVENT_BITS);
	must(vpmu_vcpu_attach(v, &backing->emulated, &backing->source.source));
}

void pmu_load(struct pmu *pmu)
{
	must(vpmu_vcpu_load(pmu->vcpu, &pmu->cpu));
	pmu->line_stale = pmu->backing;
	if (pmu->backing)
		vpmu_host_source_load(&pmu->backing->source, &pmu->cpu);
}

void pmu_put(struct pmu *pmu)
{
	if (pmu->backing)
		vpmu_host_source_put(&pmu->backing->source);
	must(vpmu_vcpu_put(pmu->vcpu));
}

void pmu_init(void)
{
	const struct vm_options *o = &options.vm[0];

	if (!pmu_machine_init() || o->mode == PMU_OFF)
		return;
	must(vpmu_arm_model_of(&pmu_machine, &model));
	if (o->counters > model.counters)
		machine_fail("option \"counters=%u\": this machine has %u\n", o->counters, model.counters);
	model.counters = pmu_choose_counters(o, model.counters);
	pmu_vm_init(&vm, &pmu_machine, &model, choose_policy(&policy, o), o);
	for (unsigned int i = 0; i < machine.cpu_count; i++) {
		cpus[i].pmu.backing = options.vm[0].mode == PMU_EMULATED ? &backings[i] : NULL;
		pmu_vcpu_init(&vcpus[i], &vm, cpus[i].pmu.backing);
		cpus[i].pmu.vcpu = &vcpus[i];
		pmu_set_present(&cpus[i].pmu, true);
	}
}

/* Each CPU proves it for itself. */
void pmu_hw_init(struct cpu *c)
{
	unsigned int least = 0;

	must(vpmu_armv8_init(&c->pmu.hw, &base));
	c->pmu.unpartitioned = partition_probe(c, &least);
	if (!c->pmu.unpartitioned)
		vpmu_armv8_partition(&c->pmu.hw, least);
	must(vpmu_cpu_init(&c->pmu.cpu, c->index, &c->pmu.hw.hw));
}

/* Also when the CPU comes back: its PMU and the guest's are as after a reset. */
void pmu_cpu_init(struct cpu *c)
{
	struct pmu *pmu = &c->pmu;

	if (!pmu->present && !options.profile) {
		write_sysreg(mdcr_el2, MDCR_BASE | MDCR_NO_PMU);
		return;
	}
	pmu_hw_init(c);
	profile_cpu_init(c);
	if (!pmu->present) {
		write_sysreg(mdcr_el2, read_sysreg(mdcr_el2) | MDCR_NO_PMU);
		return;
	}
	must(vpmu_vcpu_reset(pmu->vcpu));
	pmu_load(pmu);
}

void pmu_cpu_off(struct cpu *c)
{
	profile_put(c);
	if (c->pmu.present)
		pmu_put(&c->pmu);
	profile_cpu_off(c);
}

static bool guest_at_el0(const struct cpu *c)
{
	return (guest_spsr(c) & (PSR_A32 | PSR_MODE_MASK)) == PSR_MODE_EL0T;
}

static enum pmu_outcome outcome(int answer)
{
	switch (answer) {
	case VPMU_HANDLED:
		return PMU_HANDLED;
	case VPMU_FAULT_UNDEF:
		return PMU_UNDEF;
	case VPMU_FAULT_EL1_TRAP:
		return PMU_EL1_TRAP;
	}
	must(answer);
	return PMU_NOT_MINE;
}

enum pmu_outcome pmu_trap(struct cpu *c, struct regs *r, uint64_t esr)
{
	unsigned int rt = (unsigned int)FIELD(esr, 5, 5);
	struct vpmu_arm_access access = {
		.reg = (uint32_t)esr & VPMU_ARM_SYSREG_MASK,
		.el = guest_at_el0(c) ? 0 : 1,
		.write = !(esr & BIT(0)),
		.count = !machine_counts[SKIPPED_SYSREG],
		.value = regs_get(r, rt),
	};
	enum pmu_outcome result;

	if (!c->pmu.present)
		return PMU_NOT_MINE;
	c->pmu.line_stale = c->pmu.backing;
	result = outcome(vpmu_arm_access(c->pmu.vcpu, &access));
	if (result != PMU_NOT_MINE)
		count_exit(c, EXIT_PMU);
	if (result == PMU_HANDLED && !access.write)
		regs_set(r, rt, access.value);
	return result;
}

bool pmu_irq(struct cpu *c)
{
	enum vpmu_pmi whose = VPMU_PMI_LATE;

	if (c->pmu.present || c->profile)
		whose = vpmu_cpu_pmi(&c->pmu.cpu);
	if (whose == VPMU_PMI_HOST || whose == VPMU_PMI_BOTH)
		profile_samples(c);
	if (whose == VPMU_PMI_LATE)
		c->pmu.late++;
	return whose == VPMU_PMI_GUEST || whose == VPMU_PMI_BOTH;
}

struct vpmu_host_event *pmu_sample(struct cpu *c)
{
	struct pmu_backing *backing = c->pmu.backing;
	struct vpmu_host_event *e;

	do {
		e = vpmu_cpu_sample(&c->pmu.cpu);
		c->pmu.line_stale = backing;
	} while (e && backing && vpmu_host_source_sample(&backing->source, e));
	return e;
}

void pmu_line(struct pmu *pmu)
{
	pmu->line_stale = false;
	gic_pmi_line(this_cpu(), vpmu_vcpu_interrupt(pmu->vcpu) == 1);
}

bool pmu_interrupt(struct cpu *c)
{
	return c->pmu.present && vpmu_vcpu_interrupt(c->pmu.vcpu) == 1;
}

void pmu_skipped(struct cpu *c, enum skipped kind)
{
	if (!c->pmu.present || machine_counts[kind])
		return;
	c->pmu.line_stale = c->pmu.backing;
	must(vpmu_count(c->pmu.vcpu, VPMU_EVENT_INSTRUCTIONS, guest_at_el0(c), 1));
}

uint64_t pmu_dfr0(struct cpu *c, uint64_t host)
{
	return c->pmu.present ? vpmu_arm_dfr0(c->pmu.vcpu->vm, host) : host & ~UINT64_C(0xF00);
}

/* ---- Statistics ---- */

static const char *const reasons[] = {
	[VPMU_REACH_FINE_TRAPS] = "control-trapped values-direct (fine-grained traps)",
	[VPMU_REACH_OPEN] = "all-direct (nothing to enforce)",
	[VPMU_REACH_POLICY] = "all-trapped (no fine-grained traps, a policy to enforce)",
	[VPMU_REACH_UNSAFE] = "all-trapped (the guest made counters count outside it)",
	[VPMU_REACH_SHAPE] = "all-trapped (the guest's PMU is not the machine's)",
	[VPMU_REACH_SHARED] = "all-trapped (the host counts beside the guest)",
	[VPMU_REACH_EMULATED] = "all-trapped (its counters are not the hardware's)",
};

static const char *const counter_states[] = {
	[VPMU_COUNTER_STOPPED] = "stopped",
	[VPMU_COUNTER_COUNTING] = "counting",
	[VPMU_COUNTER_STARVED] = "starved",
	[VPMU_COUNTER_DENIED] = "denied",
	[VPMU_COUNTER_UNSUPPORTED] = "unsupported",
};

static void print_counters(const char *name, struct vpmu_vcpu *v)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		struct vpmu_counter_status s;

		if (vpmu_vcpu_counter(v, i, &s) < 0 || s.state == VPMU_COUNTER_ABSENT)
			continue;
		console_printf("vpmu: %s counter%u %s selector 0x%lx value %lu\n", name, i,
			       counter_states[s.state], s.selector, s.value);
	}
}

void pmu_print(const char *name, struct vpmu_vcpu *v, uint64_t late)
{
	const struct vpmu_vcpu_stats *s = vpmu_vcpu_stats(v);
	const struct { const char *name; uint64_t value; } rows[] = {
		{ "enters", s->enters },
		{ "enters.quiet", s->quiet },
		{ "enters.resumed", s->resumed },
		{ "loads", s->loads },
		{ "saves", s->saves },
		{ "probes", s->probes },
		{ "switch_accesses", s->switch_accesses },
		{ "trapped_reads", s->trapped_reads },
		{ "trapped_writes", s->trapped_writes },
		{ "trap_accesses", s->trap_accesses },
		{ "faults", s->faults },
		{ "pmi_taken", s->pmi_taken },
		{ "pmi_late", late },
		{ "emulated_counted", s->emulated_counted },
	};

	if (!s->enters)
		return;
	console_printf("vpmu: %s pmu.reach %s\n", name, reasons[vpmu_vcpu_reach_reason(v)]);
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		console_printf("vpmu: %s pmu.%s %lu\n", name, rows[i].name, rows[i].value);
	print_counters(name, v);
}

void pmu_print_partition(struct cpu *c)
{
	if (c->pmu.hw.hw.caps.partitions)
		console_printf("vpmu: cpu%u pmu.partition hpmn enforced\n", c->index);
	else if (c->pmu.unpartitioned)
		console_printf("vpmu: cpu%u pmu.partition trap mode: %s\n", c->index,
			       c->pmu.unpartitioned);
}

void pmu_stats(struct cpu *c)
{
	char name[] = { 'c', 'p', 'u', (char)('0' + c->index), '\0' };

	if (!c->pmu.present)
		return;
	pmu_print_partition(c);
	pmu_print(name, c->pmu.vcpu, c->pmu.late);
}
