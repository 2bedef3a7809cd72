/* SPDX-License-Identifier: MIT */
/*
 * The bug museum: historical bugs of virtual PMUs, as scenarios, each under its id. Entries for
 * Arm (or any architecture) that concern registers, overflow, the world switch or leaks; M85,
 * M111, M112, M114 and M126 too.
 *
 * Elsewhere: M36, M37, M40, M71 for every number of counters, version and event: registers.c. M55
 * with every value: differential.c. M66, M120: NMIs between all accesses and migration at random:
 * schedules.c. M57, M99 to M102: attributes.c, attributes_orders.c, attributes_hetero.c. M111, M119: teardown.c too.
 * Left out: M51, M74 (deadlines), M113, M123: emulated mode. M93's rule about the sources is scripts/check-subscripts.sh.
 */
#include <string.h>

#include "rig.h"
#include "../../core/internal.h"

static struct rig rig;

#define FOR_EACH_CLASS(c) for (enum model_class c = 0; c < MODEL_CLASSES; c++)
#define ON (MODEL_PMCR_E | MODEL_PMCR_LC)

static struct rig_vcpu *start(enum model_class class, unsigned int vcpu)
{
	rig_init(&rig, class, VPMU_SWITCH_LAZY, 31 + class);
	rig_load(&rig.vcpus[vcpu], &rig.cpus[0]);
	rig_enter(&rig.vcpus[vcpu]);
	return &rig.vcpus[vcpu];
}

static void stop(struct rig_vcpu *g)
{
	rig_exit(g);
	rig_put(g);
}

static void m31_cycle_counter_keeps_its_upper_half(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		rig_write(g, MODEL_PMCR, ON);
		rig_write(g, MODEL_PMCCNTR, 0x100000000);
		rig_write(g, MODEL_PMCNTENSET, CYCLE_BIT);
		rig_run(g, 1, 10);
		rig_write(g, MODEL_PMCNTENCLR, CYCLE_BIT);
		assert_int_equal(rig_read(g, MODEL_PMCCNTR), 0x100000014);
		stop(g);
		rig_load(g, &rig.cpus[1]);
		rig_enter(g);
		assert_int_equal(rig_read(g, MODEL_PMCCNTR), 0x100000014);
	}
}

static void m33_pmcr_p_and_c_are_not_stored(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		rig_write(g, MODEL_PMEVCNTR(0), 0x1234);
		rig_write(g, MODEL_PMCCNTR, 0x5678);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_P | MODEL_PMCR_C | ON);
		assert_int_equal(rig_read(g, MODEL_PMCR) & (MODEL_PMCR_P | MODEL_PMCR_C), 0);
		rig_write(g, MODEL_PMEVCNTR(0), 0x1234);
		rig_write(g, MODEL_PMCCNTR, 0x5678);
		stop(g);
		rig_migrate(g);
		rig_load(g, &rig.cpus[1]);
		rig_enter(g);
		assert_int_equal(rig_read(g, MODEL_PMEVCNTR(0)), 0x1234);
		assert_int_equal(rig_read(g, MODEL_PMCCNTR), 0x5678);
	}
}

/*
 * While the guest's counters are in the hardware, parked or live: P must stay within the guest's
 * own.
 */
static void m34_pmcr_p_clears_event_counters_only(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);
			unsigned int n = g->bare.config.counters;

			rig_write(g, MODEL_PMOVSSET, 3);
			rig_write(g, MODEL_PMCNTENSET, 1);
			rig_write(g, MODEL_PMCR, ON);
			for (unsigned int i = 0; i < n; i++)
				rig_write(g, MODEL_PMEVCNTR(i), 7);
			rig_write(g, MODEL_PMCCNTR, 7);
			rig_write(g, MODEL_PMCR, MODEL_PMCR_P | ON);
			for (unsigned int i = 0; i < n; i++)
				assert_int_equal(rig_read(g, MODEL_PMEVCNTR(i)), 0);
			assert_int_equal(rig_read(g, MODEL_PMCCNTR), 7);
			rig_write(g, MODEL_PMEVCNTR(1), 7);
			rig_write(g, MODEL_PMCR, MODEL_PMCR_C | ON);
			assert_int_equal(rig_read(g, MODEL_PMEVCNTR(1)), 7);
			assert_int_equal(rig_read(g, MODEL_PMCCNTR), 0);
			assert_int_equal(rig_read(g, MODEL_PMOVSCLR), 3);
			/* What is not the guest's keeps what the host had there. */
			for (unsigned int i = n; i < 6; i++)
				assert_int_equal(g->cpu->pmu.pmevcntr[i], g->cpu->host_value[i]);
		}
	}
}

/* For N = 0..10: all four accessor pairs up to N, UNDEF from N on, no bitmap bit from N on. */
static void m36_counters_from_n_on_do_not_exist(void **state)
{
	static const uint32_t sets[] = { MODEL_PMCNTENSET, MODEL_PMINTENSET, MODEL_PMOVSSET };
	static const uint32_t clears[] = { MODEL_PMCNTENCLR, MODEL_PMINTENCLR, MODEL_PMOVSCLR };
	uint64_t value;

	(void)state;
	for (unsigned int n = 0; n <= 10; n++) {
		struct lone_guest g;

		lone_guest_init(&g, VPMU_ARM_V3P1, n, NULL);
		for (unsigned int i = 0; i < 31; i++) {
			int outcome = i < n ? VPMU_HANDLED : VPMU_FAULT_UNDEF;

			guest_write(&g.v, MODEL_PMSELR, i);
			assert_int_equal(try_write(&g.v, 1, MODEL_PMEVCNTR(i), i + 0x12345),
					 outcome);
			assert_int_equal(try_read(&g.v, 1, MODEL_PMXEVCNTR, &value), outcome);
			if (i < n)
				assert_int_equal(value, i + 0x12345);
			assert_int_equal(try_write(&g.v, 1, MODEL_PMXEVCNTR, i), outcome);
			assert_int_equal(try_read(&g.v, 1, MODEL_PMEVCNTR(i), &value), outcome);
			assert_int_equal(try_write(&g.v, 1, MODEL_PMXEVTYPER, i), outcome);
			assert_int_equal(try_read(&g.v, 1, MODEL_PMEVTYPER(i), &value), outcome);
		}
		for (unsigned int k = 0; k < 3; k++) {
			guest_write(&g.v, sets[k], UINT64_MAX);
			assert_int_equal(guest_read(&g.v, clears[k]), (BIT(n) - 1) | CYCLE_BIT);
		}
	}
}

/*
 * Quiet or not, trapped or direct, before and after an exit: a denied access goes to the guest's
 * EL1.
 */
static void m37_el0_needs_pmuserenr(void **state)
{
	static const struct {
		uint32_t reg;
		bool write;
		uint64_t grants;
	} rows[] = {
		{ MODEL_PMCR, false, 1 },	 { MODEL_PMCCNTR, false, 1 | 4 },
		{ MODEL_PMSWINC, true, 1 | 2 },	 { MODEL_PMEVCNTR(0), false, 1 | 8 },
		{ MODEL_PMEVCNTR(0), true, 1 },	 { MODEL_PMCCNTR, true, 1 },
		{ MODEL_PMSELR, true, 1 | 8 },
	};

	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int bits = 0; bits < 32; bits++) {
			struct rig_vcpu *g = start(class, bits & 16 ? 3 : 0);
			uint64_t user = bits & 15;

			for (unsigned int live = 0; live < 2; live++) {
				rig_write(g, MODEL_PMUSERENR, user);
				for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
					uint64_t value = 0;

					assert_int_equal(rig_access(g, 0, rows[i].reg,
								    rows[i].write, &value),
							 user & rows[i].grants
								 ? VPMU_HANDLED
								 : VPMU_FAULT_EL1_TRAP);
				}
				rig_write(g, MODEL_PMCNTENSET, 1);
				rig_write(g, MODEL_PMCR, ON);
			}
		}
	}
}

static void m38_res0_bits_reach_nobody(void **state)
{
	struct lone_guest g;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3, 6, NULL);
	guest_write(&g.v, MODEL_PMEVTYPER(0), UINT32_MAX);
	assert_int_equal(guest_read(&g.v, MODEL_PMEVTYPER(0)), 0xC00003FF);

	FOR_EACH_CLASS(class) {
		struct rig_vcpu *guest = start(class, 3);
		/* A PMUv3 guest on a newer machine: its events have 10 bits. */
		uint64_t mask = guest->vm->model.version == VPMU_ARM_V3 ? 0xC00003FF : 0xC000FFFF;

		rig.hostile = true;
		rig_write(guest, MODEL_PMEVTYPER(0), UINT32_MAX);
		rig_write(guest, MODEL_PMCCFILTR, UINT32_MAX);
		rig_write(guest, MODEL_PMCNTENSET, 1 | CYCLE_BIT);
		rig_write(guest, MODEL_PMCR, ON);
		assert_int_equal(guest->cpu->pmu.pmevtyper[0] & ~mask, 0);
		assert_int_equal(guest->cpu->pmu.pmccfiltr & ~(uint64_t)0xC0000000, 0);
	}
}

