# SPDX-License-Identifier: BSD-2-Clause
"""a guest that prints one byte and powers off: the whole command, Cellvisor against QEMU (q35), pair by pair"""
import statistics

import lab
from peers import MEMORY_MIB, TINY, qemu, timed


def measure(options):
    lab.must("up")
    ours = [lab.CELLVISOR, "run", "tiny", "--kernel", TINY, "--memory", f"{MEMORY_MIB}M", "--cell", "0", "--attach"]
    theirs = qemu("q35", TINY)
    timed(ours), timed(theirs)  # warm-up: the page cache holds both programs
    pairs = [(timed(ours), timed(theirs)) for _ in range(options.runs)]
    lab.must("down", "--force")
    ratios = [a / b for a, b in pairs]
    return {"runs": options.runs, "cellvisor_s": statistics.median(a for a, _ in pairs),
            "qemu_q35_s": statistics.median(b for _, b in pairs), "ratio": statistics.median(ratios),
            "ratio_min": min(ratios), "ratio_max": max(ratios)}
