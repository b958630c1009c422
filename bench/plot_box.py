#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Figures of the real monitors: runs bench/run, and draws docs/plots/box-*.svg.

  bench/plot_box.py [--out docs/plots]     measure (about 15 minutes), keep the numbers, draw
  bench/plot_box.py --redraw               draw again from the numbers kept

The numbers are kept in OUT/box.json. Drawing needs python3-matplotlib (Debian's package).
"""
import json
import os
import subprocess
import sys

import plots

SIZES = (2, 4, 8)


def figures(*words):
    command = [os.path.join(plots.ROOT, "bench", "run"), *words, "--json"]
    print("+", *command, file=sys.stderr)
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def measure():
    return {
        "call": figures("call"),
        "borrow": figures("borrow"),
        "vcpu_move": figures("vcpu-move"),
        "recovery": [figures("recovery", "--cells", str(n)) for n in SIZES],
        "monitor": figures("monitor", "--runs", "3"),
    }


def bars(ax, names, values, notes=None):
    """Horizontal bars with their value behind them."""
    places = range(len(names))
    ax.barh(places, values, color=["#4477aa" if not name.startswith("(") else "#bbbbbb" for name in names])
    ax.set_yticks(list(places), names)
    ax.invert_yaxis()
    ax.set_xlim(right=max(values) * 1.25)
    for place, value in zip(places, values):
        ax.text(value, place, f" {value:,.1f}" + (f"  {notes[place]}" if notes else ""), va="center", fontsize=8)


def draw(plt, numbers, save):
    figure, ax = plt.subplots(figsize=(6.4, 2.6))
    rows = numbers["recovery"]
    names = [f"{r['cells']} cells" for r in rows]
    left = [0.0] * len(rows)
    parts = (("silence until suspicion", [r["suspicion_s"] for r in rows]),
             ("evidence: no CPU executes", [r["found_dead_s"] - r["suspicion_s"] for r in rows]),
             ("agreed, fenced, resumed", [r["agreed_fenced_resumed_s"] for r in rows]))
    for label, values in parts:
        ax.barh(names, values, left=left, label=label)
        left = [a + b for a, b in zip(left, values)]
    for place, row in enumerate(rows):
        ax.text(left[place], place, f" {row['agreed_fenced_resumed_s'] * 1e3:.0f} ms to agree and go on", va="center",
                fontsize=8)
    ax.set_xlim(right=max(left) * 1.5)
    ax.set_xlabel("s after the node died")
    ax.invert_yaxis()
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=3)
    save(figure, "recovery")

    figure, ax = plt.subplots(figsize=(6.4, 2.2))
    m = numbers["monitor"]
    ways = (("killed", "SIGKILL"), ("bad_pointer", "bad pointer"), ("stopped", "SIGSTOP"))
    bars(ax, [text for _, text in ways], [m[f"{way}_unmanaged_s_median"] for way, _ in ways],
         [f"({m[f'{way}_unmanaged_s_least']:.1f} to {m[f'{way}_unmanaged_s_most']:.1f})" for way, _ in ways])
    ax.set_xlabel("s that the guest was without a monitor (it ran on)")
    save(figure, "monitor")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8))
    c = numbers["call"]
    names = [key[:-len("_us_median")] for key in c if key.endswith("_us_median")]
    bars(left, [name.replace("_", " ") if name.startswith("fabric") else f"({name.replace('_', ' ')})" for name in names],
         [c[f"{name}_us_median"] for name in names])
    left.set_xlabel("us, round trip of 64 bytes, median")
    v, b = numbers["vcpu_move"], numbers["borrow"]
    rows = []
    for what, text in (("node", "vCPU, within a node"), ("nodes", "vCPU, across nodes"), ("cells", "vCPU, across cells")):
        rows += [(text, v[f"{what}_ours_us"] / 1e3), ("(sched_setaffinity)", v[f"{what}_plain_us"] / 1e3)]
    rows += [("borrow of 4 MiB", b["borrow_total_us"] / 1e3), ("(move_pages of 4 MiB)", b["move_pages_us"] / 1e3)]
    bars(right, [name for name, _ in rows], [value for _, value in rows])
    right.set_xlabel("ms, median")
    save(figure, "moves")


def main():
    plots.keep_and_draw(plots.parser(__doc__).parse_args(), "box", measure, draw)


if __name__ == "__main__":
    main()
