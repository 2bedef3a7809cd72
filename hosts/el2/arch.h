/* SPDX-License-Identifier: MIT */
/*
 * arch.h - the AArch64 instructions and register fields that C cannot say.
 *
 * Names and fields as in the Arm Architecture Reference Manual for A-profile (DDI 0487) and the GIC
 * architecture (IHI 0069). Registers that an Armv8.0 assembler may not know are given by encoding.
 */
#ifndef VPMU_EL2_ARCH_H
#define VPMU_EL2_ARCH_H

#include <stdint.h>

#define BIT(n) (UINT64_C(1) << (n))
#define FIELD(value, low, width) (((uint64_t)(value) >> (low)) & (BIT(width) - 1))

#define read_sysreg(reg) __extension__ ({ \
	uint64_t value_; \
	__asm__ volatile("mrs %0, " #reg : "=r" (value_)); \
	value_; })
#define write_sysreg(reg, value) \
	__asm__ volatile("msr " #reg ", %x0" : : "rZ" ((uint64_t)(value)) : "memory")

#define isb() __asm__ volatile("isb" : : : "memory")
#define dsb(domain) __asm__ volatile("dsb " #domain : : : "memory")
#define wfi() __asm__ volatile("wfi" : : : "memory")

/* Optional features' registers. */
#define HCRX_EL2      S3_4_C1_C2_2
#define HFGRTR_EL2    S3_4_C1_C1_4
#define HFGWTR_EL2    S3_4_C1_C1_5
#define HFGITR_EL2    S3_4_C1_C1_6
#define HDFGRTR_EL2   S3_4_C3_C1_4
#define HDFGWTR_EL2   S3_4_C3_C1_5
#define HAFGRTR_EL2   S3_4_C3_C1_6
#define HDFGRTR2_EL2  S3_4_C3_C1_0
#define HDFGWTR2_EL2  S3_4_C3_C1_1
#define HFGRTR2_EL2   S3_4_C3_C1_2
#define HFGWTR2_EL2   S3_4_C3_C1_3
#define HFGITR2_EL2   S3_4_C3_C1_7
#define ZCR_EL2       S3_4_C1_C2_0
#define read_sysreg_(reg) read_sysreg(reg)
#define write_sysreg_(reg, value) write_sysreg(reg, value)

/* HCR_EL2 */
#define HCR_VM     BIT(0)
#define HCR_SWIO   BIT(1)
#define HCR_FMO    BIT(3)
#define HCR_IMO    BIT(4)
#define HCR_AMO    BIT(5)
#define HCR_VSE    BIT(8)
#define HCR_FB     BIT(9)
#define HCR_BSU_INNER BIT(10)
#define HCR_TWI    BIT(13)
#define HCR_TID3   BIT(18)
#define HCR_TSC    BIT(19)
#define HCR_TIDCP  BIT(20)
#define HCR_TACR   BIT(21)
#define HCR_RW     BIT(31)
#define HCR_TLOR   BIT(35)
#define HCR_APK    BIT(40)
#define HCR_API    BIT(41)
#define HCR_EnSCXT BIT(53)
#define HCR_TID5   BIT(58)

/* SPSR_ELx and PSTATE */
#define PSR_MODE_EL0T 0x0u
#define PSR_MODE_EL1T 0x4u
#define PSR_MODE_EL1H 0x5u
#define PSR_MODE_MASK 0xFu
#define PSR_A32    BIT(4)
#define PSR_DAIF   (BIT(6) | BIT(7) | BIT(8) | BIT(9))
#define PSR_BTYPE  (BIT(10) | BIT(11))
#define PSR_SSBS   BIT(12)
#define PSR_SS     BIT(21)
#define PSR_PAN    BIT(22)
#define PSR_DIT    BIT(24)
#define PSR_NZCV   (BIT(28) | BIT(29) | BIT(30) | BIT(31))

/* ESR_ELx */
#define ESR_EC(esr) ((unsigned int)FIELD(esr, 26, 6))
#define ESR_IL     BIT(25)
#define EC_UNKNOWN  0x00u
#define EC_WFX      0x01u
#define EC_HVC64    0x16u
#define EC_SMC64    0x17u
#define EC_SYSREG   0x18u
#define EC_IABT_LOW 0x20u
#define EC_IABT_CUR 0x21u
#define EC_DABT_LOW 0x24u
#define EC_DABT_CUR 0x25u
#define EC_SERROR   0x2Fu
#define FSC_SYNC_EXTERNAL 0x10u

/* Address regions need these by name in assembly, so they are functions here. */
static inline uint64_t cpu_affinity(uint64_t mpidr)
{
	return mpidr & UINT64_C(0xFF00FFFFFF);
}

/* Cleans and invalidates to the point of coherency: what a CPU with its MMU off must see. */
static inline void dcache_clean_invalidate(uintptr_t start, uintptr_t size)
{
	uintptr_t line = (uintptr_t)4 << FIELD(read_sysreg(ctr_el0), 16, 4);

	for (uintptr_t p = start & ~(line - 1); p < start + size; p += line)
		__asm__ volatile("dc civac, %0" : : "r" (p) : "memory");
	dsb(sy);
}

#endif
