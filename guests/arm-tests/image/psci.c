/* SPDX-License-Identifier: MIT */
#include "cpu.h"

/* "hvc" or "smc" from /psci; the image itself cannot know what is below it. */
static uint64_t (*conduit)(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3) = hvc_call;

void psci_setup(const char *method)
{
	if (method && method[0] == 's')
		conduit = smc_call;
}

bool psci_is_smc(void)
{
	return conduit == smc_call;
}

uint64_t psci_call(uint32_t fid, uint64_t a1, uint64_t a2, uint64_t a3)
{
	return conduit(fid, a1, a2, a3);
}

_Noreturn void psci_off(void)
{
	psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}
