/* SPDX-License-Identifier: MIT */
/*
 * idregs.c - the ID registers as the guest sees them.
 *
 * Fields not listed read as 0, "not implemented": a feature that needs EL2's help to be safe, or
 * that is newer than this file, is hidden until somebody has thought about it. The AArch32
 * registers read as 0: the guest is told that EL0 and EL1 are AArch64 only (RULES F2).
 */
#include "monitor.h"

#define NIBBLE(n) (UINT64_C(0xF) << 4 * (n))

/*
 * ID_AA64PFR0: EL0..EL3 are set below; FP, AdvSIMD, GIC, RAS, SVE, SEL2 no, MPAM no, AMU no, DIT,
 * RME no, CSV2, CSV3. PFR1: BT, SSBS, MTE no (tags would need HCR_EL2.ATA and tag memory),
 * RAS_frac, MPAM no, SME no, RNDR_trap no, CSV2_frac, the rest no. ZFR0 goes with SVE.
 */
#define PFR0_KEEP (NIBBLE(4) | NIBBLE(5) | NIBBLE(6) | NIBBLE(7) | NIBBLE(8) | NIBBLE(12) | \
		   NIBBLE(14) | NIBBLE(15))
#define PFR1_KEEP (NIBBLE(0) | NIBBLE(1) | NIBBLE(3) | NIBBLE(8))
/* Debug version, breakpoints, watchpoints, contexts, double lock. PMUVer: the library's. */
#define DFR0_KEEP (NIBBLE(0) | NIBBLE(3) | NIBBLE(5) | NIBBLE(7) | NIBBLE(9))
/* All but TME, which needs HCR_EL2.TME. */
#define ISAR0_KEEP (~NIBBLE(6))
/* All but LS64 and XS, which need HCRX_EL2. */
#define ISAR1_KEEP (~(NIBBLE(14) | NIBBLE(15)))
/* WFxT, RPRES, pointer authentication, BC, CSSC; MOPS and others need HCRX_EL2. */
#define ISAR2_KEEP (NIBBLE(0) | NIBBLE(1) | NIBBLE(2) | NIBBLE(3) | NIBBLE(5) | NIBBLE(6) | NIBBLE(13))
/*
 * ASIDBits, endianness, SNSMem, granules of stage 1, ExS; not stage 2's, FGT, ECV. PARange: below.
 */
#define MMFR0_KEEP (NIBBLE(1) | NIBBLE(2) | NIBBLE(3) | NIBBLE(4) | NIBBLE(5) | NIBBLE(6) | NIBBLE(7) | \
		    NIBBLE(11))
/*
 * HAFDBS, VMIDBits no, VH no, HPDS, LO no, PAN, SpecSEI, XNX no, TWED no, ETS, HCX no, AFP, nTLBPA,
 * TIDCP1 no, CMOW no.
 */
#define MMFR1_KEEP (NIBBLE(0) | NIBBLE(3) | NIBBLE(5) | NIBBLE(6) | NIBBLE(9) | NIBBLE(11) | NIBBLE(12))
/* CnP, UAO, LSM, IESB, VARange, CCIDX, NV no, ST, AT, IDS, FWB no, TTL, BBM, EVT no, E0PD. */
#define MMFR2_KEEP (NIBBLE(0) | NIBBLE(1) | NIBBLE(2) | NIBBLE(3) | NIBBLE(4) | NIBBLE(5) | NIBBLE(7) | \
		    NIBBLE(8) | NIBBLE(9) | NIBBLE(12) | NIBBLE(13) | NIBBLE(15))

#define AT(crm, op2) (8 * ((crm) - 1) + (op2))

static const uint64_t keep[AT(7, 7) + 1] = {
	[AT(4, 0)] = PFR0_KEEP,
	[AT(4, 1)] = PFR1_KEEP,
	[AT(4, 4)] = UINT64_MAX,     /* ZFR0 */
	[AT(5, 0)] = DFR0_KEEP,
	[AT(6, 0)] = ISAR0_KEEP,
	[AT(6, 1)] = ISAR1_KEEP,
	[AT(6, 2)] = ISAR2_KEEP,
	[AT(7, 0)] = MMFR0_KEEP,
	[AT(7, 1)] = MMFR1_KEEP,
	[AT(7, 2)] = MMFR2_KEEP,
};

/* ID_AA64MMFR0.PARange of what stage 2 can reach. */
static uint64_t guest_parange(uint64_t host)
{
	uint64_t limit = stage2_ipa_bits() < 36 ? 0 : stage2_ipa_bits() < 40 ? 1 : 2;

	host &= 0xF;
	return host < limit ? host : limit;
}

uint64_t guest_id_register(struct cpu *c, unsigned int crm, unsigned int op2)
{
	unsigned int index = AT(crm, op2);
	uint64_t host = id_register(index);
	uint64_t value = host & keep[index];

	switch (index) {
	case AT(4, 0):
		/* EL1 and EL0: AArch64 only; no EL2, no EL3. SVE: one guest alone. */
		return (c->vcpu ? value & ~NIBBLE(8) : value) | 0x11;
	case AT(4, 4):
		return c->vcpu ? 0 : value;
	case AT(5, 0):
		return pmu_dfr0(c, value | (host & NIBBLE(2))) ;
	case AT(7, 0):
		return value | guest_parange(host);
	}
	return value;
}
