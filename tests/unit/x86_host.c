/* SPDX-License-Identifier: MIT */
/*
 * Host events beside x86 guests (vpmu/host.h, RULES A8 and B): who counts what on one CPU that the host,
 * mediated, partitioned and emulated guests share.
 */
#include "cmocka_vpmu.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "script_source.h"
#include "x86_cpu.h"

#define INSTRUCTIONS 0xC0u
#define SEL (X86_SEL_USR | X86_SEL_OS | X86_SEL_EN)

/* A vendor, and where its registers are. */
struct vendor {
	enum x86_cpu_class class;
	uint32_t ctl, ctr, step, global, reset;
};

static const struct vendor intel = { X86_CPU_SKYLAKE, 0x186, 0xC1, 1, 0x38F, 0x390 };
static const struct vendor amd = { X86_CPU_ZEN4, 0xC0010200, 0xC0010201, 2, 0xC0000301, 0xC0000302 };
static const struct vendor *const vendors[] = { &intel, &amd };

struct bed {
	const struct vendor *vendor;
	struct x86_cpu hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
};

static void power_on(struct bed *b, const struct vendor *vendor)
{
	struct x86_pmu_config config;

	*b = (struct bed){ .vendor = vendor };
	x86_cpu_class_config(vendor->class, &config);
	assert_int_equal(x86_cpu_init(&b->hw, &config, true), 0);
	b->hw.cost = NULL;
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.x86.hw), 0);
	x86_cpu_model(&config, &b->model);
	b->model.debug_bits = 0;
	b->hw.host_owned = 0xF0;
}

static int make_vm(struct bed *b, enum vpmu_mode mode, enum vpmu_switch_kind kind, uint8_t gp)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = mode, .switch_kind = kind };

	b->model.gp = gp;
	return vpmu_x86_vm_init(&b->vm, &b->machine, &b->model, &config);
}

static void make_guest(struct bed *b, enum vpmu_mode mode, enum vpmu_switch_kind kind, uint8_t gp)
{
	assert_int_equal(make_vm(b, mode, kind, gp), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	if (mode == VPMU_MODE_EMULATED) {
		vpmu_script_source_init(&b->source, &b->v, true);
		assert_int_equal(vpmu_vcpu_attach(&b->v, &b->emulated, &b->source.source), 0);
	}
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu), 0);
}

/* ---- What everybody does ---- */

static void guest_write(struct bed *b, uint32_t index, uint64_t value)
{
	assert_int_equal(vpmu_x86_wrmsr(&b->v, index, value), VPMU_HANDLED);
}

static uint64_t guest_read(struct bed *b, uint32_t index)
{
	uint64_t value = 0;

	assert_int_equal(vpmu_x86_rdmsr(&b->v, index, &value), VPMU_HANDLED);
	return value;
}

static uint64_t count_of_guest(struct bed *b, unsigned int i)
{
	return guest_read(b, b->vendor->ctr + i * b->vendor->step);
}

static void guest_counts(struct bed *b, unsigned int i)
{
	guest_write(b, b->vendor->ctl + i * b->vendor->step, SEL | INSTRUCTIONS);
	guest_write(b, b->vendor->global, guest_read(b, b->vendor->global) | BIT(i));
}

static void enter(struct bed *b)
{
	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	x86_cpu_enter(&b->hw);
}

