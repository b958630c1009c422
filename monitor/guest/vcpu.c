/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/vcpu.h"

#include "monitor/kvm/machine_check.h"
#include "numa/check.h"
#include "numa/host/bind.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Brings a thread out of KVM_RUN; open in vCPU threads only. */
#define KICK_SIGNAL SIGUSR1
#define END_PARKED_MS 60000

static void on_kick(int signum)
{
	(void)signum;
}

/* The vCPU stops: it finishes what it began with the next run, and then parks. */
static void halt(struct vcpu *v, enum vcpu_event event, const char *cause)
{
	v->halted = true;
	kvm_vcpu_kick(&v->kvm);
	v->all->env.event(v->all->env.ctx, v->index, event, cause);
}

static void judge(struct vcpu *v, enum dev_outcome outcome)
{
	switch (outcome) {
	case DEV_RESET:
		halt(v, VCPU_RESET, "reset by the guest");
		break;
	case DEV_POWER_OFF:
		halt(v, VCPU_POWER_OFF, "powered off by the guest");
		break;
	case DEV_OK:
	case DEV_GUEST_FAULT: /* the device's affair, and visible to the guest */
		break;
	}
}

static void do_pio(struct vcpu *v)
{
	struct kvm_run *run = v->kvm.run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool store = run->io.direction == KVM_EXIT_IO_OUT;

	/* A string instruction brings several accesses to one port; the kernel bounds them to a
	 * page. */
	for (uint32_t i = 0; i < run->io.count && !v->halted; i++, data += run->io.size)
		judge(v, bus_access(v->all->env.pio, run->io.port, data, run->io.size, store));
}

static bool is_bus_size(uint32_t bytes)
{
	return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

static void do_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->kvm.run;
	bool store = run->mmio.is_write;
	uint32_t step = is_bus_size(run->mmio.len) ? run->mmio.len : 1;

	/* The kernel may hand over odd lengths, of accesses that cross a page: bytewise then. */
	for (uint32_t i = 0; i < run->mmio.len && !v->halted; i += step)
		judge(v, bus_access(v->all->env.mmio, run->mmio.phys_addr + i, run->mmio.data + i,
				 step, store));
}

static void handle_exit(struct vcpu *v)
{
	char text[KVM_EXIT_TEXT_BYTES];

	switch (v->kvm.run->exit_reason) {
	case KVM_EXIT_IO:
		do_pio(v);
		break;
	case KVM_EXIT_MMIO:
		do_mmio(v);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		/* A PC's chipset resets the machine when a CPU shuts down. */
		halt(v, VCPU_RESET, "triple fault");
		break;
	default:
		halt(v, VCPU_FAILED, kvm_vcpu_exit_text(&v->kvm, text));
		break;
	}
}

/* --- memory errors --- */

/* After a kick that was not for a pause or the end. */
static void go_on(struct vcpu *v)
{
	kvm_vcpu_unkick(&v->kvm);
	/* enter_phase() sets the phase first, so a kick of its own is not undone. */
	if (v->halted || v->all->phase != VCPUS_RUNNING)
		kvm_vcpu_kick(&v->kvm);
}

/* Leaves mail for a vCPU; false if it has not read the last. Any thread but its own. */
static bool send_mail(struct vcpu *to, const struct vcpu_mail *mail)
{
	struct vcpus *all = to->all;
	bool sent;

	pthread_mutex_lock(&all->lock);
	sent = !to->has_mail && all->phase == VCPUS_RUNNING;
	if (sent) {
		to->mail = *mail;
		to->has_mail = true;
		kvm_vcpu_kick(&to->kvm);
		pthread_kill(to->thread, KICK_SIGNAL);
	}
	pthread_mutex_unlock(&all->lock);
	return sent;
}

/* An Intel guest waits for all its CPUs to come to the machine check. */
static void broadcast(struct vcpu *from)
{
	static const struct vcpu_mail mail = { .bystander = true };

	for (uint32_t i = 0; i < from->all->count; i++)
		if (i != from->index)
			(void)send_mail(&from->all->items[i], &mail);
}

