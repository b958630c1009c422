# SPDX-License-Identifier: BSD-2-Clause
"""4 MiB of a running guest borrowed of another cell and given back, against plain move_pages of
as many of its pages"""
import ctypes
import os
import statistics
import time

import lab

libc = ctypes.CDLL(None, use_errno=True)
MOVE_PAGES = 279
MOVE_ALL = 4


def present_pages(pid, count):
    """The first `count` pages of guest RAM that are there, from its middle on: addresses."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        start, end = (int(x, 16) for line in maps if "memfd:cv-ram" in line for x in line.split()[0].split("-"))
    found = []
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        for page in range(start + (end - start) // 2, end, lab.PAGE):
            pagemap.seek(page // lab.PAGE * 8)
            if int.from_bytes(pagemap.read(8), "little") >> 63:
                found.append(page)
                if len(found) == count:
                    return found
    raise lab.Failed(f"only {len(found)} pages of guest RAM are there")


def plain_move(pid, addresses, node):
    """move_pages of these pages to a node: microseconds of the system call."""
    n = len(addresses)
    pages = (ctypes.c_void_p * n)(*addresses)
    nodes = (ctypes.c_int * n)(*[node] * n)
    status = (ctypes.c_int * n)()
    start = time.perf_counter()
    if libc.syscall(MOVE_PAGES, pid, ctypes.c_ulong(n), pages, nodes, status, MOVE_ALL) < 0:
        raise lab.Failed(f"move_pages: {os.strerror(ctypes.get_errno())}")
    took = time.perf_counter() - start
    left = sum(where != node for where in status)
    if left > n // 50:
        raise lab.Failed(f"{left} of {n} pages did not move")
    return took * 1e6


def measure(options):
    lab.must("up")
    lab.must("run", "worker", "--kernel", os.environ["CELLVISOR_GUEST_KERNEL"], "--initrd",
             os.environ["CELLVISOR_GUEST_INITRD"], "--memory", "256M", "--cell", "0", "--cells-max", "2", "--cmdline",
             "console=ttyS0 quiet cv.mem=160")
    lab.console_of("worker").wait_ready()
    pid = lab.listing("show", "worker")["pid"]
    borrows, backs, plains, commands = [], [], [], []
    for _ in range(options.runs + 1):
        start = time.perf_counter()
        borrows.append(lab.listing("borrow", "worker", "--size", "4M", "--from", "1"))
        commands.append((time.perf_counter() - start) * 1e6)
        # While it may use both nodes.
        there = present_pages(pid, borrows[-1]["pages"])
        plains.append((plain_move(pid, there, 1), plain_move(pid, there, 0)))
        backs.append(lab.listing("give-back", "worker"))
    lab.must("down", "--force")
    # The first run warms up.
    borrows, backs, plains, commands = borrows[1:], backs[1:], plains[1:], commands[1:]
    median = statistics.median
    ratios = [borrow["total_us"] / plain[0] for borrow, plain in zip(borrows, plains)]
    return {"runs": options.runs, "bytes": 4 << 20, "pages": median(b["pages"] for b in borrows),
            "borrow_total_us": median(b["total_us"] for b in borrows),
            "borrow_ask_us": median(b["ask_us"] for b in borrows),
            "borrow_move_us": median(b["move_us"] for b in borrows), "borrow_command_us": median(commands),
            "give_back_total_us": median(b["total_us"] for b in backs),
            "move_pages_us": median(there for there, _ in plains),
            "move_pages_back_us": median(back for _, back in plains),
            "ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
