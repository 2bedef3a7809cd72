/* SPDX-License-Identifier: MIT */
/* The guest of tests/engine: one scenario, named by the command line. */
#include "guest.h"

int main(uint32_t *info);
volatile uint64_t count_before, count_after;

/* ---- Scenarios ---- */

static void hello(void)
{
	print("hello\n");
}

#define FAULT(code, inputs...) do { \
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, recover(%%rip)\n\t" \
		code "\n1:" : : inputs : "rax", "rcx", "rdx", "memory"); \
	recover = 0; } while (0)

#define FAULT_AT(address, code) do { \
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, recover(%%rip)\n\t" \
		"lea 2f(%%rip), %%rax\n\tmov %%rax, %0\n\t2:" code "\n1:" \
		: "=m"(address) : : "rax", "rcx", "rdx", "memory"); \
	recover = 0; } while (0)

static void exceptions(void)
{
	volatile uint64_t at;

	FAULT_AT(at, "ud2");
	EQUAL(last.vector, 6);
	EQUAL(last.rip, at);
	EQUAL(last.error, 0);
	CHECK(last.rflags & 0x10000);
	FAULT("xor %%edx, %%edx; xor %%ecx, %%ecx; xor %%eax, %%eax; div %%ecx");
	EQUAL(last.vector, 0);
	FAULT("mov $0x1238, %%eax; mov %%eax, %%ds");
	EQUAL(last.vector, 13);
	EQUAL(last.error, 0x1238);
	FAULT("mov $0x4567, %%ecx; rdmsr");
	EQUAL(last.vector, 13);
	EQUAL(last.error, 0);
	FAULT("mov %%cr4, %%rax; bts $30, %%rax; mov %%rax, %%cr4");
	EQUAL(last.vector, 13);
	FAULT("int $0x21");
	EQUAL(last.vector, 0x21);
	FAULT("int3");
	EQUAL(last.vector, 3);
	/* Not canonical, by data and by stack. */
	FAULT("mov $0x8000000000000000, %%rax; mov (%%rax), %%rcx");
	EQUAL(last.vector, 13);
}

static void page_faults(void)
{
	uint64_t *entry = &pd[1024]; /* 2 GiB: beyond the RAM, no device there */
	volatile uint8_t *at = (volatile uint8_t *)0x80000123ul;

	EQUAL(*at, 0xff);
	*entry = 0;
	__asm__ volatile("invlpg %0" : : "m"(*at));
	FAULT("mov $0x80000123, %%eax; mov (%%rax), %%cl");
	EQUAL(last.vector, 14);
	EQUAL(last.error, 0);
	EQUAL(last.cr2, 0x80000123);
	FAULT("mov $0x80000456, %%eax; mov %%cl, (%%rax)");
	EQUAL(last.error, 2);
	EQUAL(last.cr2, 0x80000456);
	FAULT("mov $0x80000456, %%eax; addl $1, (%%rax)");
	EQUAL(last.vector, 14);
	FAULT("mov $0x80000789, %%eax; jmp *%%rax");
	EQUAL(last.vector, 14);
	EQUAL(last.error, 0x10);
	EQUAL(last.cr2, 0x80000789);
	EQUAL(last.rip, 0x80000789);
	/* Code in a device that is not there. */
	FAULT("mov $0x90000000, %%eax; jmp *%%rax");
	EQUAL(last.vector, 6);
	EQUAL(last.rip, 0x90000000);
	/* Read-only, in RAM. */
	pd[2] &= ~2ull;
	__asm__ volatile("invlpg (%0)" : : "r"(0x400000ul));
	FAULT("mov $0x400010, %%eax; mov (%%rax), %%cl; mov %%cl, (%%rax)");
	EQUAL(last.error, 3);
	EQUAL(last.cr2, 0x400010);
	/* Not executable. */
	pd[2] |= 1ull << 63;
	__asm__ volatile("invlpg (%0)" : : "r"(0x400000ul));
	FAULT("mov $0x400020, %%eax; jmp *%%rax");
	EQUAL(last.error, 0x11);
	EQUAL(last.rip, 0x400020);
}

/* More than an engine with a memory of past exceptions can take. */
static void many(void)
{
	for (unsigned int i = 0; i < 1000; i++) {
		FAULT("mov $0x1238, %%eax; mov %%eax, %%ds");
		EQUAL(last.vector, 13);
		FAULT("mov $0x4567, %%ecx; rdmsr");
		EQUAL(last.vector, 13);
		FAULT("ud2");
		EQUAL(last.vector, 6);
	}
	EQUAL(last.count, 3000);
}

