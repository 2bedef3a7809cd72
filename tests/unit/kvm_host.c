/* SPDX-License-Identifier: MIT */
/* The parts of hosts/kvm that need no KVM: its MP table, its CPUID, and what it takes for RDPMC in text. */
#include "support.h"

#include <string.h>

#include "internal.h"
#include "text.h"

/* ---- MP table: read as its specification says ---- */

static unsigned int sum(const uint8_t *at, size_t size)
{
	uint8_t s = 0;

	while (size--)
		s = (uint8_t)(s + *at++);
	return s;
}

static void test_mptable(void **state)
{
	uint8_t table[4096];
	unsigned int processors = 0, booters = 0, pins = 0;
	const uint8_t *e;
	uint32_t at;

	(void)state;
	assert_true(vmm_mptable_make(table, sizeof(table), 0xf0000, 3) > 0);
	assert_memory_equal(table, "_MP_", 4);
	assert_int_equal(sum(table, 16), 0);
	memcpy(&at, table + 4, 4);
	e = table + (at - 0xf0000);
	assert_memory_equal(e, "PCMP", 4);
	assert_int_equal(sum(e, (size_t)(e[4] | e[5] << 8)), 0);
	at = (uint32_t)(e[34] | e[35] << 8);
	for (e += 44; at--; e += e[0] == 0 ? 20 : 8) {
		processors += e[0] == 0 && e[3] & 1;
		booters += e[0] == 0 && e[3] & 2;
		pins += e[0] == 3;
		if (e[0] == 3 && e[5] == 4)
			assert_int_equal(e[7], 4); /* COM1 */
		if (e[0] == 3 && e[5] == 0)
			assert_int_equal(e[7], 2); /* the timer */
	}
	assert_true(processors == 3 && booters == 1 && pins == 15);
	/* Too many, and too little room. */
	assert_int_equal(vmm_mptable_make(table, sizeof(table), 0xf0000, VMM_CPUS + 1), 0);
	assert_int_equal(vmm_mptable_make(table, sizeof(table), 0xf0000, 0), 0);
	for (size_t room = 0; room < 200; room++)
		assert_int_equal(vmm_mptable_make(table, room, 0xf0000, 1), 0);
}

/* ---- CPUID ---- */

static struct vpmu_machine machine;
static struct vpmu_vm vm;

static void make_guest(const struct vpmu_x86_model *model)
{
	const struct vpmu_vm_config config = {
		.size = sizeof(config), .mode = VPMU_MODE_EMULATED,
	};

	vpmu_machine_init(&machine);
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, model, &config), 0);
}

static const struct kvm_cpuid_entry2 *leaf(const struct vmm_cpuid *c, uint32_t number, uint32_t index)
{
	for (unsigned int i = 0; i < c->nent; i++) {
		if (c->entry[i].function == number && c->entry[i].index == index)
			return &c->entry[i];
	}
	return NULL;
}

/* What a host of AMD's supports. */
static const struct kvm_cpuid_entry2 amd_host[] = {
	{ .function = 0, .eax = 0x10, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65 },
	{ .function = 1, .eax = 0xa00f11, .ebx = 0x05020800, .ecx = 0xfffa3203, .edx = 0x178bfbff },
	{ .function = 7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .ebx = 0x219c91a9 },
	{ .function = 0x40000000, .eax = 0x40000001 },
	{ .function = 0x40000001, .eax = 0x01007efb },
	{ .function = 0x80000000, .eax = 0x80000021, .ebx = 0x68747541, .ecx = 0x444d4163,
	  .edx = 0x69746e65 },
	{ .function = 0x80000001, .eax = 0xa00f11, .ebx = 0x40000000, .ecx = 0x00c003f7,
	  .edx = 0x2fd3fbff },
	{ .function = 0x80000008, .eax = 0x3030, .ebx = 0x111ed205, .ecx = 0x400f },
	{ .function = 0x8000001e, .eax = 7 },
};

static void fill(struct vmm_cpuid *c)
{
	memset(c, 0, sizeof(*c));
	memcpy(c->entry, amd_host, sizeof(amd_host));
	c->nent = sizeof(amd_host) / sizeof(amd_host[0]);
}

static void test_cpuid_intel(void **state)
{
	static const struct vpmu_x86_model model = {
		.size = sizeof(model), .vendor = VPMU_X86_INTEL, .version = 5, .gp = 8, .gp_width = 48,
		.events_length = 7, .events_missing = 0x7a, .pdcm = true, .full_width_writes = true,
	};
	struct vmm_cpuid_config config = {
		.vm = &vm, .vendor = VPMU_X86_INTEL, .cpus = 3, .id = 2, .deadline = true,
	};
	struct vmm_cpuid c;
	const struct kvm_cpuid_entry2 *e;

	(void)state;
	make_guest(&model);
	fill(&c);
	vmm_cpuid_make(&c, &config);
	e = leaf(&c, 0, 0);
	assert_memory_equal(&e->ebx, "Genu", 4);
	assert_memory_equal(&e->edx, "ineI", 4);
	assert_memory_equal(&e->ecx, "ntel", 4);
	e = leaf(&c, 1, 0);
	assert_int_equal(e->eax, 0x10600);
	assert_int_equal(e->ebx, 2u << 24 | 3u << 16 | 0x800);
	assert_true(e->ecx >> 31 && e->ecx >> 24 & 1 && e->ecx >> 15 & 1 && !(e->ecx >> 3 & 1));
	assert_true(e->edx >> 28 & 1);
	e = leaf(&c, 0xa, 0);
	assert_int_equal(e->eax, 0x07300805);
	assert_int_equal(e->ebx, 0x7a);
	assert_int_equal(e->edx & 31, 0);
	e = leaf(&c, 0xb, 1);
	assert_true(e->eax == 2 && e->ebx == 3 && e->edx == 2);
	/* Nothing that only AMD has, and no hypercalls of the other vendor. */
	assert_int_equal(leaf(&c, 0x80000000, 0)->eax, 0x80000008);
	assert_null(leaf(&c, 0x8000001e, 0));
	assert_int_equal(leaf(&c, 0x80000001, 0)->ecx & ~0x121u, 0);
	assert_int_equal(leaf(&c, 0x40000001, 0)->eax, 0x0100000b);
}

