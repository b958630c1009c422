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
	.org 0x1f1
	.byte 1			/* setup_sects: one after the boot sector */
	.word 0
	.long (kernel_end - kernel) / 16	/* syssize */
	.word 0, 0, 0
	.word 0xaa55
	/* 0x200: real-mode entry */
	.byte 0xeb, setup - 1f	/* jmp setup */
1:	.ascii "HdrS"
	.word 0x020c		/* version 2.12 */
	.long 0
	.word 0, 0
	.byte 0, 0x01		/* loadflags: LOADED_HIGH */
	.word 0
	.long 0x100000		/* code32_start */
	.long 0, 0, 0
	.word 0
	.byte 0, 0
	.long 0
	.long 0x7fffffff	/* initrd_addr_max */
	.long 0x200000		/* kernel_alignment */
	.byte 1			/* relocatable_kernel */
	.byte 21		/* min_alignment, a power of two */
	.word 0x1		/* xloadflags: XLF_KERNEL_64 */
	.long 2047		/* cmdline_size */
	.long 0
	.quad 0
	.long 0, 0
	.quad 0
	.quad 0x1000000		/* pref_address */
	.long 0x100000		/* init_size */
	.long 0
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
