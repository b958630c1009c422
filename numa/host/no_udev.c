/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hwloc's archive refers to libudev, of which Debian has no archive, and
 * `cellvisor` is linked statically. hwloc asks udev only for the names of block
 * devices, which we don't read, and goes on without when udev_new() has nothing.
 * Weak: where the shared libudev is linked, that one counts.
 */
#include <stddef.h>

struct udev;
struct udev_device;

#define WEAK __attribute__((weak))

WEAK struct udev *udev_new(void);
WEAK struct udev *udev_unref(struct udev *u);
WEAK struct udev_device *udev_device_unref(struct udev_device *d);
WEAK struct udev_device *udev_device_new_from_subsystem_sysname(
	struct udev *u, const char *subsystem, const char *sysname);
WEAK const char *udev_device_get_property_value(struct udev_device *d, const char *key);

WEAK struct udev *udev_new(void)
{
	return NULL;
}

WEAK struct udev *udev_unref(struct udev *u)
{
	(void)u;
	return NULL;
}

WEAK struct udev_device *udev_device_unref(struct udev_device *d)
{
	(void)d;
	return NULL;
}

WEAK struct udev_device *udev_device_new_from_subsystem_sysname(
	struct udev *u, const char *subsystem, const char *sysname)
{
	(void)u;
	(void)subsystem;
	(void)sysname;
	return NULL;
}

WEAK const char *udev_device_get_property_value(struct udev_device *d, const char *key)
{
	(void)d;
	(void)key;
	return NULL;
}
