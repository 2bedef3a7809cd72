/* SPDX-License-Identifier: MIT */
/* A freestanding guest for the engine's tests: traps, ports, MSRs, checks. */
#ifndef VPMU_TESTS_GUEST_H
#define VPMU_TESTS_GUEST_H

#include <stdbool.h>
#include <stdint.h>

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* What happened last, and how often. `handler` decides; without one a fault goes to `recover`. */
extern volatile struct trap_record {
	uint64_t count, vector, error, rip, cs, rflags, rsp, ss, cr2;
} last;
extern void (*volatile handler)(struct frame *f);
extern volatile uint64_t recover;

void set_gate(unsigned int vector, uint64_t handler_address, unsigned int dpl, unsigned int ist);
void user(void (*entry)(void), uint64_t stack, uint64_t rflags);
void user_return(void);

extern uint64_t pml4[512], pdpt[512], pd[2048];
extern char vectors[], stack_top[];
extern uint64_t gdt[];

struct tss {
	uint32_t reserved;
	uint64_t rsp[3], reserved2, ist[7];
	uint64_t reserved3;
	uint16_t reserved4, iomap;
} __attribute__((packed));
extern struct tss tss;

struct gate {
	uint16_t low, selector;
	uint8_t ist, type;
	uint16_t middle;
	uint32_t high, zero;
};
extern struct gate idt[256];

extern uint8_t user_stack_memory[4096];
#define USER_STACK ((uint64_t)(uintptr_t)(user_stack_memory + sizeof(user_stack_memory)))

/* Traps go to trap(), ring 3 comes back by INT 80H. */
void set_up(void);
void open_apic(void);

void print(const char *text);
void print_number(uint64_t n);
/* Ends the guest, saying which line. */
void failed(const char *what, int line, uint64_t value) __attribute__((noreturn));
#define CHECK(x) ((x) ? (void)0 : failed(#x, __LINE__, 0))
#define EQUAL(x, y) ((uint64_t)(x) == (uint64_t)(y) ? (void)0 : failed(#x, __LINE__, (uint64_t)(x)))

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint64_t rdmsr(uint32_t i)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(i) : "memory");
	return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t i, uint64_t v)
{
	__asm__ volatile("wrmsr" : : "c"(i), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}

static inline uint32_t apic_read(uint32_t offset)
{
	return *(volatile uint32_t *)(uintptr_t)(0xfee00000u + offset);
}

static inline void apic_write(uint32_t offset, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)(0xfee00000u + offset) = v;
}

/*
 * Runs assembly between two RDPMC of the test's counter `index`, and gives the difference. That
 * includes the first RDPMC and what stores its answer: 5 instructions, one store, no branch.
 */
#define MEASURED_EXTRA 5
extern volatile uint64_t count_before, count_after;
#define MEASURE(index, code) __extension__({ \
	__asm__ volatile( \
		"mov %0, %%ecx\n\trdpmc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\t" \
		"mov %%rax, count_before(%%rip)\n\t" \
		code "\n\t" \
		"mov %0, %%ecx\n\trdpmc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\t" \
		"mov %%rax, count_after(%%rip)\n\t" \
		: : "i"(index) : "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10", \
		"r11", "memory", "cc"); \
	count_after - count_before; })

/* The counters that the test offers to RDPMC, and its MSRs. */
enum { INSTRUCTIONS, BRANCHES, CONDITIONAL, TAKEN, MISPREDICTED, LOADS, STORES, LLC_REFERENCES,
	LLC_MISSES, USER_INSTRUCTIONS, CYCLES };
#define MSR_PMI_NOW   0x5000u /* written: a PMI */
#define MSR_PMI_AFTER 0x5001u /* written: a PMI with the n-th instruction after this one */
#define MSR_EXITS     0x5002u /* exits that the hypervisor has taken */

#endif
