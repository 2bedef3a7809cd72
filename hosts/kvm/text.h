/* SPDX-License-Identifier: MIT */
/* Guest kernel text: where its instructions are, and which of them is RDPMC. */
#ifndef VPMU_KVM_TEXT_H
#define VPMU_KVM_TEXT_H

#include "engine.h"

#define VMM_TEXT_BEFORE 96u          /* bytes around a place that it takes to judge it */
#define VMM_TEXT_AFTER 48u

/* Is the byte at (place) the first of a two-byte RDPMC of compiled 64-bit code? Doubt is no. */
bool vmm_text_has_rdpmc(const uint8_t *bytes, size_t size, size_t place);

/* Do (bytes) begin with a two-byte RDPMC, given that an instruction begins there? */
bool vmm_text_is_rdpmc(const uint8_t *bytes, size_t size);

/*
 * Calls (range) for what the kernel may execute, (most) bytes and tables together. False: the guest is not in
 * 64-bit mode, or there was more.
 */
bool vmm_text_walk(struct pc *pc, const struct pc_state *s, uint64_t most,
		   void (*range)(void *context, uint64_t linear, uint64_t physical, uint64_t size),
		   void *context);

#endif
