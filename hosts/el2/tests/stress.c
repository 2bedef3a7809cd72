/* SPDX-License-Identifier: MIT */
/*
 * stress.c - a guest that tries everything: all system register encodings, the interrupt
 * controller's frames with every size, addresses it does not have, calls nobody serves, more
 * pending interrupts than there are list registers. It may get nonsense for an answer; it must get
 * an answer, and the monitor must live.
 *
 * Prints "stress-verdict: N" (0: passed) and switches off.
 */
#include <stdbool.h>
#include <stdint.h>

#define UART UINT64_C(0x09000000)
#define GICD UINT64_C(0x08000000)
#define ITS  UINT64_C(0x08080000)
#define GICR UINT64_C(0x080a0000)
#define RAM  UINT64_C(0x40000000)

#define INSTRUCTION_MRS_X0 0xD5300000u
#define INSTRUCTION_MSR_X0 0xD5100000u

#define sysreg_write(reg, v) __asm__ volatile("msr " reg ", %0\n\tisb" : : "r" ((uint64_t)(v)) : "memory")
#define sysreg_read(reg) __extension__ ({ \
	uint64_t v_; __asm__ volatile("mrs %0, " reg : "=r" (v_) : : "memory"); v_; })

enum size { BYTE, HALF, WORD, LONG };

uint64_t stress_access(uint64_t address, uint64_t size, uint64_t write, uint64_t value);
void stress_pair(uint64_t address);
uint64_t stress_execute(uint32_t instruction, uint64_t value);
uint64_t stress_a32(uint32_t instruction);

extern char image_start[];

void stress_main(void);
void stress_sync(uint64_t esr, uint64_t *frame);
void stress_irq(void);
void stress_serror(void);
_Noreturn void stress_unexpected(uint64_t esr);

static volatile uint64_t traps, last_esr, serrors;
static volatile uint32_t taken[64];
static volatile unsigned int taken_count;
static unsigned int failures;

/* ---- Console ---- */

static void print(const char *s)
{
	for (; *s; s++)
		*(volatile uint32_t *)UART = (unsigned char)*s;
}

static void print_hex(uint64_t v)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*(volatile uint32_t *)UART = (unsigned char)"0123456789abcdef"[v >> shift & 15];
}

static void report(const char *what, uint64_t value, bool ok)
{
	print(ok ? "ok " : "not ok ");
	print(what);
	print(" ");
	print_hex(value);
	print("\r\n");
	failures += !ok;
}

/* ---- Exceptions ---- */

/* start.S keeps the return address at word 20 of its frame. */
void stress_sync(uint64_t esr, uint64_t *frame)
{
	traps++;
	last_esr = esr;
	frame[20] += 4;
}

void stress_serror(void)
{
	serrors++;
}

_Noreturn void stress_unexpected(uint64_t esr)
{
	print("not ok unexpected exception ");
	print_hex(esr);
	print("\r\nstress-verdict: 3\r\n");
	for (;;)
		__asm__ volatile("mov w0, #8\n\tmovk w0, #0x8400, lsl #16\n\tsmc #0" : : : "x0");
}

void stress_irq(void)
{
	uint32_t intid = (uint32_t)sysreg_read("S3_0_C12_C12_0");

	if (intid >= 1020)
		return;
	if (taken_count < 64)
		taken[taken_count++] = intid;
	sysreg_write("S3_0_C12_C12_1", intid);
}

/* ---- System registers ---- */

/* Writing these back would take the ground from under this program's feet. */
static bool is_ours(uint32_t encoding)
{
	switch (encoding) {
	case 0x3 << 19 | 0 << 16 | 4 << 12 | 2 << 8 | 0 << 5:   /* SPSel */
		return true;
	}
	return false;
}

static void try_register(uint32_t encoding)
{
	uint64_t before = traps;
	uint64_t value = stress_execute(INSTRUCTION_MRS_X0 | (encoding & 0xFFFE0) | (encoding & 1u << 20), 0);

	if (is_ours(encoding))
		return;
	if (traps != before)
		value = 0;
	stress_execute(INSTRUCTION_MSR_X0 | (encoding & 0xFFFE0) | (encoding & 1u << 20), value);
}

static void all_registers(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < 1u << 15; i++, count++)
		try_register((2u << 19 | i << 5) & 0x1FFFE0);
	report("system registers: trapped accesses", traps, count == 1u << 15);
}

/* ---- Memory ---- */

/* returns: whether it trapped to EL1. */
static bool touch(uint64_t address, enum size size)
{
	uint64_t before = traps;
	uint64_t value = stress_access(address, size, 0, 0);

	if (traps == before)
		stress_access(address, size, 1, value);
	return traps != before;
}

