/* SPDX-License-Identifier: BSD-2-Clause */
#include "pci_driver.h"

#define QUEUES 3u
#define FEATURE_X 5
#define V1 (1ull << VIRTIO_F_VERSION_1)
#define RINGS (RAM_A + 0x1000)

/* A device type that does nothing but record. */
static struct {
	int starts, stops;
	int kicks[QUEUES];
	bool busy;
} type_calls;

static void type_config_read(void *ctx, uint32_t off, void *dst, uint32_t len)
{
	(void)ctx;
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)dst)[i] = (uint8_t)(0x80 + off + i);
}

static void type_start(void *ctx)
{
	(void)ctx;
	type_calls.starts++;
}

static void type_kick(void *ctx, uint32_t queue)
{
	(void)ctx;
	type_calls.kicks[queue]++;
}

static bool type_stop(void *ctx)
{
	(void)ctx;
	type_calls.stops++;
	return !type_calls.busy;
}

static const struct virtio_type type = { .id = 7,
	.features = 1ull << FEATURE_X,
	.queue_count = QUEUES,
	.queue_size = 64,
	.config_bytes = 10,
	.config_read = type_config_read,
	.start = type_start,
	.kick = type_kick,
	.stop = type_stop };

static struct machine m;
static struct virtio_pci v;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct driver_queue d[QUEUES];

static void setup(void)
{
	struct virtio_pci_env env;

	memset(&type_calls, 0, sizeof(type_calls));
	machine_make(&m);
	env = machine_env(&m);
	virtio_pci_init(&v, &type, NULL, &m.ram.map, &env, 0x00ff00, &lock);
	cr_assert_eq(pci_host_add(&m.host, 4, &v.fn), 0);
	driver_probe(&m, 4);
	for (uint32_t i = 0; i < QUEUES; i++)
		queue_make(&d[i], &m.ram, RINGS + 0x4000u * i, (uint16_t)(16 << i));
}

static void teardown(void)
{
	machine_drop(&m);
}

TestSuite(virtio_pci, .init = setup, .fini = teardown);

#define COMMON(reg) (m.common + VIRTIO_PCI_COMMON_##reg)

/* A driver that is up, with queues 0 and 2 in use. */
static void up(void)
{
	cr_assert(driver_negotiate(&m, V1));
	driver_msix(&m, QUEUES + 1);
	wr(&m, COMMON(MSIX), QUEUES, 2);
	driver_enable_queue(&m, 0, &d[0]);
	driver_enable_queue(&m, 2, &d[2]);
	driver_add_status(&m, VIRTIO_CONFIG_S_DRIVER_OK);
	cr_assert_eq(driver_status(&m), 0x0f);
}

Test(virtio_pci, identity_is_modern)
{
	cr_assert_eq(rd(&m, cfg(&m, PCI_VENDOR_ID), 4), 0x10471af4);
	cr_assert_geq(rd(&m, cfg(&m, PCI_REVISION_ID), 1), 1);
	cr_assert_geq(rd(&m, cfg(&m, PCI_SUBSYSTEM_ID), 2), 0x40);
	cr_assert_eq(rd(&m, COMMON(NUMQ), 2), QUEUES);
	cr_assert_eq(
		rd(&m, cfg(&m, m.msix_cap + PCI_MSIX_FLAGS), 2) & PCI_MSIX_FLAGS_QSIZE, QUEUES);
}

Test(virtio_pci, features_are_64_bits_in_halves)
{
	cr_assert_eq(driver_offered(&m), V1 | 1ull << FEATURE_X | 1ull << 28 | 1ull << 29);
	wr(&m, COMMON(DFSELECT), 2, 4);
	cr_assert_eq(rd(&m, COMMON(DF), 4), 0);
	driver_accept(&m, V1 | 1ull << FEATURE_X);
	wr(&m, COMMON(GFSELECT), 0, 4);
	cr_assert_eq(rd(&m, COMMON(GF), 4), 1u << FEATURE_X);
	wr(&m, COMMON(GFSELECT), 1, 4);
	cr_assert_eq(rd(&m, COMMON(GF), 4), 1);
	wr(&m, COMMON(GFSELECT), 2, 4);
	cr_assert_eq(rd(&m, COMMON(GF), 4), 0);
	wr(&m, COMMON(GF), 0, 4);
	cr_assert_eq(try_wr(&m, COMMON(GF), 1, 4), DEV_GUEST_FAULT);
}

