/* SPDX-License-Identifier: MIT */
/* Ports: hosts/pc's, and the two by which a PC is reset. Devices belong to one thread at a time. */
#include "internal.h"

#include <string.h>

#define COM1_IRQ 4u
#define KEYBOARD 0x64u
#define KEYBOARD_RESET 0xfeu
#define RESET_CONTROL 0xcf9u
#define RESET_CPU 0x04u

/* Under m->ports. */
static void update_line(struct vmm *m)
{
	struct kvm_irq_level level = { .irq = COM1_IRQ, .level = pc_serial_interrupt(m->pc) };

	(void)ioctl(m->fd, KVM_IRQ_LINE, &level);
}

static bool is_reset(uint16_t port, uint32_t value)
{
	if (port == KEYBOARD)
		return (value & 0xff) == KEYBOARD_RESET;
	return port == RESET_CONTROL && value & RESET_CPU;
}

static void one(struct vmm_cpu *c, uint8_t *data)
{
	struct vmm *m = c->m;
	unsigned int size = c->run->io.size;
	uint16_t port = c->run->io.port;
	uint32_t value = 0;

	if (c->run->io.direction == KVM_EXIT_IO_IN) {
		value = pc_port_read(m->pc, port, size);
		memcpy(data, &value, size);
		return;
	}
	memcpy(&value, data, size);
	pc_port_write(m->pc, port, size, value);
	if (is_reset(port, value))
		vmm_end(m, VMM_RESET, "the guest reset the machine");
}

void vmm_port(struct vmm_cpu *c)
{
	struct vmm *m = c->m;
	uint8_t *data = (uint8_t *)c->run + c->run->io.data_offset;

	if (c->run->io.port == VMM_PORT_RDPMC && vmm_rdpmc_port(c))
		return;
	(void)pthread_mutex_lock(&m->ports);
	for (uint32_t i = 0; i < c->run->io.count; i++)
		one(c, data + (size_t)i * c->run->io.size);
	if (pc_stopping(m->pc))
		vmm_end(m, VMM_EXITED, "the guest ended");
	update_line(m);
	(void)pthread_mutex_unlock(&m->ports);
}

void vmm_input(struct vmm *m, const void *bytes, size_t size)
{
	(void)pthread_mutex_lock(&m->ports);
	(void)pc_input(m->pc, bytes, size);
	update_line(m);
	(void)pthread_mutex_unlock(&m->ports);
}