static void leave(struct bed *b)
{
	x86_cpu_exit(&b->hw);
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static struct x86_pmu_events instructions(uint64_t n)
{
	return (struct x86_pmu_events){ .instructions = n, .cycles = n, .reference_cycles = n };
}

static void guest_runs(struct bed *b, uint64_t n)
{
	struct x86_pmu_events events = instructions(n);

	enter(b);
	x86_pmu_retire(&b->hw.pmu, false, &events);
	b->hw.time += n;
	leave(b);
}

static void host_runs(struct bed *b, uint64_t n)
{
	struct x86_pmu_events events = instructions(n);

	x86_cpu_host(&b->hw, false, &events);
	b->hw.time += n;
}

static struct vpmu_host_event_config host_config(void)
{
	return (struct vpmu_host_event_config){
		.size = sizeof(struct vpmu_host_event_config), .scope = VPMU_SCOPE_CPU,
		.event = INSTRUCTIONS, .user = true, .kernel = true,
	};
}

static int create(struct bed *b, struct vpmu_host_event *e, const struct vpmu_host_event_config *c)
{
	return vpmu_host_event_create(e, &b->machine, &b->cpu, c);
}

static struct vpmu_count reading(struct vpmu_host_event *e)
{
	struct vpmu_count count;

	assert_int_equal(vpmu_host_event_read(e, &count), 0);
	return count;
}

static void at_the_end(struct bed *b)
{
	if (b->hw.violations)
		print_error("%s\n", b->hw.violation);
	assert_int_equal(b->hw.violations, 0);
}

/* ---- Tests ---- */

static void wrong_configurations(void **state)
{
	struct vpmu_host_event_config c;
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	power_on(&b, &intel);
	c = host_config();
	c.size++;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_SIZE);
	c = host_config();
	c.user = c.kernel = false;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_PARAM);
	c = host_config();
	c.exclude_guest = c.exclude_host = true;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_PARAM);
	c = host_config();
	c.scope = VPMU_SCOPE_HYPERVISOR;
	c.exclude_host = true;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_PARAM);
	c = host_config();
	c.scope = VPMU_SCOPE_VM;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_PARAM);
	c.scope = VPMU_SCOPE_VCPU;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_PARAM);
	c = host_config();
	c.period = BIT(31) + 1;
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_PARAM);
	make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4);
	c = host_config();
	enter(&b);
	assert_int_equal(create(&b, &e, &c), VPMU_ERR_STATE);
	leave(&b);
	assert_null(b.cpu.events);
	at_the_end(&b);
}

static void busy_rules(void **state)
{
	struct vpmu_host_event_config everywhere = host_config(), outside = host_config();
	struct vpmu_host_event e, f;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(vendors); i++) {
		power_on(&b, vendors[i]);
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, b.model.gp), 0);
		assert_int_equal(create(&b, &e, &everywhere), VPMU_ERR_BUSY);
		assert_int_equal(create(&b, &e, &outside), 0);
		everywhere.scope = VPMU_SCOPE_VM;
		everywhere.vm = &b.vm;
		assert_int_equal(create(&b, &f, &everywhere), VPMU_ERR_BUSY);
		everywhere = host_config();
		vpmu_vm_end(&b.vm);
		vpmu_vm_end(&b.vm);
		assert_int_equal(create(&b, &f, &everywhere), 0);
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, b.model.gp),
				 VPMU_ERR_BUSY);
		assert_int_equal(make_vm(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4), 0);
		assert_int_equal(vpmu_host_event_destroy(&f), 0);
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 4), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_null(b.cpu.events);
		at_the_end(&b);
	}
}

/* Without any guest, and with one that has no counters of the hardware. */
static void alone_and_beside_emulated(void **state)
{
	struct vpmu_host_event_config everywhere = host_config(), outside = host_config(),
				      inside = host_config();
	struct vpmu_host_event e, o, i;
	uint64_t global;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	inside.exclude_host = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		power_on(&b, vendors[k]);
		b.hw.host_owned = 0xFF;
		global = b.hw.pmu.global_ctrl;
		assert_int_equal(create(&b, &e, &everywhere), 0);
		assert_int_equal(create(&b, &o, &outside), 0);
		host_runs(&b, 1000);
		make_guest(&b, VPMU_MODE_EMULATED, VPMU_SWITCH_LAZY, 4);
		assert_int_equal(create(&b, &i, &inside), 0);
		guest_runs(&b, 77);
		host_runs(&b, 10);
		assert_int_equal(reading(&e).value, 1087);
		assert_int_equal(reading(&o).value, 1010);
		assert_int_equal(reading(&i).value, 77);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		host_runs(&b, 1);
		assert_int_equal(reading(&e).value, 1088);
		assert_int_equal(reading(&i).value, 77);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_int_equal(vpmu_host_event_destroy(&o), 0);
		assert_int_equal(vpmu_host_event_destroy(&i), 0);
		/* Nothing of it is left in the hardware (V7). */
		for (unsigned int n = 0; n < b.hw.pmu.config.gp; n++) {
			assert_int_equal(b.hw.pmu.gp[n], 0);
			assert_int_equal(b.hw.pmu.selector[n], 0);
		}
		assert_int_equal(b.hw.pmu.global_ctrl, global);
		assert_false(b.hw.pmu.vmx_controls);
		at_the_end(&b);
	}
}

