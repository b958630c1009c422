# SPDX-License-Identifier: BSD-2-Clause
"""What the benchmarks share: the peers that we are measured against, and how long things take."""
import os
import subprocess
import time

import lab

TINY = os.path.join(lab.BUILD, "tiny.img")
HOLD = os.path.join(lab.BUILD, "tiny-hold.img")
MEMORY_MIB = 128


def qemu(machine, kernel):
    return ["qemu-system-x86_64", "-accel", "kvm", "-machine", machine, "-cpu", "host", "-m", f"{MEMORY_MIB}M",
            "-kernel", kernel, "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-monitor", "none"]


def spread(values):
    """Least, median and most, for a table."""
    ordered = sorted(values)
    return {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]}


def timed(command):
    """Runs a command that has to succeed and to print the guest's one byte; returns its seconds."""
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    took = time.monotonic() - start
    if done.returncode != 0 or "T" not in done.stdout.splitlines()[-1:][0]:
        raise lab.Failed(f"{' '.join(command)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return took
