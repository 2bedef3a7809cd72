/* SPDX-License-Identifier: MIT */
/* vpmu run --vm: one guest among several. */
#ifndef VPMU_TOOLS_VM_H
#define VPMU_TOOLS_VM_H

#include "common.h"
#include "image.h"

#define VM_MAX 4u /* what the monitor takes */

struct vm_spec {
	const char *kernel; /* NULL: the default guest's */
	const char *initrd;
	const char *append;
	const char *policy; /* NULL: none */
	struct args words;  /* for the monitor */
	uint64_t memory;    /* bytes; 0: the default */
	bool awaited;       /* the run goes on until it ends */
};

/*
 * (spec): KEY=VALUE,... with commas in values doubled. Exits with a message if it makes no sense.
 */
void parse_vm(struct vm_spec *vm, const char *spec);

/* The memory of guest (i) in bytes. */
uint64_t vm_memory(const struct vm_spec *vms, unsigned int i);

/* Adds the monitor's words for guest (i), whose files are at (at). */
void vm_words(struct args *words, const struct vm_spec *vms, unsigned int i,
	      const struct image_layout *at);

#endif /* VPMU_TOOLS_VM_H */