Test(virtio_pci, features_ok_sticks_only_for_a_valid_choice)
{
	cr_assert_not(driver_negotiate(&m, 1ull << FEATURE_X), "VERSION_1 is needed");
	cr_assert_eq(driver_status(&m), 3);
	driver_accept(&m, V1 | 1ull << 6);
	driver_add_status(&m, VIRTIO_CONFIG_S_FEATURES_OK);
	cr_assert_eq(driver_status(&m), 3, "bit 6 was not offered");
	driver_accept(&m, V1 | 1ull << 34);
	driver_add_status(&m, VIRTIO_CONFIG_S_FEATURES_OK);
	cr_assert_eq(driver_status(&m), 3, "bit 34 was not offered");
	driver_accept(&m, V1);
	driver_add_status(&m, VIRTIO_CONFIG_S_FEATURES_OK);
	cr_assert_eq(driver_status(&m), 0x0b);
	cr_assert_eq(try_wr(&m, COMMON(GF), 0, 4), DEV_GUEST_FAULT, "too late to change them");
	cr_assert(virtio_dev_has(&v.dev, VIRTIO_F_VERSION_1));
	cr_assert_not(virtio_dev_has(&v.dev, FEATURE_X));
}

Test(virtio_pci, status_goes_up_in_order_and_never_loses_bits)
{
	cr_assert_eq(try_wr(&m, COMMON(STATUS), 4, 1), DEV_GUEST_FAULT, "DRIVER_OK first");
	cr_assert_eq(
		try_wr(&m, COMMON(STATUS), 8, 1), DEV_GUEST_FAULT, "FEATURES_OK without DRIVER");
	driver_accept(&m, V1);
	cr_assert_eq(try_wr(&m, COMMON(STATUS), 0x0f, 1), DEV_GUEST_FAULT, "all in one");
	cr_assert_eq(driver_status(&m), 0);
	wr(&m, COMMON(STATUS), 1, 1);
	wr(&m, COMMON(STATUS), 3, 1);
	cr_assert_eq(try_wr(&m, COMMON(STATUS), 1, 1), DEV_GUEST_FAULT);
	wr(&m, COMMON(STATUS), 0x4b, 1);
	cr_assert_eq(driver_status(&m), 0x0b, "NEEDS_RESET is not the driver's");
	cr_assert_eq(type_calls.starts, 0);
	wr(&m, COMMON(STATUS), 0x0f, 1);
	cr_assert_eq(type_calls.starts, 1);
	wr(&m, COMMON(STATUS), 0x0f, 1);
	cr_assert_eq(type_calls.starts, 1);
	wr(&m, COMMON(STATUS), 0x8f, 1);
	cr_assert_not(virtio_pci_running(&v), "FAILED");
}

Test(virtio_pci, queue_registers_keep_what_is_valid)
{
	struct driver_queue far = d[1];

	far.desc = 0x123456789abcdef0ull;
	far.avail = 0x2233445566778898ull;
	far.used = 0x3344556677889908ull;
	driver_describe_queue(&m, 1, &far);
	cr_assert_eq(rd(&m, COMMON(Q_SIZE), 2), 32);
	cr_assert_eq(rd(&m, COMMON(Q_DESCLO), 8), far.desc);
	cr_assert_eq(rd(&m, COMMON(Q_AVAILLO), 4), (uint32_t)far.avail);
	cr_assert_eq(rd(&m, COMMON(Q_AVAILHI), 4), far.avail >> 32);
	cr_assert_eq(rd(&m, COMMON(Q_USEDLO), 8), far.used);
	wr(&m, COMMON(Q_USEDLO), 0x5566778899aabbc0ull, 8);
	cr_assert_eq(rd(&m, COMMON(Q_USEDHI), 4), 0x55667788);
	cr_assert_eq(rd(&m, COMMON(Q_NOFF), 2), 1);
	wr(&m, COMMON(Q_SELECT), 0, 2);
	cr_assert_eq(rd(&m, COMMON(Q_DESCLO), 8), 0, "another queue");
	cr_assert_eq(rd(&m, COMMON(Q_SIZE), 2), 64);
	for (uint16_t size = 0; size < 200; size++) {
		bool good = size && size <= 64 && (size & (size - 1)) == 0;

		cr_assert_eq(try_wr(&m, COMMON(Q_SIZE), size, 2), good ? DEV_OK : DEV_GUEST_FAULT,
			"size %u", size);
	}
	wr(&m, COMMON(Q_SELECT), QUEUES, 2);
	cr_assert_eq(rd(&m, COMMON(Q_SIZE), 2), 0, "no such queue");
	cr_assert_eq(rd(&m, COMMON(Q_MSIX), 2), VIRTIO_MSI_NO_VECTOR);
	cr_assert_eq(try_wr(&m, COMMON(Q_SIZE), 16, 2), DEV_GUEST_FAULT);
	cr_assert_eq(try_wr(&m, COMMON(Q_ENABLE), 1, 2), DEV_GUEST_FAULT);
}

