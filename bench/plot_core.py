#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Figures of the pure core: runs cellsim and bench_core, and draws docs/plots/core-*.svg.

  bench/plot_core.py [--build build/release] [--out docs/plots]    measure, keep the numbers, draw
  bench/plot_core.py --redraw                                      draw again from the numbers kept

The numbers are kept in OUT/core.json. Drawing needs python3-matplotlib (Debian's package); nothing
else of the project does. What is simulated (recovery) is the same wherever it runs; what bench_core
measures is of this machine.
"""
import json
import os
import subprocess
import sys

import plots

CELLS = (3, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
GUESTS = (0, 2, 8, 32, 64, 128)
DISCO = ((2, 50), (32, 125))  # Cellular Disco, SOSP 1999: nodes, ms, about


def output(*command):
    print("+", *command, file=sys.stderr)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def recovery(cellsim, scenario, cells, guests, seeds):
    out = output(cellsim, "--cells", str(cells), "--guests", str(guests), "--scenario", scenario, "--seeds",
                 f"1..{seeds}", "--json")
    return {"cells": cells, "guests_per_cell": guests, **out["recovery"]}


def measure(build):
    cellsim = os.path.join(build, "cellsim")
    by_cells = {}
    for scenario in ("node-death", "two-deaths", "monitor-crash"):
        by_cells[scenario] = [recovery(cellsim, scenario, n, 2, 10 if n <= 256 else 2) for n in CELLS]
    return {
        "by_cells": by_cells,
        "by_guests": [recovery(cellsim, "node-death", 32, guests, 10) for guests in GUESTS],
        "core": output(os.path.join(build, "bench_core"), "--json"),
    }


def axes(plt, title, x, y, log_x=True, log_y=True):
    figure, ax = plt.subplots(figsize=(6.4, 4))
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if log_x:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if log_y:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.grid(True, which="major", alpha=0.3)
    return figure, ax


def draw(plt, numbers, save):
    figure, ax = axes(plt, "Recovery, simulated", "cells", "ms from evidence to the last resumed")
    for scenario, rows in numbers["by_cells"].items():
        ax.plot([r["cells"] for r in rows], [r["ms_mean"] for r in rows], marker="o", markersize=4,
                label=scenario.replace("-", " "))
    ax.plot([n for n, _ in DISCO], [ms for _, ms in DISCO], "k--", marker="x",
            label="Cellular Disco (measured, nodes)")
    ax.legend(frameon=False)
    save(figure, "recovery")

    rows = numbers["by_cells"]["node-death"]
    figure, ax = axes(plt, "Messages of a recovery from a node's death", "cells", "messages sent")
    ax.plot([r["cells"] for r in rows], [r["messages_per_cell_mean"] for r in rows], marker="o", markersize=4,
            label="per cell, mean")
    ax.plot([r["cells"] for r in rows], [r["messages_per_cell_max"] for r in rows], marker="s", markersize=4,
            label="of the coordinator")
    ax.legend(frameon=False)
    save(figure, "messages")

    rows = numbers["by_guests"]
    figure, ax = axes(plt, "Recovery from a node's death, 32 cells, simulated", "guests per cell", "ms", False, False)
    ax.plot([r["guests_per_cell"] for r in rows], [r["ms_mean"] for r in rows], marker="o", markersize=4, label="mean")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    save(figure, "guests")

    core = numbers["core"]
    figure, ax = axes(plt, "A decision of the balancers", "CPUs of the machine (8 per cell)", "ns")
    rows = core["balance"]
    for key, label in (("periodic_ns", "periodic, whole machine"), ("idle_ns", "idle, nearest first"),
                       ("load_change_ns", "a change of the load tree")):
        ax.plot([r["cpus"] for r in rows], [r[key] for r in rows], marker="o", markersize=4, label=label)
    ax.legend(frameon=False)
    save(figure, "balance")

    figure, ax = axes(plt, "Memory of the deciders in one cell", "cells of the machine", "KiB")
    rows = core["memory_bytes_of_a_cell"]
    for key, label in (("membership", "membership and recovery"), ("loan_book_of_256_lines", "loan book, 256 lines"),
                       ("balancer_of_whole_machine", "balancer over all CPUs")):
        ax.plot([r["cells"] for r in rows], [r[key] / 1024 for r in rows], marker="o", markersize=4, label=label)
    ax.legend(frameon=False)
    save(figure, "memory")


def main():
    parser = plots.parser(__doc__)
    parser.add_argument("--build", default=os.path.join(plots.ROOT, "build", "release"))
    options = parser.parse_args()
    plots.keep_and_draw(options, "core", lambda: measure(options.build), draw)


if __name__ == "__main__":
    main()
