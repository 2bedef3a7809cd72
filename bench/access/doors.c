/* SPDX-License-Identifier: MIT */
#include "doors.h"

int door_empty(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	(void)v;
	(void)index;
	(void)value;
	return VPMU_HANDLED;
}

int door_rdmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	return vpmu_x86_rdmsr(v, index, value);
}

int door_wrmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	return vpmu_x86_wrmsr(v, index, *value);
}

int door_rdpmc(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	struct vpmu_x86_rdpmc r = { .index = index, .protected_mode = true };
	int outcome = vpmu_x86_rdpmc(v, &r);

	*value = r.value;
	return outcome;
}

static int arm_access(struct vpmu_vcpu *v, uint32_t index, uint64_t *value, bool write)
{
	struct vpmu_arm_access access = { .reg = index, .el = 1, .write = write, .value = *value };
	int outcome = vpmu_arm_access(v, &access);

	*value = access.value;
	return outcome;
}

int door_mrs(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	return arm_access(v, index, value, false);
}

int door_msr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	return arm_access(v, index, value, true);
}

int door_count(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	(void)index;
	(void)value;
	return vpmu_count(v, VPMU_EVENT_INSTRUCTIONS, false, 1) ? VPMU_ERR_STATE : VPMU_HANDLED;
}

int door_round(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	(void)index;
	(void)value;
	return vpmu_vcpu_enter(v, 0) || vpmu_vcpu_exit(v, 0) ? VPMU_ERR_STATE : VPMU_HANDLED;
}

int door_wrmsr_round(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	int outcome = door_wrmsr(v, index, value);

	return outcome == VPMU_HANDLED ? door_round(v, index, value) : outcome;
}

int door_msr_round(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	int outcome = door_msr(v, index, value);

	return outcome == VPMU_HANDLED ? door_round(v, index, value) : outcome;
}
