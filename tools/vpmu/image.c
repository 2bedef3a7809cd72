/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MIB 1048576ull

/*
 * QEMU's virt machine: memory starts here. The monitor lies at +2 MiB and may use
 * 64 MiB; QEMU puts the device tree of a machine with 256 MiB or more at +128 MiB and
 * gives it at most 2 MiB. The guest comes after.
 */
#define RAM_BASE 0x40000000ull
#define GUEST_BASE (RAM_BASE + 132 * MIB)

/* An Image without a size in its header (Linux before 3.17) also has BSS of this size at most. */
#define BSS_UNKNOWN (16 * MIB)

/* arm64 Image header, Linux Documentation/arm64/booting.rst: all little-endian. */
enum {
	HEADER_TEXT_OFFSET = 8,
	HEADER_IMAGE_SIZE = 16,
	HEADER_MAGIC = 56,
	HEADER_SIZE = 64,
};

static uint64_t align_2m(uint64_t value)
{
	return (value + 2 * MIB - 1) & ~(2 * MIB - 1);
}

static uint64_t little64(const unsigned char *p)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | p[i];
	return value;
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die(EXIT_CANNOT, "%s is not a file", path);
	return (uint64_t)st.st_size;
}

static void read_header(const char *path, unsigned char header[HEADER_SIZE])
{
	FILE *f = fopen(path, "rb");

	if (!f)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	if (fread(header, 1, HEADER_SIZE, f) != HEADER_SIZE ||
	    memcmp(header + HEADER_MAGIC, "ARMd", 4) != 0)
		die(EXIT_CANNOT, "%s is no arm64 Image (a compressed kernel must be unpacked first)",
		    path);
	fclose(f);
}

void image_place(struct image_layout *layout, const char *kernel, const char *initrd,
		 uint64_t memory)
{
	image_place_after(layout, GUEST_BASE, kernel, initrd, memory);
}

void image_place_after(struct image_layout *layout, uint64_t base, const char *kernel,
		       const char *initrd, uint64_t memory)
{
	unsigned char header[HEADER_SIZE];
	uint64_t in_file = file_size(kernel), in_memory, offset;

	read_header(kernel, header);
	offset = little64(header + HEADER_TEXT_OFFSET);
	in_memory = little64(header + HEADER_IMAGE_SIZE);
	if (in_memory == 0) {
		in_memory = in_file + BSS_UNKNOWN;
		offset = 0x80000; /* then the field's byte order is not specified either */
	}
	if (in_memory < in_file)
		in_memory = in_file;
	if (offset >= 2 * MIB || in_memory > memory)
		die(EXIT_CANNOT, "%s: %llu MiB of memory are too few for this kernel", kernel,
		    (unsigned long long)(memory / MIB));

	layout->kernel = align_2m(base) + offset;
	layout->initrd = initrd ? align_2m(layout->kernel + in_memory) : 0;
	layout->end = layout->kernel + in_memory;
	if (initrd)
		layout->end = layout->initrd + file_size(initrd);
	if (layout->end > RAM_BASE + memory)
		die(EXIT_CANNOT, "the guest needs at least --memory %lluM",
		    (unsigned long long)(align_2m(layout->end - RAM_BASE) / MIB));
}
