/* SPDX-License-Identifier: MIT */
#include "vm.h"

#include <string.h>

#include "options.h"
#include "pmu_type.h"

#define MIB 1048576ull
/* The first has the machine's modules and device tree in its memory: see image.c. */
#define FIRST_MEMORY_MIN (256 * MIB)
#define FIRST_MEMORY (512 * MIB)
#define OTHER_MEMORY_MIN (4 * MIB)
#define OTHER_MEMORY (256 * MIB)
#define MEMORY_MAX (64 * 1024 * MIB)
#define CPUS_MAX 4

static void set_kernel(struct vm_spec *vm, const char *value)
{
	vm->kernel = value;
}

static void set_initrd(struct vm_spec *vm, const char *value)
{
	vm->initrd = value;
}

static void set_append(struct vm_spec *vm, const char *value)
{
	vm->append = value;
}

static void set_cpus(struct vm_spec *vm, const char *value)
{
	number_between("--vm cpus", value, 1, CPUS_MAX);
	args_add(&vm->words, text("cpus=%s", value));
}

static void set_memory(struct vm_spec *vm, const char *value)
{
	vm->memory = size_between("--vm memory", value, OTHER_MEMORY_MIN, MEMORY_MAX);
	if (vm->memory % (2 * MIB) != 0)
		bad_value("--vm memory", value, "a multiple of 2M");
}

static void set_mode(struct vm_spec *vm, const char *value)
{
	check_monitor_mode("--vm mode", value);
	args_add(&vm->words, text("mode=%s", value));
}

static void set_counters(struct vm_spec *vm, const char *value)
{
	check_counters("--vm counters", value);
	args_add(&vm->words, text("counters=%s", value));
}

static void set_version(struct vm_spec *vm, const char *value)
{
	check_pmu_version("--vm version", value);
	args_add(&vm->words, text("version=%s", value));
}

static void set_policy(struct vm_spec *vm, const char *value)
{
	check_policy("--vm policy", value);
	if (vm->policy)
		die(EXIT_USAGE, "--vm: a guest has one policy");
	vm->policy = value;
	args_add(&vm->words, text("policy=%s", value));
}

static void set_switch(struct vm_spec *vm, const char *value)
{
	if (strcmp(value, "lazy") != 0 && strcmp(value, "eager") != 0)
		bad_value("--vm switch", value, "lazy or eager");
	args_add(&vm->words, text("switch=%s", value));
}

static void set_on(struct vm_spec *vm, const char *value)
{
	check_cpus("--vm on", value);
	args_add(&vm->words, text("on=%s", value));
}

static void set_wait(struct vm_spec *vm, const char *value)
{
	vm->awaited = !strcmp(value, "yes");
	if (!vm->awaited && strcmp(value, "no") != 0)
		bad_value("--vm wait", value, "yes or no");
	args_add(&vm->words, text("wait=%s", value));
}

static void set_pmu(struct vm_spec *vm, const char *value)
{
	check_pmu_name("--vm pmu", value);
	args_add(&vm->words, text("pmu=%s", value));
}

static const struct {
	const char *name;
	void (*set)(struct vm_spec *vm, const char *value);
} keys[] = {
	{ "kernel", set_kernel }, { "initrd", set_initrd },     { "append", set_append },
	{ "cpus", set_cpus },     { "memory", set_memory },     { "mode", set_mode },
	{ "counters", set_counters }, { "policy", set_policy }, { "switch", set_switch },
	{ "on", set_on },         { "wait", set_wait },         { "version", set_version },
	{ "pmu", set_pmu },
};

static void set_one(struct vm_spec *vm, char *item)
{
	char *value = strchr(item, '=');

	if (!value)
		die(EXIT_USAGE, "--vm: '%s' is not KEY=VALUE", item);
	*value++ = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!strcmp(keys[i].name, item)) {
			keys[i].set(vm, value);
			return;
		}
	}
	die(EXIT_USAGE, "--vm: no key is named '%s'", item);
}

void parse_vm(struct vm_spec *vm, const char *spec)
{
	*vm = (struct vm_spec){ .awaited = true };
	while (*spec != '\0') {
		set_one(vm, comma_item(&spec));
		if (*spec == ',')
			spec++;
	}
}

uint64_t vm_memory(const struct vm_spec *vms, unsigned int i)
{
	if (vms[i].memory == 0)
		return i == 0 ? FIRST_MEMORY : OTHER_MEMORY;
	if (i == 0 && vms[i].memory < FIRST_MEMORY_MIN)
		die(EXIT_USAGE, "--vm memory: the first guest needs at least %lluM",
		    (unsigned long long)(FIRST_MEMORY_MIN / MIB));
	return vms[i].memory;
}

void vm_words(struct args *words, const struct vm_spec *vms, unsigned int i,
	      const struct image_layout *at)
{
	args_add(words, "vm");
	args_add(words, text("kernel=0x%llx", (unsigned long long)at->kernel));
	if (at->initrd)
		args_add(words, text("initrd=0x%llx", (unsigned long long)at->initrd));
	if (i > 0)
		args_add(words, text("memory=%llu", (unsigned long long)(vm_memory(vms, i) / MIB)));
	for (size_t n = 0; n < vms[i].words.count; n++)
		args_add(words, vms[i].words.list[n]);
}
