/* SPDX-License-Identifier: MIT */
/*
 * hardware/armv8/sysreg.h - the only instructions that armv8.c cannot say in C. (name) is a string. A test that runs
 * the backend on a software PMU puts a header of this name in front.
 */
#ifndef VPMU_HARDWARE_SYSREG_H
#define VPMU_HARDWARE_SYSREG_H

#include <stdint.h>

#define read_sysreg(name)                                                                          \
	__extension__({                                                                                       \
		uint64_t value_;                                                                   \
		__asm__ volatile("mrs %0, " name : "=r"(value_));                                  \
		value_;                                                                            \
	})
#define write_sysreg(name, v) __asm__ volatile("msr " name ", %0" : : "r"((uint64_t)(v)))
#define isb() __asm__ volatile("isb" : : : "memory")

#endif
