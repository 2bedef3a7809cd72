/* SPDX-License-Identifier: MIT */
#include <vpmu/policy.h>
#include <vpmu/x86.h>

int vpmu_policy_check(const struct vpmu_policy *p)
{
	if (p->range_count > VPMU_POLICY_RANGES_MAX)
		return VPMU_ERR_PARAM;
	if (p->range_count && !p->ranges)
		return VPMU_ERR_PARAM;
	for (uint32_t i = 0; i < p->range_count; i++) {
		if (p->ranges[i].first > p->ranges[i].last)
			return VPMU_ERR_PARAM;
	}
	return 0;
}

static bool is_listed(const struct vpmu_policy *p, uint32_t event)
{
	for (uint32_t i = 0; i < p->range_count; i++) {
		if (event >= p->ranges[i].first && event <= p->ranges[i].last)
			return true;
	}
	return false;
}

bool vpmu_policy_allows(const struct vpmu_policy *p, uint32_t event)
{
	if (!p)
		return true;
	if (p->events)
		return event < VPMU_POLICY_EVENTS && p->events[event / 64] >> event % 64 & 1;
	return is_listed(p, event) == p->allow_listed;
}

bool vpmu_policy_is_open(const struct vpmu_policy *p)
{
	if (!p)
		return true;
	if (p->x86)
		return p->x86->deny && !p->x86->count && !p->x86->fixed_bitmap;
	return !p->allow_listed && p->range_count == 0 && !p->events;
}