static void double_fault(void)
{
	static uint8_t stack[2048] __attribute__((aligned(16)));

	tss.ist[2] = (uint64_t)(uintptr_t)(stack + sizeof(stack));
	set_gate(8, (uint64_t)(uintptr_t)vectors + 16 * 8, 0, 3);
	idt[13].type = 0x0e; /* not present */
	FAULT("mov $0x1238, %%eax; mov %%eax, %%ds");
	EQUAL(last.vector, 8);
	EQUAL(last.error, 0);
	/* #NP is not contributory to an interrupt: delivered as it is. */
	idt[0x21].type = 0x0e;
	FAULT("int $0x21");
	EQUAL(last.vector, 11);
	EQUAL(last.error, 0x21 * 8 + 2);
}

/* A handler that is not executable: faults for ever, and nothing retires. */
static void circle(void)
{
	static uint8_t stack[2048] __attribute__((aligned(16)));

	tss.ist[2] = (uint64_t)(uintptr_t)(stack + sizeof(stack));
	set_gate(6, 0x90000000, 0, 3);
	__asm__ volatile("ud2");
}

static void triple_fault(void)
{
	idt[13].type = idt[8].type = 0;
	FAULT("mov $0x1238, %%eax; mov %%eax, %%ds");
}

static void debug_handler(struct frame *f)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	f->r15 = dr6;
	f->rflags &= ~0x100ull; /* a single step */
}

static void debug(void)
{
	volatile uint64_t at;
	uint64_t dr6;

	handler = debug_handler;
	__asm__ volatile("xor %%r15, %%r15\n\tlea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\t"
		"mov %%rax, %%dr2\n\tmov $0x30, %%eax\n\tmov %%rax, %%dr7\n\tnop\n1:\tnop\n\t"
		"mov %%r15, %1" : "=m"(at), "=r"(dr6) : : "rax", "r15", "memory");
	EQUAL(last.count, 1);
	EQUAL(last.vector, 1);
	EQUAL(last.rip, at);
	EQUAL(dr6 & 15, 4);
	CHECK(last.rflags & 0x10000);
	__asm__ volatile("mov %%rax, %%dr2\n\tmov %%dr7, %0" : "=r"(dr6) : "a"(at));
	EQUAL(dr6, 0x430);
	__asm__ volatile("mov %0, %%dr7" : : "r"(0ul));
	__asm__ volatile("xor %%r15, %%r15\n\tlea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\t"
		"pushf\n\torl $0x100, (%%rsp)\n\tpopf\n\tnop\n1:\tnop\n\tmov %%r15, %1"
		: "=m"(at), "=r"(dr6) : : "rax", "r15", "memory", "cc");
	EQUAL(last.count, 2);
	EQUAL(last.rip, at);
	CHECK(dr6 & 0x4000);
	/* Over an instruction that the engine takes; and INT1. */
	__asm__ volatile("xor %%r15, %%r15\n\tlea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\t"
		"xor %%eax, %%eax\n\tpushf\n\torl $0x100, (%%rsp)\n\tpopf\n\tcpuid\n1:\tnop\n\t"
		"mov %%r15, %1" : "=m"(at), "=r"(dr6) : : "rax", "rbx", "rcx", "rdx", "r15",
		"memory", "cc");
	EQUAL(last.count, 3);
	EQUAL(last.rip, at);
	CHECK(dr6 & 0x4000);
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\t.byte 0xf1\n1:"
		: "=m"(at) : : "rax", "r15", "memory");
	EQUAL(last.count, 4);
	EQUAL(last.rip, at);
	handler = 0;
	FAULT("mov $1, %%eax; shl $32, %%rax; mov %%rax, %%dr7");
	EQUAL(last.vector, 13);
}

/* ---- Ring 3 ---- */

static volatile uint64_t user_value, user_cs;

static void back(struct frame *f)
{
	if (f->vector != 0x80)
		user_value = f->vector;
	f->rip = (uint64_t)(uintptr_t)user_return;
	f->cs = 0x10;
	f->ss = 0;
	f->rflags = 2;
}

static void user_int(void)
{
	__asm__ volatile("mov %%cs, %%eax\n\tmov %%rax, user_cs(%%rip)\n\tint $0x80"
		: : : "rax", "memory");
}

static void user_hlt(void)
{
	__asm__ volatile("hlt");
}

static void user_rdmsr(void)
{
	__asm__ volatile("xor %%ecx, %%ecx\n\trdmsr" : : : "rax", "rcx", "rdx");
}

static void user_int_21(void)
{
	__asm__ volatile("int $0x21");
}

static void user_in(void)
{
	(void)inb(0x3fd);
	__asm__ volatile("int $0x80");
}

static void user_read(void)
{
	(void)*(volatile uint32_t *)0x400000ul;
	__asm__ volatile("int $0x80");
}

