# SPDX-License-Identifier: BSD-2-Clause
"""a busy vCPU to another CPU: within a node, across nodes, across cells; by its monitor, against a plain
sched_setaffinity()"""
import json
import os
import subprocess

import lab

BUSY = os.path.join(lab.BUILD, "tiny-busy.img")


def up(*words):
    """Two cells of two nodes. Emulated CPUs that are all busy make monitors late: be patient."""
    lab.must("up", "--cells", "0-1/2-3", "--suspect-ms", "20000", *words)


def busy(name, *words):
    lab.must("run", name, "--kernel", BUSY, "--memory", "32M", *words)


def measure(options):
    """CPUs 0,1 / 2,3 / 4,5 / 6,7 are nodes, 0-3 and 4-7 cells."""
    up("--balance-ms", "0")
    busy("mover", "--cell", "0", "--cells-max", "2")
    pid = lab.listing("show", "mover")["pid"]
    row = lab.until("the vCPU", lambda: lab.listing("vcpus", "mover")["vcpus"], 30)[0]
    result = {"runs": options.runs}
    for what, cpu, theirs_us in (("node", 1, 37), ("nodes", 2, 520), ("cells", 5, 1520)):
        lab.must("move-vcpu", "mover", "0", "--to-cpu", "0")
        done = subprocess.run([os.path.join(lab.BUILD, "bench_vcpu_move"), "mover", str(pid), str(row["tid"]), "0",
                               "0", str(cpu), str(options.runs)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise lab.Failed(f"bench_vcpu_move: {done.stderr}")
        figures = json.loads(done.stdout)
        for key, value in figures.items():
            result[f"{what}_{key}"] = value
        result[f"{what}_ratio"] = figures["ours_us"] / figures["plain_us"]
        result[f"{what}_cellular_disco_us"] = theirs_us
    lab.must("down", "--force")
    return result
