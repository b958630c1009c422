/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Head of the guest that beats (main.c): the shape of a bzImage, as in
 * guests/tiny, and what C can't do. Linux/x86 boot protocol 2.12, 64-bit entry.
 */
	.section .head, "ax"
	.code16
	.globl _start
_start:
	.org 0x1f1
	.byte 1			/* setup_sects: one after the boot sector */
	.word 0
	.long kernel_paragraphs	/* syssize */
	.word 0, 0, 0
	.word 0xaa55
	.byte 0xeb, setup - 1f	/* 0x200, real-mode entry: jmp setup */
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
	hlt			/* firmware is not what this is for */
	jmp setup
	.org 0x400
	.globl kernel
kernel:
	.code32
	hlt
	jmp kernel
	.org 0x600
	.code64
	lea stack_end(%rip), %rsp
	mov %rsi, %rdi		/* boot_params */
	call beat_main
2:	hlt
	jmp 2b

	.globl beat_on_timer, beat_on_fault
	/* The timer only ends a HLT. x2APIC EOI: MSR 0x80b. */
beat_on_timer:
	push %rax
	push %rcx
	push %rdx
	mov $0x80b, %ecx
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	pop %rdx
	pop %rcx
	pop %rax
	iretq
beat_on_fault:
	lea stack_end(%rip), %rsp
	call beat_fault
3:	cli
	hlt
	jmp 3b

	.bss
	.balign 16
	.space 16384
stack_end:
