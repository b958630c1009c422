# SPDX-License-Identifier: BSD-2-Clause
"""a node dies under a guest on each cell: how soon it is found dead, and when service goes on (--cells N)"""
import os
import subprocess
import time

import lab
from peers import HOLD, MEMORY_MIB, spread

KERNEL = os.environ.get("CELLVISOR_GUEST_KERNEL")
INITRD = os.environ.get("CELLVISOR_GUEST_INITRD")


def first(events, name, since):
    return min((e["time"] for e in events if e["event"] == name and e["time"] >= since), default=None)


def measure(options):
    """Real guests beat on the first survivors (their pauses count); the rest are the smallest ones."""
    lab.must("up")
    cells = [row["cell"] for row in lab.listing("ls")["cells"]]
    dead = cells[-1]
    consoles = []
    for cell in cells:
        if len(consoles) < 2 and cell != dead:
            lab.must("run", f"g{cell}", "--kernel", KERNEL, "--initrd", INITRD, "--memory", "192M", "--cell", cell,
                     "--cmdline", "console=ttyS0 quiet cv.mem=16")
            consoles.append(lab.console_of(f"g{cell}"))
        else:
            lab.must("run", f"g{cell}", "--kernel", HOLD, "--memory", f"{MEMORY_MIB}M", "--cell", cell)
    for console in consoles:
        console.wait_ready()
        console.wait_beats(4)
    began, began_wall = time.monotonic(), time.time()
    node = lab.listing("topo")["cells"][dead]["nodes"][0]
    with subprocess.Popen([lab.CELLVISOR, "inject", "node-death", str(node)], stdout=subprocess.DEVNULL) as inject:
        lab.until("the survivors to go on", lambda: first(lab.listing("events")["events"], "cells-resumed", began_wall),
                  120)
        lab.must("ls")
        served = time.monotonic() - began
        inject.wait(timeout=120)
    for console in consoles:
        console.wait_beats(8)
    events = lab.listing("events")["events"]
    injected = first(events, "node-death-injected", began_wall)
    found = first(events, "cell-dead", began_wall)
    resumed = first(events, "cells-resumed", began_wall)
    pauses = [max(b[0] - a[0] for a, b in zip(c.beats, c.beats[1:]) if b[0] >= began) for c in consoles]
    lost = [g["name"] for g in lab.listing("ls")["guests"] if g["state"] == "lost"]
    lab.must("down", "--force")
    if lost != [f"g{dead}"]:
        raise lab.Failed(f"lost are {lost}, not g{dead} alone")
    return {"cells": len(cells), "suspicion_s": 1.0, "found_dead_s": found - injected,
            "agreed_fenced_resumed_s": resumed - found, "served_again_s": served,
            "pause_of_survivors_s": spread(pauses)["most"]}
