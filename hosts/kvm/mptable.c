/* SPDX-License-Identifier: MIT */
/*
 * The tables of the MultiProcessor Specification 1.4: CPUs, one ISA bus, the I/O APIC, and the ISA
 * interrupts, each on the pin of its number but the timer's on pin 2. Without ACPI, kernels look here.
 */
#include "internal.h"

#include <string.h>

#define APIC_ADDRESS 0xfee00000u
#define IOAPIC_ADDRESS 0xfec00000u
#define VERSION 0x14
#define ISA_PINS 16u

struct pointer {
	char signature[4];
	uint32_t table;
	uint8_t length;              /* in units of 16 bytes */
	uint8_t revision, checksum;
	uint8_t features[5];
} __attribute__((packed));

struct header {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_size, entries;
	uint32_t apic;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
} __attribute__((packed));

struct processor {
	uint8_t type, id, version, flags;
	uint32_t signature, features, reserved[2];
} __attribute__((packed));

struct bus {
	uint8_t type, id;
	char name[6];
} __attribute__((packed));

struct ioapic {
	uint8_t type, id, version, flags;
	uint32_t address;
} __attribute__((packed));

struct interrupt {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, irq, apic, pin;
} __attribute__((packed));

enum { PROCESSOR, BUS, IOAPIC, IO_INTERRUPT, LOCAL_INTERRUPT };
enum { KIND_INT, KIND_NMI, KIND_SMI, KIND_EXTINT };

struct table {
	uint8_t *at;
	size_t used, room;
	uint16_t entries;
	bool full;
};

static void put(struct table *t, const void *entry, size_t size)
{
	if (size > t->room - t->used) {
		t->full = true;
		return;
	}
	memcpy(t->at + t->used, entry, size);
	t->used += size;
	t->entries++;
}

static uint8_t checksum(const void *from, size_t size)
{
	const uint8_t *byte = from;
	uint8_t sum = 0;

	while (size--)
		sum = (uint8_t)(sum + *byte++);
	return (uint8_t)-sum;
}

static void put_processors(struct table *t, unsigned int cpus)
{
	for (unsigned int i = 0; i < cpus; i++) {
		struct processor p = {
			.type = PROCESSOR, .id = (uint8_t)i, .version = VERSION,
			.flags = (uint8_t)(1 | (i == 0 ? 2 : 0)), .signature = 0x600, .features = 0x201,
		};

		put(t, &p, sizeof(p));
	}
}

static void put_interrupts(struct table *t, uint8_t ioapic)
{
	for (uint8_t irq = 0; irq < ISA_PINS; irq++) {
		struct interrupt i = {
			.type = IO_INTERRUPT, .kind = KIND_INT, .irq = irq, .apic = ioapic,
			.pin = irq == 0 ? 2 : irq,
		};

		if (irq != 2)
			put(t, &i, sizeof(i));
	}
	for (uint8_t pin = 0; pin < 2; pin++) {
		struct interrupt i = {
			.type = LOCAL_INTERRUPT, .kind = pin ? KIND_NMI : KIND_EXTINT,
			.apic = 0xff, .pin = pin,
		};

		put(t, &i, sizeof(i));
	}
}

size_t vmm_mptable_make(void *at, size_t room, uint32_t address, unsigned int cpus)
{
	struct pointer pointer = {
		.signature = "_MP_", .table = address + (uint32_t)sizeof(pointer), .length = 1,
		.revision = 4,
	};
	struct header head = {
		.signature = "PCMP", .revision = 4, .oem = "VPMU    ", .product = "PC          ",
		.apic = APIC_ADDRESS,
	};
	struct bus bus = { .type = BUS, .name = "ISA   " };
	struct ioapic ioapic = {
		.type = IOAPIC, .id = (uint8_t)cpus, .version = 0x11, .flags = 1,
		.address = IOAPIC_ADDRESS,
	};
	size_t start = sizeof(pointer) + sizeof(head);
	struct table t = { .at = at, .used = start, .room = room };

	if (room < start || cpus == 0 || cpus > VMM_CPUS)
		return 0;
	put_processors(&t, cpus);
	put(&t, &bus, sizeof(bus));
	put(&t, &ioapic, sizeof(ioapic));
	put_interrupts(&t, ioapic.id);
	if (t.full)
		return 0;
	head.length = (uint16_t)(t.used - sizeof(pointer));
	head.entries = t.entries;
	memcpy(t.at + sizeof(pointer), &head, sizeof(head));
	((struct header *)(void *)(t.at + sizeof(pointer)))->checksum =
		checksum(t.at + sizeof(pointer), head.length);
	pointer.checksum = checksum(&pointer, sizeof(pointer));
	memcpy(t.at, &pointer, sizeof(pointer));
	return t.used;
}
