/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/careful.h"

#include <errno.h>
#include <ucontext.h>

/*
 * The instructions that may fault. Each function returns 0 when done; a fault
 * makes the thread go on at careful_failed, which returns 1.
 */
__asm__(".pushsection .text\n"
	".type careful_raw_copy, @function\n"
	"careful_raw_copy:\n" /* rdi: to, rsi: from, rdx: bytes */
	"	mov %rdx, %rcx\n"
	"	shr $3, %rcx\n"
	"careful_copy8_insn:\n"
	"	rep movsq\n"
	"	mov %rdx, %rcx\n"
	"	and $7, %rcx\n"
	"careful_copy1_insn:\n"
	"	rep movsb\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".size careful_raw_copy, . - careful_raw_copy\n"
	".type careful_raw_load, @function\n"
	"careful_raw_load:\n" /* rdi: to (ours), rsi: from */
	"careful_load_insn:\n"
	"	mov (%rsi), %rdx\n"
	"	mov %rdx, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".size careful_raw_load, . - careful_raw_load\n"
	".type careful_raw_store, @function\n"
	"careful_raw_store:\n" /* rdi: to, rsi: value */
	"careful_store_insn:\n"
	"	mov %rsi, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".size careful_raw_store, . - careful_raw_store\n"
	".type careful_raw_load16, @function\n"
	"careful_raw_load16:\n" /* rdi: to (ours), rsi: from */
	"careful_load16_insn:\n"
	"	movzwl (%rsi), %edx\n"
	"	mov %dx, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".size careful_raw_load16, . - careful_raw_load16\n"
	".type careful_raw_store16, @function\n"
	"careful_raw_store16:\n" /* rdi: to, rsi: value */
	"careful_store16_insn:\n"
	"	mov %si, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"careful_failed:\n"
	"	mov $1, %eax\n"
	"	ret\n"
	".size careful_raw_store16, . - careful_raw_store16\n"
	".popsection\n");

extern uint64_t careful_raw_copy(void *to, const void *from, size_t bytes);
extern uint64_t careful_raw_load(uint64_t *to, const uint64_t *from);
extern uint64_t careful_raw_store(uint64_t *to, uint64_t value);
extern uint64_t careful_raw_load16(uint16_t *to, const uint16_t *from);
extern uint64_t careful_raw_store16(uint16_t *to, uint16_t value);
extern const char careful_copy8_insn[], careful_copy1_insn[], careful_load_insn[];
extern const char careful_store_insn[], careful_load16_insn[], careful_store16_insn[];
extern const char careful_failed[];

int careful_copy(void *to, const void *from, size_t bytes)
{
	return careful_raw_copy(to, from, bytes) ? -EIO : 0;
}

int careful_load64(uint64_t *value, const uint64_t *from)
{
	return careful_raw_load(value, from) ? -EIO : 0;
}

int careful_store64(uint64_t *to, uint64_t value)
{
	return careful_raw_store(to, value) ? -EIO : 0;
}

int careful_load16(uint16_t *value, const uint16_t *from)
{
	return careful_raw_load16(value, from) ? -EIO : 0;
}

int careful_store16(uint16_t *to, uint16_t value)
{
	return careful_raw_store16(to, value) ? -EIO : 0;
}

bool careful_fixup(const siginfo_t *info, void *ucontext)
{
	greg_t *rip = &((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP];

	/* Sent by someone, or early news of a poisoned page: not this instruction's fault. */
	if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO)
		return false;
	if (*rip != (greg_t)careful_copy8_insn && *rip != (greg_t)careful_copy1_insn &&
		*rip != (greg_t)careful_load_insn && *rip != (greg_t)careful_store_insn &&
		*rip != (greg_t)careful_load16_insn && *rip != (greg_t)careful_store16_insn)
		return false;
	*rip = (greg_t)careful_failed;
	return true;
}

/* What SIGBUS did before careful_install(): one per process, as is the disposition itself. */
static struct sigaction before;

static void on_sigbus(int signal_number, siginfo_t *info, void *ucontext)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	if (careful_fixup(info, ucontext))
		return;
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal_number, info, ucontext);
		return;
	}
	if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(signal_number);
		return;
	}
	/* A fault repeats when the instruction is executed again; anything else has to be sent
	 * again. Either way the default action now ends the process. */
	(void)sigaction(signal_number, &dfl, NULL);
	if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO)
		(void)raise(signal_number);
}

int careful_install(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now))
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
		return 0;
	before = now;
	(void)sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}
