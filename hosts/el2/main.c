/* SPDX-License-Identifier: MIT */
/*
 * main.c - from head.S to the guest: what the monitor does, in order.
 */
#include "tenant.h"
#include "string.h"

#include <libfdt.h>

struct cpu cpus[CPU_MAX];

_Static_assert(offsetof(struct cpu, stack_top) == CPU_STACK_TOP, "vectors.S");
_Static_assert(offsetof(struct cpu, emergency_top) == CPU_EMERGENCY_TOP, "vectors.S");
_Static_assert(sizeof(struct regs) == REGS_SIZE && offsetof(struct regs, sp) == REGS_SP, "vectors.S");

extern char stacks[], vectors[], profile_vectors[];

/* head.S calls these. */
_Noreturn void monitor_main(const void *fdt);
_Noreturn void monitor_at_el1(const void *fdt);

/* ---- What EL1 may do without us (DDI 0487 D24.2) ---- */

static bool has_pauth(void)
{
	uint64_t isar1 = read_sysreg(id_aa64isar1_el1);
	uint64_t isar2 = id_register(8 * 5 + 2);

	return (isar1 & 0xFF000FF0) || (isar2 & 0xFF00);  /* APA, API, GPA, GPI; GPA3, APA3 */
}

static void trap_control_init(void)
{
	uint64_t pfr0 = read_sysreg(id_aa64pfr0_el1);
	uint64_t hcr = HCR_VM | HCR_SWIO | HCR_FMO | HCR_IMO | HCR_AMO | HCR_TID3 | HCR_TSC | HCR_TIDCP |
		       HCR_TACR | HCR_RW;

	if (has_pauth())
		hcr |= HCR_APK | HCR_API;
	if (FIELD(read_sysreg(id_aa64mmfr1_el1), 16, 4))
		hcr |= HCR_TLOR;
	if (FIELD(id_register(8 * 3 + 1), 8, 4) >= 2)       /* MTE with tags: GMID_EL1 */
		hcr |= HCR_TID5;
	if (FIELD(pfr0, 56, 4) >= 2)                        /* CSV2_2: SCXTNUM_ELx */
		hcr |= HCR_EnSCXT;
	if (vm_count)  /* guests take turns, and their maintenance reaches the CPU where they were */
		hcr |= HCR_TWI | HCR_FB | HCR_BSU_INNER;
	write_sysreg(hcr_el2, hcr);
}

/* Fine-grained traps: none by us; the PMU's are libvpmu's. In those of FEAT_FGT2, 0 traps. */
static void fine_traps_init(void)
{
	uint64_t fgt = FIELD(read_sysreg(id_aa64mmfr0_el1), 56, 4);

	if (fgt >= 1) {
		/* nTPIDR2, nSMPRI and other "n" bits stay 0: they trap what is hidden. */
		write_sysreg_(HFGRTR_EL2, 0);
		write_sysreg_(HFGWTR_EL2, 0);
		write_sysreg_(HFGITR_EL2, 0);
		write_sysreg_(HDFGRTR_EL2, 0);
		write_sysreg_(HDFGWTR_EL2, 0);
		if (FIELD(read_sysreg(id_aa64pfr0_el1), 44, 4))
			write_sysreg_(HAFGRTR_EL2, 0);
	}
	if (fgt >= 2) {
		write_sysreg_(HFGRTR2_EL2, 0);
		write_sysreg_(HFGWTR2_EL2, 0);
		write_sysreg_(HFGITR2_EL2, 0);
		write_sysreg_(HDFGRTR2_EL2, 0);
		write_sysreg_(HDFGWTR2_EL2, 0);
	}
	if (FIELD(read_sysreg(id_aa64mmfr1_el1), 40, 4))
		write_sysreg_(HCRX_EL2, 0);
}

/*
 * CPTR_EL2 without VHE: FP and SVE free, SME, trace and activity monitors trapped. Vector registers
 * are the guest's from its first instruction on.
 */
static void feature_traps_init(void)
{
	uint64_t cptr = 0x32FF | BIT(8) | BIT(12) | BIT(20) | BIT(30);

	/* SVE is nobody's where guests take turns (context.c). */
	if (FIELD(read_sysreg(id_aa64pfr0_el1), 32, 4) && !vm_count) {
		write_sysreg(cptr_el2, cptr & ~BIT(8));
		isb();
		write_sysreg_(ZCR_EL2, 0x1FF);
		cptr &= ~BIT(8);
	}
	write_sysreg(cptr_el2, cptr);
	write_sysreg(mdcr_el2, MDCR_BASE);
	isb();
}

