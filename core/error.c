/* SPDX-License-Identifier: MIT */
#include <vpmu/vpmu.h>

static const char *const messages[] = {
	[0] = "no error",
	[-VPMU_ERR_PARAM] = "an argument is outside its documented range",
	[-VPMU_ERR_SIZE] = "a size member does not fit this library version",
	[-VPMU_ERR_STATE] = "the call is not allowed in this phase",
	[-VPMU_ERR_UNSUPPORTED] = "this machine cannot do it",
	[-VPMU_ERR_BUSY] = "in use: stop host events that count inside guests, or partition the VM",
	[-VPMU_ERR_WATCHDOG] = ("the host's watchdog counts inside guests, so no VM can have all "
				"counters: switch the watchdog off, or partition the VM"),
	[-VPMU_ERR_LIMIT] = "more entries than this library takes",
};

const char *vpmu_strerror(int error)
{
	if (error > 0)
		return messages[0];
	if (error <= -(int)(sizeof(messages) / sizeof(messages[0])))
		return "unknown error";
	return messages[-error];
}
