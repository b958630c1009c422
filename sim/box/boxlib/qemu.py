# SPDX-License-Identifier: BSD-2-Clause
"""QEMU: its command line, and its machine protocol (QMP)."""
import json
import select
import time

from .common import BoxError

PROGRAM = "qemu-system-x86_64"
# irqaffinity: the emulated devices interrupt CPU 0, which never dies. mitigations: they only
# cost time here. The watchdogs would print about CPUs that are frozen on purpose.
KERNEL_OPTIONS = ["console=ttyS0", "quiet", "panic=-1", "tsc=reliable", "clocksource=tsc", "irqaffinity=0",
                  "mitigations=off", "nowatchdog", "rcupdate.rcu_cpu_stall_timeout=300"]


def topology_options(machine):
    """Equal nodes become sockets; with unequal ones each CPU is a socket, which any node may own."""
    sizes = {node.cpus for node in machine.nodes if node.cpus}
    sockets = sum(1 for node in machine.nodes if node.cpus) if len(sizes) == 1 else machine.cpus
    words = ["-smp", f"{machine.cpus},sockets={sockets},cores={machine.cpus // sockets},threads=1",
             "-m", f"{machine.memory >> 20}M"]
    for n, node in enumerate(machine.nodes):
        cpus = f"cpus={node.first_cpu}-{node.first_cpu + node.cpus - 1}," if node.cpus else ""
        words += ["-object", f"memory-backend-ram,id=m{n},size={node.memory >> 20}M",
                  "-numa", f"node,nodeid={n},{cpus}memdev=m{n}"]
    for i, row in enumerate(machine.distances):
        for j, value in enumerate(row):
            words += ["-numa", f"dist,src={i},dst={j},val={value}"]
    return words


def command_line(machine, kernel, initramfs, share, console, descriptors):
    """`descriptors`: file descriptors that QEMU inherits, by name: run, control, qmp."""
    def quoted(path):
        return path.replace(",", ",,")

    words = [PROGRAM, "-name", "box", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-machine", "q35,hpet=off,vmport=off", "-accel", "tcg,thread=multi,tb-size=1024",
             "-cpu", "max,+svm,+npt", *topology_options(machine),
             "-kernel", kernel, "-initrd", initramfs, "-append", " ".join(KERNEL_OPTIONS),
             "-chardev", f"file,id=console,path={quoted(console)}", "-serial", "chardev:console",
             "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
             "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
             "-fsdev", f"local,id=share,path={quoted(share)},security_model=none,multidevs=remap",
             "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
             "-device", "virtio-serial-pci,max_ports=4",
             "-chardev", f"socket,id=qmp,fd={descriptors['qmp']}", "-mon", "chardev=qmp,mode=control"]
    for name in ("run", "control"):
        words += ["-chardev", f"socket,id={name},fd={descriptors[name]}",
                  "-device", f"virtserialport,chardev={name},name=org.cellvisor.box.{name}"]
    return words


class Qmp:
    """One caller at a time. A call that timed out leaves its late answer to be skipped."""

    def __init__(self, sock):
        self._sock = sock
        self._buffer = b""
        self._id = 0

    def start(self, seconds):
        self.call("qmp_capabilities", seconds=seconds)

    def _line(self, end):
        while b"\n" not in self._buffer:
            if not select.select([self._sock], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("QEMU does not answer")
            data = self._sock.recv(65536)
            if not data:
                raise BoxError("QEMU has gone")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def call(self, command, arguments=None, seconds=10.0):
        """The command's return value. BoxError if QEMU refuses, TimeoutError if it does not answer."""
        self._id += 1
        request = {"execute": command, "id": self._id}
        if arguments:
            request["arguments"] = arguments
        self._sock.sendall(json.dumps(request).encode() + b"\n")
        end = time.monotonic() + seconds
        while True:
            answer = self._line(end)
            if answer.get("id") != self._id:
                continue
            if "error" in answer:
                raise BoxError(f"QEMU: {answer['error'].get('desc', answer['error'])}")
            return answer["return"]

    def human(self, line, cpu=0, seconds=10.0):
        """A command of the human monitor; what it printed. Silence mostly means success."""
        return self.call("human-monitor-command", {"command-line": line, "cpu-index": cpu}, seconds).strip()

    def threads(self):
        """The thread of each CPU, by its number."""
        return {cpu["cpu-index"]: cpu["thread-id"] for cpu in self.call("query-cpus-fast")}