static void ring3(void)
{
	handler = back;
	user(user_int, USER_STACK, 0x202);
	EQUAL(last.vector, 0x80);
	EQUAL(last.cs, 0x33);
	EQUAL(last.ss, 0x2b);
	EQUAL(user_cs, 0x33);
	CHECK(last.rflags & 0x200);
	CHECK(last.rsp <= USER_STACK && last.rsp > USER_STACK - 64);
	user(user_hlt, USER_STACK, 2);
	EQUAL(last.vector, 13);
	EQUAL(last.error, 0);
	EQUAL(last.cs, 0x33);
	user(user_rdmsr, USER_STACK, 2);
	EQUAL(last.vector, 13);
	user(user_int_21, USER_STACK, 2);
	EQUAL(last.vector, 13);
	EQUAL(last.error, 0x21 * 8 + 2);
	EQUAL(last.rip, (uintptr_t)user_int_21 + 0);
	user(user_in, USER_STACK, 2);
	EQUAL(last.vector, 13);
	user(user_in, USER_STACK, 0x3002); /* IOPL 3 */
	EQUAL(last.vector, 0x80);
	pd[2] &= ~4ull;
	__asm__ volatile("invlpg (%0)" : : "r"(0x400000ul));
	user(user_read, USER_STACK, 2);
	EQUAL(last.vector, 14);
	EQUAL(last.error, 5);
	for (unsigned int i = 0; i < 100; i++)
		user(user_int, USER_STACK, 2);
	EQUAL(last.vector, 0x80);
}

static void user_syscall(void)
{
	__asm__ volatile("mov $77, %%eax\n\tsyscall\n\tint $0x80"
		: : : "rax", "rcx", "r11", "memory");
}

extern char syscall_entry[];
volatile uint64_t syscall_rax, syscall_cs, syscall_ss;
uint64_t syscall_stack;
__asm__(
	".globl syscall_entry\n"
	"syscall_entry:\n\t"
	"mov %rax, syscall_rax(%rip)\n\t"
	"mov %cs, %eax\n\tmov %rax, syscall_cs(%rip)\n\t"
	"mov %ss, %eax\n\tmov %rax, syscall_ss(%rip)\n\t"
	"sysretq\n");

static void system_calls(void)
{
	wrmsr(0xc0000081, 0x10ull << 32 | 0x20ull << 48);
	wrmsr(0xc0000082, (uint64_t)(uintptr_t)syscall_entry);
	wrmsr(0xc0000084, 0x200);
	handler = back;
	for (unsigned int i = 0; i < 10; i++) {
		syscall_rax = 0;
		user(user_syscall, USER_STACK, 0x202);
		EQUAL(last.vector, 0x80);
		EQUAL(last.cs, 0x33);
		EQUAL(last.ss, 0x2b);
		CHECK(last.rflags & 0x200);
		EQUAL(syscall_rax, 77);
		EQUAL(syscall_cs, 0x10);
		EQUAL(syscall_ss, 0x18);
	}
	handler = 0;
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
	FAULT("syscall");
	EQUAL(last.vector, 6);
}

/* ---- Interrupts ---- */

static volatile uint64_t interrupts, order;

static void count_and_eoi(struct frame *f)
{
	interrupts++;
	order = order * 256 + f->vector;
	apic_write(0xb0, 0);
}

static void self_ipi(uint32_t icr)
{
	apic_write(0x310, 0);
	apic_write(0x300, icr | 0x40000);
}

static void nmi_nested(struct frame *f)
{
	interrupts++;
	if (f->vector == 2 && interrupts == 1) {
		self_ipi(0x400); /* blocked until IRET */
		for (volatile int i = 0; i < 10; i++)
			;
		EQUAL(interrupts, 1);
	}
}

static void nmi(void)
{
	open_apic();
	handler = nmi_nested;
	self_ipi(0x400);
	__asm__ volatile("nop");
	EQUAL(interrupts, 2);
	EQUAL(last.vector, 2);
}

