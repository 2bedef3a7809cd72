/* SPDX-License-Identifier: MIT */
/* Where the files are that belong to the command: in a build tree, or installed. */
#ifndef VPMU_TOOLS_PLACES_H
#define VPMU_TOOLS_PLACES_H

#include <stdbool.h>

/* The monitor's image. Exits with a message if there is none. */
const char *place_monitor(void);

/* QEMU for arm64. Exits with a message if there is none. */
const char *place_qemu(void);

struct default_guest {
	const char *kernel;
	const char *initrd;
};

/*
 * The default guest. With (make) it is made first if it is missing or out of date, which
 * shows its progress on standard error. Exits with a message if that fails.
 */
struct default_guest place_guest(bool make);

#endif /* VPMU_TOOLS_PLACES_H */
