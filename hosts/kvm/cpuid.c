/* SPDX-License-Identifier: MIT */
/*
 * The guest's CPUID: what KVM supports on this host, with the library's answers about performance
 * monitoring, this machine's topology, and the vendor that the PMU's model has (RULES D3).
 */
#include "internal.h"

#include <string.h>

enum { EAX, EBX, ECX, EDX };

#define BIT32(n) ((uint32_t)1 << (n))

/*
 * Family 6, model 10H: no part of Intel's has it, so that software relies on what is enumerated, and on
 * architectural events only.
 */
#define INTEL_SIGNATURE 0x00010600u

/* What the two vendors' leaf 80000001H have in common, and Intel documents. */
#define INTEL_EXTENDED_ECX (BIT32(0) | BIT32(5) | BIT32(8))
#define INTEL_EXTENDED_EDX (BIT32(11) | BIT32(20) | BIT32(26) | BIT32(27) | BIT32(29))
#define INTEL_EXTENDED_MAX 0x80000008u

#define KVM_SIGNATURE 0x40000000u
#define KVM_FEATURES 0x40000001u
/*
 * Of KVM's paravirtual features the clock, and that ports need no delay. The others save exits; those
 * that need the vendor's hypercall instruction would not fit the vendor.
 */
#define KVM_FEATURES_GIVEN (BIT32(0) | BIT32(1) | BIT32(3) | BIT32(24))

static struct kvm_cpuid_entry2 *find(struct vmm_cpuid *c, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned int i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entry[i];

		if (e->function != leaf)
			continue;
		if (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf)
			return e;
	}
	return NULL;
}

static void drop(struct vmm_cpuid *c, uint32_t first, uint32_t last)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < c->nent; i++) {
		if (c->entry[i].function < first || c->entry[i].function > last)
			c->entry[kept++] = c->entry[i];
	}
	c->nent = kept;
}

static void add(struct vmm_cpuid *c, const struct kvm_cpuid_entry2 *e)
{
	if (c->nent < VMM_CPUID_MAX)
		c->entry[c->nent++] = *e;
}

/* The leaf must exist for the library to fill it. */
static void want(struct vmm_cpuid *c, uint32_t leaf)
{
	const struct kvm_cpuid_entry2 e = { .function = leaf };

	if (!find(c, leaf, 0))
		add(c, &e);
}

/* ---- Vendor ---- */

static void intel_vendor(struct kvm_cpuid_entry2 *e)
{
	memcpy(&e->ebx, "Genu", 4);
	memcpy(&e->edx, "ineI", 4);
	memcpy(&e->ecx, "ntel", 4);
}

static void make_intel(struct vmm_cpuid *c)
{
	struct kvm_cpuid_entry2 *e = find(c, 0, 0);

	if (e)
		intel_vendor(e);
	if (e && e->eax < 0xd)
		e->eax = 0xd;
	if ((e = find(c, 1, 0)))
		e->eax = INTEL_SIGNATURE;
	drop(c, INTEL_EXTENDED_MAX + 1, UINT32_MAX);
	if ((e = find(c, 0x80000000, 0))) {
		e->eax = INTEL_EXTENDED_MAX;
		e->ebx = e->ecx = e->edx = 0;
	}
	if ((e = find(c, 0x80000001, 0))) {
		e->eax = e->ebx = 0;
		e->ecx &= INTEL_EXTENDED_ECX;
		e->edx &= INTEL_EXTENDED_EDX;
	}
	if ((e = find(c, 0x80000005, 0)))
		e->eax = e->ebx = e->ecx = e->edx = 0;
	if ((e = find(c, 0x80000008, 0)))
		e->ebx = e->ecx = e->edx = 0;
}

static bool is_intel(struct vmm_cpuid *c)
{
	const struct kvm_cpuid_entry2 *e = find(c, 0, 0);

	return e && !memcmp(&e->ecx, "ntel", 4);
}

/* ---- Topology: one thread for each core, one package ---- */

static unsigned int bits_for(unsigned int cpus)
{
	unsigned int bits = 0;

	while (1u << bits < cpus)
		bits++;
	return bits;
}

static void make_topology(struct vmm_cpuid *c, const struct vmm_cpuid_config *config)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{ .function = 0xb, .index = 0, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .eax = 0, .ebx = 1, .ecx = 0x100, .edx = config->id },
		{ .function = 0xb, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .eax = bits_for(config->cpus), .ebx = config->cpus, .ecx = 0x201,
		  .edx = config->id },
		{ .function = 0xb, .index = 2, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .ecx = 2, .edx = config->id },
	};
	struct kvm_cpuid_entry2 *e = find(c, 1, 0);

	if (e) {
		e->ebx = (e->ebx & 0xff00) | config->cpus << 16 | config->id << 24;
		e->edx &= ~BIT32(28);
		e->edx |= config->cpus > 1 ? BIT32(28) : 0;
	}
	/* AMD: cores are counted here; the extended topology is not offered. */
	if ((e = find(c, 0x80000008, 0)) && config->vendor == VPMU_X86_AMD)
		e->ecx = (config->cpus - 1) | bits_for(config->cpus) << 12;
	if ((e = find(c, 0x80000001, 0)) && config->vendor == VPMU_X86_AMD)
		e->ecx &= ~BIT32(22);
	drop(c, 0x4, 0x4);
	drop(c, 0xb, 0xb);
	drop(c, 0x1f, 0x1f);
	drop(c, 0x8000001d, 0x8000001e);
	for (unsigned int i = 0; i < 3; i++)
		add(c, &levels[i]);
}

/* ---- All of it ---- */

static void make_features(struct vmm_cpuid *c, const struct vmm_cpuid_config *config)
{
	struct kvm_cpuid_entry2 *e = find(c, 1, 0);

	if (e) {
		e->ecx &= ~(BIT32(3) | BIT32(24)); /* MONITOR, and the deadline timer */
		e->ecx |= BIT32(31) | (config->deadline ? BIT32(24) : 0);
	}
	if ((e = find(c, KVM_FEATURES, 0)))
		e->eax &= KVM_FEATURES_GIVEN;
	drop(c, KVM_FEATURES + 1, 0x4fffffff);
	if ((e = find(c, KVM_SIGNATURE, 0)))
		e->eax = KVM_FEATURES;
}

void vmm_cpuid_make(struct vmm_cpuid *c, const struct vmm_cpuid_config *config)
{
	if (config->vendor == VPMU_X86_INTEL && !is_intel(c))
		make_intel(c);
	make_features(c, config);
	make_topology(c, config);
	want(c, 0xa);
	for (unsigned int i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entry[i];
		uint32_t regs[4] = { e->eax, e->ebx, e->ecx, e->edx };

		vpmu_x86_cpuid(config->vm, e->function, e->index, regs);
		e->eax = regs[EAX];
		e->ebx = regs[EBX];
		e->ecx = regs[ECX];
		e->edx = regs[EDX];
	}
}