/* After STI one more instruction runs; after MOV SS not even an NMI comes. */
static void shadow(void)
{
	volatile uint64_t after_sti, after_ss;

	open_apic();
	handler = count_and_eoi;
	__asm__ volatile("cli");
	self_ipi(0x41);
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\tsti\n\tnop\n1:\tnop\n\tcli"
		: "=m"(after_sti) : : "rax", "memory");
	EQUAL(interrupts, 1);
	EQUAL(last.rip, after_sti);
	self_ipi(0x41);
	__asm__ volatile("sti\n\tcli"); /* the shadow covers the CLI: nothing comes */
	EQUAL(interrupts, 1);
	__asm__ volatile("sti\n\tnop\n\tcli");
	EQUAL(interrupts, 2);
	__asm__ volatile("mov $0x310, %%eax\n\tmov $0xfee00300, %%edx\n\tmov %%ss, %%ebx\n\t"
		"lea 1f(%%rip), %%rcx\n\tmov %%rcx, %0\n\tmov $0x40400, %%eax\n\t"
		"mov %%eax, (%%rdx)\n\tnop\n1:\tnop"
		: "=m"(after_ss) : : "rax", "rbx", "rcx", "rdx", "memory");
	EQUAL(last.vector, 2);
	EQUAL(interrupts, 3);
	/* MOV SS, then the instruction that asks for the NMI would be too late: STI first. */
	self_ipi(0x41);
	__asm__ volatile("mov %%ss, %%ebx\n\tlea 1f(%%rip), %%rcx\n\tmov %%rcx, %0\n\t"
		"pushf\n\torl $0x200, (%%rsp)\n\tmov %%ss, %%ebx\n\tpopf\n1:\tnop\n\tcli"
		: "=m"(after_ss) : : "rbx", "rcx", "memory", "cc");
	EQUAL(interrupts, 4);
	EQUAL(last.rip, after_ss); /* POPF has no shadow */
	self_ipi(0x41);
	__asm__ volatile("mov %%ss, %%ebx\n\tlea 1f(%%rip), %%rcx\n\tmov %%rcx, %0\n\t"
		"sti\n\tmov %%ebx, %%ss\n\tnop\n1:\tnop\n\tcli"
		: "=m"(after_ss) : : "rbx", "rcx", "memory");
	EQUAL(interrupts, 5);
	EQUAL(last.rip, after_ss);
}

static void priorities(void)
{
	open_apic();
	handler = count_and_eoi;
	__asm__ volatile("cli");
	self_ipi(0x41);
	self_ipi(0x91);
	self_ipi(0x61);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tnop\n\tnop\n\tcli");
	EQUAL(interrupts, 3);
	EQUAL(order, 0x916141);
	/* TPR, by CR8. */
	__asm__ volatile("mov %0, %%cr8" : : "r"(6ul));
	self_ipi(0x61);
	self_ipi(0x71);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	EQUAL(interrupts, 4);
	EQUAL(last.vector, 0x71);
	EQUAL(apic_read(0x80), 0x60);
	__asm__ volatile("mov %0, %%cr8\n\tsti\n\tnop\n\tnop\n\tcli" : : "r"(0ul));
	EQUAL(last.vector, 0x61);
}

static void timer(void)
{
	uint64_t start;

	open_apic();
	handler = count_and_eoi;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x20050);
	apic_write(0x380, 1000);
	__asm__ volatile("sti");
	start = rdtsc();
	while (interrupts < 10)
		;
	__asm__ volatile("cli");
	start = rdtsc() - start;
	CHECK(start >= 9900 && start < 10200);
	/* One shot, and what is left of it. */
	apic_write(0x320, 0x50);
	apic_write(0x380, 100000);
	CHECK(apic_read(0x390) > 99000);
	__asm__ volatile("sti");
	while (interrupts < 11)
		;
	__asm__ volatile("cli");
	EQUAL(apic_read(0x390), 0);
	/* TSC deadline. */
	apic_write(0x320, 0x40051);
	start = rdtsc();
	wrmsr(0x6e0, start + 5000);
	__asm__ volatile("sti");
	while (interrupts < 12)
		;
	CHECK(rdtsc() - start >= 5000);
	EQUAL(last.vector, 0x51);
	EQUAL(rdmsr(0x6e0), 0);
}

static void halt(void)
{
	uint64_t start, retired;

	open_apic();
	handler = count_and_eoi;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x50);
	start = rdtsc();
	apic_write(0x380, 1000000);
	__asm__ volatile("sti\n\thlt\n\tcli");
	EQUAL(interrupts, 1);
	CHECK(rdtsc() - start >= 1000000);
	apic_write(0x380, 1000000);
	retired = MEASURE(INSTRUCTIONS, "sti\n\thlt\n\tcli");
	EQUAL(interrupts, 2);
	CHECK(retired < 200);
	/* An NMI wakes with interrupts off. */
	apic_write(0x320, 0x10050);
	apic_write(0x340, 0x400);
	wrmsr(MSR_PMI_AFTER, 1);
	__asm__ volatile("hlt");
	EQUAL(last.vector, 2);
}

/* A halted CPU that nothing wakes. */
static void stuck(void)
{
	__asm__ volatile("cli\n\thlt");
}

static void x2apic(void)
{
	wrmsr(0x1b, rdmsr(0x1b) | 0xc00);
	wrmsr(0x80f, 0x1ff);
	EQUAL(rdmsr(0x802), 0);
	handler = 0;
	FAULT("mov $0x80e, %%ecx; rdmsr");
	EQUAL(last.vector, 13);
	FAULT("mov $0x80b, %%ecx; mov $1, %%eax; xor %%edx, %%edx; wrmsr"); /* EOI takes 0 */
	EQUAL(last.vector, 13);
	last.count = 0;
	__asm__ volatile("cli");
	wrmsr(0x83f, 0x44);
	EQUAL(rdmsr(0x822) >> 4 & 1, 1); /* IRR */
	recover = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, recover(%%rip)\n\tsti\n\tnop\n1:\tcli"
		: : : "rax", "memory");
	EQUAL(last.count, 1);
	EQUAL(last.vector, 0x44);
	EQUAL(rdmsr(0x812) >> 4 & 1, 1); /* ISR */
	EQUAL(rdmsr(0x80a), 0x40);       /* PPR */
	wrmsr(0x80b, 0);
	EQUAL(rdmsr(0x812), 0);
}

