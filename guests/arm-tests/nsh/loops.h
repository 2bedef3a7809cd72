/* SPDX-License-Identifier: MIT */
/* Loops that do one thing per iteration which may enter EL2; see loops.S. */
#ifndef VPMU_ARM_TESTS_LOOPS_H
#define VPMU_ARM_TESTS_LOOPS_H

#include <stdint.h>

#define LOOP_INSTRUCTIONS 4u	/* per iteration, plus a constant per call */

void hvc_loop(uint64_t n, uint64_t fid);
void smc_loop(uint64_t n, uint64_t fid);
void type_loop(uint64_t n, uint64_t fid);	/* writes PMEVTYPER1 */
void id_loop(uint64_t n, uint64_t fid);		/* reads PMCEID0 */

#endif