/*
 * Reads and writes back, with every size and alignment. CTLR's enable and our own PPIs survive
 * that.
 */
static void all_of_frame(uint64_t base, uint64_t length, uint64_t step)
{
	for (uint64_t at = base; at < base + length; at += step)
		for (int size = BYTE; size <= LONG; size++)
			touch(at, (enum size)size);
}

static void interrupt_controller(void)
{
	all_of_frame(GICD, 0x1000, 1);
	all_of_frame(GICD + 0x6000, 0x2000, 4);
	all_of_frame(GICD + 0xF000, 0x1000, 4);
	all_of_frame(GICR, 0x1000, 1);
	all_of_frame(GICR + 0x10000, 0x1000, 1);
	all_of_frame(GICR + 0xF60000 - 0x1000, 0x1000, 4);
	traps = 0;
	stress_pair(GICD + 0x100);
	report("a pair of registers from GICD", last_esr, traps == 1);
}

static void absent_memory(void)
{
	static const uint64_t absent[] = {
		ITS, ITS + 0x10000, RAM + 0x200000, RAM + 0x3FF000, RAM + UINT64_C(0x3F00000000),
		UINT64_C(0x7F00000000), UINT64_C(0x10000000000), UINT64_C(0xFFFF00000000),
	};

	/* Where a guest among several is not the first, the monitor is not: it is there itself. */
	for (unsigned int i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (absent[i] - (uintptr_t)image_start >= 0x200000)
			report("no memory", absent[i], touch(absent[i], WORD));
}

/* ---- Calls ---- */

static uint64_t smc(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;

	__asm__ volatile("smc #0" : "+r" (x0), "+r" (x1), "+r" (x2), "+r" (x3) : :
			 "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
			 "x16", "x17", "memory");
	return x0;
}

static void calls(void)
{
	uint32_t seed = 12345;
	bool ok = true;

	for (unsigned int i = 0; i < 2000; i++) {
		seed = seed * 1664525u + 1013904223u;
		if ((seed & 0x1F) != 2 && (seed & 0x1F) != 8 && (seed & 0x1F) != 9 && (seed & 0x1F) != 1)
			smc((seed & 0xC0000000u) | (seed & 0x1F) | 0x84000000u, seed, ~0u, ~UINT64_C(0));
		ok &= (int64_t)smc(seed | 0x10000u, seed, 0, 0) == -1;
	}
	report("calls that nobody serves", seed, ok);
	report("CPU_ON into the monitor", 0, (int64_t)smc(0xC4000003u, 1, RAM + 0x200000, 0) < 0);
	report("CPU_ON of this CPU", 0, (int64_t)smc(0xC4000003u, 0, RAM + 0x10000000, 0) == -4);
}

/* ---- AArch32 at EL0, which the ID registers say is not there ---- */

#define A32_NOP          0xE320F000u
#define A32_MRC_PMCCNTR  0xEE190F1Du
#define A32_MRRC_PMCCNTR 0xEC510F09u
#define A32_MRC_DBGDIDR  0xEE100E10u
#define A32_LDC_DBGDTR   0xECBD5E01u

static void aarch32(void)
{
	static const uint32_t code[] = {
		A32_NOP, A32_MRC_PMCCNTR, A32_MRRC_PMCCNTR, A32_MRC_DBGDIDR, A32_LDC_DBGDTR, 0,
	};

	report("ID_AA64PFR0_EL1", sysreg_read("id_aa64pfr0_el1"),
	       (sysreg_read("id_aa64pfr0_el1") & 0xFFFF) == 0x11);
	for (uint64_t user = 0; user < 2; user++) {
		if (sysreg_read("id_aa64dfr0_el1") & 0xF00)
			sysreg_write("pmuserenr_el0", user);
		for (unsigned int i = 0; i < sizeof(code) / sizeof(code[0]); i++)
			report("AArch32 at EL0 ends with", stress_a32(code[i]), true);
	}
}

/* ---- Interrupts ---- */

#define SPI_FIRST 64u
#define SPI_COUNT 20u

static void write32(uint64_t at, uint32_t v)
{
	stress_access(at, WORD, 1, v);
}

static uint32_t read32(uint64_t at)
{
	return (uint32_t)stress_access(at, WORD, 0, 0);
}

static void gic_start(void)
{
	write32(GICR + 0x14, 0);
	write32(GICD, 0x12);
	for (unsigned int i = 0; i < 32; i++)
		write32(GICD + 0x80 + 4 * i, ~0u);
	write32(GICR + 0x10080, ~0u);
	sysreg_write("S3_0_C12_C12_5", 7);
	sysreg_write("S3_0_C4_C6_0", 0xFF);
	sysreg_write("S3_0_C12_C12_7", 1);
}

static void unmask(bool irqs)
{
	if (irqs)
		__asm__ volatile("msr daifclr, #2\n\tisb" : : : "memory");
	else
		__asm__ volatile("msr daifset, #2\n\tisb" : : : "memory");
}

static void wait_taken(unsigned int n)
{
	for (unsigned int tries = 0; tries < 100000 && taken_count < n; tries++)
		__asm__ volatile("nop");
}

/* Edge-triggered, each more urgent than the one before: all must come, the most urgent first. */
static void overflow(void)
{
	bool ordered = true;

	unmask(false);
	taken_count = 0;
	for (uint32_t i = 0; i < SPI_COUNT; i++) {
		uint32_t intid = SPI_FIRST + i;
		uint64_t config = GICD + 0xC00 + intid / 16 * 4;

		write32(config, read32(config) | 2u << intid % 16 * 2);
		stress_access(GICD + 0x400 + intid, BYTE, 1, 0xF0 - 8 * i);
		stress_access(GICD + 0x6000 + 8 * intid, LONG, 1, 0);
		write32(GICD + 0x100 + intid / 32 * 4, 1u << intid % 32);
		write32(GICD + 0x200 + intid / 32 * 4, 1u << intid % 32);
	}
	unmask(true);
	wait_taken(SPI_COUNT);
	unmask(false);
	for (unsigned int i = 0; i < taken_count; i++)
		ordered &= taken[i] == SPI_FIRST + SPI_COUNT - 1 - i;
	report("more interrupts than list registers: taken", taken_count, taken_count == SPI_COUNT);
	report("the most urgent first", taken[0], ordered);
	report("none is active any more", 0, read32(GICD + 0x308) == 0);
}

static void disabled_while_pending(void)
{
	uint32_t intid = SPI_FIRST;

	taken_count = 0;
	write32(GICD + 0x200 + intid / 32 * 4, 1u << intid % 32);
	write32(GICD + 0x180 + intid / 32 * 4, 1u << intid % 32);
	unmask(true);
	wait_taken(1);
	unmask(false);
	report("disabled while pending: not taken", taken_count, taken_count == 0);
	report("but still pending", 0, read32(GICD + 0x200 + intid / 32 * 4) & 1u << intid % 32);
	write32(GICD + 0x100 + intid / 32 * 4, 1u << intid % 32);
	unmask(true);
	wait_taken(1);
	unmask(false);
	report("enabled again: taken", taken_count, taken_count == 1);
	taken_count = 0;
	write32(GICD + 0x200 + intid / 32 * 4, 1u << intid % 32);
	write32(GICD + 0x280 + intid / 32 * 4, 1u << intid % 32);
	unmask(true);
	wait_taken(1);
	unmask(false);
	report("cleared while pending: not taken", taken_count, taken_count == 0);
}

static void software_interrupts(void)
{
	taken_count = 0;
	write32(GICR + 0x10100, 0xFFFF);
	for (uint64_t n = 0; n < 16; n++) {
		sysreg_write("S3_0_C12_C11_5", n << 24 | 1);
		sysreg_write("S3_0_C12_C11_5", n << 24 | 1);
	}
	report("SGIs pending", read32(GICR + 0x10200), (read32(GICR + 0x10200) & 0xFFFF) == 0xFFFF);
	unmask(true);
	wait_taken(16);
	unmask(false);
	report("SGIs sent twice, taken once each", taken_count, taken_count == 16);
}

static void hidden_interrupts(void)
{
	write32(GICR + 0x10100, ~0u);
	report("enables of PPI 25, 26", read32(GICR + 0x10100), !(read32(GICR + 0x10100) & 3u << 25));
	write32(GICR + 0x10180, 0x06000000);
	write32(GICR + 0x10180, ~0u);
	report("all disabled", read32(GICR + 0x10100), read32(GICR + 0x10100) == 0);
}

void stress_main(void)
{
	gic_start();
	overflow();
	disabled_while_pending();
	software_interrupts();
	hidden_interrupts();
	calls();
	absent_memory();
	aarch32();
	interrupt_controller();
	all_registers();
	sysreg_write("cntv_ctl_el0", 0);
	sysreg_write("cntp_ctl_el0", 0);
	gic_start();
	overflow();
	report("system errors", serrors, serrors == 0);
	print("stress-verdict: ");
	print(failures ? "1\r\n" : "0\r\n");
}
