/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/trap.h"

#include "faultcontain/host/careful.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD_BYTES 256u

static _Thread_local struct trap *current;
static const struct views *guest_views;
static atomic_int report_sock = -1;

/* All that follows is called in the handler, so it is async-signal-safe. */

static void append(char *record, const char *text)
{
	size_t at = strlen(record);

	for (; *text && at + 1 < RECORD_BYTES; at++, text++)
		record[at] = *text;
	record[at] = '\0';
}

static void append_hex(char *record, uint64_t value)
{
	char text[19] = "0x";
	int shift = 60;

	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (size_t at = 2; shift >= 0; shift -= 4)
		text[at++] = "0123456789abcdef"[value >> shift & 0xf];
	append(record, text);
}

_Noreturn static void die(const void *addr)
{
	static const char head[] =
		"{\"op\":\"state\",\"state\":\"crashed\",\"reboots\":0,\"cause\":\"";
	char record[RECORD_BYTES] = "";
	int sock = atomic_load(&report_sock);
	struct view_place place;

	append(record, head);
	append(record, "uncorrected memory error ");
	if (guest_views && views_place_of(guest_views, addr, &place)) {
		append(record, "at guest address ");
		append_hex(record, place.gpa.addr);
		if (place.node_known) {
			append(record, " on node ");
			append_hex(record, place.node);
		}
		append(record, "");
	} else {
		append(record, "in the guest process's own memory at ");
		append_hex(record, (uint64_t)(uintptr_t)addr);
	}
	(void)!write(STDERR_FILENO, record + sizeof(head) - 1, strlen(record) - sizeof(head) + 1);
	(void)!write(STDERR_FILENO, "\n", 1);
	append(record, "\"}");
	if (sock >= 0)
		(void)!send(sock, record, strlen(record), MSG_DONTWAIT | MSG_NOSIGNAL);
	_exit(EXIT_FAILED);
}

static void on_sigbus(int signum, siginfo_t *info, void *context)
{
	struct trap *t = current;

	(void)signum;
	if (careful_fixup(info, context) || info->si_code == BUS_MCEERR_AO)
		return;
	if (t && t->in_guest && info->si_code == BUS_MCEERR_AR) {
		t->addr = info->si_addr;
		t->lsb = info->si_addr_lsb;
		t->hit = 1;
		kvm_vcpu_kick(t->kvm);
		return;
	}
	die(info->si_addr);
}

int trap_init(const struct views *views)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	guest_views = views;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

void trap_fini(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };

	sigaction(SIGBUS, &standard, NULL);
	guest_views = NULL;
	atomic_store(&report_sock, -1);
}

void trap_report_to(int sock)
{
	atomic_store(&report_sock, sock);
}

void trap_thread(struct trap *t)
{
	current = t;
}
