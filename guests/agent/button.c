/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/button.h"

#include <fcntl.h>
#include <linux/input.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RESCAN_MS 1000

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_CNT / 8] = { 0 };

	return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
	       (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1);
}

/* Opens the devices that are new since the last time. */
static void scan(struct pollfd devices[BUTTON_DEVICES])
{
	for (int i = 0; i < BUTTON_DEVICES; i++) {
		char path[32];

		if (devices[i].fd >= 0)
			continue;
		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		devices[i].fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		devices[i].events = POLLIN;
		if (devices[i].fd >= 0 && !has_power_key(devices[i].fd)) {
			close(devices[i].fd);
			devices[i].fd = -1;
		}
	}
}

static bool pressed(struct pollfd *device)
{
	struct input_event event;

	while (read(device->fd, &event, sizeof(event)) == (ssize_t)sizeof(event))
		if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
			return true;
	if (device->revents & (POLLERR | POLLHUP)) {
		close(device->fd);
		device->fd = -1;
	}
	return false;
}

void button_open(struct button *b)
{
	for (int i = 0; i < BUTTON_DEVICES; i++)
		b->devices[i] = (struct pollfd){ .fd = -1 };
	scan(b->devices);
}

void button_wait(struct button *b)
{
	for (;;) {
		scan(b->devices);
		poll(b->devices, BUTTON_DEVICES, RESCAN_MS);
		for (int i = 0; i < BUTTON_DEVICES; i++) {
			struct pollfd *device = &b->devices[i];

			if (device->fd >= 0 && device->revents && pressed(device))
				return;
		}
	}
}