/* Timers: counters and the physical timer are the guest's, with no offset. */
static void timer_init(void)
{
	write_sysreg(cnthctl_el2, 3);
	write_sysreg(cntvoff_el2, 0);
	write_sysreg(cnthp_ctl_el2, 0);
}

/* EL1 as after a reset: MMU off, nothing masked but by PSTATE. */
static void guest_registers_init(void)
{
	write_sysreg(vpidr_el2, read_sysreg(midr_el1));
	write_sysreg(vmpidr_el2, read_sysreg(mpidr_el1));
	write_sysreg(sctlr_el1, 0x30D00800);
	write_sysreg(cpacr_el1, 0);
	write_sysreg(vbar_el1, 0);
	write_sysreg(cntkctl_el1, 0);
	write_sysreg(cntv_ctl_el0, 0);
	write_sysreg(cntp_ctl_el0, 0);
	write_sysreg(mdscr_el1, 0);
	write_sysreg(contextidr_el1, 0);
	write_sysreg(tpidr_el0, 0);
	write_sysreg(tpidrro_el0, 0);
	write_sysreg(tpidr_el1, 0);
}

void cpu_init(struct cpu *c)
{
	const char *table = vm_count ? tenant_vectors : vectors;

	if (options.profile)
		table = vm_count ? tenant_profile_vectors : profile_vectors;
	write_sysreg(vbar_el2, (uintptr_t)table);
	write_sysreg(tpidr_el2, (uintptr_t)c);
	isb();
	trap_control_init();
	fine_traps_init();
	feature_traps_init();
	timer_init();
	guest_registers_init();
	stage2_cpu_init();
	gic_cpu_init(c);
	pmu_cpu_init(c);
}

static _Noreturn void enter_guest(struct cpu *c)
{
	atomic_store(&c->power, CPU_ON);
	pmu_enter(&c->pmu);
	guest_start(c->entry, c->context, c->stack_top);
}

void cpu_start(struct cpu *c)
{
	cpu_init(c);
	if (vm_count)
		tenant_cpu_start(c);
	enter_guest(c);
}

/* ---- Start ---- */

static void cpus_init(void)
{
	for (unsigned int i = 0; i < CPU_MAX; i++) {
		uintptr_t stack = (uintptr_t)stacks + i * STACK_STRIDE;

		cpus[i].index = i;
		cpus[i].mpidr = machine.mpidr[i];
		cpus[i].stack_top = stack + PAGE_SIZE + STACK_SIZE;
		cpus[i].emergency_top = stack + STACK_STRIDE;
	}
}

static struct cpu *boot_cpu(void)
{
	int i = machine_cpu_index(cpu_affinity(read_sysreg(mpidr_el1)));

	if (i < 0)
		machine_fail("this CPU is not in the device tree\n");
	return &cpus[i];
}

static void read_options(const void *fdt)
{
	const char *words = fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "bootargs", NULL);
	const char *word, *error;
	size_t length;

	if (!words)
		return;
	error = options_parse(words, &word, &length);
	if (error)
		machine_fail("option \"%.*s\": %s\n", (int)length, word, error);
	if (!options.vm_count && hetero_is_described())
		machine_fail("option \"pmu-type=\": only with \"vm\"\n");
}

/* Several guests: tenant.c. */
static _Noreturn void start_tenants(void)
{
	tenants_prepare();
	cpus_init();
	vgic_init();
	gic_init();
	mmu_enter_run_tables();
	tenants_start(boot_cpu());
}

void monitor_main(const void *fdt)
{
	struct cpu *c;
	struct guest g;

	write_sysreg(vbar_el2, (uintptr_t)vectors);
	write_sysreg(tpidr_el2, 0);
	feature_traps_init();
	machine_find_console(fdt);
	read_options(fdt);
	machine_parse(fdt);
	profile_hide_key();
	if (options.vm_count)
		start_tenants();
	g = guest_prepare();
	stage2_build();
	cpus_init();
	vgic_init();
	gic_init();
	pmu_init();
	profile_init();
	c = boot_cpu();
	c->entry = g.entry;
	c->context = g.fdt;
	/* From here on nothing reads or writes the guest's memory. */
	mmu_enter_run_tables();
	cpu_start(c);
}

void monitor_at_el1(const void *fdt)
{
	machine_find_console(fdt);
	machine_fail("entered at EL1, but a hypervisor needs EL2 (QEMU: -M virt,virtualization=on)\n");
}
