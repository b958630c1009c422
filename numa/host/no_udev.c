/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hwloc's archive refers to libudev, of which Debian has no archive, and
 * `cellvisor` is linked statically. hwloc asks udev only about block devices,
 * which we don't read, and goes on without when udev_new() has nothing. These
 * are in a library of their own, behind hwloc in the link: where the shared
 * hwloc is linked, it brings the real ones and none of these is taken.
 */
#include <stddef.h>

struct udev;
struct udev_device;

/* As in libudev.h, which need not be installed. */
struct udev *udev_new(void);
struct udev *udev_unref(struct udev *u);
struct udev_device *udev_device_unref(struct udev_device *d);
struct udev_device *udev_device_new_from_subsystem_sysname(
	struct udev *u, const char *subsystem, const char *sysname);
const char *udev_device_get_property_value(struct udev_device *d, const char *key);

struct udev *udev_new(void)
{
	return NULL;
}

struct udev *udev_unref(struct udev *u)
{
	(void)u;
	return NULL;
}

struct udev_device *udev_device_unref(struct udev_device *d)
{
	(void)d;
	return NULL;
}

struct udev_device *udev_device_new_from_subsystem_sysname(
	struct udev *u, const char *subsystem, const char *sysname)
{
	(void)u;
	(void)subsystem;
	(void)sysname;
	return NULL;
}

const char *udev_device_get_property_value(struct udev_device *d, const char *key)
{
	(void)d;
	(void)key;
	return NULL;
}
