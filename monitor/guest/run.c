/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's life: start, reset, orders, end. */

#include "monitor/guest/run_internal.h"
#include "monitor/guest/sandbox.h"
#include "numa/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* A guest that does nothing but reset itself shall not flood its monitor. */
#define RESET_INTERVAL_NS 1000000000ull
#define DRAIN_MS 2000
#define LAST_WORDS_MS 500
#define END_MS 5000

static uint64_t now_ns(void)
{
	struct timespec t;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* `cause` may be r->cause itself; what is too long is cut. */
static void keep_cause(struct run *r, const char *cause)
{
	size_t bytes = strlen(cause);

	if (bytes >= sizeof(r->cause))
		bytes = sizeof(r->cause) - 1;
	memmove(r->cause, cause, bytes);
	r->cause[bytes] = '\0';
}

static void set_state(struct run *r, enum report_state state, const char *cause)
{
	r->state = state;
	keep_cause(r, cause);
	control_state(&r->control, state, cause, r->reboots);
}

static void end(struct run *r, enum report_state state, const char *cause)
{
	r->state = state;
	keep_cause(r, cause);
	reactor_stop(&r->reactor);
}

/* --- loading --- */

static struct kvm_flat_segment segment(const struct boot_segment *s)
{
	return (struct kvm_flat_segment){
		.selector = s->selector, .type = s->type, .l = s->l, .db = s->db
	};
}

static struct kvm_entry entry_of(const struct boot_cpu *cpu)
{
	return (struct kvm_entry){
		.rip = cpu->rip,
		.rsp = cpu->rsp,
		.rsi = cpu->rsi,
		.rflags = cpu->rflags,
		.cr0 = cpu->cr0,
		.cr3 = cpu->cr3,
		.cr4 = cpu->cr4,
		.efer = cpu->efer,
		.gdt_base = cpu->gdt_base,
		.gdt_limit = cpu->gdt_limit,
		.code = segment(&cpu->cs),
		.data = segment(&cpu->ds),
	};
}

struct boot_args run_boot_args(const struct run *r, const struct ram_map *ram)
{
	return (struct boot_args){ .ram = ram, .cmdline = r->spec.cmdline, .machine = &r->machine };
}

int run_load(struct run *r, struct err *e)
{
	struct ram_map ram = views_main(&r->views)->ram;
	const struct boot_args args = run_boot_args(r, &ram);
	struct boot_cpu cpu;
	struct kvm_entry entry;
	int rc;

	ram.written = NULL; /* what is loaded can be loaded again */
	if (r->spec.heal)
		loaded_begins(&r->loaded);
	rc = boot_load(&r->image, &args, &cpu, e);

	if (rc)
		return rc;
	entry = entry_of(&cpu);
	rc = vcpus_reset(&r->vcpus, &entry);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "KVM: the vCPUs' state can't be set: %s",
			    strerrordesc_np(-rc))
		  : 0;
}

/* --- what vCPUs say --- */

static void wake(struct run *r)
{
	const uint64_t one = 1;

	(void)!write(r->event_fd, &one, sizeof(one));
}

static void on_vcpu(void *ctx, uint32_t index, enum vcpu_event event, const char *cause)
{
	struct run *r = ctx;

	(void)index;
	pthread_mutex_lock(&r->event_lock);
	if (!r->event.waits || event > r->event.event) {
		r->event.waits = true;
		r->event.event = event;
		snprintf(r->event.cause, sizeof(r->event.cause), "%s", cause);
	}
	pthread_mutex_unlock(&r->event_lock);
	wake(r);
}

static void on_memory_news(void *ctx)
{
	struct run *r = ctx;

	pthread_mutex_lock(&r->event_lock);
	r->memory_news = true;
	pthread_mutex_unlock(&r->event_lock);
	wake(r);
}

static bool take_memory_news(struct run *r)
{
	bool news;

	pthread_mutex_lock(&r->event_lock);
	news = r->memory_news;
	r->memory_news = false;
	pthread_mutex_unlock(&r->event_lock);
	return news;
}

static void on_tell(void *ctx, const struct memory_error *m)
{
	struct run *r = ctx;

	if (m->end == MEMORY_ERROR_WAITS)
		vcpus_tell(&r->vcpus, m);
	else
		on_vcpu(r, 0, VCPU_FAILED, "a page lost to a memory error could not be replaced");
}

struct lost_pages_env run_lost_env(struct run *r)
{
	return (struct lost_pages_env){ .news = on_memory_news, .tell = on_tell, .ctx = r };
}

