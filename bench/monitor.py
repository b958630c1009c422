# SPDX-License-Identifier: BSD-2-Clause
"""a monitor is killed, stopped, or crashes by a bad pointer while its guest runs: how long the guest was unmanaged"""
import os
import signal
import time

import lab
from peers import HOLD, MEMORY_MIB, spread

KERNEL = os.environ.get("CELLVISOR_GUEST_KERNEL")
INITRD = os.environ.get("CELLVISOR_GUEST_INITRD")
WAYS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "bad_pointer": signal.SIGSEGV}


def unmanaged(cell, signum):
    """Hurts the monitor of a cell; seconds until a new one has its guest."""
    def working():
        row = next(row for row in lab.listing("ls")["cells"] if row["cell"] == cell)
        return row["state"] == "alive" and row["pid"] and row

    row = lab.until(f"the monitor of cell {cell} to answer", working, 60)
    began = time.time()
    os.kill(row["pid"], signum)

    def adopted():
        return [e["time"] for e in lab.listing("events")["events"]
                if e["event"] == "guest-adopted" and e["guest"] == f"g{cell}" and e["time"] >= began]
    return lab.until("the guest to be adopted", adopted, 120)[0] - began


def pause(console, since):
    """The longest time between heartbeats; each has to be there and right."""
    numbers = [beat[1] for beat in console.beats]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or any(b[3] != "ok" for b in console.beats):
        raise lab.Failed("a heartbeat is missing, or the guest's memory sum is wrong")
    return max(b[0] - a[0] for a, b in zip(console.beats, console.beats[1:]) if b[0] >= since)


def round_of(signum):
    """Each cell's monitor once: a second time soon after, it would be held back as in a crash loop."""
    lab.must("up")
    lab.must("run", "g0", "--kernel", KERNEL, "--initrd", INITRD, "--memory", "192M", "--cell", 0, "--cmdline",
             "console=ttyS0 quiet cv.mem=16")
    console = lab.console_of("g0")
    cells = [row["cell"] for row in lab.listing("ls")["cells"]]
    for cell in cells[1:]:
        lab.must("run", f"g{cell}", "--kernel", HOLD, "--memory", f"{MEMORY_MIB}M", "--cell", cell)
    console.wait_ready()
    console.wait_beats(4)
    since, before = time.monotonic(), {g["name"]: g["pid"] for g in lab.listing("ls")["guests"]}
    times = [unmanaged(cell, signum) for cell in cells]
    console.wait_beats(3)
    if {g["name"]: g["pid"] for g in lab.listing("ls")["guests"] if g["state"] == "running"} != before:
        raise lab.Failed("a guest did not stay as it was")
    longest = pause(console, since)
    lab.must("down", "--force")
    return times, longest


def measure(options):
    result = {}
    for way, signum in WAYS.items():
        rounds = [round_of(signum) for _ in range(options.runs)]
        times = [t for round_times, _ in rounds for t in round_times]
        result[f"{way}_count"] = len(times)
        for name, value in spread(times).items():
            result[f"{way}_unmanaged_s_{name}"] = value
        result[f"{way}_pause_of_guest_s"] = max(longest for _, longest in rounds)
    return result
