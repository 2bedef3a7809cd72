/* SPDX-License-Identifier: MIT */
/* Console, checks and traps of the guests here. */
#include "guest.h"

volatile struct trap_record last;
void (*volatile handler)(struct frame *f);
volatile uint64_t recover;
struct tss tss;

struct gate idt[256];
static uint8_t interrupt_stack[4096] __attribute__((aligned(16)));
uint8_t user_stack_memory[4096] __attribute__((aligned(16)));

void *memset(void *to, int value, unsigned long size);
void trap(struct frame *f);

void *memset(void *to, int value, unsigned long size)
{
	for (unsigned long i = 0; i < size; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)value;
	return to;
}

/* ---- Console and checks ---- */

void print(const char *text)
{
	while (*text)
		outb(0x3f8, (uint8_t)*text++);
}

void print_number(uint64_t n)
{
	char digits[17];

	for (int i = 15; i >= 0; i--, n >>= 4)
		digits[i] = "0123456789abcdef"[n & 15];
	digits[16] = 0;
	print(digits);
}

void failed(const char *what, int line, uint64_t value)
{
	print("line ");
	print_number((uint64_t)line);
	print(": ");
	print(what);
	print(" = ");
	print_number(value);
	print("\n");
	for (;;)
		__asm__ volatile("out %0, $0xf4" : : "a"(1));
}

/* ---- Traps ---- */

void set_gate(unsigned int vector, uint64_t at, unsigned int dpl, unsigned int ist)
{
	idt[vector] = (struct gate){ .low = (uint16_t)at, .selector = 0x10, .ist = (uint8_t)ist,
		.type = (uint8_t)(0x8e | dpl << 5), .middle = (uint16_t)(at >> 16),
		.high = (uint32_t)(at >> 32) };
}

void trap(struct frame *f)
{
	uint64_t cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	last.count++;
	last.vector = f->vector;
	last.error = f->error;
	last.rip = f->rip;
	last.cs = f->cs;
	last.rflags = f->rflags;
	last.rsp = f->rsp;
	last.ss = f->ss;
	last.cr2 = cr2;
	if (handler) {
		handler(f);
	} else if (recover) {
		f->rip = recover;
	} else {
		print("vector ");
		print_number(f->vector);
		print(" error ");
		print_number(f->error);
		print(" rip ");
		failed("unexpected", __LINE__, f->rip);
	}
}

void set_up(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)(uintptr_t)idt };
	uint64_t base = (uint64_t)(uintptr_t)&tss;

	for (unsigned int i = 0; i < 256; i++)
		set_gate(i, (uint64_t)(uintptr_t)vectors + 16 * i, i == 0x80 || i == 3 ? 3 : 0, 0);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	tss.rsp[0] = (uint64_t)(uintptr_t)(interrupt_stack + sizeof(interrupt_stack));
	tss.iomap = sizeof(tss);
	gdt[7] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
		(base >> 24 & 0xff) << 56;
	gdt[8] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(0x38));
}

void open_apic(void)
{
	apic_write(0xf0, 0x1ff);
}
