/* SPDX-License-Identifier: MIT */
/* Names of places in an ELF file for a 64-bit little-endian machine. */
#ifndef VPMU_TOOLS_SYMBOLS_H
#define VPMU_TOOLS_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

struct symbol {
	uint64_t address;
	const char *name;
};

struct symbols {
	struct symbol *list; /* by address */
	size_t count;
	char *file;          /* where the names are */
};

/* None, with a warning, if the file is not there or not understood. */
void symbols_read(struct symbols *symbols, const char *path);
/* The last symbol at or before (address), or NULL. */
const char *symbols_find(const struct symbols *symbols, uint64_t address);
/* The names are gone then. */
void symbols_free(struct symbols *symbols);

#endif /* VPMU_TOOLS_SYMBOLS_H */