Test(virtio_pci, a_queue_is_enabled_once_and_after_features)
{
	driver_describe_queue(&m, 0, &d[0]);
	cr_assert_eq(try_wr(&m, COMMON(Q_ENABLE), 1, 2), DEV_GUEST_FAULT, "before FEATURES_OK");
	cr_assert(driver_negotiate(&m, V1));
	wr(&m, COMMON(Q_ENABLE), 1, 2);
	cr_assert_eq(rd(&m, COMMON(Q_ENABLE), 2), 1);
	cr_assert_eq(try_wr(&m, COMMON(Q_ENABLE), 0, 2), DEV_GUEST_FAULT);
	cr_assert_eq(try_wr(&m, COMMON(Q_SIZE), 8, 2), DEV_GUEST_FAULT);
	cr_assert_eq(try_wr(&m, COMMON(Q_DESCLO), 0, 4), DEV_GUEST_FAULT);
	cr_assert_eq(rd(&m, COMMON(Q_DESCLO), 4), (uint32_t)d[0].desc);
}

Test(virtio_pci, a_queue_outside_ram_is_trouble)
{
	cr_assert(driver_negotiate(&m, V1));
	d[0].used = 0x10;
	driver_describe_queue(&m, 0, &d[0]);
	wr(&m, COMMON(Q_ENABLE), 1, 2);
	cr_assert_eq(rd(&m, COMMON(Q_ENABLE), 2), 0);
	cr_assert_eq(driver_status(&m), 0x4b);
	cr_assert_eq(m.troubles, 1);
	cr_assert(strstr(m.trouble, "not in RAM"));
	driver_add_status(&m, VIRTIO_CONFIG_S_DRIVER_OK);
	cr_assert_not(virtio_pci_running(&v));
	cr_assert_eq(type_calls.starts, 0);
	wr(&m, COMMON(STATUS), 0, 1);
	cr_assert_eq(driver_status(&m), 0, "a reset heals it");
}

Test(virtio_pci, vectors_that_do_not_exist_read_back_as_none)
{
	wr(&m, COMMON(MSIX), QUEUES, 2);
	cr_assert_eq(rd(&m, COMMON(MSIX), 2), QUEUES);
	wr(&m, COMMON(MSIX), QUEUES + 1, 2);
	cr_assert_eq(rd(&m, COMMON(MSIX), 2), VIRTIO_MSI_NO_VECTOR);
	wr(&m, COMMON(Q_MSIX), 0x1234, 2);
	cr_assert_eq(rd(&m, COMMON(Q_MSIX), 2), VIRTIO_MSI_NO_VECTOR);
}

Test(virtio_pci, used_chains_interrupt_with_the_queues_vector)
{
	up();
	virtq_push(&v.dev.queues[2], 1, 0);
	virtio_pci_used(&v, 2);
	cr_assert_eq(m.vectors[2].signals, 1);
	cr_assert_eq(m.vectors[0].signals, 0);
	cr_assert_eq(rd(&m, m.isr, 1), 1);
	cr_assert_eq(rd(&m, m.isr, 1), 0, "reading clears it");
	queue_set_avail_flags(&d[2], 1);
	virtio_pci_used(&v, 2);
	cr_assert_eq(m.vectors[2].signals, 1, "the driver did not want it");
	cr_assert_eq(try_wr(&m, m.isr, 0, 1), DEV_GUEST_FAULT);
	cr_assert_eq(try_rd(&m, m.isr + 1, 1), DEV_GUEST_FAULT);
}