static void keep_rip(struct frame *f)
{
	interrupts++;
	if (f->vector != 2)
		apic_write(0xb0, 0);
}

static void lvtpc(void)
{
	open_apic();
	handler = keep_rip;
	apic_write(0x340, 0x61);
	__asm__ volatile("sti");
	wrmsr(MSR_PMI_NOW, 0);
	EQUAL(interrupts, 1);
	EQUAL(last.vector, 0x61);
	CHECK(apic_read(0x340) & 0x10000); /* masked itself */
	wrmsr(MSR_PMI_NOW, 0);
	EQUAL(interrupts, 1);
	apic_write(0x340, 0x400);
	wrmsr(MSR_PMI_NOW, 0);
	EQUAL(interrupts, 2);
	EQUAL(last.vector, 2);
}

/* The n-th instruction's PMI is seen right behind the n-th instruction. */
static void exact(void)
{
	volatile uint64_t base;

	open_apic();
	handler = keep_rip;
	for (uint32_t n = 1; n < 20; n++) {
		apic_write(0x340, 0x400);
		__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\t"
			"mov %1, %%eax\n\txor %%edx, %%edx\n\tmov $0x5001, %%ecx\n\twrmsr\n1:\t"
			".rept 30\n\tnop\n\t.endr"
			: "=m"(base) : "r"(n) : "rax", "rcx", "rdx", "memory");
		EQUAL(interrupts, n);
		EQUAL(last.rip, base + n);
	}
}

/* ---- Counting ---- */

#define RETIRED(code) (MEASURE(INSTRUCTIONS, code) - MEASURED_EXTRA)

static uint8_t buffer[256];

static void counts(void)
{
	EQUAL(RETIRED(""), 0);
	EQUAL(RETIRED("nop\n\tnop\n\tnop"), 3);
	EQUAL(RETIRED("mov $1000, %%ecx\n1:\tnop\n\tdec %%ecx\n\tjnz 1b"), 3001);
	EQUAL(MEASURE(BRANCHES, "mov $1000, %%ecx\n1:\tnop\n\tdec %%ecx\n\tjnz 1b"), 1000);
	EQUAL(MEASURE(TAKEN, "mov $1000, %%ecx\n1:\tnop\n\tdec %%ecx\n\tjnz 1b"), 999);
	EQUAL(MEASURE(CONDITIONAL, "mov $9, %%ecx\n1:\tloop 1b\n\tjmp 2f\n2:"), 9);
	EQUAL(MEASURE(BRANCHES, "call 1f\n\tjmp 2f\n1:\tret\n2:"), 3);
	EQUAL(MEASURE(TAKEN, "cmp %%eax, %%eax\n\tje 1f\n1:\tjne 1f\n1:\tnop"), 1);
	EQUAL(MEASURE(MISPREDICTED, "mov $1000, %%ecx\n1:\tdec %%ecx\n\tjnz 1b"), 2);
	/* REP: once; also with nothing to do. */
	EQUAL(RETIRED("lea buffer(%%rip), %%rdi\n\tmov $200, %%ecx\n\trep stosb"), 3);
	EQUAL(RETIRED("lea buffer(%%rip), %%rdi\n\txor %%ecx, %%ecx\n\trep stosb"), 3);
	EQUAL(RETIRED("lea buffer(%%rip), %%rdi\n\tmov $1, %%ecx\n\trep stosb"), 3);
	EQUAL(RETIRED("lea buffer(%%rip), %%rdi\n\tmov $100, %%ecx\n\txor %%eax, %%eax\n\t"
		"repe scasb"), 4);
	EQUAL(buffer[199], buffer[0]);
	/* Taken by the engine: counted as any other. */
	EQUAL(RETIRED("xor %%eax, %%eax\n\tcpuid\n\trdtsc\n\tmov $0x10, %%ecx\n\trdmsr"), 5);
	/* In and out of the kernel: the delivery is not an instruction. */
	EQUAL(MEASURE(LOADS, "mov buffer(%%rip), %%eax\n\tpop %%rbx\n\tpush %%rbx"), 2);
	EQUAL(MEASURE(STORES, "mov %%eax, buffer(%%rip)\n\tpush %%rbx\n\tpop %%rbx\n\t"
		"incl buffer(%%rip)"), 4);
	EQUAL(MEASURE(LOADS, "lea buffer(%%rip), %%rax\n\tclflush (%%rax)\n\tnopl (%%rax)"), 0);
}