/* RULES A8: a mediated guest stays parked beside an event of the host, and both count exactly. */
static void beside_mediated(void **state)
{
	const enum vpmu_switch_kind kinds[] = { VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER };
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	uint64_t accesses;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int k = 0; k < 4; k++) {
		power_on(&b, vendors[k % 2]);
		/* The eager switch takes every counter of the guest's each time: one is spared. */
		make_guest(&b, VPMU_MODE_MEDIATED, kinds[k / 2], k / 2 ? 5 : b.model.gp);
		guest_counts(&b, 0);
		guest_counts(&b, 1);
		guest_runs(&b, 100);
		assert_int_equal(create(&b, &e, &outside), 0);
		guest_runs(&b, 20);
		accesses = b.hw.x86.hw.accesses;
		for (unsigned int i = 0; i < 100; i++) {
			guest_runs(&b, 3);
			host_runs(&b, 1000);
		}
		if (k / 2 == 0)
			assert_int_equal(b.hw.x86.hw.accesses, accesses);
		assert_int_equal(reading(&e).value, 100000);
		assert_int_equal(count_of_guest(&b, 0), 420);
		assert_int_equal(count_of_guest(&b, 1), 420);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		guest_runs(&b, 5);
		host_runs(&b, 7);
		assert_int_equal(count_of_guest(&b, 0), 425);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		at_the_end(&b);
	}
}

/* What the host shares with the guest is not reached directly, and shows nothing (RULES B1, V2). */
static void shared_registers(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		struct vpmu_x86_rdpmc rdpmc = { .protected_mode = true };
		uint8_t gp;

		power_on(&b, vendors[k]);
		gp = b.model.gp;
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, gp);
		guest_counts(&b, 0);
		assert_int_equal(create(&b, &e, &outside), 0);
		host_runs(&b, 123);
		enter(&b);
		assert_true(vpmu_x86_is_direct(&b.v, b.vendor->ctr, true));
		assert_false(vpmu_x86_is_direct(&b.v, b.vendor->global, false));
		assert_false(vpmu_x86_is_direct(&b.v, b.vendor->reset, true));
		assert_false(vpmu_x86_rdpmc_is_direct(&b.v));
		leave(&b);
		for (rdpmc.index = 0; rdpmc.index < gp; rdpmc.index++) {
			assert_int_equal(vpmu_x86_rdpmc(&b.v, &rdpmc), VPMU_HANDLED);
			assert_int_equal(rdpmc.value, 0);
		}
		guest_write(&b, b.vendor->global, 0);
		guest_write(&b, b.vendor->reset, BIT(gp) - 1);
		guest_runs(&b, 50);
		host_runs(&b, 1);
		assert_int_equal(reading(&e).value, 124);
		assert_int_equal(count_of_guest(&b, 0), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		guest_runs(&b, 1);
		guest_write(&b, b.vendor->global, 1);
		enter(&b);
		assert_true(vpmu_x86_is_direct(&b.v, b.vendor->global, false));
		leave(&b);
		at_the_end(&b);
	}
}

/* A guest that starts using the event's counter gets it; the event goes elsewhere, or waits. */
static void conflicts(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct vpmu_count count;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		uint8_t gp;

		power_on(&b, vendors[k]);
		gp = b.model.gp;
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, gp);
		guest_counts(&b, 0);
		b.hw.host_owned = BIT(gp) - 1;
		assert_int_equal(create(&b, &e, &outside), 0);
		guest_runs(&b, 10);
		for (uint8_t i = gp; i-- > 1;) {
			assert_true(e.placed);
			host_runs(&b, 100);
			/* The event has the highest counter that the guest leaves. */
			assert_int_equal(e.counter, i);
			b.hw.host_owned &= ~BIT(i);
			guest_counts(&b, i);
			guest_runs(&b, 10);
			assert_int_equal(count_of_guest(&b, i), 10);
		}
		assert_false(e.placed);
		host_runs(&b, 100);
		count = reading(&e);
		assert_int_equal(count.value, 100 * (gp - 1u));
		/* Since the last counter went: the guest's turn too, for time is not split. */
		assert_int_equal(count.enabled - count.running, 110);
		assert_int_equal(count_of_guest(&b, 0), 10 * gp);
		/* It counts again when the guest is gone. */
		b.hw.host_owned = BIT(gp) - 1;
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		host_runs(&b, 11);
		assert_int_equal(reading(&e).value, 100 * (gp - 1u) + 11);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* The eager switch takes all counters of its guest at each enter: the event waits, and says so. */