Test(virtio_pci, trouble_is_told_to_driver_and_owner_once)
{
	up();
	virtio_pci_trouble(&v, "first");
	virtio_pci_trouble(&v, "second");
	cr_assert_str_eq(m.trouble, "first");
	cr_assert_eq(m.troubles, 1);
	cr_assert_eq(driver_status(&m), 0x4f);
	cr_assert_eq(m.vectors[QUEUES].signals, 1, "a configuration change");
	cr_assert_eq(rd(&m, m.isr, 1), 2);
	cr_assert_not(virtio_pci_running(&v));
	cr_assert_eq(m.notify_at[0], 0, "its notifications are detached");
	wr(&m, driver_notify_addr(&m, 0), 0, 2);
	cr_assert_eq(type_calls.kicks[0], 0);
}

Test(virtio_pci, notifications_reach_the_type)
{
	uint64_t at0 = driver_notify_addr(&m, 0), at1 = driver_notify_addr(&m, 1),
		 at2 = driver_notify_addr(&m, 2);

	cr_assert_eq(try_wr(&m, at0, 0, 2), DEV_GUEST_FAULT, "not enabled");
	up();
	wr(&m, at0, 0, 2);
	wr(&m, at2, 2, 2);
	wr(&m, at2, 2, 4);
	cr_assert_eq(type_calls.kicks[0], 1);
	cr_assert_eq(type_calls.kicks[2], 2);
	cr_assert_eq(try_wr(&m, at1, 1, 2), DEV_GUEST_FAULT, "not enabled");
	cr_assert_eq(try_wr(&m, at0 + 2, 0, 2), DEV_GUEST_FAULT);
	cr_assert_eq(try_wr(&m, at2 + 4, 0, 2), DEV_GUEST_FAULT);
	cr_assert_eq(try_rd(&m, at0, 2), DEV_GUEST_FAULT);
	wr(&m, cfg(&m, PCI_COMMAND), PCI_COMMAND_MEMORY, 2);
	wr(&m, at0, 0, 2);
	cr_assert_eq(type_calls.kicks[0], 1, "not without bus mastering");
	wr(&m, cfg(&m, PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	cr_assert_eq(type_calls.starts, 2, "but then it looks");
}

Test(virtio_pci, ioeventfds_follow_driver_and_bar)
{
	uint64_t at0 = driver_notify_addr(&m, 0), at2 = driver_notify_addr(&m, 2);
	struct gpa now;

	cr_assert_eq(m.attaches, 0);
	up();
	cr_assert_eq(m.attaches, 2, "one per enabled queue");
	cr_assert_eq(m.notify_at[0], at0);
	cr_assert_eq(m.notify_at[1], 0);
	cr_assert_eq(m.notify_at[2], at2);
	wr(&m, cfg(&m, PCI_BASE_ADDRESS_0), WINDOW + 0x100000, 4);
	cr_assert_eq(m.detaches, 2);
	cr_assert_eq(m.notify_at[2], WINDOW + 0x100000 + (at2 - WINDOW));
	wr(&m, cfg(&m, PCI_COMMAND), PCI_COMMAND_MASTER, 2);
	cr_assert_eq(m.detaches, 4);
	cr_assert_not(virtio_pci_notify_at(&v, 0, &now));
	wr(&m, cfg(&m, PCI_COMMAND), PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
	cr_assert_eq(m.attaches, 6);
	driver_probe(&m, 4);
	wr(&m, COMMON(STATUS), 0, 1);
	cr_assert_eq(m.detaches, 6);
	cr_assert_eq(m.notify_at[0], 0);
	cr_assert(virtio_pci_notify_at(&v, 2, &now));
	cr_assert_eq(now.addr, m.notify + 2 * m.notify_multiplier);
	cr_assert_not(virtio_pci_notify_at(&v, QUEUES, &now));
}

Test(virtio_pci, reset_forgets_the_driver)
{
	up();
	wr(&m, COMMON(STATUS), 0, 1);
	cr_assert_eq(driver_status(&m), 0);
	cr_assert_eq(type_calls.stops, 1);
	cr_assert_eq(rd(&m, COMMON(MSIX), 2), VIRTIO_MSI_NO_VECTOR);
	cr_assert_eq(rd(&m, COMMON(Q_MSIX), 2), VIRTIO_MSI_NO_VECTOR);
	cr_assert_eq(rd(&m, COMMON(Q_ENABLE), 2), 0);
	cr_assert_eq(rd(&m, COMMON(Q_SIZE), 2), 64);
	cr_assert_eq(rd(&m, COMMON(Q_DESCLO), 8), 0);
	cr_assert_eq(rd(&m, COMMON(Q_SELECT), 2), 0);
	wr(&m, COMMON(GFSELECT), 1, 4);
	cr_assert_eq(rd(&m, COMMON(GF), 4), 0);
	for (uint32_t i = 0; i < QUEUES; i++)
		queue_make(&d[i], &m.ram, RINGS + 0x4000u * i, 16);
	up(); /* and once more from the start */
	cr_assert_eq(type_calls.starts, 2);
}

Test(virtio_pci, reset_waits_for_requests_in_flight)
{
	up();
	type_calls.busy = true;
	wr(&m, COMMON(STATUS), 0, 1);
	cr_assert_eq(driver_status(&m), 0x0f, "not reset yet, and the driver sees it");
	cr_assert_not(virtio_pci_running(&v));
	cr_assert_eq(m.notify_at[0], 0);
	cr_assert_eq(try_wr(&m, COMMON(STATUS), 0x0f, 1), DEV_GUEST_FAULT);
	cr_assert_eq(try_wr(&m, COMMON(GF), 0, 4), DEV_GUEST_FAULT);
	wr(&m, COMMON(Q_SELECT), 1, 2);
	cr_assert_eq(try_wr(&m, COMMON(Q_ENABLE), 1, 2), DEV_GUEST_FAULT);
	wr(&m, COMMON(STATUS), 0, 1);
	cr_assert_eq(type_calls.stops, 1, "asked once");
	virtio_pci_stopped(&v);
	cr_assert_eq(driver_status(&m), 0);
	cr_assert_eq(rd(&m, COMMON(MSIX), 2), VIRTIO_MSI_NO_VECTOR);
}

Test(virtio_pci, power_on_reset_takes_everything_back)
{
	up();
	virtio_pci_trouble(&v, "something");
	wr(&m, cfg(&m, PCI_BASE_ADDRESS_0), WINDOW + 0x100000, 4);
	virtio_pci_reset(&v);
	cr_assert_eq(rd(&m, cfg(&m, PCI_BASE_ADDRESS_0), 4), WINDOW);
	cr_assert_not(m.vectors[0].live);
	cr_assert_eq(m.attaches, m.detaches);
	driver_probe(&m, 4);
	cr_assert_eq(driver_status(&m), 0);
	for (uint32_t i = 0; i < QUEUES; i++)
		queue_make(&d[i], &m.ram, RINGS + 0x4000u * i, 16);
	up();
}

Test(virtio_pci, power_on_reset_ends_a_reset_under_way)
{
	up();
	type_calls.busy = true;
	wr(&m, COMMON(STATUS), 0, 1);
	type_calls.busy = false;
	virtio_pci_reset(&v);
	driver_probe(&m, 4);
	cr_assert_eq(driver_status(&m), 0);
	cr_assert_not(v.dev.resetting);
}

Test(virtio_pci, device_configuration_is_read_in_any_width_and_not_written)
{
	cr_assert_eq(rd(&m, m.device, 8), 0x8786858483828180ull);
	cr_assert_eq(rd(&m, m.device + 8, 2), 0x8988);
	cr_assert_eq(rd(&m, m.device + 9, 1), 0x89);
	cr_assert_eq(try_rd(&m, m.device + 8, 4), DEV_GUEST_FAULT);
	cr_assert_eq(try_rd(&m, m.device + 10, 1), DEV_GUEST_FAULT);
	cr_assert_eq(try_wr(&m, m.device, 0, 1), DEV_GUEST_FAULT);
}

Test(virtio_pci, common_fields_are_accessed_whole)
{
	static const struct {
		uint32_t off, len;
	} cases[] = { { 0, 1 }, { 0, 2 }, { 0, 8 }, { 1, 1 }, { 2, 2 }, { 16, 4 }, { 17, 1 },
		{ 20, 2 }, { 20, 4 }, { 22, 1 }, { 24, 8 }, { 32, 2 }, { 36, 8 }, { 34, 2 },
		{ 56, 4 }, { 56, 8 }, { 58, 2 }, { 0x100, 4 }, { 0xffc, 8 }, { 0xffe, 4 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(try_rd(&m, m.common + cases[i].off, cases[i].len), DEV_GUEST_FAULT,
			"load, case %zu", i);
		cr_assert_eq(try_wr(&m, m.common + cases[i].off, 0, cases[i].len), DEV_GUEST_FAULT,
			"store, case %zu", i);
	}
	cr_assert_eq(try_rd(&m, WINDOW + 0x6000, 4), DEV_GUEST_FAULT, "the unused end of the BAR");
	cr_assert_eq(driver_status(&m), 0);
}

/* 4.1.4.9: everything in the BAR through configuration space. */
static uint64_t window_rd(uint64_t at, uint32_t len)
{
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_BAR), 0, 1);
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_OFFSET), at - WINDOW, 4);
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_LENGTH), len, 4);
	return rd(&m, cfg(&m, m.window_cap + 16), len);
}

