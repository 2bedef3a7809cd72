/* SPDX-License-Identifier: MIT */
/* Prints docs/x86-registers.md from the register table; scripts/check-registers.sh builds and runs it. */
#include <stdio.h>

#include <vpmu/x86.h>

/* "C1H", "C1H..C8H", "C0010200H..C001020AH by 2" */
static void print_index(const struct vpmu_x86_reg_info *info)
{
	printf("%XH", info->index);
	if (info->members > 1)
		printf("..%XH", info->index + (info->members - 1u) * info->stride);
	if (info->stride > 1)
		printf(" by %u", info->stride);
}

static void print_since(const struct vpmu_x86_reg_info *info)
{
	if (info->since)
		printf("v%u", info->since);
	else
		printf("always");
}

static void print_row(const struct vpmu_x86_reg_info *info)
{
	printf("| `%s` | ", info->name);
	print_index(info);
	if (!info->offered) {
		printf(" | #GP | - | - | - |\n");
		return;
	}
	printf(" | %s%s | ", info->readable ? "R" : "", info->writable ? "W" : "");
	print_since(info);
	printf(" | %s | %s |\n", info->may_be_direct ? "yes" : "no",
	       info->condition[0] ? info->condition : "-");
}

static void print_vendor(enum vpmu_x86_vendor vendor, const char *name)
{
	struct vpmu_x86_reg_info info;

	printf("\n## %s\n\n"
	       "| register | MSR | access | since | direct | also needs |\n"
	       "|---|---|---|---|---|---|\n", name);
	for (size_t row = 0; !vpmu_x86_reg_info(row, &info); row++) {
		if (info.vendor == vendor)
			print_row(&info);
	}
}

int main(void)
{
	printf("# The x86 guest's registers\n\n"
	       "Made by `scripts/check-registers.sh --write` from the table in `core/x86`; a check compares.\n"
	       "Of a family a guest has as many members as counters; the others fault, as do all registers that\n"
	       "the guest's version, or what else they need, does not bring. AMD's v1 is the legacy PMU with or\n"
	       "without the core extension, v2 is PerfMonV2. \"#GP\": not offered, every access faults.\n"
	       "\"direct\": in mediated mode the guest may be let through without an intercept.\n");
	print_vendor(VPMU_X86_INTEL, "Intel");
	print_vendor(VPMU_X86_AMD, "AMD");
	return 0;
}
