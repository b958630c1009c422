#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The demo's scenario: cells come up, a guest boots on each, one node is killed, and every claim
of the last line is counted from what happened: heartbeats that guests send over their consoles
and the checksums in their memory that each heartbeat carries.

  scenario.py [--node N]      run by ./demo: in the box, or on a server with KVM and several nodes
"""
import argparse
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "box"))
import lab
from lab import Failed, listing, must

NAMES = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "gorse", "hazel"]
START = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - START:5.1f} s] {text}", flush=True)


def picture(title):
    print(f"\n--- {title} ---\n{must('topo', '--live')}", flush=True)


def start_guests(cells):
    """A guest per cell, booted side by side; returns their consoles by name."""
    consoles = {}
    for name, cell in zip(NAMES, cells):
        out = must("run", name, "--kernel", os.environ["CELLVISOR_GUEST_KERNEL"], "--initrd",
                   os.environ["CELLVISOR_GUEST_INITRD"], "--cpus", 1, "--memory", "256M", "--cell",
                   cell["cell"], "--cmdline", "console=ttyS0 quiet cv.mem=64")
        say(out.strip())
        consoles[name] = lab.console_of(name)
    for name, console in consoles.items():
        console.wait_ready()
        console.wait_beats(2)
        say(f"{name} is up: unmodified Linux, heartbeat {console.beats[-1][1]}, memory sum {console.beats[-1][2]} ok")
    return consoles


def say_where(consoles):
    """Asks the kernel, not our own books, where the guests' pages and vCPUs are."""
    for row in listing("ls")["guests"]:
        nodes = lab.nodes_of_ram(row["pid"])
        vcpus = lab.cpus_of_threads(row["pid"], "vcpu")
        pages = ", ".join(f"{count * lab.PAGE >> 20} MiB on node {node}" for node, count in sorted(nodes.items()))
        cpus = sorted(set().union(*vcpus.values()))
        say(f"{row['name']}: touched memory {pages}; vCPUs on CPUs {cpus}")


def alive(console, since, beats=5):
    """True when the guest sends `beats` further heartbeats, without a gap in their sequence and
    with a right sum in each."""
    try:
        console.wait_beats(beats, seconds=60)
    except Failed:
        return False
    fresh = [beat for beat in console.beats if beat[0] >= since]
    numbers = [beat[1] for beat in fresh]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) and all(b[3] == "ok" for b in fresh)


def longest_gap(console, since):
    times = [beat[0] for beat in console.beats if beat[0] >= since - 3]
    return max((b - a for a, b in zip(times, times[1:])), default=0.0)


def kill_node(node, consoles):
    """Kills the node and watches; returns the names of the guests that were lost."""
    say(f"killing node {node} ...")
    since = time.monotonic()
    with subprocess.Popen([lab.CELLVISOR, "inject", "node-death", str(node)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True) as inject:
        lost = lab.until("a cell to be found dead",
                         lambda: [g for g in listing("ls")["guests"] if g["state"] == "lost"], 120)
        say(f"{', '.join(g['name'] for g in lost)}: lost after {time.monotonic() - since:.1f} s: {lost[0]['cause']}")
        for line in inject.stdout:
            say(line.rstrip())
    if inject.returncode != 0:
        raise Failed(f"the injection failed with status {inject.returncode}")
    verdict = {name: alive(console, since) for name, console in consoles.items()}
    for name, console in consoles.items():
        if verdict[name]:
            say(f"{name} is alive: {len([b for b in console.beats if b[0] >= since])} heartbeats since, "
                f"longest pause {longest_gap(console, since):.1f} s, memory sums right")
        else:
            say(f"{name} is silent")
    return verdict


def main():
    parser = argparse.ArgumentParser(description="what ./demo shows")
    parser.add_argument("--node", type=int, default=2, help="the node to kill (default: 2)")
    parser.add_argument("--guests", type=int, default=4, help="how many guests to start (default: 4)")
    options = parser.parse_args()
    try:
        say("starting a cell on each node")
        print(must("up"), end="")
        cells = listing("ls")["cells"][:options.guests]
        node = options.node if len(cells) > options.node else cells[-1]["nodes"][0]
        doomed = {name for name, cell in zip(NAMES, cells) if node in cell["nodes"]}
        consoles = start_guests(cells)
        say_where(consoles)
        picture("before")
        verdict = kill_node(node, consoles)
        picture("after")
        print(must("events", "--since", "0"), end="")
        lost = {name for name, lives in verdict.items() if not lives}
        told = {g["name"] for g in listing("ls")["guests"] if g["state"] == "lost"}
        must("down", "--force")
    except Failed as failed:
        print(f"demo: failed: {failed}")
        lab.cellvisor("down", "--force")
        return 1
    as_promised = lost == doomed == told and len(lost) == 1 and len(consoles) > 1
    if not as_promised:
        print(f"demo: not as promised: node {node} should have cost {sorted(doomed)}; silent are "
              f"{sorted(lost)}, reported lost are {sorted(told)}")
    print(f"demo: {len(consoles)} guests started, {len(lost)} lost with its node, {len(consoles) - len(lost)} alive")
    return 0 if as_promised else 1


if __name__ == "__main__":
    sys.exit(main())
