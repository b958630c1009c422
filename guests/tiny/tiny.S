/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest guest: prints 'T' on the first serial port and powers off (or,
 * built with HOLD, halts for ever; built with BUSY, counts for ever, prints a 'w' for
 * each 2^22 rounds, and halts when something is typed; with TOUCH, writes a word at
 * 32 MiB for ever). It shows a monitor's own share of a start,
 * without the seconds that Linux takes. It has the shape of a bzImage, so any
 * monitor that boots Linux boots it: Linux/x86 boot protocol 2.12.
 *
 * A monitor with firmware enters the real-mode setup; one that uses the 64-bit
 * boot protocol enters 0x200 bytes behind the protected-mode part's start.
 * Power-off knows two machines: QEMU's q35 (PM1a control at 0x604, SLP_EN with
 * type 0) and Cellvisor's hardware-reduced sleep control register (port 0x600,
 * SLP_EN with type 5). Each write is harmless on the other machine.
 */
	.code16
	.text
	.globl _start
_start:
#define KERNEL_PARAGRAPHS (kernel_end - kernel) / 16
#include "guests/bzimage_header.inc"
setup:
	mov $0x3f8, %dx
	mov $'T', %al
	out %al, %dx
#ifdef HOLD
2:	hlt
	jmp 2b
#else
	mov $0x604, %dx
	mov $0x2000, %ax
	out %ax, %dx
2:	hlt
	jmp 2b
#endif
	.org 0x400
kernel:
	.code32
	/* 32-bit entry: never taken by the monitors that this is for. */
	hlt
	jmp kernel
	.org 0x600
	.code64
	mov $0x3f8, %dx
	mov $'T', %al
	out %al, %dx
#ifdef BUSY
4:	mov $0x400000, %ecx
5:	dec %ecx
	jnz 5b
	mov $'w', %al
	out %al, %dx
	mov $0x3fd, %dx
	in %dx, %al
	mov $0x3f8, %dx
	test $1, %al
	jz 4b
#endif
#if defined(HOLD) || defined(BUSY)
3:	hlt
	jmp 3b
#elif defined(TOUCH)
	mov $0x2000000, %ebx
3:	incq (%rbx)
	pause
	jmp 3b
#else
	mov $0x600, %dx
	mov $0x34, %al
	out %al, %dx
3:	hlt
	jmp 3b
#endif
	.org 0x1000
kernel_end:
