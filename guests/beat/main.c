/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest without an operating system that says what the agent of the Linux
 * guests says (guests/agent/main.c): cv-ready, then a heartbeat twice a second
 * with a checksum over memory that it watches over. It is there within a second,
 * so faults can be injected by the hundred.
 *
 * Kernel command line: cv.mem=MIB (default 4, at most 24; from BEAT_MEMORY on),
 * cv.ms=N between heartbeats (default 500), cv.busy to check memory all the time
 * and not only once for each of them.
 */
#include "guests/agent/pattern.h"

#define BEAT_MEMORY 0x2000000ull
#define MIB_DEFAULT 4u
#define MIB_MAX 24u
#define BEAT_MS_DEFAULT 500u
#define BEAT_MS_MAX 4000u /* the timer counts nanoseconds in 32 bits */
#define MEASURE_NS 50000000u
#define UART 0x3f8
#define CMD_LINE_PTR 0x228
/* x2APIC registers (SDM volume 3, 10.12). KVM's bus clock: 1 GHz. */
#define MSR_APIC_BASE 0x1b
#define APIC_BASE_X2 (3u << 10)
#define MSR_SPURIOUS 0x80f
#define MSR_LVT_TIMER 0x832
#define MSR_TIMER_COUNT 0x838
#define MSR_TIMER_DIVIDE 0x83e
#define DIVIDE_BY_1 0xb
#define TIMER_VECTOR 0x40
#define GATE_INTERRUPT 0x8e00u

/* Hidden: else their addresses come out absolute, and the image is not where it was linked. */
__attribute__((visibility("hidden"))) void beat_on_timer(void);
__attribute__((visibility("hidden"))) void beat_on_fault(void);
void beat_main(const uint8_t *boot_params);
void beat_fault(void);

static struct {
	uint64_t low, high;
} idt[256];

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static void put(char c)
{
	__asm__ volatile("outb %0, %1" ::"a"(c), "d"((uint16_t)UART));
}

static void say(const char *text)
{
	while (*text)
		put(*text++);
}

static void say_number(uint64_t value, unsigned int base, unsigned int digits)
{
	char text[20];
	unsigned int n = 0;

	do {
		text[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value || n < digits);
	while (n)
		put(text[--n]);
}

void beat_fault(void)
{
	say("\ncv-note exception: the guest can't go on\n");
}

static void set_gate(unsigned int vector, void (*handler)(void))
{
	uint64_t at = (uint64_t)handler;
	uint16_t cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	idt[vector].low = (at & 0xffff) | (uint64_t)cs << 16 | (uint64_t)GATE_INTERRUPT << 32 |
			  (at >> 16 & 0xffff) << 48;
	idt[vector].high = at >> 32;
}

static void set_up_timer(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	for (unsigned int vector = 0; vector < 32; vector++)
		set_gate(vector, beat_on_fault);
	set_gate(TIMER_VECTOR, beat_on_timer);
	set_gate(0xff, beat_on_timer);
	__asm__ volatile("lidt %0" ::"m"(idtr));
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2);
	wrmsr(MSR_SPURIOUS, 0x1ff);
	wrmsr(MSR_TIMER_DIVIDE, DIVIDE_BY_1);
	wrmsr(MSR_LVT_TIMER, TIMER_VECTOR);
}

static void sleep_ns(uint32_t ns)
{
	wrmsr(MSR_TIMER_COUNT, ns);
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

/* The words after `option` on the command line, or NULL. */
static const char *find_option(const uint8_t *boot_params, const char *option)
{
	const char *at = (const char *)(uint64_t) * (const uint32_t *)(boot_params + CMD_LINE_PTR);

	for (; at && *at; at++) {
		unsigned int n = 0;

		while (option[n] && at[n] == option[n])
			n++;
		if (!option[n])
			return at + n;
	}
	return 0;
}

/* The number behind `option`, at most `max`; `otherwise` if there is none. */
static uint32_t number_wanted(
	const uint8_t *boot_params, const char *option, uint32_t otherwise, uint32_t max)
{
	const char *text = find_option(boot_params, option);
	uint32_t number = 0;

	while (text && *text >= '0' && *text <= '9' && number <= max)
		number = number * 10 + (uint32_t)(*text++ - '0');
	return number == 0 ? otherwise : number > max ? max : number;
}

void beat_main(const uint8_t *boot_params)
{
	const uint32_t mib = number_wanted(boot_params, "cv.mem=", MIB_DEFAULT, MIB_MAX);
	const uint32_t ms = number_wanted(boot_params, "cv.ms=", BEAT_MS_DEFAULT, BEAT_MS_MAX);
	const char *busy = find_option(boot_params, "cv.busy");
	struct pattern pattern;
	uint64_t start, per_second;

	set_up_timer();
	start = rdtsc();
	sleep_ns(MEASURE_NS);
	per_second = (rdtsc() - start) * (1000000000u / MEASURE_NS);
	pattern_init(&pattern, (uint64_t *)BEAT_MEMORY,
		(size_t)mib * ((1u << 20) / PATTERN_PAGE_BYTES), start);
	say("cv-ready\n");
	for (uint64_t sequence = 1;; sequence++) {
		uint64_t from = rdtsc(), now;
		bool ok;

		do {
			ok = pattern_step(&pattern);
			now = rdtsc();
		} while (busy && ok && now - from < per_second * ms / 1000);
		say("cv-beat ");
		say_number(sequence, 10, 1);
		put(' ');
		say_number((now - start) / per_second, 10, 1);
		put('.');
		say_number((now - start) % per_second * 100 / per_second, 10, 2);
		put(' ');
		say_number(pattern.sum, 16, 16);
		say(ok ? " ok\n" : " BAD\n");
		if (!busy)
			sleep_ns(ms * 1000000u);
	}
}
