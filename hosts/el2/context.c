/* SPDX-License-Identifier: MIT */
/*
 * context.c - the registers of EL1 and EL0 that a guest CPU keeps while another has the physical
 * one.
 *
 * The PMU's are libvpmu's, the list registers tgic.c's, the general ones are in the frame of
 * vectors.S. What the guest is not told to have (SVE, SME, MTE, AArch32, trace) traps and needs
 * none.
 */
#include "tenant.h"
#include "string.h"

#define VSESR_EL2     S3_4_C5_C2_3
#define VDISR_EL2     S3_4_C12_C1_1
#define SCXTNUM_EL0   S3_3_C13_C0_7
#define SCXTNUM_EL1   S3_0_C13_C0_7
#define TIMER_OFF     0
#define SCTLR_RESET   UINT64_C(0x30D00800)

/* ---- Pointer authentication: five keys of two halves ---- */

#define KEYS(X) \
	X(0, S3_0_C2_C1_0) X(1, S3_0_C2_C1_1) X(2, S3_0_C2_C1_2) X(3, S3_0_C2_C1_3) \
	X(4, S3_0_C2_C2_0) X(5, S3_0_C2_C2_1) X(6, S3_0_C2_C2_2) X(7, S3_0_C2_C2_3) \
	X(8, S3_0_C2_C3_0) X(9, S3_0_C2_C3_1)

static void save_keys(struct context *x)
{
#define SAVE(i, reg) x->keys[i] = read_sysreg_(reg);
	KEYS(SAVE)
#undef SAVE
}

static void load_keys(const struct context *x)
{
#define LOAD(i, reg) write_sysreg_(reg, x->keys[i]);
	KEYS(LOAD)
#undef LOAD
}

/* ---- Breakpoints and watchpoints: as many as ID_AA64DFR0_EL1 says ---- */

#define SIXTEEN(X) \
	X(15) X(14) X(13) X(12) X(11) X(10) X(9) X(8) X(7) X(6) X(5) X(4) X(3) X(2) X(1) X(0)

