/* SPDX-License-Identifier: MIT */
/*
 * vpmu/policy.h - which events a guest may count.
 *
 * A policy is an immutable, caller-owned object. The guest programs any selector and reads it back; a
 * denied event does not count, and is not advertised to a guest that was created under that policy.
 * SW_INCR and CHAIN carry no information about the machine and are not subject to it; the cycle
 * counter is governed by CPU_CYCLES (0x11), as under Linux KVM (KVM_ARM_VCPU_PMU_V3_FILTER).
 * An x86 guest's policy is a compiled filter, see vpmu/x86.h.
 */
#ifndef VPMU_POLICY_H
#define VPMU_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exported from the shared library; everything else is hidden. */
#define VPMU_API __attribute__((visibility("default")))

/* A linear scan over the ranges stays bounded. */
#define VPMU_POLICY_RANGES_MAX 256u

/* Arm's event space. */
#define VPMU_POLICY_EVENTS 65536u

/* Events first..last, both included. */
struct vpmu_event_range {
	uint32_t first;
	uint32_t last;
};

struct vpmu_x86_filter;

/* listed events are allowed and all others denied (allow_listed), or the other way round. */
struct vpmu_policy {
	const struct vpmu_event_range *ranges;
	uint32_t range_count;        /* <= VPMU_POLICY_RANGES_MAX */
	bool allow_listed;
	/* Arm: one bit for each of 65536 events, set: allowed. Decides instead of the ranges if not NULL. */
	const uint64_t *events;
	/* For x86 guests: this decides, and the rest says nothing. NULL for others. */
	const struct vpmu_x86_filter *x86;
};

/*
 * vpmu_policy_check() - is (p) well-formed?
 * returns: 0, or VPMU_ERR_PARAM: too many ranges, ranges NULL, or first > last.
 * Context: any.
 */
VPMU_API int vpmu_policy_check(const struct vpmu_policy *p);

/*
 * vpmu_policy_allows() - may (event) be counted? (p) may be NULL: everything is allowed.
 * Context: any.
 */
VPMU_API bool vpmu_policy_allows(const struct vpmu_policy *p, uint32_t event);

/*
 * vpmu_policy_is_open() - does (p) allow every event without looking at it? Exact for NULL and for an
 * empty deny list; a list that happens to name every event is not recognised.
 * Context: any.
 */
VPMU_API bool vpmu_policy_is_open(const struct vpmu_policy *p);

#endif
