# SPDX-License-Identifier: BSD-2-Clause
"""a guest that works moves between two cells: how long it takes, and its longest silence meanwhile"""
import os
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


def measure(options):
    totals, handovers, silences, rest = ours(options)
    return {"memory_mib": MEMORY_MIB, "runs": options.runs, "heartbeats_at_rest_ms": rest,
            "move_ms": spread(totals)["median"], "move_ms_most": max(totals),
            "handover_ms": spread(handovers)["median"],
            "longest_silence_ms": spread(silences)["median"], "longest_silence_ms_most": max(silences),
            "cellular_disco_ms": 80 + 0.161 * MEMORY_MIB}
