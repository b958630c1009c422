#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The box's first script, in its initramfs (busybox). Puts the outside's files under a scratch
# layer and hands over to `boxctl run`, which starts the command.
set -e
trap 'echo "box: the start failed; see the lines above"; busybox poweroff -f' EXIT
export PATH=/bin
for name in mount mkdir cat insmod ip hostname ln cp chmod switch_root umount; do
	busybox ln -s busybox /bin/$name
done
. /box/settings

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
	insmod /modules/$module.ko
done </modules/order

mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /host
mount -t tmpfs -o mode=755 scratch /scratch
mkdir /scratch/upper /scratch/work
mount -t overlay -o lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work root /new
for name in proc sys dev run tmp; do
	mkdir -p /new/$name
done
mount --move /proc /new/proc
mount --move /sys /new/sys
mount --move /dev /new/dev
mount -t tmpfs -o mode=755 run /new/run
mkdir -p /new/run/box /new/run/lock /new/dev/pts /new/dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
mount -t tmpfs -o mode=1777 shm /new/dev/shm
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t debugfs debugfs /new/sys/kernel/debug
ln -sf /proc/self/fd /new/dev/fd
ln -sf /proc/self/fd/0 /new/dev/stdin
ln -sf /proc/self/fd/1 /new/dev/stdout
ln -sf /proc/self/fd/2 /new/dev/stderr

# The kernel's own modules, for modprobe; and the one folder whose files stay.
mkdir -p /new/lib/modules "/new$BOX_SHARE"
mount --bind "/new$BOX_MODULES" /new/lib/modules
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none share "/new$BOX_SHARE"

# Deferred machine checks are found by polling: each second instead of each five minutes.
echo 1 >/new/sys/devices/system/machinecheck/machinecheck0/check_interval
ip link set lo up
hostname box
mkdir /new/run/box/bin
cp /box/boxctl /new/run/box/bin/boxctl
cp /box/spec /new/run/box/spec
chmod 755 /new/run/box/bin/boxctl
trap - EXIT
exec switch_root /new /run/box/bin/boxctl run /run/box/spec