static void save_debug(struct context *x)
{
	uint64_t dfr0 = read_sysreg(id_aa64dfr0_el1);

	x->os_lock = FIELD(read_sysreg(oslsr_el1), 1, 1);
	switch (FIELD(dfr0, 12, 4)) {
#define SAVE(n) case n: x->breakpoint[n][0] = read_sysreg(dbgbvr##n##_el1); \
	x->breakpoint[n][1] = read_sysreg(dbgbcr##n##_el1); __attribute__((fallthrough));
	SIXTEEN(SAVE)
#undef SAVE
	default:
		break;
	}
	switch (FIELD(dfr0, 20, 4)) {
#define SAVE(n) case n: x->watchpoint[n][0] = read_sysreg(dbgwvr##n##_el1); \
	x->watchpoint[n][1] = read_sysreg(dbgwcr##n##_el1); __attribute__((fallthrough));
	SIXTEEN(SAVE)
#undef SAVE
	default:
		break;
	}
}

static void load_debug(const struct context *x)
{
	uint64_t dfr0 = read_sysreg(id_aa64dfr0_el1);

	write_sysreg(oslar_el1, x->os_lock);
	switch (FIELD(dfr0, 12, 4)) {
#define LOAD(n) case n: write_sysreg(dbgbvr##n##_el1, x->breakpoint[n][0]); \
	write_sysreg(dbgbcr##n##_el1, x->breakpoint[n][1]); __attribute__((fallthrough));
	SIXTEEN(LOAD)
#undef LOAD
	default:
		break;
	}
	switch (FIELD(dfr0, 20, 4)) {
#define LOAD(n) case n: write_sysreg(dbgwvr##n##_el1, x->watchpoint[n][0]); \
	write_sysreg(dbgwcr##n##_el1, x->watchpoint[n][1]); __attribute__((fallthrough));
	SIXTEEN(LOAD)
#undef LOAD
	default:
		break;
	}
}

/* ---- Registers of optional features ---- */

static bool has_ras(void)
{
	return FIELD(read_sysreg(id_aa64pfr0_el1), 28, 4) != 0;
}

static bool has_scxtnum(void)
{
	return FIELD(read_sysreg(id_aa64pfr0_el1), 56, 4) >= 2;
}

static bool has_keys(void)
{
	return read_sysreg(hcr_el2) & HCR_APK;
}

static void save_optional(struct context *x)
{
	if (has_ras()) {
		x->vdisr = read_sysreg_(VDISR_EL2);
		x->vsesr = read_sysreg_(VSESR_EL2);
	}
	if (has_scxtnum()) {
		x->scxtnum[0] = read_sysreg_(SCXTNUM_EL0);
		x->scxtnum[1] = read_sysreg_(SCXTNUM_EL1);
	}
	if (has_keys())
		save_keys(x);
}

static void load_optional(const struct context *x)
{
	if (has_ras()) {
		write_sysreg_(VDISR_EL2, x->vdisr);
		write_sysreg_(VSESR_EL2, x->vsesr);
	}
	if (has_scxtnum()) {
		write_sysreg_(SCXTNUM_EL0, x->scxtnum[0]);
		write_sysreg_(SCXTNUM_EL1, x->scxtnum[1]);
	}
	if (has_keys())
		load_keys(x);
}

/* ---- The virtual CPU interface ---- */

/* Registers of active priorities: one per 32 preemption levels (ICH_VTR_EL2.PREbits). */
static unsigned int preemption_bits(void)
{
	return (unsigned int)FIELD(read_sysreg(ich_vtr_el2), 26, 3) + 1;
}

static void save_interface(struct context *x)
{
	unsigned int bits = preemption_bits();

	x->vmcr = read_sysreg(ich_vmcr_el2);
	x->ap0r[0] = read_sysreg(ich_ap0r0_el2);
	x->ap1r[0] = read_sysreg(ich_ap1r0_el2);
	if (bits >= 6) {
		x->ap0r[1] = read_sysreg(ich_ap0r1_el2);
		x->ap1r[1] = read_sysreg(ich_ap1r1_el2);
	}
	if (bits >= 7) {
		x->ap0r[2] = read_sysreg(ich_ap0r2_el2);
		x->ap0r[3] = read_sysreg(ich_ap0r3_el2);
		x->ap1r[2] = read_sysreg(ich_ap1r2_el2);
		x->ap1r[3] = read_sysreg(ich_ap1r3_el2);
	}
}

static void load_interface(const struct context *x)
{
	unsigned int bits = preemption_bits();

	write_sysreg(ich_vmcr_el2, x->vmcr);
	write_sysreg(ich_ap0r0_el2, x->ap0r[0]);
	write_sysreg(ich_ap1r0_el2, x->ap1r[0]);
	if (bits >= 6) {
		write_sysreg(ich_ap0r1_el2, x->ap0r[1]);
		write_sysreg(ich_ap1r1_el2, x->ap1r[1]);
	}
	if (bits >= 7) {
		write_sysreg(ich_ap0r2_el2, x->ap0r[2]);
		write_sysreg(ich_ap0r3_el2, x->ap0r[3]);
		write_sysreg(ich_ap1r2_el2, x->ap1r[2]);
		write_sysreg(ich_ap1r3_el2, x->ap1r[3]);
	}
}

/* ---- Timers: off while another guest has the CPU, or their interrupts would be its ---- */

static void save_timers(struct context *x)
{
	x->cntv_ctl = read_sysreg(cntv_ctl_el0);
	x->cntv_cval = read_sysreg(cntv_cval_el0);
	x->cntp_ctl = read_sysreg(cntp_ctl_el0);
	x->cntp_cval = read_sysreg(cntp_cval_el0);
	write_sysreg(cntv_ctl_el0, TIMER_OFF);
	write_sysreg(cntp_ctl_el0, TIMER_OFF);
	isb();
}

static void load_timers(const struct context *x)
{
	write_sysreg(cntv_cval_el0, x->cntv_cval);
	write_sysreg(cntp_cval_el0, x->cntp_cval);
	isb();
	write_sysreg(cntv_ctl_el0, x->cntv_ctl);
	write_sysreg(cntp_ctl_el0, x->cntp_ctl);
}

/* ---- All ---- */

void context_reset(struct context *x, uint64_t entry)
{
	memset(x, 0, sizeof(*x));
	x->elr_el2 = entry;
	x->spsr_el2 = PSR_DAIF | PSR_MODE_EL1H;
	x->sctlr_el1 = SCTLR_RESET;
	x->os_lock = 1;
}

/* Of the loaded vCPU, whose ELR_EL2 and SPSR_EL2 may be in memory (guest_elr()). */
void context_save(struct context *x)
{
#define SAVE(name) x->name = read_sysreg(name);
	CONTEXT_REGISTERS(SAVE)
#undef SAVE
	x->elr_el2 = guest_elr(this_cpu());
	x->spsr_el2 = guest_spsr(this_cpu());
	x->serror = read_sysreg(hcr_el2) & HCR_VSE;
	save_timers(x);
	save_optional(x);
	save_debug(x);
	save_interface(x);
	fp_save(&x->fp);
}

void context_load(const struct context *x)
{
	uint64_t hcr = read_sysreg(hcr_el2) & ~HCR_VSE;

	write_sysreg(hcr_el2, hcr | (x->serror ? HCR_VSE : 0));
#define LOAD(name) write_sysreg(name, x->name);
	CONTEXT_REGISTERS(LOAD)
#undef LOAD
	guest_resume_at(this_cpu(), x->elr_el2, x->spsr_el2);
	load_timers(x);
	load_optional(x);
	load_debug(x);
	load_interface(x);
	fp_load(&x->fp);
	isb();
}
