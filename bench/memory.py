# SPDX-License-Identifier: BSD-2-Clause
"""resident memory beyond guest RAM of one halted guest, Cellvisor against QEMU (q35 and microvm)"""
import re
import subprocess
import time

import lab
from peers import HOLD, MEMORY_MIB, qemu


def rss_without_ram(pid):
    """(resident, private) bytes of a process without the mapping that is guest RAM: the largest."""
    areas = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps:
        for line in smaps:
            words = line.split()
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                areas.append({})
            elif len(words) == 3 and words[2] == "kB":
                areas[-1][words[0].rstrip(":")] = int(words[1]) * 1024
    areas.sort(key=lambda a: a["Size"])
    areas.pop()
    private = sum(a["Private_Clean"] + a["Private_Dirty"] for a in areas)
    return sum(a["Rss"] for a in areas), private


def qemu_memory(machine):
    process = subprocess.Popen(qemu(machine, HOLD), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if machine == "q35":
            process.stdout.read(1)
        time.sleep(3)
        return rss_without_ram(process.pid)
    finally:
        process.kill()
        process.wait()


def measure(_options):
    lab.must("up")
    lab.must("run", "hold", "--kernel", HOLD, "--memory", f"{MEMORY_MIB}M", "--cell", "0")
    time.sleep(3)
    figures = {"cellvisor": rss_without_ram(lab.listing("show", "hold")["pid"])}
    lab.must("down", "--force")
    figures["qemu_q35"] = qemu_memory("q35")
    figures["qemu_microvm"] = qemu_memory("microvm")
    result = {}
    for name, (resident, private) in figures.items():
        result[f"{name}_resident_bytes"] = resident
        result[f"{name}_private_bytes"] = private
    result["ratio_to_q35"] = figures["cellvisor"][0] / figures["qemu_q35"][0]
    return result
