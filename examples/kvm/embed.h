/* SPDX-License-Identifier: MIT */
/* A VMM's side of the library: all calls of it are in embed.c. One vCPU. */
#ifndef VPMU_EXAMPLES_EMBED_H
#define VPMU_EXAMPLES_EMBED_H

#include <stdbool.h>
#include <stdint.h>

struct kvm_cpuid2;

/* Ends the program with (status) unless (there). */
void need(bool there, int status, const char *what);

/* By the vCPU's thread, which everything below belongs to. (kick): from a signal handler. */
void pmu_create(uint64_t tsc_khz, void (*kick)(void));
void pmu_destroy(void);
/* The filter's bitmap of MSRs 0 to (msrs) - 1: those of the table are not allowed. */
void pmu_filter(uint8_t *allowed, uint32_t msrs);
/* What KVM supports becomes what the guest sees; there is room for one entry more. */
void pmu_cpuid(struct kvm_cpuid2 *cpuid);
/* Around KVM_RUN, after which nothing is between. (nmi) delivers one to the guest. */
void pmu_enter(void (*nmi)(void));
void pmu_exit(void);
/* False: #GP. */
bool pmu_msr(uint32_t index, bool write, uint64_t *value);
void pmu_lvtpc(uint32_t value);
/* In words. */
const char *pmu_source(void);

#endif
