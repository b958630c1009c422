# SPDX-License-Identifier: BSD-2-Clause
"""a guest that works moves to another cell: time and longest silence, against QEMU live migration in one machine"""
import os
import re
import socket
import subprocess
import tempfile
import time

import lab
from peers import spread

KERNEL = os.environ.get("CELLVISOR_GUEST_KERNEL")
INITRD = os.environ.get("CELLVISOR_GUEST_INITRD")
CMDLINE = "console=ttyS0 quiet cv.mem=32"
MEMORY_MIB = 256


def longest_silence(beats, begin, end):
    """Between two heartbeats of which one falls between `begin` and `end`."""
    gaps = [b - a for a, b in zip(beats, beats[1:]) if b >= begin and a <= end]
    return max(gaps)


def ours(options):
    lab.must("up")
    lab.must("run", "mover", "--kernel", KERNEL, "--initrd", INITRD, "--memory", f"{MEMORY_MIB}M", "--cell", 0,
             "--cmdline", CMDLINE)
    console = lab.console_of("mover")
    console.wait_ready()
    console.wait_beats(8)
    rest = [b[0] for b in console.beats[-8:]]
    totals, handovers, silences = [], [], []
    for n in range(options.runs):
        begin = time.monotonic()
        report = lab.listing("move", "mover", "--cell", 1 - n % 2)
        end = time.monotonic()
        console.wait_beats(4)
        totals.append(report["total_ms"])
        handovers.append(report["handover_ms"])
        silences.append(1000 * longest_silence([b[0] for b in console.beats], begin, end))
    if any(beat[3] != "ok" for beat in console.beats):
        raise lab.Failed("the guest found wrong bytes in its memory")
    lab.must("down", "--force")
    return totals, handovers, silences, 1000 * max(b - a for a, b in zip(rest, rest[1:]))


def hmp(path, command):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        sock.settimeout(30)
        text = b""
        while not text.endswith(b"(qemu) "):
            text += sock.recv(65536)
        sock.sendall(command.encode() + b"\n")
        text = b""
        while not text.endswith(b"(qemu) "):
            text += sock.recv(65536)
        return text.decode("utf-8", "replace")


def start_qemu(folder, name, cpus, *more):
    words = ["taskset", "-c", ",".join(map(str, sorted(cpus))), "qemu-system-x86_64", "-accel", "kvm", "-machine",
             "q35", "-cpu", "host", "-m", f"{MEMORY_MIB}M", "-kernel", KERNEL, "-initrd", INITRD, "-append", CMDLINE,
             "-display", "none", "-no-reboot", "-nodefaults",
             "-serial", f"unix:{folder}/{name}.tty,server=on,wait=off",
             "-monitor", f"unix:{folder}/{name}.hmp,server=on,wait=off", *more]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    lab.until("QEMU's sockets", lambda: os.path.exists(f"{folder}/{name}.hmp"), 60)
    return process


def migrated(path):
    said = hmp(path, "info migrate")
    if "failed" in said:
        raise lab.Failed(f"QEMU: {said}")
    return "completed" in said and said


def theirs():
    """From one QEMU on node 0's CPUs to another on node 1's."""
    with tempfile.TemporaryDirectory() as folder:
        source = start_qemu(folder, "a", lab.cpus_of_node(0))
        console = lab.Console("a", f"{folder}/a.tty")
        console.wait_ready()
        console.wait_beats(8)
        target = start_qemu(folder, "b", lab.cpus_of_node(1), "-incoming", f"unix:{folder}/b.in")
        arrived = lab.Console("b", f"{folder}/b.tty")
        hmp(f"{folder}/a.hmp", "migrate_set_parameter max-bandwidth 100G")
        begin = time.monotonic()
        hmp(f"{folder}/a.hmp", f"migrate -d unix:{folder}/b.in")
        said = lab.until("the migration", lambda: migrated(f"{folder}/a.hmp"), 300)
        end = time.monotonic()
        arrived.wait_beats(4)
        beats = sorted(b[0] for b in console.beats + arrived.beats)
        for process in (source, target):
            process.kill()
            process.wait()
        return (float(re.search(r"total time: (\d+)", said)[1]), float(re.search(r"downtime: (\d+)", said)[1]),
                1000 * longest_silence(beats, begin, end))


def measure(options):
    totals, handovers, silences, rest = ours(options)
    peers = [theirs() for _ in range(min(options.runs, 3))]
    return {"memory_mib": MEMORY_MIB, "runs": options.runs, "heartbeats_at_rest_ms": rest,
            "move_ms": spread(totals)["median"], "move_ms_most": max(totals),
            "handover_ms": spread(handovers)["median"],
            "longest_silence_ms": spread(silences)["median"], "longest_silence_ms_most": max(silences),
            "qemu_total_ms": spread([p[0] for p in peers])["median"],
            "qemu_downtime_ms": spread([p[1] for p in peers])["median"],
            "qemu_longest_silence_ms": spread([p[2] for p in peers])["median"],
            "cellular_disco_ms": 80 + 0.161 * MEMORY_MIB}
