# SPDX-License-Identifier: BSD-2-Clause
"""busy guests on too few CPUs while others are idle: the CPU time they get with our balancers, against
Linux alone"""
import time

import lab
from vcpu_move import busy, up


def run_seconds(rows):
    """CPU time of these vCPU threads so far, as the kernel accounts it."""
    total = []
    for row in rows:
        with open(f"/proc/{row['pid']}/task/{row['tid']}/schedstat", encoding="ascii") as file:
            total.append(int(file.read().split()[0]) / 1e9)
    return total


def cpus_got(guests, words, balance_ms, seconds=5):
    """How many CPUs' time `guests` busy guests get together, and the least of any, when all have settled."""
    up("--balance-ms", str(balance_ms))
    for n in range(guests):
        busy(f"b{n}", *words)
    rows = lab.until("all vCPUs", lambda: (lambda r: len(r) == guests and r)(lab.listing("vcpus")["vcpus"]), 60)
    pids = {row["name"]: row["pid"] for row in lab.listing("ls")["guests"]}
    for row in rows:
        row["pid"] = pids[row["guest"]]
    time.sleep(4)
    start, before = time.monotonic(), run_seconds(rows)
    time.sleep(seconds)
    took, after = time.monotonic() - start, run_seconds(rows)
    lab.must("down", "--force")
    got = [(b - a) / took for a, b in zip(before, after)]
    return sum(got), min(got)


def measure(_options):
    result = {}
    for what, guests, words, ideal in (("one_node_of_two", 4, ("--nodes", "0"), 2.0),
                                       ("one_cell_of_two", 8, ("--cell", "0", "--cells-max", "2"), 2.0),
                                       ("enough_cpus", 3, ("--cell", "0"), 1.0)):
        linux, linux_least = cpus_got(guests, words, 0)
        ours, ours_least = cpus_got(guests, words, 20)
        result.update({f"{what}_guests": guests, f"{what}_linux_cpus": linux, f"{what}_ours_cpus": ours,
                       f"{what}_linux_least": linux_least, f"{what}_ours_least": ours_least,
                       f"{what}_ratio": ours / linux, f"{what}_ideal": ideal})
    return result