extern char bare_ud[], bare_int[];
__asm__(
	/* A handler of three instructions: add, add, iretq. */
	".globl bare_ud, bare_int, bare_pf\n"
	"bare_ud:\n\taddq $2, (%rsp)\n\tiretq\n"
	"bare_int:\n\tiretq\n"
	"bare_pf:\n\tadd $8, %rsp\n\tpush %rax\n\tmov $pd + 8192, %eax\n\torq $1, (%rax)\n\t"
	"pop %rax\n\tiretq\n");
extern char bare_pf[];

static void faults(void)
{
	set_gate(6, (uint64_t)(uintptr_t)bare_ud, 0, 0);
	EQUAL(RETIRED("ud2"), 2); /* the handler's two; UD2 never retires */
	EQUAL(MEASURE(BRANCHES, "ud2"), 1);
	set_gate(0x50, (uint64_t)(uintptr_t)bare_int, 0, 0);
	EQUAL(RETIRED("int $0x50"), 2); /* INT n retires */
	EQUAL(MEASURE(BRANCHES, "int $0x50"), 2);
	/* Restarted: counted once. */
	set_gate(14, (uint64_t)(uintptr_t)bare_pf, 0, 0);
	pd[1024] &= ~1ull;
	__asm__ volatile("invlpg (%0)" : : "r"(0x80000000ul));
	EQUAL(RETIRED("mov $0x80000000, %%ebx\n\tmov (%%rbx), %%cl\n\tmov (%%rbx), %%cl"), 9);
	pd[1024] &= ~1ull;
	__asm__ volatile("invlpg (%0)" : : "r"(0x80000000ul));
	EQUAL(RETIRED("mov $0x80000000, %%esi\n\tlea buffer(%%rip), %%rdi\n\tmov $20, %%ecx\n\t"
		"rep movsb"), 10);
}

/* Interrupts at every possible place change neither results nor counts of what they interrupt. */
static void disturbed(void)
{
	uint64_t quiet, a, b;

#define WORK "mov $500, %%ecx\n\txor %%ebx, %%ebx\n1:\tadd %%ecx, %%ebx\n\trol $3, %%ebx\n\t" \
	"sbb $7, %%ebx\n\tadc %%ecx, %%ebx\n\tlea buffer(%%rip), %%rdi\n\tpush %%rcx\n\tpushf\n\t" \
	"mov $7, %%ecx\n\trep stosb\n\tpopf\n\tpop %%rcx\n\tdec %%ecx\n\tjnz 1b\n\t" \
	"mov %%rbx, buffer+128(%%rip)"
	quiet = MEASURE(USER_INSTRUCTIONS, WORK);
	EQUAL(quiet, 0);
	quiet = RETIRED(WORK);
	a = *(volatile uint64_t *)(buffer + 128);
	open_apic();
	set_gate(0x50, (uint64_t)(uintptr_t)vectors + 16 * 0x50, 0, 0);
	handler = count_and_eoi;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x20050);
	apic_write(0x380, 173);
	__asm__ volatile("sti");
	(void)RETIRED(WORK);
	__asm__ volatile("cli");
	b = *(volatile uint64_t *)(buffer + 128);
	EQUAL(a, b);
	CHECK(interrupts > 20);
	CHECK(quiet > 6000);
}

/* ---- Memory ---- */

static uint64_t high_pdpt[512] __attribute__((aligned(4096)));
static uint64_t high_pd[512] __attribute__((aligned(4096)));
static uint64_t high_pt[512] __attribute__((aligned(4096)));
#define HIGH 0xffffc00000000000ull

static void map_high(unsigned int page, uint64_t physical)
{
	high_pt[page] = physical | 7;
	high_pd[0] = (uint64_t)(uintptr_t)high_pt | 7;
	high_pdpt[0] = (uint64_t)(uintptr_t)high_pd | 7;
	pml4[384] = (uint64_t)(uintptr_t)high_pdpt | 7;
}

static void flush(unsigned int page)
{
	__asm__ volatile("invlpg (%0)" : : "r"(HIGH + page * 4096ull) : "memory");
}

static volatile uint32_t *high(unsigned int page)
{
	return (volatile uint32_t *)(HIGH + page * 4096ull);
}