/* Tells the guest by this vCPU. What is to be done if it can't be told? */
static enum memory_error_action tell(struct vcpu *v, const struct memory_error *m, bool used)
{
	struct memory_error_case c = { .used = used };
	struct machine_check_state state;
	struct machine_check mc;
	unsigned lsb = (unsigned)__builtin_ctzll(m->bytes);

	if (!kvm_machine_check_state(&v->kvm, machine_check_bank(v->kvm.amd, used), &state))
		c.can_be_told = machine_check_ready(&state, used);
	if (memory_error_decide(&c) != MEMORY_ERROR_TELL)
		return memory_error_decide(&c);
	machine_check_words(&state, used, m->gpa, lsb, &mc);
	if (kvm_machine_check_raise(&v->kvm, &mc)) {
		c.can_be_told = false;
		return memory_error_decide(&c);
	}
	if (mc.broadcast)
		broadcast(v);
	lost_pages_settle(v->all->env.lost, m->off, MEMORY_ERROR_TOLD);
	return MEMORY_ERROR_TELL;
}

static void read_mail(struct vcpu *v)
{
	struct machine_check_state state;
	struct vcpu_mail mail;
	struct machine_check mc;

	pthread_mutex_lock(&v->all->lock);
	mail = v->mail;
	v->has_mail = false;
	pthread_mutex_unlock(&v->all->lock);
	if (!mail.bystander) {
		(void)tell(v, &mail.m, false);
	} else if (!kvm_machine_check_state(&v->kvm, MACHINE_CHECK_BYSTANDER_BANK, &state) &&
		   machine_check_ready(&state, true)) {
		machine_check_bystander(&mc);
		(void)kvm_machine_check_raise(&v->kvm, &mc);
	}
	go_on(v);
}

/* The vCPU met a lost page. False if that is the guest's end. */
static bool memory_error(struct vcpu *v)
{
	const struct page_loss loss = { v->trap.addr, (unsigned)v->trap.lsb, v->index };
	char cause[VCPU_CAUSE_BYTES];
	struct memory_error m;

	v->trap.hit = 0;
	if (!lost_pages_met(v->all->env.lost, &loss, &m)) {
		snprintf(cause, sizeof(cause),
			"uncorrected memory error at %p, not in guest RAM, met by KVM for vCPU %u",
			loss.hva, v->index);
		halt(v, VCPU_FAILED, cause);
		return false;
	}
	if (m.end != MEMORY_ERROR_HEALED &&
		(m.end == MEMORY_ERROR_ENDED || tell(v, &m, true) != MEMORY_ERROR_TELL)) {
		m.end = MEMORY_ERROR_ENDED;
		lost_pages_settle(v->all->env.lost, m.off, m.end);
		halt(v, VCPU_FAILED, memory_error_text(&m, cause, sizeof(cause)));
		return false;
	}
	go_on(v);
	return true;
}

/* Waits until it may run; false at the end. A vCPU that halted waits for the next resume. */
static bool park(struct vcpu *v)
{
	struct vcpus *all = v->all;
	enum vcpu_phase phase;

	pthread_mutex_lock(&all->lock);
	all->parked++;
	pthread_cond_broadcast(&all->moved);
	while (all->phase == VCPUS_PAUSED || (all->phase == VCPUS_RUNNING && v->halted))
		pthread_cond_wait(&all->moved, &all->lock);
	all->parked--;
	phase = all->phase;
	if (phase == VCPUS_RUNNING)
		kvm_vcpu_unkick(&v->kvm);
	pthread_mutex_unlock(&all->lock);
	return phase == VCPUS_RUNNING;
}

static void run_failed(struct vcpu *v, int rc)
{
	char cause[VCPU_CAUSE_BYTES];

	snprintf(cause, sizeof(cause), "KVM_RUN of vCPU %u failed: %s", v->index,
		strerrordesc_np(-rc));
	halt(v, VCPU_FAILED, cause);
}