static bool next_error(void *ctx, struct guest_report *report)
{
	struct run *r = ctx;

	report->op = REPORT_MEMORY_ERROR;
	return lost_pages_next(&r->lost, &report->error, &report->memory_errors);
}

static void error_told(void *ctx, const struct guest_report *report)
{
	struct run *r = ctx;

	lost_pages_passed(&r->lost, &report->error);
}

static struct run_event take_event(struct run *r)
{
	struct run_event event;

	pthread_mutex_lock(&r->event_lock);
	event = r->event;
	r->event.waits = false;
	pthread_mutex_unlock(&r->event_lock);
	return event;
}

static void set_timer(struct run *r, uint64_t ns)
{
	const struct itimerspec once = { .it_value = { (time_t)(ns / 1000000000u),
						 (long)(ns % 1000000000u) } };

	CHECK(timerfd_settime(r->timer_fd, 0, &once, NULL) == 0);
}

/* Same memory, same VM objects: nothing of the host's is made anew. */
static void reset(struct run *r)
{
	struct err e;
	int rc;

	board_reset(r->board);
	rc = lost_pages_renew(&r->lost);
	if (rc) {
		end(r, REPORT_CRASHED, "pages lost to memory errors could not be replaced");
		return;
	}
	rc = views_restore(&r->views);
	if (rc)
		rc = err_set(&e, EXIT_ENVIRONMENT, "the interrupt controllers can't be reset: %s",
			strerrordesc_np(-rc));
	if (!rc)
		rc = run_load(r, &e);
	if (rc) {
		end(r, REPORT_CRASHED, e.text);
		return;
	}
	(void)take_event(r); /* of vCPUs before they were paused */
	r->reboots++;
	r->last_reset_ns = now_ns();
	set_state(r, REPORT_RUNNING, r->reset_cause);
	vcpus_resume(&r->vcpus);
}

static void begin_reset(struct run *r, const char *cause)
{
	uint64_t since = now_ns() - r->last_reset_ns;

	vcpus_pause(&r->vcpus);
	snprintf(r->reset_cause, sizeof(r->reset_cause), "%s", cause);
	if (since < RESET_INTERVAL_NS)
		set_timer(r, RESET_INTERVAL_NS - since);
	else
		reset(r);
}

static void on_event(void *ctx, uint32_t events)
{
	struct run *r = ctx;
	struct run_event event;
	uint64_t count;

	(void)events;
	(void)!read(r->event_fd, &count, sizeof(count));
	if (take_memory_news(r))
		control_errors(&r->control);
	event = take_event(r);
	if (!event.waits)
		return;
	switch (event.event) {
	case VCPU_RESET:
		begin_reset(r, event.cause);
		break;
	case VCPU_POWER_OFF:
		end(r, REPORT_STOPPED, event.cause);
		break;
	case VCPU_FAILED:
		end(r, REPORT_CRASHED, event.cause);
		break;
	}
}

/* --- start --- */

static void start_cpus(struct run *r)
{
	if (r->state != REPORT_STARTING)
		return;
	r->last_reset_ns = now_ns();
	set_state(r, REPORT_RUNNING, "started");
	vcpus_resume(&r->vcpus);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct run *r = ctx;
	uint64_t count;

	(void)events;
	if (read(r->timer_fd, &count, sizeof(count)) < 0)
		return;
	if (r->state == REPORT_STARTING)
		start_cpus(r);
	else
		reset(r);
}

int run_watch_events(struct run *r)
{
	int rc = reactor_watch(&r->reactor, &r->event_watch, r->event_fd, EPOLLIN, on_event, r);

	if (!rc)
		rc = reactor_watch(&r->reactor, &r->timer_watch, r->timer_fd, EPOLLIN, on_timer, r);
	return rc;
}

/* --- wires --- */

static size_t on_input(void *ctx, const uint8_t *data, size_t bytes)
{
	struct run *r = ctx;

	return board_console_input(r->board, data, bytes);
}

static void on_clients(void *ctx, uint32_t count)
{
	struct run *r = ctx;

	if (count && r->spec.wait_console && r->state == REPORT_STARTING) {
		set_timer(r, 0);
		start_cpus(r);
	}
}

struct console_env run_console_env(struct run *r)
{
	return (struct console_env){ .input = on_input, .clients = on_clients, .ctx = r };
}

static void on_out(void *ctx, uint8_t byte)
{
	struct run *r = ctx;

	console_put(r->console, byte);
}

