/* SPDX-License-Identifier: MIT */
/*
 * doors.h - accesses of a guest, all with the same parameters, so that each is called as the empty
 * one is: through a pointer to a function that the compiler cannot see at the call.
 */
#ifndef VPMU_BENCH_DOORS_H
#define VPMU_BENCH_DOORS_H

#include <vpmu/arm.h>
#include <vpmu/x86.h>

/* All return VPMU_HANDLED if it went well. (*value) is written, or was read. */
int door_empty(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_rdmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_wrmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_rdpmc(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_mrs(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_msr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
/* vpmu_count() of an instruction. */
int door_count(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
/*
 * An enter and the exit after it; the same after a write, which is what makes the enter do its
 * work.
 */
int door_round(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_wrmsr_round(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
int door_msr_round(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);

#endif