static void test_cpuid_amd(void **state)
{
	static const struct vpmu_x86_model none = {
		.size = sizeof(none), .vendor = VPMU_X86_AMD,
	};
	struct vmm_cpuid_config config = { .vm = &vm, .vendor = VPMU_X86_AMD, .cpus = 1 };
	struct vmm_cpuid c;

	(void)state;
	make_guest(&none);
	fill(&c);
	vmm_cpuid_make(&c, &config);
	assert_memory_equal(&leaf(&c, 0, 0)->ebx, "Auth", 4);
	assert_int_equal(leaf(&c, 1, 0)->eax, 0xa00f11);
	assert_int_equal(leaf(&c, 0xa, 0)->eax, 0);
	/* No core extension is told of, and no northbridge or last-level counters. */
	assert_int_equal(leaf(&c, 0x80000001, 0)->ecx & (1u << 23 | 1u << 24 | 1u << 28), 0);
}

/* ---- RDPMC in text ---- */

static bool finds(const uint8_t *code, size_t size, size_t at, uint8_t around)
{
	uint8_t window[VMM_TEXT_BEFORE + VMM_TEXT_AFTER];

	memset(window, around, sizeof(window));
	memcpy(window + VMM_TEXT_BEFORE - at, code, size);
	return vmm_text_has_rdpmc(window, sizeof(window), VMM_TEXT_BEFORE);
}

#define NOP 0x90

static void test_text(void **state)
{
	/* mov %edi,%ecx; rdpmc; shl $32,%rdx; or %rdx,%rax; ret */
	static const uint8_t function[] = {
		0x89, 0xf9, 0x0f, 0x33, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3,
	};
	/* As a compiler for 6.12 makes it, between other functions. */
	static const uint8_t padded[] = {
		0xe8, 0x3d, 0xaa, 0x01, 0x00, 0x48, 0x89, 0x03, 0x5b, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc,
		0x0f, 0x1f, 0x40, 0x00, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
		0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0x89, 0xf9, 0x0f,
		0x33, 0x66, 0x90, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x89, 0xd3, 0x48, 0x09, 0xc3, 0x48,
		0x89, 0xd8, 0x5b, 0xc3, 0xcc, 0xcc, 0xcc,
	};
	/* Without ECX; without a use; mov $0x330f0000,%eax; movabs; a displacement. */
	static const uint8_t no_index[] = { 0x0f, 0x33, 0x48, 0xc1, 0xe2, 0x20, 0xc3 };
	static const uint8_t no_use[] = { 0x89, 0xf9, 0x0f, 0x33, 0xc3, 0x31, 0xc9, 0x31, 0xc9 };
	static const uint8_t constant[] = { 0x89, 0xf9, 0xb8, 0x01, 0x02, 0x0f, 0x33, 0x89, 0xc2 };
	static const uint8_t wide[] = {
		0x89, 0xf9, 0x48, 0xb8, 0x01, 0x02, 0x03, 0x0f, 0x33, 0x06, 0x07, 0x08, 0x89, 0xc2,
	};
	static const uint8_t call[] = { 0x89, 0xf9, 0xe8, 0x01, 0x0f, 0x33, 0x02, 0x89, 0xc2 };

	(void)state;
	assert_true(finds(function, sizeof(function), 2, NOP));
	assert_true(finds(function, sizeof(function), 2, 0xcc));
	assert_true(finds(padded, sizeof(padded), 41, NOP));
	/* Zeros around it are data. */
	assert_false(finds(function, sizeof(function), 2, 0));
	assert_false(finds(no_index, sizeof(no_index), 0, NOP));
	assert_false(finds(no_use, sizeof(no_use), 2, 0xcc));
	assert_false(finds(constant, sizeof(constant), 5, NOP));
	assert_false(finds(wide, sizeof(wide), 7, NOP));
	assert_false(finds(call, sizeof(call), 4, NOP));
	/* The edges. */
	assert_false(vmm_text_has_rdpmc(function, sizeof(function), 2));
	assert_true(vmm_text_is_rdpmc(function + 2, sizeof(function) - 2));
	assert_false(vmm_text_is_rdpmc(function, sizeof(function)));
	assert_false(vmm_text_is_rdpmc(function + 2, 1));
}

/* The two bytes in random data: never taken for text in so many tries. */
static void test_random_data(void **state)
{
	uint8_t window[VMM_TEXT_BEFORE + VMM_TEXT_AFTER];
	uint64_t random = 88172645463325252ull;
	unsigned int found = 0;

	(void)state;
	for (unsigned int round = 0; round < 500; round++) {
		for (size_t i = 0; i < sizeof(window); i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			window[i] = (uint8_t)(random >> 24);
		}
		window[VMM_TEXT_BEFORE] = 0x0f;
		window[VMM_TEXT_BEFORE + 1] = 0x33;
		found += vmm_text_has_rdpmc(window, sizeof(window), VMM_TEXT_BEFORE);
	}
	assert_int_equal(found, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mptable),
		cmocka_unit_test(test_cpuid_intel),
		cmocka_unit_test(test_cpuid_amd),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_random_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