static void beside_all_counters_of_the_eager_switch(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct vpmu_count count;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		power_on(&b, vendors[k]);
		assert_int_equal(create(&b, &e, &outside), 0);
		b.hw.host_owned = BIT(b.model.gp) - 1;
		host_runs(&b, 100);
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_EAGER, b.model.gp);
		b.hw.host_owned = 0;
		for (uint8_t i = 0; i < b.model.gp; i++)
			guest_counts(&b, i);
		for (unsigned int round = 0; round < 3; round++) {
			guest_runs(&b, 10);
			host_runs(&b, 7);
		}
		count = reading(&e);
		assert_int_equal(count.value, 100);
		assert_int_equal(count.enabled - count.running, 51);
		for (uint8_t i = 0; i < b.model.gp; i++)
			assert_int_equal(count_of_guest(&b, i), 30);
		b.hw.host_owned = BIT(b.model.gp) - 1;
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		host_runs(&b, 5);
		assert_int_equal(reading(&e).value, 105);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* A guest that is not in the hardware yet wants the event's counter, whose overflow nobody has seen. */
static void taken_with_a_sample_due(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	outside.period = 100;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		unsigned int top;

		power_on(&b, vendors[k]);
		top = b.model.gp - 1u;
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, b.model.gp);
		b.hw.host_owned = BIT(top) | BIT(top - 1);
		assert_int_equal(create(&b, &e, &outside), 0);
		assert_int_equal(e.counter, top);
		guest_counts(&b, top);
		host_runs(&b, 130);
		b.hw.host_owned = BIT(top - 1);
		guest_runs(&b, 7);
		assert_int_equal(e.counter, top - 1);
		assert_int_equal(guest_read(&b, b.vendor == &intel ? X86_MSR_GLOBAL_STATUS
								   : X86_MSR_AMD_GLOBAL_STATUS), 0);
		assert_int_equal(count_of_guest(&b, top), 7);
		assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
		assert_null(vpmu_cpu_sample(&b.cpu));
		host_runs(&b, 5);
		assert_int_equal(reading(&e).value, 135);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* The first who wants an interrupt of the CPU is an event of the host's: no guest was ever in the hardware. */
static void samples_without_guests(void **state)
{
	struct vpmu_host_event_config c = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	c.period = 100;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		power_on(&b, vendors[k]);
		b.hw.host_owned = BIT(b.model.gp) - 1;
		assert_int_equal(create(&b, &e, &c), 0);
		for (unsigned int n = 0; n < 3; n++) {
			host_runs(&b, 100);
			assert_int_equal(x86_pmu_take_interrupt(&b.hw.pmu), X86_PMU_NMI);
			assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
			assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
			assert_null(vpmu_cpu_sample(&b.cpu));
		}
		assert_int_equal(reading(&e).value, 300);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* FREEZE_PERFMON_ON_PMI would stop the host's counters: not in a partition, and not while there are any. */
static void freezing(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	power_on(&b, &intel);
	make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4);
	assert_int_equal(vpmu_x86_wrmsr(&b.v, X86_MSR_DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON),
			 VPMU_FAULT_GP);
	assert_int_equal(vpmu_x86_wrmsr(&b.v, X86_MSR_STATUS_SET, X86_STATUS_CTR_FRZ), VPMU_FAULT_GP);
	power_on(&b, &intel);
	make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 8);
	guest_write(&b, X86_MSR_DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
	guest_counts(&b, 0);
	guest_runs(&b, 1);
	assert_int_equal(vpmu_x86_debugctl(&b.v, 0), X86_DEBUGCTL_FREEZE_PERFMON);
	assert_int_equal(create(&b, &e, &outside), 0);
	guest_runs(&b, 1);
	assert_int_equal(vpmu_x86_debugctl(&b.v, 0), 0);
	/* Frozen by its own hand: the guest is, the host is not. */
	guest_write(&b, X86_MSR_STATUS_SET, X86_STATUS_CTR_FRZ);
	guest_runs(&b, 10);
	host_runs(&b, 10);
	assert_int_equal(b.hw.pmu.global_status & X86_STATUS_CTR_FRZ, 0);
	assert_int_equal(guest_read(&b, X86_MSR_GLOBAL_STATUS), X86_STATUS_CTR_FRZ);
	assert_int_equal(count_of_guest(&b, 0), 2);
	assert_int_equal(reading(&e).value, 10);
	guest_write(&b, X86_MSR_STATUS_RESET, X86_STATUS_CTR_FRZ);
	guest_runs(&b, 10);
	assert_int_equal(count_of_guest(&b, 0), 12);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	at_the_end(&b);
}