static void mirrors(void)
{
	volatile uint32_t *low = (volatile uint32_t *)0x600000ul;
	uint32_t (*code)(void);

	map_high(0, 0x600000);
	map_high(1, 0x605000);
	map_high(2, 0x603000);
	*high(0) = 0x1234;
	EQUAL(low[0], 0x1234);
	low[0x5000 / 4] = 0x5678;
	EQUAL(*high(1), 0x5678);
	*high(2) = 1;
	EQUAL(low[0x3000 / 4], 1);
	/* Across two pages that are not neighbours. */
	*(volatile uint64_t *)(HIGH + 4092) = 0x1122334455667788ull;
	EQUAL(low[4092 / 4], 0x55667788);
	EQUAL(low[0x5000 / 4], 0x11223344);
	/* Not there: a fault; then there. */
	FAULT("mov $0xffffc00000003000, %%rax; mov (%%rax), %%ecx");
	EQUAL(last.vector, 14);
	EQUAL(last.cr2, HIGH + 0x3000);
	map_high(3, 0x604000);
	low[0x4000 / 4] = 99;
	EQUAL(*high(3), 99);
	/* Moved. */
	map_high(0, 0x607000);
	flush(0);
	low[0x7000 / 4] = 0x4321;
	EQUAL(*high(0), 0x4321);
	/* Code there; changed through another address. */
	low[0x7000 / 4] = 0x000001b8; /* mov $1, %eax; ret */
	low[0x7000 / 4 + 1] = 0x0000c300;
	code = (uint32_t (*)(void))(uintptr_t)HIGH;
	EQUAL(code(), 1);
	low[0x7000 / 4] = 0x000002b8;
	EQUAL(code(), 2);
	*high(0) = 0x000003b8;
	EQUAL(code(), 3);
	/* A device there. */
	map_high(4, 0xfee00000);
	open_apic();
	EQUAL(high(4)[0xf0 / 4], 0x1ff);
}

/* A low address that is mapped elsewhere: more than this engine can do, and it says so. */
static void low_alias(void)
{
	pd[8] = 0x600000 | 0x87;
	__asm__ volatile("mov %%cr3, %%rax\n\tmov %%rax, %%cr3" : : : "rax", "memory");
	print("still here\n");
}

static void ports(void)
{
	static const char text[] = "by rep outsb\n";
	const char *from = text;
	uint64_t n = sizeof(text) - 1;
	uint8_t c;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(0x3f8) : "memory");
	while (!(inb(0x3fd) & 1))
		;
	c = inb(0x3f8);
	EQUAL(c, 'x');
	__asm__ volatile("out %0, %1" : : "a"((uint16_t)3), "d"((uint16_t)0x510));
	EQUAL(inb(0x511), 0);
	EQUAL(inb(0x511), 0);
	EQUAL(inb(0x511), 0);
	EQUAL(inb(0x511), 2); /* 32 MiB */
}

/* In and out of long mode's sub-modes, counted all the way. */
static void compatibility(void)
{
	uint64_t n = RETIRED("push $0x08\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n"
		"\t.code32\n1:\tmov $100, %%ecx\n2:\tinc %%ebx\n\tloop 2b\n\tljmp $0x10, $3f\n"
		"\t.code64\n3:");

	EQUAL(n, 4 + 1 + 200 + 1);
}

static void exits(void)
{
	uint64_t before = rdmsr(MSR_EXITS), n;

	n = RETIRED("xor %%eax, %%eax\n\tcpuid\n\tmov $0x3fd, %%edx\n\tin %%dx, %%al");
	EQUAL(n, 4);
	/* CPUID, IN; the RDPMC pair and the RDMSR. */
	EQUAL(rdmsr(MSR_EXITS) - before, 2 + 2 + 1);
}

/* The caches' model: a line is a miss once, a hit in the first level afterwards. */
static void caches(void)
{
	EQUAL(MEASURE(LLC_MISSES, "lea buffer(%%rip), %%rbx\n\tmov (%%rbx), %%eax\n\t"
		"clflush (%%rbx)\n\tmov (%%rbx), %%eax\n\tmov (%%rbx), %%eax") > 0, 1);
	CHECK(MEASURE(LLC_REFERENCES, "lea buffer(%%rip), %%rbx\n\tclflush (%%rbx)\n\t"
		"mov (%%rbx), %%eax") >= 1);
	EQUAL(MEASURE(LLC_REFERENCES, "mov buffer(%%rip), %%eax"), 0);
}

/*
 * The same work, counted by RDPMC here, and by the TSC where it counts instructions: QEMU with
 * -icount shift=0. No REP, where QEMU counts each repetition, and no UD2, which it counts too.
 */
#define TIMED(code) __extension__({ \
	__asm__ volatile( \
		"rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\t" \
		"mov %%rax, count_before(%%rip)\n\t" \
		code "\n\t" \
		"rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\t" \
		"mov %%rax, count_after(%%rip)\n\t" \
		: : : "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", \
		"memory", "cc"); \
	count_after - count_before - 4; })