/* An advertised event counts, one that is not does not, a denied one is not advertised. */
static void m40_pmceid_tells_the_truth(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);
			uint64_t ceid = (rig_read(g, MODEL_PMCEID0) & UINT32_MAX) |
					rig_read(g, MODEL_PMCEID1) << 32;

			rig_write(g, MODEL_PMCNTENSET, 1);
			rig_write(g, MODEL_PMCR, ON);
			for (uint32_t event = 0; event < 0x40; event++) {
				struct model_event_count one = { event, 5 };
				struct model_events events = { .others = &one, .other_count = 1 };

				/* Only PMSWINC and a carry make these two. */
				if (event == MODEL_EVENT_SW_INCR || event == MODEL_EVENT_CHAIN)
					continue;
				rig_write(g, MODEL_PMEVTYPER(0), event);
				rig_write(g, MODEL_PMEVCNTR(0), 0);
				model_retire(&g->cpu->pmu, 1, &events);
				model_retire(&g->bare, 1, &events);
				rig_write(g, MODEL_PMEVTYPER(0), 0x3FF);
				assert_int_equal(rig_read(g, MODEL_PMEVCNTR(0)) >= 5,
						 ceid >> event & 1);
			}
			assert_int_equal(ceid >> 0x3D & 7, 0);
			assert_int_equal(ceid >> MODEL_EVENT_CHAIN & 1, 1);
		}
	}
}

static void through_el2(struct rig_vcpu *g)
{
	rig_exit(g);
	rig_reclaim(g->cpu);
	rig_enter(g);
}

/* On hardware, in memory, and across the two. */
static void m55_chain(void **state)
{
	static const struct {
		uint64_t high, enables, high_after, status;
	} rows[] = {
		{ 5, 3, 6, 1 }, { 5, 1, 5, 1 }, { UINT32_MAX, 3, 0, 3 },
	};

	(void)state;
	for (unsigned int bits = 0; bits < 4 * MODEL_CLASSES; bits++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct rig_vcpu *g = start((enum model_class)(bits >> 2), bits & 2 ? 3 : 0);
			uint64_t mask =
				g->bare.config.version == VPMU_ARM_V3P5 ? UINT64_MAX : UINT32_MAX;

			rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_SW_INCR);
			rig_write(g, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN);
			rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
			rig_write(g, MODEL_PMEVCNTR(1), rows[i].high);
			rig_write(g, MODEL_PMCNTENSET, rows[i].enables);
			rig_write(g, MODEL_PMCR, ON);
			/* The increment traps after a load, until a counter is touched. */
			if (bits & 1)
				through_el2(g);
			rig_write(g, MODEL_PMSWINC, 1);
			assert_int_equal(rig_read(g, MODEL_PMEVCNTR(0)), 0x100000000 & mask);
			assert_int_equal(rig_read(g, MODEL_PMEVCNTR(1)) & UINT32_MAX,
					 rows[i].high_after);
			assert_int_equal(rig_read(g, MODEL_PMOVSSET), rows[i].status);
		}
	}
}

/* The hardware has carried into the odd counter, then the library does. */
static void m55_chain_in_hardware_then_in_software(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 2 * MODEL_CLASSES; bits++) {
		struct rig_vcpu *g = start((enum model_class)(bits >> 1), bits & 1 ? 3 : 0);

		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN);
		rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
		rig_write(g, MODEL_PMCNTENSET, 3);
		rig_write(g, MODEL_PMCR, ON);
		rig_run(g, 1, 10);
		rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_SW_INCR);
		rig_write(g, MODEL_PMSWINC, 1);
		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
		rig_exit(g);
		rig_count(g, false, 1);
		rig_enter(g);
		assert_true(rig_read(g, MODEL_PMEVCNTR(1)) >= 3);
	}
}

