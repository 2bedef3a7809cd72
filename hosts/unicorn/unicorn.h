/* SPDX-License-Identifier: MIT */
/*
 * A CPU for hosts/pc on the Unicorn engine (2.0.1 as in Debian 12). Unicorn executes what is
 * plain; this engine takes what involves the PC (RDMSR, WRMSR, RDPMC, CPUID, HLT, RDTSC, SYSCALL
 * ...), counts what retires, and hands exceptions to the PC to deliver.
 *
 * Limit: 2.0.1 checks the guest's page tables but then uses the virtual address as the physical
 * one. Pages that are mapped elsewhere are mirrored, so that it makes no difference, except for
 * virtual addresses below the end of RAM: a guest that maps those to anything but themselves is
 * refused with PC_BROKEN when it loads CR3 or invalidates the page.
 *
 * Debug registers: breakpoints on execution work, those on data never trigger.
 */
#ifndef VPMU_UNICORN_H
#define VPMU_UNICORN_H

#include "engine.h"

struct unicorn_config {
	bool caches; /* model the last-level cache (slower); without it llc_* stay 0 */
};

/* NULL: *why says what is missing. Free with engine->ops->destroy(). */
struct pc_engine *unicorn_create(struct pc *pc, const struct unicorn_config *config,
	const char **why);

#endif