/* One stretch from a resume to the next park. */
static void run_until_kicked(struct vcpu *v)
{
	for (;;) {
		int rc;

		v->trap.in_guest = 1;
		rc = kvm_vcpu_run(&v->kvm);
		v->trap.in_guest = 0;
		atomic_fetch_add_explicit(&v->exits, 1, memory_order_relaxed);
		if (rc == 0) {
			handle_exit(v);
		} else if (rc != -EINTR) {
			run_failed(v, rc);
			return;
		}
		if (v->trap.hit && !memory_error(v))
			return;
		if (v->has_mail)
			read_mail(v);
		if (rc == -EINTR && (v->halted || v->all->phase != VCPUS_RUNNING))
			return;
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	char name[16];
	sigset_t kick;

	v->tid = gettid();
	snprintf(name, sizeof(name), "vcpu%u", v->index);
	(void)pthread_setname_np(pthread_self(), name);
	trap_thread(&v->trap);
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	while (park(v))
		run_until_kicked(v);
	trap_thread(NULL);
	return NULL;
}

static int vcpu_init(struct vcpu *v, const struct cpuid_table *supported,
	const struct guest_plan *plan, struct err *e)
{
	struct cpuid_table *cpuid = malloc(sizeof(*cpuid));
	int rc;

	if (!cpuid)
		return err_set(e, EXIT_FAILED, "out of memory");
	rc = cpuid_for_vcpu(supported, &plan->topology, v->index, cpuid);
	if (rc)
		rc = err_set(e, EXIT_ENVIRONMENT, "KVM: too many CPUID leaves");
	else
		rc = kvm_vcpu_init(&v->kvm, &v->view->vm, plan->apic_ids[v->index], cpuid, e);
	free(cpuid);
	if (rc)
		return rc;
	rc = kvm_vcpu_save(&v->kvm, &v->initial);
	if (!rc)
		return 0;
	kvm_vcpu_fini(&v->kvm);
	return err_set(e, EXIT_ENVIRONMENT, "KVM: the state of vCPU %u can't be read: %s", v->index,
		strerrordesc_np(-rc));
}

static int init_all(struct vcpus *v, const struct kvm_system *system, struct views *views,
	const struct guest_plan *plan, struct err *e)
{
	struct cpuid_table *supported = malloc(sizeof(*supported));
	int rc;

	if (!supported)
		return err_set(e, EXIT_FAILED, "out of memory");
	rc = cpuid_supported(system, supported, e);
	while (!rc && v->count < plan->topology.cpus) {
		struct vcpu *one = &v->items[v->count];

		one->all = v;
		one->index = v->count;
		one->view = views_main(views);
		one->cpus = *guest_plan_cpus(plan, v->count);
		one->trap.kvm = &one->kvm;
		rc = vcpu_init(one, supported, plan, e);
		if (!rc)
			v->count++;
	}
	free(supported);
	return rc;
}

int vcpus_init(struct vcpus *v, const struct kvm_system *system, struct views *views,
	const struct guest_plan *plan, const struct vcpu_env *env, struct err *e)
{
	int rc;

	memset(v, 0, sizeof(*v));
	v->env = *env;
	v->views = views;
	v->phase = VCPUS_PAUSED;
	if (plan->topology.cpus > system->vcpus_max)
		return err_set(e, EXIT_INVALID,
			"KVM on this host gives a guest up to %u CPUs, not %u", system->vcpus_max,
			plan->topology.cpus);
	v->items = calloc(plan->topology.cpus, sizeof(*v->items));
	if (!v->items)
		return err_set(e, EXIT_FAILED, "out of memory");
	CHECK(!pthread_mutex_init(&v->lock, NULL));
	CHECK(!pthread_cond_init(&v->moved, NULL));
	rc = init_all(v, system, views, plan, e);
	if (rc)
		vcpus_fini(v);
	return rc;
}

void vcpus_fini(struct vcpus *v)
{
	CHECK(v->threads == 0);
	for (uint32_t i = 0; i < v->count; i++) {
		kvm_vcpu_state_free(v->items[i].initial);
		kvm_vcpu_fini(&v->items[i].kvm);
	}
	free(v->items);
	pthread_cond_destroy(&v->moved);
	pthread_mutex_destroy(&v->lock);
}

/* Affinity is part of the attributes: the thread never runs anywhere else. */
static int start_one(struct vcpu *v)
{
	pthread_attr_t attr;
	int rc;

	CHECK(!pthread_attr_init(&attr));
	rc = pthread_attr_setaffinity_np(
		&attr, sizeof(v->cpus.words), (const cpu_set_t *)v->cpus.words);
	if (!rc)
		rc = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_attr_destroy(&attr);
	return -rc;
}

int vcpus_start(struct vcpus *v, struct err *e)
{
	struct sigaction action = { .sa_handler = on_kick };
	sigset_t blocked, old;
	int rc = 0;

	sigemptyset(&action.sa_mask);
	sigaction(KICK_SIGNAL, &action, NULL);
	/* The threads begin with all signals blocked but those of faults. */
	sigfillset(&blocked);
	sigdelset(&blocked, SIGBUS);
	sigdelset(&blocked, SIGSEGV);
	sigdelset(&blocked, SIGILL);
	sigdelset(&blocked, SIGFPE);
	sigdelset(&blocked, SIGSYS);
	pthread_sigmask(SIG_BLOCK, &blocked, &old);
	while (!rc && v->threads < v->count) {
		rc = start_one(&v->items[v->threads]);
		if (!rc)
			v->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!rc)
		return 0;
	rc = err_set(e, EXIT_ENVIRONMENT, "vCPU %u: its thread can't be started on its CPUs: %s",
		v->threads, strerrordesc_np(-rc));
	/* They are parked, so nothing keeps them. */
	CHECK(vcpus_end(v, END_PARKED_MS));
	return rc;
}

/* Moves to a phase; `v->lock` is held. */
static void enter_phase(struct vcpus *v, enum vcpu_phase phase)
{
	v->phase = phase;
	pthread_cond_broadcast(&v->moved);
	if (phase == VCPUS_RUNNING)
		return;
	for (uint32_t i = 0; i < v->threads; i++) {
		kvm_vcpu_kick(&v->items[i].kvm);
		pthread_kill(v->items[i].thread, KICK_SIGNAL);
	}
}

void vcpus_resume(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	for (uint32_t i = 0; i < v->count; i++)
		v->items[i].halted = false;
	enter_phase(v, VCPUS_RUNNING);
	pthread_mutex_unlock(&v->lock);
}

void vcpus_pause(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	enter_phase(v, VCPUS_PAUSED);
	while (v->parked < v->threads)
		pthread_cond_wait(&v->moved, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

void vcpus_tell(struct vcpus *v, const struct memory_error *m)
{
	const struct vcpu_mail mail = { .m = *m };

	(void)send_mail(&v->items[0], &mail);
}

bool vcpus_end(struct vcpus *v, int ms)
{
	struct timespec until;

	pthread_mutex_lock(&v->lock);
	enter_phase(v, VCPUS_ENDED);
	pthread_mutex_unlock(&v->lock);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (v->threads > 0) {
		if (pthread_clockjoin_np(
			    v->items[v->threads - 1].thread, NULL, CLOCK_MONOTONIC, &until))
			return false;
		v->threads--;
	}
	return true;
}

int vcpus_reset(struct vcpus *v, const struct kvm_entry *entry)
{
	for (uint32_t i = 0; i < v->count; i++) {
		v->items[i].has_mail = false;
		int rc = kvm_vcpu_restore(&v->items[i].kvm, v->items[i].initial);

		if (rc)
			return rc;
	}
	return kvm_vcpu_enter(&v->items[0].kvm, entry);
}