/* In a partition the host counts and samples the guest and itself, whatever the guest does. */
static void partition(void **state)
{
	const enum vpmu_switch_kind kinds[] = { VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER };
	struct vpmu_host_event_config everywhere = host_config(), inside = host_config();
	struct vpmu_host_event e, i;
	struct bed b;

	(void)state;
	inside.exclude_host = true;
	inside.scope = VPMU_SCOPE_VM;
	for (unsigned int k = 0; k < 4; k++) {
		struct vpmu_x86_rdpmc rdpmc = { .index = 4, .protected_mode = true };

		power_on(&b, vendors[k % 2]);
		inside.vm = &b.vm;
		assert_int_equal(create(&b, &e, &everywhere), 0);
		make_guest(&b, VPMU_MODE_PARTITIONED, kinds[k / 2], 4);
		assert_int_equal(create(&b, &i, &inside), 0);
		host_runs(&b, 5);
		guest_counts(&b, 3);
		guest_runs(&b, 1000);
		guest_write(&b, b.vendor->reset, 0xF);
		guest_write(&b, b.vendor->global, 0);
		guest_runs(&b, 100);
		host_runs(&b, 5);
		assert_int_equal(vpmu_x86_rdpmc(&b.v, &rdpmc), VPMU_FAULT_GP);
		assert_int_equal(count_of_guest(&b, 3), 1000);
		assert_int_equal(reading(&e).value, 1110);
		assert_int_equal(reading(&i).value, 1100);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		host_runs(&b, 1);
		assert_int_equal(reading(&e).value, 1111);
		assert_int_equal(reading(&i).value, 1100);
		assert_int_equal(vpmu_host_event_destroy(&i), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* The watchdog: it fires while the guest spins with its own interrupt masked, in time, and so does the guest's. */
static void watchdog(void **state)
{
	struct vpmu_host_event_config c = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	c.period = 1000;
	c.watchdog = true;
	c.pinned = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		unsigned int samples = 0, pmis = 0;

		power_on(&b, vendors[k]);
		make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4);
		assert_int_equal(create(&b, &e, &c), 0);
		guest_write(&b, b.vendor->ctl, SEL | X86_SEL_INT | INSTRUCTIONS);
		guest_write(&b, b.vendor->ctr, 0 - (uint64_t)700);
		guest_write(&b, b.vendor->global, 1);
		for (unsigned int n = 0; n < 100; n++) {
			enum vpmu_pmi pmi;

			guest_runs(&b, 100);
			if (x86_pmu_take_interrupt(&b.hw.pmu) == X86_PMU_NO_INTERRUPT)
				continue;
			pmi = vpmu_cpu_pmi(&b.cpu);
			if (pmi == VPMU_PMI_HOST || pmi == VPMU_PMI_BOTH) {
				assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
				assert_null(vpmu_cpu_sample(&b.cpu));
				samples++;
			}
			pmis += pmi == VPMU_PMI_GUEST || pmi == VPMU_PMI_BOTH;
			/* Its LVTPC is masked: nothing reaches the guest. */
			assert_int_equal(vpmu_vcpu_pmi(&b.v), 0);
		}
		assert_int_equal(samples, 10);
		assert_int_equal(pmis, 1);
		assert_int_equal(reading(&e).value, 10000);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* Beside a VM that has all counters it is refused, or the VM is; the error says what to do. */
static void watchdog_or_all_counters(void **state)
{
	struct vpmu_host_event_config dog = host_config(), everywhere = host_config();
	struct vpmu_host_event d, e;
	struct bed b;

	(void)state;
	dog.period = 1000;
	dog.watchdog = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		power_on(&b, vendors[k]);
		b.hw.host_owned = 0xFF;
		assert_int_equal(create(&b, &d, &dog), 0);
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 4),
				 VPMU_ERR_WATCHDOG);
		/* With another event in the way as well, it is still the one to be told of. */
		assert_int_equal(create(&b, &e, &everywhere), 0);
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 4),
				 VPMU_ERR_WATCHDOG);
		assert_int_equal(vpmu_host_event_destroy(&d), 0);
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 4),
				 VPMU_ERR_BUSY);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		/* The other way round. */
		assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 4), 0);
		assert_int_equal(create(&b, &d, &dog), VPMU_ERR_WATCHDOG);
		assert_int_equal(create(&b, &e, &everywhere), VPMU_ERR_BUSY);
		dog.scope = VPMU_SCOPE_VM;
		dog.vm = &b.vm;
		assert_int_equal(create(&b, &d, &dog), VPMU_ERR_WATCHDOG);
		dog.scope = VPMU_SCOPE_CPU;
		vpmu_vm_end(&b.vm);
		assert_int_equal(make_vm(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4), 0);
		assert_int_equal(create(&b, &d, &dog), 0);
		assert_int_equal(vpmu_host_event_destroy(&d), 0);
		vpmu_vm_end(&b.vm);
		assert_int_equal(b.machine.claims, 0);
		at_the_end(&b);
	}
	assert_non_null(strstr(vpmu_strerror(VPMU_ERR_WATCHDOG), "switch the watchdog off"));
	assert_non_null(strstr(vpmu_strerror(VPMU_ERR_WATCHDOG), "partition"));
}

/* The claims' fields do not run over into each other. */
static void too_many_claims(void **state)
{
	static const struct {
		enum vpmu_mode mode;
		unsigned int most;
	} rows[] = {
		{ VPMU_MODE_MEDIATED, 0xFFFF }, { VPMU_MODE_PARTITIONED, 0x7FFF },
	};
	struct bed b;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t full;

		power_on(&b, &intel);
		for (unsigned int n = 0; n < rows[i].most; n++)
			assert_int_equal(make_vm(&b, rows[i].mode, VPMU_SWITCH_LAZY, 4), 0);
		full = b.machine.claims;
		assert_int_equal(make_vm(&b, rows[i].mode, VPMU_SWITCH_LAZY, 4), VPMU_ERR_LIMIT);
		assert_int_equal(b.machine.claims, full);
		vpmu_vm_end(&b.vm);
		assert_int_equal(make_vm(&b, rows[i].mode, VPMU_SWITCH_LAZY, 4), 0);
	}
}

/* More events than counters: each gets its turn, and says how long it counted. */
static void rotation(void **state)
{
	struct vpmu_host_event_config c = host_config(), pinned = host_config();
	struct vpmu_host_event e[9];
	struct bed b;

	(void)state;
	pinned.pinned = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		uint8_t gp;

		power_on(&b, vendors[k]);
		b.hw.host_owned = 0xFF;
		gp = b.model.gp;
		for (unsigned int i = 0; i <= gp; i++)
			assert_int_equal(create(&b, &e[i], i ? &c : &pinned), 0);
		for (unsigned int n = 0; n < gp; n++) {
			host_runs(&b, 100);
			assert_int_equal(vpmu_cpu_rotate(&b.cpu), 0);
		}
		for (unsigned int i = 0; i <= gp; i++) {
			struct vpmu_count count = reading(&e[i]);

			assert_int_equal(count.enabled, 100u * gp);
			assert_int_equal(count.running, i ? 100u * (gp - 1) : 100u * gp);
			assert_int_equal(count.value, count.running);
		}
		for (unsigned int i = 0; i <= gp; i++)
			assert_int_equal(vpmu_host_event_destroy(&e[i]), 0);
		at_the_end(&b);
	}
}

/* A pinned event that cannot have a counter is refused, and leaves nothing behind. */
static void pinned_or_refused(void **state)
{
	struct vpmu_host_event_config c = host_config();
	struct vpmu_host_event e[9];
	struct bed b;

	(void)state;
	c.pinned = true;
	power_on(&b, &amd);
	b.hw.host_owned = 0xFF;
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(create(&b, &e[i], &c), 0);
	assert_int_equal(create(&b, &e[6], &c), VPMU_ERR_BUSY);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(vpmu_host_event_destroy(&e[i]), 0);
	assert_int_equal(make_vm(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 6), 0);
	at_the_end(&b);
}

/* Pinned events come first, also where others have all counters already. */
static void pinned_before_others(void **state)
{
	struct vpmu_host_event_config c = host_config(), pinned = host_config();
	struct vpmu_host_event e[6], p;
	struct bed b;

	(void)state;
	pinned.pinned = true;
	power_on(&b, &amd);
	b.hw.host_owned = 0xFF;
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(create(&b, &e[i], &c), 0);
	host_runs(&b, 10);
	assert_int_equal(create(&b, &p, &pinned), 0);
	assert_true(p.placed);
	assert_false(e[5].placed);
	host_runs(&b, 7);
	assert_int_equal(reading(&p).value, 7);
	assert_int_equal(reading(&e[0]).value, 17);
	assert_int_equal(reading(&e[5]).value, 10);
	assert_int_equal(reading(&e[5]).enabled, 17);
	assert_int_equal(reading(&e[5]).running, 10);
	assert_int_equal(vpmu_host_event_destroy(&p), 0);
	assert_true(e[5].placed);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(vpmu_host_event_destroy(&e[i]), 0);
	at_the_end(&b);
}

/* All events wait for a guest that has all counters, and it leaves them without being put. */
static void rotated_back(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		power_on(&b, vendors[k]);
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, b.model.gp);
		b.hw.host_owned = BIT(b.model.gp) - 1;
		assert_int_equal(create(&b, &e, &outside), 0);
		b.hw.host_owned = 0;
		for (uint8_t i = 0; i < b.model.gp; i++)
			guest_counts(&b, i);
		guest_runs(&b, 10);
		assert_false(e.placed);
		assert_int_equal(vpmu_cpu_reclaim(&b.cpu, 0), 0);
		b.hw.host_owned = BIT(b.model.gp) - 1;
		assert_int_equal(vpmu_cpu_rotate(&b.cpu), 0);
		assert_true(e.placed);
		host_runs(&b, 5);
		assert_int_equal(reading(&e).value, 5);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		at_the_end(&b);
	}
}

/* The guest's top counter has overflowed and is stopped: an event gets it, and the guest keeps its status. */
static void status_of_a_lent_counter(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	outside.period = 100;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		uint32_t status = vendors[k] == &intel ? X86_MSR_GLOBAL_STATUS : X86_MSR_AMD_GLOBAL_STATUS;
		unsigned int top;

		power_on(&b, vendors[k]);
		top = b.model.gp - 1u;
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, b.model.gp);
		guest_write(&b, vendors[k] == &intel ? X86_MSR_PMC(top) : X86_MSR_PERF_CTR(top),
			    BIT(48) - 5);
		guest_counts(&b, top);
		guest_runs(&b, 7);
		guest_write(&b, b.vendor->ctl + top * b.vendor->step, INSTRUCTIONS);
		assert_int_equal(guest_read(&b, status), BIT(top));
		b.hw.host_owned = BIT(top);
		assert_int_equal(create(&b, &e, &outside), 0);
		assert_int_equal(e.counter, top);
		guest_counts(&b, 0);
		guest_runs(&b, 3);
		assert_int_equal(b.hw.pmu.global_status, 0);
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_LATE);
		assert_null(vpmu_cpu_sample(&b.cpu));
		assert_int_equal(guest_read(&b, status), BIT(top));
		guest_write(&b, b.vendor->reset, BIT(top));
		assert_int_equal(guest_read(&b, status), 0);
		assert_int_equal(reading(&e).value, 0);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* ---- BUSY under threads ---- */

#define THREADS 8
#define ROUNDS 40000u

/* What a thread makes, and ends again. */
enum life {
	A_MEDIATED_VM,
	A_PARTITIONED_VM,
	A_PASSED_VM,
	AN_EMULATED_VM,
	AN_EVENT,                    /* counts inside guests */
	A_WATCHDOG,
	AN_EVENT_OUTSIDE,
	AN_EVENT_OF_THE_HYPERVISOR,
	AN_EVENT_OF_A_VM,
	AN_EVENT_OF_A_VCPU,
	LIVES,
};

/* Which of them must never live at once. */
static const uint32_t apart[LIVES] = {
	[A_MEDIATED_VM] = BIT(AN_EVENT) | BIT(A_WATCHDOG) | BIT(A_PASSED_VM),
	[A_PARTITIONED_VM] = BIT(A_PASSED_VM),
	[A_PASSED_VM] = BIT(A_MEDIATED_VM) | BIT(A_PARTITIONED_VM) | BIT(A_PASSED_VM) | BIT(AN_EVENT) |
			BIT(A_WATCHDOG),
	[AN_EVENT] = BIT(A_MEDIATED_VM) | BIT(A_PASSED_VM),
	[A_WATCHDOG] = BIT(A_MEDIATED_VM) | BIT(A_PASSED_VM),
};

/* Of all threads. */
static _Atomic int alive[LIVES], made[LIVES], refused[LIVES], collisions, surprises;

struct worker {
	struct vpmu_machine *machine;
	struct bed bed;              /* a CPU of its own */
	struct vpmu_vm theirs;       /* an emulated VM, for events to be about */
	struct vpmu_vcpu theirs_v;
	struct vpmu_host_event event;
	uint64_t random;
};

static int make_vm_of(struct worker *w, struct vpmu_vm *vm, enum vpmu_mode mode)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = mode };

	w->bed.model.gp = mode == VPMU_MODE_PARTITIONED ? 4 : 8;
	return vpmu_x86_vm_init(vm, w->machine, &w->bed.model, &config);
}

static struct vpmu_host_event_config event_config(const struct worker *w, enum life life)
{
	struct vpmu_host_event_config c = host_config();

