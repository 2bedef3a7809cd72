/* SPDX-License-Identifier: MIT */
/*
 * vuart.c - the console of a guest among several: a PL011 (DDI 0183) that sends. What the guest
 * writes comes out line by line with the guest's number before it; nothing ever arrives in it.
 */
#include "tenant.h"

#define UART_DR    0x00u
#define UART_RSR   0x04u
#define UART_FR    0x18u
#define UART_IBRD  0x24u
#define UART_FBRD  0x28u
#define UART_LCR   0x2Cu
#define UART_CR    0x30u
#define UART_IFLS  0x34u
#define UART_IMSC  0x38u
#define UART_RIS   0x3Cu
#define UART_MIS   0x40u
#define UART_ICR   0x44u
#define UART_ID    0xFE0u

#define FR_TXFE    (1u << 7)
#define FR_RXFE    (1u << 4)
#define RIS_TX     (1u << 5)
#define RIS_ALL    0x7FFu

/* Peripheral and cell identification, r1p5. */
static const uint8_t identification[] = { 0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1 };

static void put_line(struct vm *vm)
{
	struct vuart *u = &vm->uart;

	console_printf("[%u] %.*s\n", vm->index, (int)u->length, u->line);
	u->length = 0;
}

/* Carriage returns are the terminal's; the line that comes out has its own. */
static void put_char(struct vm *vm, char c)
{
	struct vuart *u = &vm->uart;

	if (c == '\r' || c == '\0')
		return;
	if (c != '\n')
		u->line[u->length++] = c;
	if (c == '\n' || u->length == LINE_MAX)
		put_line(vm);
}

void vuart_end(struct vm *vm)
{
	if (vm->uart.length)
		put_line(vm);
}

static uint32_t *stored(struct vuart *u, uint32_t offset)
{
	switch (offset) {
	case UART_IBRD:
		return &u->ibrd;
	case UART_FBRD:
		return &u->fbrd;
	case UART_LCR:
		return &u->lcr;
	case UART_CR:
		return &u->cr;
	case UART_IFLS:
		return &u->ifls;
	case UART_IMSC:
		return &u->imsc;
	}
	return NULL;
}

static void write_register(struct vm *vm, uint32_t offset, uint32_t value)
{
	struct vuart *u = &vm->uart;
	uint32_t *plain = stored(u, offset);

	if (plain)
		*plain = value & 0xFFFF;
	if (offset == UART_ICR)
		u->ris &= ~value;
	if (offset != UART_DR)
		return;
	put_char(vm, (char)value);
	u->ris |= RIS_TX;            /* sent at once: the queue is empty again */
}

static uint32_t read_register(struct vuart *u, uint32_t offset)
{
	const uint32_t *plain = stored(u, offset);

	if (plain)
		return *plain;
	if (offset >= UART_ID && offset < 0x1000 && offset % 4 == 0)
		return identification[(offset - UART_ID) / 4];
	switch (offset) {
	case UART_FR:
		return FR_TXFE | FR_RXFE;
	case UART_RIS:
		return u->ris & RIS_ALL;
	case UART_MIS:
		return u->ris & u->imsc & RIS_ALL;
	}
	return 0;
}

bool vuart_access(struct vm *vm, struct mmio *m)
{
	uint32_t offset = (uint32_t)(m->address - machine.uart.start);

	if (!range_contains(machine.uart, m->address))
		return false;
	spin_lock(&vm->lock);
	if (m->write)
		write_register(vm, offset, (uint32_t)m->value);
	else
		m->value = read_register(&vm->uart, offset);
	tgic_set_line(vm, machine.uart_intid, vm->uart.ris & vm->uart.imsc & RIS_ALL);
	spin_unlock(&vm->lock);
	return true;
}
