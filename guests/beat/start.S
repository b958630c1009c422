/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Head of the guest that beats (main.c): the shape of a bzImage, as in
 * guests/tiny, and what C can't do.
 */
	.section .head, "ax"
	.code16
	.globl _start
_start:
#define KERNEL_PARAGRAPHS kernel_paragraphs
#include "guests/bzimage_header.inc"
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