	c.watchdog = life == A_WATCHDOG;
	c.period = life == A_WATCHDOG ? 1000 : 0;
	c.exclude_guest = life == AN_EVENT_OUTSIDE;
	if (life == AN_EVENT_OF_THE_HYPERVISOR)
		c.scope = VPMU_SCOPE_HYPERVISOR;
	if (life == AN_EVENT_OF_A_VM)
		c.scope = VPMU_SCOPE_VM;
	if (life == AN_EVENT_OF_A_VCPU)
		c.scope = VPMU_SCOPE_VCPU;
	c.vm = &w->theirs;
	c.vcpu = &w->theirs_v;
	return c;
}

static int begin(struct worker *w, enum life life)
{
	static const enum vpmu_mode modes[] = {
		[A_MEDIATED_VM] = VPMU_MODE_MEDIATED, [A_PARTITIONED_VM] = VPMU_MODE_PARTITIONED,
		[A_PASSED_VM] = VPMU_MODE_PASSTHROUGH, [AN_EMULATED_VM] = VPMU_MODE_EMULATED,
	};
	const struct vpmu_host_event_config config = event_config(w, life);

	if (life < ARRAY_SIZE(modes))
		return make_vm_of(w, &w->bed.vm, modes[life]);
	return vpmu_host_event_create(&w->event, w->machine, &w->bed.cpu, &config);
}

static void end(struct worker *w, enum life life)
{
	if (life <= AN_EMULATED_VM)
		vpmu_vm_end(&w->bed.vm);
	else if (vpmu_host_event_destroy(&w->event))
		surprises++;
}

static void look_around(enum life life)
{
	for (enum life other = 0; other < LIVES; other++) {
		if (apart[life] >> other & 1 && alive[other] > (other == life))
			collisions++;
	}
}

static void live(struct worker *w, enum life life)
{
	int error = begin(w, life);

	if (error) {
		refused[life]++;
		/* Nobody is refused whom nothing can be in the way of, and a watchdog is named. */
		if (!apart[life] || (error != VPMU_ERR_BUSY && error != VPMU_ERR_WATCHDOG) ||
		    (life == A_WATCHDOG && error != VPMU_ERR_WATCHDOG))
			surprises++;
		return;
	}
	made[life]++;
	alive[life]++;
	look_around(life);
	if (w->random >> 40 & 1)
		sched_yield();
	look_around(life);
	alive[life]--;
	end(w, life);
}

static _Atomic unsigned int started;

static void *lives(void *argument)
{
	struct worker *w = argument;

	for (started++; started < THREADS;)
		sched_yield();
	for (unsigned int i = 0; i < ROUNDS; i++) {
		w->random = w->random * 6364136223846793005u + 1442695040888963407u;
		live(w, (enum life)((w->random >> 33) % LIVES));
	}
	return NULL;
}

/* Ice Lake: what is passed through has no AnyThread. */
static void busy_under_threads(void **state)
{
	static const struct vendor icelake = { X86_CPU_ICELAKE, 0x186, 0xC1, 1, 0x38F, 0x390 };
	static struct worker workers[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned int i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		power_on(&w->bed, &icelake);
		w->bed.hw.host_owned = 0xFF;
		w->machine = &workers[0].bed.machine;
		w->random = i;
		assert_int_equal(make_vm_of(w, &w->theirs, VPMU_MODE_EMULATED), 0);
		vpmu_vcpu_init(&w->theirs_v, &w->theirs);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, lives, &workers[i]), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (enum life life = 0; life < LIVES; life++) {
		print_message("# %d: %d made, %d refused\n", (int)life, made[life], refused[life]);
		assert_in_range(made[life], 1, THREADS * ROUNDS);
	}
	assert_int_equal(collisions, 0);
	assert_int_equal(surprises, 0);
	assert_int_equal(workers[0].bed.machine.claims, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_configurations),
		cmocka_unit_test(busy_rules),
		cmocka_unit_test(alone_and_beside_emulated),
		cmocka_unit_test(beside_mediated),
		cmocka_unit_test(shared_registers),
		cmocka_unit_test(conflicts),
		cmocka_unit_test(beside_all_counters_of_the_eager_switch),
		cmocka_unit_test(taken_with_a_sample_due),
		cmocka_unit_test(samples_without_guests),
		cmocka_unit_test(freezing),
		cmocka_unit_test(partition),
		cmocka_unit_test(watchdog),
		cmocka_unit_test(watchdog_or_all_counters),
		cmocka_unit_test(too_many_claims),
		cmocka_unit_test(rotation),
		cmocka_unit_test(pinned_or_refused),
		cmocka_unit_test(pinned_before_others),
		cmocka_unit_test(rotated_back),
		cmocka_unit_test(status_of_a_lent_counter),
		cmocka_unit_test(busy_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