static void window_wr(uint64_t at, uint64_t val, uint32_t len)
{
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_OFFSET), at - WINDOW, 4);
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_LENGTH), len, 4);
	wr(&m, cfg(&m, m.window_cap + 16), val, len);
}

Test(virtio_pci, the_configuration_window_reaches_the_bar)
{
	uint64_t at0 = driver_notify_addr(&m, 0);

	cr_assert_eq(window_rd(COMMON(NUMQ), 2), QUEUES);
	cr_assert_eq(window_rd(m.device + 4, 4), 0x87868584);
	window_wr(COMMON(STATUS), 1, 1);
	cr_assert_eq(driver_status(&m), 1);
	window_wr(COMMON(STATUS), 0, 1);
	/* Only as many bytes as the window is long count, whatever else was written. */
	window_wr(COMMON(Q_SIZE), 32, 2);
	wr(&m, cfg(&m, m.window_cap + 16), 0xffff0010, 4);
	cr_assert_eq(rd(&m, COMMON(Q_SIZE), 2), 16);
	up();
	window_wr(at0, 0, 2);
	cr_assert_eq(type_calls.kicks[0], 1);
	/* Works while the BAR itself is not decoded: that is what it is for. */
	wr(&m, cfg(&m, PCI_COMMAND), 0, 2);
	cr_assert_eq(window_rd(COMMON(NUMQ), 2), QUEUES);
}

