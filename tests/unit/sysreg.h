/* SPDX-License-Identifier: MIT */
/* The system registers of hardware/armv8 here: those of a software PMU (armv8_sim.c). */
#ifndef VPMU_TESTS_SYSREG_H
#define VPMU_TESTS_SYSREG_H

#include "armv8_sim.h"

#define read_sysreg(name) armv8_sim_read(name)
#define write_sysreg(name, v) armv8_sim_write(name, v)
#define isb() armv8_sim_isb()

#endif
