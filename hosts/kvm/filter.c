/* SPDX-License-Identifier: MIT */
/* Which MSRs exit: those that the library's table knows, of either vendor. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 0x2000u                /* MSRs in one range of the filter */
#define DEBUGCTL 0x1d9u              /* has bits that are not the PMU's: AMD's is KVM's */
#define MISC_ENABLE 0x1a0u

struct filter {
	struct kvm_msr_filter kvm;
	unsigned int ranges;
	/* Set bits are allowed: KVM's own. */
	uint8_t bits[KVM_MSR_FILTER_MAX_RANGES][BLOCK / 8];
};

static struct kvm_msr_filter_range *range_of(struct filter *f, uint32_t index)
{
	uint32_t base = index & ~(BLOCK - 1);
	struct kvm_msr_filter_range *r;

	for (unsigned int i = 0; i < f->ranges; i++) {
		if (f->kvm.ranges[i].base == base)
			return &f->kvm.ranges[i];
	}
	if (f->ranges == KVM_MSR_FILTER_MAX_RANGES)
		return NULL;
	r = &f->kvm.ranges[f->ranges];
	*r = (struct kvm_msr_filter_range){
		.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
		.nmsrs = BLOCK, .base = base, .bitmap = f->bits[f->ranges],
	};
	memset(f->bits[f->ranges++], 0xff, BLOCK / 8);
	return r;
}

static bool take(struct filter *f, uint32_t index)
{
	struct kvm_msr_filter_range *r = range_of(f, index);

	if (!r)
		return false;
	r->bitmap[(index & (BLOCK - 1)) / 8] &= (uint8_t)~(1u << index % 8);
	return true;
}

static bool take_row(struct filter *f, const struct vpmu_x86_reg_info *row,
		     enum vpmu_x86_vendor vendor)
{
	if (row->vendor != vendor && row->index == DEBUGCTL)
		return true;
	for (unsigned int i = 0; i < row->members; i++) {
		if (!take(f, row->index + i * row->stride))
			return false;
	}
	return true;
}

int vmm_filter_set(int vm_fd, enum vpmu_x86_vendor vendor)
{
	struct filter *f = calloc(1, sizeof(*f));
	struct vpmu_x86_reg_info row;
	int result;

	if (!f)
		return -1;
	f->kvm.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
	for (size_t i = 0; vpmu_x86_reg_info(i, &row) == 0; i++) {
		if (!take_row(f, &row, vendor))
			goto full;
	}
	if (vendor == VPMU_X86_INTEL && !take(f, MISC_ENABLE))
		goto full;
	result = ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, &f->kvm);
	free(f);
	return result;
full:
	free(f);
	errno = E2BIG;
	return -1;
}