Test(virtio_pci, a_window_onto_nothing_does_nothing)
{
	static const struct {
		uint32_t bar, off, len;
	} cases[] = { { 1, 0x14, 1 }, { 0, 0x14, 0 }, { 0, 0x14, 3 }, { 0, 0x14, 8 },
		{ 0, 0x15, 2 }, { 0, VIRTIO_BAR_BYTES, 4 }, { 0, 0xfffffffc, 4 }, { 0xff, 0, 4 },
		{ 0, 0x14, 0x101 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_BAR), cases[i].bar, 1);
		wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_OFFSET), cases[i].off, 4);
		wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_LENGTH), cases[i].len, 4);
		cr_assert_eq(try_wr(&m, cfg(&m, m.window_cap + 16), 1, 4), DEV_GUEST_FAULT,
			"case %zu", i);
		(void)rd(&m, cfg(&m, m.window_cap + 16), 4);
		cr_assert_eq(driver_status(&m), 0, "case %zu", i);
	}
}

/* 4.1.4.9.2: the offset has to be a multiple of the length, also where the BAR would not mind. */
Test(virtio_pci, a_misaligned_window_shows_nothing)
{
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_OFFSET), m.device + 1 - WINDOW, 4);
	wr(&m, cfg(&m, m.window_cap + VIRTIO_PCI_CAP_LENGTH), 2, 4);
	cr_assert_eq(try_wr(&m, cfg(&m, m.window_cap + 16), 0x5566, 2), DEV_GUEST_FAULT);
	cr_assert_eq(rd(&m, cfg(&m, m.window_cap + 16), 2), 0x5566);
}
