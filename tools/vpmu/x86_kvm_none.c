/* SPDX-License-Identifier: MIT */
/* Where KVM runs no x86 guests. */
#include "options.h"

int x86_run_kvm(const struct run_options *o)
{
	(void)o;
	die(EXIT_CANNOT, "--engine kvm is for x86 machines");
}