/* 10^6 events of the host inside exits add nothing; a filter set for both rings counts nothing. */
static void m58_host_work_is_not_counted(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);
			struct model_events host = { .instructions = 1000000, .cycles = 1000000 };

			rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
			rig_write(g, MODEL_PMEVTYPER(1), MODEL_EVENT_CPU_CYCLES);
			rig_write(g, MODEL_PMEVTYPER(2), MODEL_EVENT_CPU_CYCLES | MODEL_FILTER_P |
				  MODEL_FILTER_U);
			rig_write(g, MODEL_PMCNTENSET, 7 | CYCLE_BIT);
			rig_write(g, MODEL_PMCR, ON);
			rig_run(g, 1, 100);
			rig_exit(g);
			model_retire(&g->cpu->pmu, 2, &host);
			rig_compare(g);
			rig_reclaim(g->cpu);
			for (unsigned int el = 0; el < 3; el++)
				model_retire(&g->cpu->pmu, el, &host);
			rig_compare(g);
			rig_enter(g);
			assert_int_equal(rig_read(g, MODEL_PMEVCNTR(1)), 200);
			assert_int_equal(rig_read(g, MODEL_PMEVCNTR(2)), 0);
		}
	}
}

/* Every combination of E, PMOVS, PMINTEN and PMCNTEN for each counter. */
static void m71_line_does_not_need_the_counter_enabled(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 16; bits++) {
		for (unsigned int i = 0; i < 32; i++) {
			struct lone_guest g;

			lone_guest_init(&g, VPMU_ARM_V3P5, 31, NULL);
			guest_write(&g.v, MODEL_PMCR, bits & 1);
			guest_write(&g.v, MODEL_PMOVSSET, bits & 2 ? BIT(i) : 0);
			guest_write(&g.v, MODEL_PMINTENSET, bits & 4 ? BIT(i) : 0);
			guest_write(&g.v, MODEL_PMCNTENSET, bits & 8 ? BIT(i) : 0);
			assert_int_equal(vpmu_vcpu_interrupt(&g.v), (bits & 7) == 7);
		}
	}
}

/*
 * The same while the guest runs: what the guest's interrupt controller sees is the hardware's
 * line.
 */
static void m71_line_in_the_hardware(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int i = 0; i < 32; i++) {
			struct rig_vcpu *g;

			if (i >= 6 && i != CYCLE)
				continue;
			g = start(class, 0);
			rig_write(g, MODEL_PMOVSSET, BIT(i));
			rig_write(g, MODEL_PMINTENSET, BIT(i));
			assert_false(model_interrupt(&g->cpu->pmu));
			rig_write(g, MODEL_PMCR, ON);
			assert_true(model_interrupt(&g->cpu->pmu));
			rig_write(g, MODEL_PMCR, MODEL_PMCR_LC);
			assert_false(model_interrupt(&g->cpu->pmu));
			rig_write(g, MODEL_PMCR, ON);
			rig_write(g, MODEL_PMOVSCLR, BIT(i));
			assert_false(model_interrupt(&g->cpu->pmu));
		}
	}
}

/*
 * After any write the level is the formula's, wherever the registers are. (rig_check compares
 * it.)
 */
static void m72_level_follows_every_write(void **state)
{
	static const uint32_t regs[] = { MODEL_PMCR,	  MODEL_PMINTENSET, MODEL_PMINTENCLR,
					 MODEL_PMOVSSET,  MODEL_PMOVSCLR,   MODEL_PMCNTENSET,
					 MODEL_PMCNTENCLR };
	struct rng rng = { 72 };

	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		for (unsigned int i = 0; i < 20000; i++) {
			uint32_t reg = regs[rng_below(&rng, ARRAY_SIZE(regs))];
			uint64_t value = rng_value(&rng);

			rig_write(g, reg, reg == MODEL_PMCR ? (value & 1) | MODEL_PMCR_LC : value);
			assert_int_equal(model_interrupt(&g->cpu->pmu), model_interrupt(&g->bare));
			if (rng_one_in(&rng, 4)) {
				rig_exit(g);
				assert_int_equal(vpmu_vcpu_interrupt(&g->v),
						 model_interrupt(&g->bare));
				rig_enter(g);
			}
		}
	}
}

