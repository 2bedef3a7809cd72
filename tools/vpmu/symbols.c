/* SPDX-License-Identifier: MIT */
#include "symbols.h"

#include <elf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define FILE_MAX (64u * 1024 * 1024)

struct file {
	char *data;
	size_t size;
};

static bool read_file(struct file *file, const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return false;
	file->data = malloc(FILE_MAX);
	if (!file->data)
		die(EXIT_CANNOT, "no memory");
	while ((n = fread(file->data + file->size, 1, FILE_MAX - file->size, f)) > 0)
		file->size += n;
	fclose(f);
	return file->size < FILE_MAX;
}

/* Nothing in the file is believed: each piece is copied out if all of it is there. */
static bool piece(const struct file *file, void *to, uint64_t offset, size_t size)
{
	if (offset > file->size || size > file->size - offset)
		return false;
	memcpy(to, file->data + offset, size);
	return true;
}

static bool section(const struct file *file, const Elf64_Ehdr *h, uint32_t i, Elf64_Shdr *out)
{
	return i < h->e_shnum &&
	       piece(file, out, h->e_shoff + (uint64_t)i * sizeof(*out), sizeof(*out));
}

static bool find_symtab(const struct file *file, const Elf64_Ehdr *h, Elf64_Shdr *out)
{
	for (uint32_t i = 0; section(file, h, i, out); i++)
		if (out->sh_type == SHT_SYMTAB)
			return true;
	return false;
}

/* A string that ends inside the file. */
static const char *string_at(const struct file *file, const Elf64_Shdr *strings, uint32_t at)
{
	uint64_t offset = strings->sh_offset + at;

	if (at >= strings->sh_size || offset >= file->size ||
	    !memchr(file->data + offset, '\0', file->size - offset))
		return NULL;
	return file->data + offset;
}

/* Functions, and labels of assembly, but not what tells code from data ($x, $d). */
static bool is_place(const Elf64_Sym *sym, const char *name)
{
	unsigned int type = ELF64_ST_TYPE(sym->st_info);

	if (!name || *name == '\0' || *name == '$' || sym->st_shndx == SHN_UNDEF ||
	    sym->st_shndx >= SHN_LORESERVE)
		return false;
	return type == STT_FUNC || type == STT_NOTYPE;
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static bool read_symtab(struct symbols *symbols, const struct file *file, const Elf64_Shdr *table,
			const Elf64_Shdr *strings)
{
	uint64_t count = table->sh_size / sizeof(Elf64_Sym);
	Elf64_Sym sym;

	if (count > file->size / sizeof(Elf64_Sym))
		return false;
	symbols->list = calloc(count + 1, sizeof(*symbols->list));
	if (!symbols->list)
		die(EXIT_CANNOT, "no memory");
	for (uint64_t i = 0; i < count; i++) {
		const char *name;

		if (!piece(file, &sym, table->sh_offset + i * sizeof(sym), sizeof(sym)))
			return false;
		name = string_at(file, strings, sym.st_name);
		if (is_place(&sym, name))
			symbols->list[symbols->count++] = (struct symbol){ sym.st_value, name };
	}
	qsort(symbols->list, symbols->count, sizeof(*symbols->list), by_address);
	return true;
}

static bool read_elf(struct symbols *symbols, const struct file *file)
{
	static const unsigned char ident[] = { 0x7F, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB };
	Elf64_Shdr table, strings;
	Elf64_Ehdr h;

	return piece(file, &h, 0, sizeof(h)) && !memcmp(h.e_ident, ident, sizeof(ident)) &&
	       h.e_shentsize == sizeof(Elf64_Shdr) && find_symtab(file, &h, &table) &&
	       table.sh_entsize == sizeof(Elf64_Sym) && section(file, &h, table.sh_link, &strings) &&
	       read_symtab(symbols, file, &table, &strings);
}

void symbols_read(struct symbols *symbols, const char *path)
{
	struct file file = { .data = NULL };

	bool understood;

	*symbols = (struct symbols){ .list = NULL };
	understood = read_file(&file, path) && read_elf(symbols, &file);
	symbols->file = file.data;
	if (understood)
		return;
	warn("%s: no symbols there: places are shown as numbers", path);
	symbols->count = 0;
}

void symbols_free(struct symbols *symbols)
{
	free(symbols->list);
	free(symbols->file);
	*symbols = (struct symbols){ .list = NULL };
}

const char *symbols_find(const struct symbols *symbols, uint64_t address)
{
	size_t low = 0, high = symbols->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->list[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? symbols->list[low - 1].name : NULL;
}