static void on_room(void *ctx)
{
	struct run *r = ctx;

	console_room(r->console);
}

static void on_remark(void *ctx, const char *text)
{
	struct run *r = ctx;

	fprintf(stderr, "guest %s: %s\n", r->spec.name, text);
}

struct board_env run_board_env(struct run *r)
{
	return (struct board_env){
		.console_out = on_out, .console_room = on_room, .remark = on_remark, .ctx = r
	};
}

struct vcpu_env run_vcpu_env(struct run *r)
{
	return (struct vcpu_env){
		.event = on_vcpu,
		.ctx = r,
		.pio = &r->board->pio,
		.mmio = &r->board->mmio,
		.lost = &r->lost,
	};
}

static void on_order(void *ctx, enum guest_order_op op)
{
	struct run *r = ctx;
	json_t *shown;

	switch (op) {
	case ORDER_STOP:
		board_power_button(r->board);
		break;
	case ORDER_KILL:
		r->killed = true;
		end(r, REPORT_STOPPED, "killed");
		break;
	case ORDER_SHOW:
		shown = run_show(r);
		if (shown)
			control_shown(&r->control, shown);
		json_decref(shown);
		break;
	case ORDER_START:
	case ORDER_KEEP:
	case ORDER_PING:
	case ORDER_REHOME:
	case ORDER_OP_COUNT:
		break;
	}
}

/* Its pages and threads are there already; the workers of its disks' threads are to follow. */
static bool on_rehome(void *ctx, const struct guest_home *home)
{
	struct run *r = ctx;
	struct err e;

	if (guest_home_covers(home, r->spec.memory_bytes, &e))
		return false;
	r->home = *home;
	board_rehome(r->board);
	return true;
}

static void describe(void *ctx, struct guest_report *report)
{
	struct run *r = ctx;

	report->pid = getpid();
	report->start_time = r->start_time;
	report->state = r->state;
	report->reboots = r->reboots;
	report->memory_errors = lost_pages_total(&r->lost);
	snprintf(report->cause, sizeof(report->cause), "%s", r->cause);
	report->spec = r->spec;
	report->home = r->home;
}

/* --- the whole --- */

static int start(struct run *r, struct err *e)
{
	int rc = trap_init(&r->views);

	if (rc)
		return err_set(
			e, EXIT_FAILED, "no handler for memory errors: %s", strerrordesc_np(-rc));
	rc = sandbox_enclose(r->folder, e);
	if (!rc)
		rc = sandbox_drop_privileges(e);
	if (!rc)
		rc = lost_pages_start(&r->lost, e);
	if (!rc)
		rc = board_start(r->board, e);
	if (!rc)
		rc = sandbox_filter(e);
	if (!rc)
		rc = vcpus_start(&r->vcpus, e);
	return rc;
}

static void report_started(struct run *r)
{
	const struct guest_report report = {
		.op = REPORT_STARTED, .pid = getpid(), .start_time = r->start_time
	};

	control_started(&r->control, &report);
}

/* From the first instruction to the end. */
static void live(struct run *r)
{
	report_started(r);
	if (r->spec.wait_console)
		set_timer(r, SPEC_CONSOLE_WAIT_MS * 1000000ull);
	else
		start_cpus(r);
	reactor_run(&r->reactor);
	/* A guest that is to be ended at once waits for nobody. */
	r->hangs = !vcpus_end(&r->vcpus, r->killed ? 0 : END_MS);
	if (!lost_pages_end(&r->lost, r->killed ? 0 : END_MS))
		r->hangs = true;
	if (take_memory_news(r))
		control_errors(&r->control);
	console_drain(r->console, r->killed ? 0 : DRAIN_MS);
	set_state(r, r->state, r->cause);
	control_last_words(&r->control, LAST_WORDS_MS);
}

int run_go(struct run *r, int sock, struct err *e)
{
	const struct control_env env = {
		.order = on_order,
		.rehome = on_rehome,
		.describe = describe,
		.next_error = next_error,
		.error_told = error_told,
		.ctx = r,
		.ram_fd = r->memory.fd,
	};
	int rc = control_init(&r->control, &r->reactor, sock, GUEST_MONITOR_SOCK, &env, e);

	if (rc)
		return rc;
	rc = start(r, e);
	if (!rc)
		live(r);
	else if (!lost_pages_end(&r->lost, END_MS))
		r->hangs = true;
	trap_fini();
	control_fini(&r->control);
	return rc;
}
