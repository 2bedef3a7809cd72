/* SPDX-License-Identifier: MIT */
/* Where in the machine's memory the guest's files go. */
#ifndef VPMU_TOOLS_IMAGE_H
#define VPMU_TOOLS_IMAGE_H

#include "common.h"

struct image_layout {
	uint64_t kernel; /* address of the first byte of the file */
	uint64_t initrd; /* 0: none */
	uint64_t end;    /* first address after both */
};

/*
 * Reads the header of the arm64 Image (kernel) and the size of (initrd), which may be
 * NULL. Exits with a message if a file cannot be read, the kernel is no arm64 Image,
 * or both do not fit into (memory) bytes.
 */
void image_place(struct image_layout *layout, const char *kernel, const char *initrd,
		 uint64_t memory);
/* The same for a further guest's, after (base). */
void image_place_after(struct image_layout *layout, uint64_t base, const char *kernel,
		       const char *initrd, uint64_t memory);

#endif /* VPMU_TOOLS_IMAGE_H */