/* Values next to every wrap, with any number of events. (Deadlines are of emulated mode.) */
static void m74_no_arithmetic_overflows(void **state)
{
	static const uint64_t edges[] = { 0,	       1,	UINT32_MAX - 1, UINT32_MAX, BIT(32),
					  BIT(63) - 1, BIT(63), UINT64_MAX - 1, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(edges) * ARRAY_SIZE(edges); i++) {
		uint64_t value = edges[i % ARRAY_SIZE(edges)], n = edges[i / ARRAY_SIZE(edges)];
		struct lone_guest g;

		lone_guest_init(&g, VPMU_ARM_V3P5, 2, NULL);
		guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LP);
		guest_write(&g.v, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		guest_write(&g.v, MODEL_PMEVCNTR(0), value);
		guest_write(&g.v, MODEL_PMCNTENSET, 1);
		assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, false, n), 0);
		assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(0)), value + n);
		assert_int_equal(guest_read(&g.v, MODEL_PMOVSSET), value + n < value);
	}
}

/* An interrupt that nobody waits for ends at once, for whoever is there. */
static void m75_unexpected_interrupt(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g;
		uint64_t accesses;

		rig_init(&rig, class, VPMU_SWITCH_LAZY, 75);
		accesses = rig.cpus[0].hw.hw.accesses;
		assert_int_equal(vpmu_cpu_pmi(&rig.cpus[0].cpu), VPMU_PMI_LATE);
		g = &rig.vcpus[0];
		rig_load(g, &rig.cpus[0]);
		accesses = rig.cpus[0].hw.hw.accesses;
		rig_enter(g);
		rig_exit(g);
		assert_int_equal(vpmu_cpu_pmi(&rig.cpus[0].cpu), VPMU_PMI_LATE);
		assert_int_equal(rig.cpus[0].hw.hw.accesses, accesses);
		assert_int_equal(vpmu_vcpu_stats(&g->v)->pmi_taken, 0);
	}
}

/* The overflow of one vCPU, its interrupt latched, then another vCPU: nobody takes the other's. */
static void c2_late_interrupt_after_a_switch(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0), *other = &rig.vcpus[1];

		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
		rig_write(g, MODEL_PMINTENSET, 1);
		rig_write(g, MODEL_PMCNTENSET, 1);
		rig_write(g, MODEL_PMCR, ON);
		rig_run(g, 1, 3);
		stop(g);
		rig_load(other, &rig.cpus[0]);
		rig_enter(other);
		rig_write(other, MODEL_PMCNTENSET, 1);
		rig_write(other, MODEL_PMINTENSET, 1);
		rig_write(other, MODEL_PMCR, ON);
		rig_exit(other);
		assert_int_equal(vpmu_cpu_pmi(&rig.cpus[0].cpu), VPMU_PMI_LATE);
		rig_put(other);
		/* It is still there for its owner, on another CPU. */
		assert_int_equal(vpmu_vcpu_interrupt(&g->v), 1);
		rig_load(g, &rig.cpus[1]);
		rig_enter(g);
		assert_true(model_interrupt(&rig.cpus[1].pmu));
		rig_exit(g);
		assert_int_equal(vpmu_cpu_pmi(&rig.cpus[1].cpu), VPMU_PMI_GUEST);
	}
}

/* Hardware with no event counter at all; and a guest with none on a machine with some. */
static void m85_no_counters(void **state)
{
	struct model_config config = { .version = VPMU_ARM_V3P1, .ceid = { 0x20001, 0 } };
	struct vpmu_vm_config vm_config = { .size = sizeof(vm_config) };
	struct vpmu_machine machine;
	struct vpmu_arm_model model;
	struct model_pmu pmu;
	struct model_hw hw;
	struct vpmu_cpu cpu;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	uint64_t value;

	(void)state;
	model_pmu_reset(&pmu, &config, 85);
	model_hw_init(&hw, &pmu);
	vpmu_machine_init(&machine);
	vpmu_machine_add(&machine, &hw.hw.caps);
	assert_int_equal(vpmu_cpu_init(&cpu, 0, &hw.hw), 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &model), 0);
	assert_int_equal(vpmu_arm_vm_init(&vm, &machine, &model, &vm_config), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu), 0);
	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
		assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
		assert_int_equal(guest_read(&v, MODEL_PMCR) >> 11 & 0x1F, 0);
		for (unsigned int i = 0; i < 31; i++) {
			assert_int_equal(try_read(&v, 1, MODEL_PMEVCNTR(i), &value),
					 VPMU_FAULT_UNDEF);
			assert_int_equal(try_write(&v, 1, MODEL_PMEVTYPER(i), 1), VPMU_FAULT_UNDEF);
		}
		guest_write(&v, MODEL_PMSWINC, UINT64_MAX);
		guest_write(&v, MODEL_PMCNTENSET, UINT64_MAX);
		assert_int_equal(guest_read(&v, MODEL_PMCNTENSET), CYCLE_BIT);
		guest_write(&v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_P | MODEL_PMCR_C);
	}
	assert_int_equal(vpmu_vcpu_put(&v), 0);
	assert_int_equal(hw.violations, 0);
}

