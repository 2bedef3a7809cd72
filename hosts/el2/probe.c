/* SPDX-License-Identifier: MIT */
/*
 * probe.c - does an instruction that traps to EL2 count as retired?
 *
 * When the monitor carries out an instruction for the guest, it must count exactly once (RULES A7).
 * The architecture counts what is architecturally executed, which a trapped instruction is not;
 * QEMU (7.2 to 10.0 at least) has counted a trapped MRS, MSR, SMC or WFI by the time it traps, but not
 * an aborted load or store. So the machine is asked, once: HVC to HVC with a NOP in between,
 * against the same with the instruction in question.
 */
#include "monitor.h"
#include "probe.h"

#define EVENT_INST_RETIRED 0x08u

void probe_run(uint64_t counts[PROBE_COUNTS]);

static bool has_event(void)
{
	return read_sysreg(pmceid0_el0) & BIT(EVENT_INST_RETIRED);
}

static void count_instructions(void)
{
	write_sysreg(pmevtyper0_el0, EVENT_INST_RETIRED);
	write_sysreg(pmevcntr0_el0, 0);
	write_sysreg(pmcntenset_el0, 1);
	write_sysreg(pmcr_el0, 1);
	isb();
}

static void stop_counting(void)
{
	write_sysreg(pmcr_el0, 0);
	write_sysreg(pmcntenclr_el0, 1);
	write_sysreg(pmovsclr_el0, 1);
	write_sysreg(pmevtyper0_el0, 0);
	write_sysreg(pmevcntr0_el0, 0);
	isb();
}

struct probe probe_machine(void)
{
	uint64_t hcr = read_sysreg(hcr_el2), mdcr = read_sysreg(mdcr_el2);
	uint64_t counters = FIELD(read_sysreg(pmcr_el0), 11, 5);
	uint64_t n[PROBE_COUNTS];

	if (!has_event() || !counters)
		return (struct probe){ false, false, false };  /* nothing counts instructions */
	write_sysreg(hcr_el2, HCR_RW | HCR_TSC | HCR_TWI);
	write_sysreg(mdcr_el2, MDCR_BASE | BIT(6) | counters);  /* TPM, HPMN */
	write_sysreg(sctlr_el1, 0x30D00800);
	count_instructions();
	probe_run(n);
	stop_counting();
	write_sysreg(mdcr_el2, mdcr);
	write_sysreg(hcr_el2, hcr);
	isb();
	return (struct probe){
		.sysreg_counts = n[3] - n[1] >= n[1] - n[0],
		.smc_counts = n[5] - n[3] >= n[1] - n[0],
		.wfi_counts = n[7] - n[5] >= n[1] - n[0],
	};
}
