/* SPDX-License-Identifier: MIT */
/* Bringing a CPU to the exception level that the tests run at. */
#include "cpu.h"

#define HCR_IMO (UINT64_C(1) << 4)
#define HCR_RW (UINT64_C(1) << 31)
#define SCTLR_EL1_RES1 UINT64_C(0x30d00800)
#define CPTR_EL2_RES1 UINT64_C(0x33ff)
#define CNTHCTL_EL1_ACCESS UINT64_C(3)
#define ICC_SRE_EL2_ALL UINT64_C(0xf)

struct cpu cpus[CPU_MAX];

unsigned cpu_el(void)
{
	return (unsigned)(sysreg_read("currentel") >> 2) & 3;
}

struct cpu *cpu_self(void)
{
	uint64_t self = cpu_el() == 2 ? sysreg_read("tpidr_el2") : sysreg_read("tpidr_el1");

	return (struct cpu *)(uintptr_t)self;
}

void cpu_enter(struct cpu *cpu)
{
	if (cpu_el() == 2) {
		sysreg_write("vbar_el2", (uintptr_t)vectors_el2);
		sysreg_write("tpidr_el2", (uintptr_t)cpu);
	}
	sysreg_write("vbar_el1", (uintptr_t)vectors_el1);
	sysreg_write("tpidr_el1", (uintptr_t)cpu);
	sysreg_write("sctlr_el1", SCTLR_EL1_RES1);
}

/* FEAT_FGT registers are UNKNOWN after a reset. */
static void no_fine_traps(void)
{
	if (((sysreg_read("id_aa64mmfr0_el1") >> 56) & 0xf) == 0)
		return;
	sysreg_write("s3_4_c1_c1_4", 0);	/* HFGRTR_EL2 */
	sysreg_write("s3_4_c1_c1_5", 0);	/* HFGWTR_EL2 */
	sysreg_write("s3_4_c1_c1_6", 0);	/* HFGITR_EL2 */
	sysreg_write("s3_4_c3_c1_4", 0);	/* HDFGRTR_EL2 */
	sysreg_write("s3_4_c3_c1_5", 0);	/* HDFGWTR_EL2 */
}

/* EL2 as plain as possible: nothing traps, EL1 has all counters, interrupts go to who runs. */
void cpu_el2_defaults(void)
{
	uint64_t counters = (sysreg_read("pmcr_el0") >> 11) & 0x1f;

	sysreg_write("hcr_el2", HCR_RW);
	sysreg_write("mdcr_el2", counters);
	sysreg_write("cptr_el2", CPTR_EL2_RES1);
	sysreg_write("hstr_el2", 0);
	sysreg_write("cnthctl_el2", CNTHCTL_EL1_ACCESS);
	sysreg_write("cntvoff_el2", 0);
	sysreg_write("vpidr_el2", sysreg_read("midr_el1"));
	sysreg_write("vmpidr_el2", sysreg_read("mpidr_el1"));
	sysreg_write("s3_4_c12_c9_5", ICC_SRE_EL2_ALL);
	no_fine_traps();
}

/* Interrupts come to EL2 and stay there: for tests that run at EL2 themselves. */
void cpu_el2_interrupts(void)
{
	sysreg_write("hcr_el2", HCR_RW | HCR_IMO);
}