/* Guest A fills every register; B reads reset values, direct or trapped, and counts from 0. */
static void m88_guests_do_not_share_registers(void **state)
{
	const uint64_t a5 = 0xA5A5A5A5A5A5A5A5;

	(void)state;
	for (unsigned int bits = 0; bits < 4 * MODEL_CLASSES; bits++) {
		struct rig_vcpu *g = start((enum model_class)(bits >> 2), 0);
		struct rig_vcpu *other = &rig.vcpus[1 + bits % 3];

		rig.hostile = true;
		rig_write(g, MODEL_PMCR, (a5 & ~(uint64_t)6) | ON);
		for (unsigned int i = 0; i < 6; i++) {
			rig_write(g, MODEL_PMEVCNTR(i), a5);
			rig_write(g, MODEL_PMEVTYPER(i), a5);
		}
		rig_write(g, MODEL_PMCCNTR, a5);
		rig_write(g, MODEL_PMCCFILTR, a5);
		rig_write(g, MODEL_PMCNTENSET, a5);
		rig_write(g, MODEL_PMINTENSET, a5);
		rig_write(g, MODEL_PMOVSSET, a5);
		rig_write(g, MODEL_PMSELR, a5);
		rig_write(g, MODEL_PMUSERENR, a5);
		stop(g);
		rig.hostile = false;
		rig_load(other, &rig.cpus[0]);
		rig_enter(other);
		/*
		 * The bare machine of (other) is in the reset state; every access is compared
		 * with it.
		 */
		for (unsigned int live = 0; live < 2; live++) {
			for (unsigned int i = 0; i < other->bare.config.counters; i++) {
				assert_int_equal(rig_read(other, MODEL_PMEVCNTR(i)), 0);
				assert_int_equal(rig_read(other, MODEL_PMEVTYPER(i)), 0);
			}
			assert_int_equal(rig_read(other, MODEL_PMCCNTR), 0);
			assert_int_equal(rig_read(other, MODEL_PMCCFILTR), 0);
			assert_int_equal(rig_read(other, MODEL_PMINTENSET), 0);
			assert_int_equal(rig_read(other, MODEL_PMOVSSET), 0);
			assert_int_equal(rig_read(other, MODEL_PMSELR), 0);
			assert_int_equal(rig_read(other, MODEL_PMUSERENR), 0);
			/* Counter 1 counts nothing, but the registers are in the hardware now. */
			rig_write(other, MODEL_PMCNTENSET, 2);
			rig_write(other, MODEL_PMCR, ON);
		}
	}
}

static bool counts_now(struct rig_vcpu *g)
{
	uint64_t before = rig_read(g, MODEL_PMEVCNTR(0));

	rig_run(g, 1, 100);
	return rig_read(g, MODEL_PMEVCNTR(0)) >= before + 100;
}

/*
 * A running counter stops at the next enter, goes on when allowed again, and reads back all the
 * time.
 */
