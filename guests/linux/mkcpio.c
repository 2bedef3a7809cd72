/* SPDX-License-Identifier: MIT */
/*
 * mkcpio: write a folder as an initramfs ("newc" cpio archive) to standard output.
 *
 *	mkcpio FOLDER
 *
 * The same folder gives the same bytes whoever packs it: sorted names, owner 0,
 * time 0, numbered inodes. The console device, which an ordinary user cannot make
 * in a folder, is written into the archive directly.
 */
#define _XOPEN_SOURCE 700
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
	const char *name; /* inside the archive */
	unsigned int mode;
	unsigned int major, minor;
	unsigned int size;
};

static unsigned int inode;
static unsigned long written;

static void fail(const char *what)
{
	fprintf(stderr, "mkcpio: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(const void *data, size_t size)
{
	if (fwrite(data, 1, size, stdout) != size)
		fail("standard output");
	written += size;
}

/* Header and data both end on a multiple of four bytes. */
static void pad(void)
{
	static const char zero[4];

	put(zero, (4 - written % 4) % 4);
}

static void put_header(const struct entry *e)
{
	const unsigned int name_size = (unsigned int)strlen(e->name) + 1;
	const unsigned int links = S_ISDIR(e->mode) ? 2 : 1;
	const unsigned int fields[] = {
		++inode, e->mode, 0, 0, links, 0, e->size, 0, 0, e->major, e->minor, name_size, 0,
	};
	char digits[9];

	put("070701", 6);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		snprintf(digits, sizeof(digits), "%08X", fields[i]);
		put(digits, 8);
	}
	put(e->name, name_size);
	pad();
}

static void put_file(const char *path, unsigned int size)
{
	static char block[65536];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		fail(path);
	while ((n = fread(block, 1, sizeof(block), f)) > 0 && n <= size) {
		put(block, n);
		size -= (unsigned int)n;
	}
	if (ferror(f) || n > 0 || size > 0) {
		errno = errno ? errno : EIO; /* it changed while it was read */
		fail(path);
	}
	fclose(f);
	pad();
}

static void put_link(const char *path, unsigned int size)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	if (n < 0 || (size_t)n != size)
		fail(path);
	put(target, size);
	pad();
}

static int visible(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void put_folder(const char *path, size_t root_length);

static void put_path(const char *path, size_t root_length)
{
	struct stat st;
	struct entry e = { .name = path + root_length };

	if (lstat(path, &st) < 0)
		fail(path);
	e.mode = st.st_mode & (S_IFMT | 0755u); /* independent of the user's umask */
	if (st.st_size > UINT_MAX) { /* the format has 32 bits */
		errno = EFBIG;
		fail(path);
	}
	e.size = S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) ? (unsigned int)st.st_size : 0;
	put_header(&e);
	if (S_ISDIR(st.st_mode))
		put_folder(path, root_length);
	else if (S_ISREG(st.st_mode))
		put_file(path, e.size);
	else if (S_ISLNK(st.st_mode))
		put_link(path, e.size);
}

static void put_folder(const char *path, size_t root_length)
{
	struct dirent **list;
	char child[PATH_MAX];
	int count = scandir(path, &list, visible, by_bytes);

	if (count < 0)
		fail(path);
	for (int i = 0; i < count; i++) {
		if (snprintf(child, sizeof(child), "%s/%s", path, list[i]->d_name) >= PATH_MAX) {
			errno = ENAMETOOLONG;
			fail(path);
		}
		put_path(child, root_length);
		free(list[i]);
	}
	free(list);
}

int main(int argc, char **argv)
{
	static const struct entry console = { "dev/console", S_IFCHR | 0600, 5, 1, 0 };
	static const struct entry end = { "TRAILER!!!", 0, 0, 0, 0 };

	if (argc != 2) {
		fprintf(stderr, "usage: mkcpio FOLDER\n");
		return 2;
	}
	put_folder(argv[1], strlen(argv[1]) + 1);
	put_header(&console);
	put_header(&end);
	if (fflush(stdout) != 0)
		fail("standard output");
	return 0;
}