#define LOOP "mov $1234, %%ecx\n1:\tnop\n\tdec %%ecx\n\tjnz 1b"
#define MEMORY "lea buffer(%%rip), %%rbx\n\tmov $77, %%ecx\n1:\tpush %%rcx\n\t" \
	"add %%rcx, (%%rbx)\n\tpop %%rax\n\tcmp $30, %%eax\n\tjb 2f\n\t" \
	"mov (%%rbx), %%rsi\n\tbt $3, %%esi\n\tjc 2f\n\txor %%rsi, %%rsi\n2:\tloop 1b"
#define CALLS "mov $55, %%ecx\n1:\tcall 2f\n\tdec %%ecx\n\tjnz 1b\n\tjmp 3f\n" \
	"2:\tcall 4f\n\tret\n4:\ttest $1, %%cl\n\tjz 5f\n\tnop\n5:\tret\n3:"
#define STRINGS "lea buffer(%%rip), %%rdi\n\tlea buffer(%%rip), %%rsi\n\tmov $9, %%ecx\n" \
	"1:\tlodsb\n\tstosb\n\tscasb\n\tmovsb\n\tloop 1b"
#define SOFTWARE "mov $20, %%ecx\n1:\tint $0x50\n\tloop 1b"
#define CONTROL "mov %%cr3, %%rax\n\tmov %%rax, %%cr3\n\tinvlpg (%%rax)\n\t" \
	"mov %%cr4, %%rax\n\tmov %%rax, %%cr4\n\tpushf\n\tpopf\n\tcli\n\txor %%eax, %%eax\n\tcpuid"
#define MODES "push $0x08\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n\t.code32\n" \
	"1:\tmov $100, %%ecx\n2:\tinc %%ebx\n\tloop 2b\n\tljmp $0x10, $3f\n\t.code64\n3:"

static void say(const char *name, uint64_t n)
{
	print(name);
	print(" ");
	print_number(n);
	print("\n");
}

#define EVERY(f) do { \
	say("loop", f(LOOP)); say("memory", f(MEMORY)); say("calls", f(CALLS)); \
	say("strings", f(STRINGS)); say("software", f(SOFTWARE)); \
	say("control", f(CONTROL)); say("modes", f(MODES)); } while (0)

static void oracle(bool by_tsc)
{
	set_gate(6, (uint64_t)(uintptr_t)bare_ud, 0, 0);
	set_gate(0x50, (uint64_t)(uintptr_t)bare_int, 0, 0);
	if (by_tsc)
		EVERY(TIMED);
	else
		EVERY(RETIRED);
}

static void oracle_rdpmc(void)
{
	oracle(false);
}

static void oracle_tsc(void)
{
	oracle(true);
}

/* Executes what the test has put at 6 MiB; whatever that raises, on it goes some bytes further. */
#define RANDOM_CODE 0x600000ul
#define RANDOM_SIZE 0x10000ul

static void go_on(struct frame *f)
{
	uint64_t offset = (f->rip - RANDOM_CODE + 13) % RANDOM_SIZE;

	f->rip = RANDOM_CODE + offset;
	f->cs = f->cs & 3 ? 0x33 : 0x10;
	f->ss = f->cs & 3 ? 0x2b : 0x18;
	f->rsp = USER_STACK - 2048;
	f->rflags = 0x202;
}

static void random_code(void)
{
	open_apic();
	handler = go_on;
	if (*(uint8_t *)RANDOM_CODE & 1)
		user((void (*)(void))RANDOM_CODE, USER_STACK, 0x202);
	else
		((void (*)(void))RANDOM_CODE)();
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "hello", hello }, { "exceptions", exceptions }, { "page_faults", page_faults },
	{ "debug", debug }, { "many", many }, { "double_fault", double_fault },
	{ "triple_fault", triple_fault }, { "circle", circle }, { "ring3", ring3 },
	{ "system_calls", system_calls }, { "nmi", nmi }, { "shadow", shadow },
	{ "priorities", priorities }, { "timer", timer }, { "halt", halt }, { "stuck", stuck },
	{ "x2apic", x2apic }, { "lvtpc", lvtpc }, { "exact", exact }, { "counts", counts },
	{ "faults", faults }, { "disturbed", disturbed }, { "mirrors", mirrors },
	{ "low_alias", low_alias }, { "ports", ports }, { "compatibility", compatibility },
	{ "exits", exits }, { "caches", caches }, { "random", random_code },
	{ "oracle", oracle_rdpmc }, { "oracle-tsc", oracle_tsc },
};

/* QEMU puts the image's name before the command line. */
static const char *last_word(const char *line)
{
	const char *word = line;

	for (; *line; line++)
		if (*line == ' ')
			word = line + 1;
	return word;
}

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

int main(uint32_t *info)
{
	const char *name = last_word((const char *)(uintptr_t)info[4]);

	set_up();
	for (unsigned int i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (!equal(name, scenarios[i].name))
			continue;
		scenarios[i].run();
		return 0;
	}
	failed("no such scenario", __LINE__, 0);
}