static void m97_policy_reaches_running_counters(void **state)
{
	static const struct vpmu_event_range instructions = { 0x08, 0x08 };
	static const struct vpmu_policy deny = { &instructions, 1, false, NULL, NULL };

	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		struct vpmu_counter_status status;

		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMCNTENSET, 1);
		rig_write(g, MODEL_PMCR, ON);
		assert_true(counts_now(g));
		rig_set_policy(&rig, &rig.vms[0], &deny);
		assert_false(counts_now(g));
		assert_int_equal(rig_read(g, MODEL_PMEVTYPER(0)), MODEL_EVENT_INST_RETIRED);
		rig_exit(g);
		assert_int_equal(vpmu_vcpu_counter(&g->v, 0, &status), 0);
		assert_int_equal(status.state, VPMU_COUNTER_DENIED);
		rig_count(g, false, 1000);
		rig_enter(g);
		rig_set_policy(&rig, &rig.vms[0], NULL);
		assert_true(counts_now(g));
		assert_true(rig_read(g, MODEL_PMEVCNTR(0)) < 1000);
		rig_exit(g);
		assert_int_equal(vpmu_vcpu_counter(&g->v, 0, &status), 0);
		assert_int_equal(status.state, VPMU_COUNTER_COUNTING);
		/* Not at the same time as it is set, but at the next enter (E3). */
		rig_enter(g);
		assert_int_equal(vpmu_vm_set_policy(&rig.vms[0].vm, &deny), 0);
		rig_run(g, 1, 10);
		rig_exit(g);
		rig_compare(g);
	}
}

/*
 * The policy's first form: ranges, 0x11 gates PMCCNTR, SW_INCR and CHAIN are exempt, PMCEID
 * obeys.
 */
static void m99_policy(void **state)
{
	static const struct vpmu_event_range cycles = { 0x11, 0x11 };
	static const struct vpmu_policy only_cycles = { &cycles, 1, true, NULL, NULL };
	static const struct vpmu_policy no_cycles = { &cycles, 1, false, NULL, NULL };
	static const struct vpmu_policy nothing = { NULL, 0, true, NULL, NULL };
	static const struct {
		const struct vpmu_policy *policy;
		bool cycle, instructions;
	} rows[] = {
		{ NULL, true, true }, { &only_cycles, true, false },
		{ &no_cycles, false, true }, { &nothing, false, false },
	};

	(void)state;
	for (unsigned int bits = 0; bits < ARRAY_SIZE(rows) * MODEL_CLASSES; bits++) {
		size_t i = bits % ARRAY_SIZE(rows);
		struct rig_vcpu *g = start((enum model_class)(bits / ARRAY_SIZE(rows)), 0);

		rig_set_policy(&rig, &rig.vms[0], rows[i].policy);
		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_SW_INCR);
		rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
		rig_write(g, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN);
		rig_write(g, MODEL_PMEVTYPER(2), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMCNTENSET, 7 | CYCLE_BIT);
		rig_write(g, MODEL_PMCR, ON);
		rig_run(g, 1, 100);
		rig_write(g, MODEL_PMSWINC, 1);
		assert_int_equal(rig_read(g, MODEL_PMEVCNTR(1)), 1);
		assert_int_equal(rig_read(g, MODEL_PMEVCNTR(2)) != 0, rows[i].instructions);
		assert_int_equal(rig_read(g, MODEL_PMCCNTR) != 0, rows[i].cycle);
	}
}

/* Everything ends at any point: nothing is allocated, so nothing may be left in the hardware. */
static void m111_any_order_of_life(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rng rng = { 111 + class };

		for (unsigned int life = 0; life < 300; life++) {
			struct rig_vcpu *g = start(class, (unsigned int)rng_below(&rng, RIG_VCPUS));

			for (uint64_t steps = rng_below(&rng, 12); steps; steps--) {
				rig_write(g, MODEL_PMCNTENSET, rng_next(&rng));
				rig_write(g, MODEL_PMCR, ON);
				rig_run(g, 1, 10);
			}
			rig_exit(g);
			/*
			 * The CPU goes offline: reclaim, then put, in any state; then the vCPU
			 * starts anew.
			 */
			if (rng_one_in(&rng, 2))
				rig_reclaim(g->cpu);
			rig_put(g);
			rig_reset(g);
			rig_load(g, &rig.cpus[1]);
			rig_enter(g);
			assert_int_equal(rig_read(g, MODEL_PMCNTENSET), 0);
		}
	}
}

/* Indices at and beyond every bound. */
static void m112_bounds(void **state)
{
	static const unsigned int indices[] = { 0, 5, 6, 30, 31, 32, 63, 64, 65, UINT32_MAX };
	struct vpmu_counter_status status;

	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		rig_write(g, MODEL_PMCNTENSET, UINT64_MAX);
		rig_write(g, MODEL_PMCR, ON);
		rig_exit(g);
		for (size_t i = 0; i < ARRAY_SIZE(indices); i++) {
			bool exists = indices[i] < 6 || indices[i] == CYCLE;
			int expect = indices[i] < VPMU_COUNTER_MAX ? 0 : VPMU_ERR_PARAM;

			assert_int_equal(vpmu_vcpu_counter(&g->v, indices[i], &status), expect);
			if (!expect)
				assert_int_equal(status.state == VPMU_COUNTER_ABSENT, !exists);
		}
	}
}

