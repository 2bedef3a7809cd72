/* SPDX-License-Identifier: MIT */
/*
 * Ports: COM1 (16550A), isa-debug-exit, the fw_cfg selector and data ports of QEMU. The
 * legacy interrupt controllers and timers do not exist: reads give ones, writes are lost.
 */
#include "internal.h"

#include <string.h>

#define COM1 0x3f8
#define LSR_DATA 0x01u
#define LSR_IDLE 0x60u
#define IER_DATA 0x01u
#define IER_EMPTY 0x02u
#define IIR_NONE 0x01u
#define IIR_EMPTY 0x02u
#define IIR_DATA 0x04u
#define IIR_FIFO 0xc0u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define DEBUG_EXIT 0xf4
#define FW_SELECTOR 0x510
#define FW_DATA 0x511

/* ---- Serial ---- */

static void keep(struct pc *pc, uint8_t byte)
{
	if (pc->console_length == PC_CONSOLE) {
		/* The first half makes room. */
		memmove(pc->console, pc->console + PC_CONSOLE / 2, PC_CONSOLE / 2);
		pc->console_length = PC_CONSOLE / 2;
	}
	pc->console[pc->console_length++] = (char)byte;
	pc->console[pc->console_length] = 0;
}

static void transmit(struct pc *pc, uint8_t byte)
{
	keep(pc, byte);
	if (pc->config.console)
		pc->config.console(pc->config.console_context, byte);
}

size_t pc_input(struct pc *pc, const void *bytes, size_t count)
{
	const uint8_t *from = bytes;
	size_t n = 0;

	while (n < count && pc->serial.head - pc->serial.tail < PC_INPUT)
		pc->serial.input[pc->serial.head++ % PC_INPUT] = from[n++];
	return n;
}

static uint8_t receive(struct pc_serial *s)
{
	return s->head == s->tail ? 0 : s->input[s->tail++ % PC_INPUT];
}

/* What the interrupt identification register says: received bytes go before room for new ones. */
static uint8_t identify(const struct pc_serial *s)
{
	if (s->ier & IER_DATA && s->head != s->tail)
		return IIR_DATA;
	return s->ier & IER_EMPTY && s->empty ? IIR_EMPTY : IIR_NONE;
}

bool pc_serial_interrupt(const struct pc *pc)
{
	return pc->serial.mcr & MCR_OUT2 && identify(&pc->serial) != IIR_NONE;
}

/* Reading the register ends the interrupt that says that there is room. */
static uint8_t take_identity(struct pc_serial *s)
{
	uint8_t iir = identify(s);

	if (iir == IIR_EMPTY)
		s->empty = false;
	return (uint8_t)(iir | (s->fifo ? IIR_FIFO : 0));
}

/* Looped back, the modem's lines are this side's own. */
static uint8_t modem_status(const struct pc_serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return 0xb0; /* carrier, ready, clear to send */
	return (uint8_t)((s->mcr & 0x0c) << 4 | (s->mcr & 2) << 3 | (s->mcr & 1) << 5);
}

static uint8_t serial_read(struct pc_serial *s, unsigned int reg)
{
	bool divisor = s->lcr & 0x80;

	switch (reg) {
	case 0:
		return divisor ? s->divisor[0] : receive(s);
	case 1:
		return divisor ? s->divisor[1] : s->ier;
	case 2:
		return take_identity(s);
	case 3:
		return s->lcr;
	case 4:
		return s->mcr;
	case 5:
		return (uint8_t)(LSR_IDLE | (s->head != s->tail ? LSR_DATA : 0));
	case 6:
		return modem_status(s);
	default:
		return s->scratch;
	}
}

/* What is sent is gone at once: there is room again. */
static void send(struct pc *pc, uint8_t byte)
{
	if (!(pc->serial.mcr & MCR_LOOP))
		transmit(pc, byte);
	pc->serial.empty = true;
}

static void set_interrupts(struct pc_serial *s, uint8_t ier)
{
	if (ier & ~s->ier & IER_EMPTY)
		s->empty = true;
	s->ier = ier;
}

static void serial_write(struct pc *pc, unsigned int reg, uint8_t value)
{
	struct pc_serial *s = &pc->serial;
	bool divisor = s->lcr & 0x80;

	switch (reg) {
	case 0:
		if (divisor)
			s->divisor[0] = value;
		else
			send(pc, value);
		break;
	case 1:
		if (divisor)
			s->divisor[1] = value;
		else
			set_interrupts(s, value & 15);
		break;
	case 2:
		s->fifo = value & 1;
		break;
	case 3:
		s->lcr = value;
		break;
	case 4:
		s->mcr = value & 0x1f;
		break;
	case 7:
		s->scratch = value;
		break;
	}
}

/* ---- fw_cfg: the keys that small kernels read (QEMU docs/specs/fw_cfg) ---- */

static uint64_t fw_value(const struct pc *pc, unsigned int *size)
{
	uint32_t signature;

	*size = 8;
	switch (pc->fw_key) {
	case 0x00:
		memcpy(&signature, "QEMU", 4);
		*size = 4;
		return signature;
	case 0x01: /* only the port interface, no DMA */
		*size = 4;
		return 1;
	case 0x03:
		return pc->config.ram;
	case 0x05: /* nb_cpus */
	case 0x0f: /* max_cpus */
		*size = 2;
		return pc->config.cpus ? pc->config.cpus : 1;
	}
	*size = 0;
	return 0;
}

static uint8_t fw_read(struct pc *pc)
{
	unsigned int size;
	uint64_t value = fw_value(pc, &size);

	if (pc->fw_offset >= size)
		return 0;
	return (uint8_t)(value >> 8 * pc->fw_offset++);
}

/* ---- Ports, byte by byte but for the wide ones ---- */

static uint8_t read_byte(struct pc *pc, uint16_t port)
{
	if (port >= COM1 && port < COM1 + 8)
		return serial_read(&pc->serial, port - COM1);
	if (port == FW_DATA)
		return fw_read(pc);
	return 0xff;
}

uint32_t pc_port_read(struct pc *pc, uint16_t port, unsigned int size)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint32_t)read_byte(pc, (uint16_t)(port + i)) << 8 * i;
	return value;
}

static void debug_exit(struct pc *pc, uint32_t value)
{
	pc->exited = true;
	pc->exit_code = (int)(value << 1 | 1);
}

static bool write_wide(struct pc *pc, uint16_t port, uint32_t value)
{
	switch (port) {
	case DEBUG_EXIT:
		debug_exit(pc, value);
		return true;
	case FW_SELECTOR:
		pc->fw_key = (uint16_t)value;
		pc->fw_offset = 0;
		return true;
	}
	return false;
}

void pc_port_write(struct pc *pc, uint16_t port, unsigned int size, uint32_t value)
{
	if (write_wide(pc, port, value))
		return;
	for (unsigned int i = 0; i < size; i++) {
		uint32_t p = (uint32_t)port + i;

		if (p >= COM1 && p < COM1 + 8)
			serial_write(pc, p - COM1, (uint8_t)(value >> 8 * i));
	}
}