/* Looking twice changes nothing, in any state, parked or not. */
static void m114_looking_changes_nothing(void **state)
{
	struct vpmu_counter_status status;
	struct vpmu_state s[2];

	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		struct model_pmu before;

		rig_write(g, MODEL_PMCNTENSET, 7);
		rig_write(g, MODEL_PMCR, ON);
		rig_run(g, 1, 100);
		rig_exit(g);
		before = g->cpu->pmu;
		for (unsigned int round = 0; round < 2; round++) {
			assert_int_equal(vpmu_vcpu_get_state(&g->v, &s[round]), 0);
			for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
				assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
			(void)vpmu_vcpu_interrupt(&g->v);
			(void)vpmu_vcpu_stats(&g->v);
			(void)vpmu_vcpu_reach_reason(&g->v);
		}
		assert_memory_equal(&s[0], &s[1], sizeof(s[0]));
		assert_memory_equal(&before, &g->cpu->pmu, sizeof(before));
		rig_enter(g);
	}
}

/* A counter at its last value with its interrupt on, for ever: at most one interrupt per exit. */
static void m126_overflow_storm_is_bounded(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t exits = 1000;

		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMINTENSET, 1);
		rig_write(g, MODEL_PMCNTENSET, 1);
		rig_write(g, MODEL_PMCR, ON);
		for (uint64_t i = 0; i < exits; i++) {
			rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX);
			rig_run(g, 1, 1);
			rig_exit(g);
			rig_enter(g);
		}
		assert_in_range(vpmu_vcpu_stats(&g->v)->pmi_taken, exits / 4,
				vpmu_vcpu_stats(&g->v)->enters);
	}
}

/* What scripts/check-subscripts.sh wants in front of subscripts does what it says, by arithmetic alone. */
static void m93_a_clamped_number_is_a_subscript(void **state)
{
	const unsigned int far[] = { 64, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF };

	(void)state;
	for (unsigned int size = 1; size <= VPMU_COUNTER_MAX; size++) {
		for (unsigned int i = 0; i < 3 * VPMU_COUNTER_MAX; i++)
			assert_int_equal(vpmu_clamp(i, size), i < size ? i : 0);
		for (size_t k = 0; k < ARRAY_SIZE(far); k++)
			assert_int_equal(vpmu_clamp(far[k], size), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(m31_cycle_counter_keeps_its_upper_half),
		cmocka_unit_test(m33_pmcr_p_and_c_are_not_stored),
		cmocka_unit_test(m34_pmcr_p_clears_event_counters_only),
		cmocka_unit_test(m36_counters_from_n_on_do_not_exist),
		cmocka_unit_test(m37_el0_needs_pmuserenr),
		cmocka_unit_test(m38_res0_bits_reach_nobody),
		cmocka_unit_test(m40_pmceid_tells_the_truth),
		cmocka_unit_test(m55_chain),
		cmocka_unit_test(m55_chain_in_hardware_then_in_software),
		cmocka_unit_test(m58_host_work_is_not_counted),
		cmocka_unit_test(m71_line_does_not_need_the_counter_enabled),
		cmocka_unit_test(m71_line_in_the_hardware),
		cmocka_unit_test(m72_level_follows_every_write),
		cmocka_unit_test(m74_no_arithmetic_overflows),
		cmocka_unit_test(m75_unexpected_interrupt),
		cmocka_unit_test(c2_late_interrupt_after_a_switch),
		cmocka_unit_test(m85_no_counters),
		cmocka_unit_test(m88_guests_do_not_share_registers),
		cmocka_unit_test(m93_a_clamped_number_is_a_subscript),
		cmocka_unit_test(m97_policy_reaches_running_counters),
		cmocka_unit_test(m99_policy),
		cmocka_unit_test(m111_any_order_of_life),
		cmocka_unit_test(m112_bounds),
		cmocka_unit_test(m114_looking_changes_nothing),
		cmocka_unit_test(m126_overflow_storm_is_bounded),
	};

	return cmocka_run_group_tests_name("museum", tests, NULL, NULL);
}
