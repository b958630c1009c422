# SPDX-License-Identifier: BSD-2-Clause
"""The machine that faults are injected into: its cells, its guests with their checkers, and the
way back to a whole machine after each injection."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "box"))
import lab
from lab import Failed, must, until

CELLS = 4
BEAT = os.path.join(lab.BUILD, "beat.img")
BOXCTL = os.path.join(lab.BUILD, "boxctl")
GROUPS = "/sys/fs/cgroup/cellvisor"
DISK_MIB = 32
ENDED = ("stopped", "crashed", "lost")


class Api:
    """Asks monitors directly, many times a second, which the command line would be too slow for."""

    def ask(self, request, cells, timeout=2.0):
        """The reply of the first of these cells that answers, or None."""
        for cell in cells:
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(timeout)
                    client.connect(f"{lab.RUNTIME}/cell-{cell}/monitor.sock")
                    client.sendall(json.dumps(request).encode() + b"\n")
                    text = client.makefile().readline()
                reply = json.loads(text) if text else {}
            except (OSError, ValueError):
                continue
            if reply.get("ok"):
                return reply
        return None


class Checker:
    """What a guest says of itself: heartbeats with the checksum of its memory and its clock. Keeps
    every one from when it was connected on."""

    def __init__(self, name, path):
        self.name = name
        self.console = lab.Console(name, path)
        self.clocks = []

    def mark(self):
        return len(self.console.beats)

    def judge(self, since, fresh_after, seconds=60):
        """Waits for two heartbeats after `fresh_after`, then checks all of them from number `since` on.
        Returns the longest pause between two of them."""
        def fresh(console):
            return len([b for b in console.beats if b[0] > fresh_after]) >= 2
        self.console.wait("two heartbeats after the fault", fresh, seconds)
        beats = self.console.beats[max(0, since - 1):]
        numbers = [b[1] for b in beats]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise Failed(f"{self.name}: heartbeats {numbers} are not in sequence")
        if any(b[3] != "ok" for b in beats):
            raise Failed(f"{self.name}: wrong bytes in its memory")
        clocks = [float(line.split()[2]) for line in self.console.lines if self.console.BEAT.match(line)]
        if clocks != sorted(clocks):
            raise Failed(f"{self.name}: its clock went back")
        return max(b[0] - a[0] for a, b in zip(beats, beats[1:]))


class Fleet:
    def __init__(self, work):
        self.work = work
        self.api = Api()
        self.checkers = {}
        self.words = {}  # how each guest that is to be there was started
        self.up = False

    # --- the whole machine ---

    def start(self):
        must("up")
        self.up = True
        for cell in range(CELLS):
            self.run(f"b{cell}", cell)
        self.await_whole()

    def down(self):
        lab.cellvisor("down", "--force")
        self.checkers = {}
        self.words = {}
        self.up = False

    def close(self):
        """Leaves nothing behind on this machine."""
        self.down()
        folder = os.path.join(self.work, "disk")
        if os.path.ismount(folder):
            subprocess.run(["umount", folder], check=False)
        shutil.rmtree(self.work, ignore_errors=True)

    def add_linux(self):
        """The guest with a disk, whose image lies on a small file system of its own."""
        folder = os.path.join(self.work, "disk")
        self.disk = os.path.join(folder, "disk.img")
        if not os.path.ismount(folder):
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mpol=bind:0", "cv-faults", folder], check=True)
        with open(self.disk, "wb") as file:
            file.truncate(DISK_MIB << 20)
        self.run("lx", 1, linux=self.disk)

    def run(self, name, cell, cmdline="", linux=None, keep=True, mib=8, extra=()):
        """Starts a guest with a checker; returns when it beats."""
        if linux:
            words = ["--kernel", os.environ["CELLVISOR_GUEST_KERNEL"], "--initrd",
                     os.environ["CELLVISOR_GUEST_INITRD"], "--memory", "192M", "--disk", linux,
                     "--cmdline", f"console=ttyS0 quiet cv.mem=16 {cmdline}"]
        else:
            words = ["--kernel", BEAT, "--memory", "64M", "--cmdline", f"cv.mem={mib} {cmdline}"]
        words += ["--cell", cell, *extra]
        must("run", name, *words)
        if keep:
            self.words[name] = words
        return self.connect(name)

    def connect(self, name):
        checker = Checker(name, lab.listing("show", name)["console"])
        checker.console.wait("its first heartbeat", lambda c: c.beats, 120)
        self.checkers[name] = checker
        return checker

    # --- books ---

    def ls(self, cells=range(CELLS)):
        return self.api.ask({"op": "ls"}, cells)

    def rows(self):
        return {g["name"]: g for g in (self.ls() or {"guests": []})["guests"]}

    def cell(self, number):
        return next(c for c in lab.listing("ls")["cells"] if c["cell"] == number)

    def needs(self):
        """{guest: the cells that it needs} of those that live: the oracle."""
        return {name: set(g["needs"]) | {g["cell"]} for name, g in self.rows().items() if g["state"] not in ENDED}

    def is_whole(self, dead=()):
        """Every cell but `dead` lives and says so, no round is under way, every guest is managed."""
        cells = [c for c in range(CELLS) if c not in dead]
        for cell in cells:
            pong = self.api.ask({"op": "ping"}, [cell], 1.0)
            if not pong or pong["live"] != len(cells):
                return False
        listed = self.ls(cells)
        if not listed or listed["unanswered"]:
            return False
        if any(c["state"] != ("dead" if c["cell"] in dead else "alive") for c in listed["cells"]):
            return False
        return all(g["state"] in ENDED or g["state"] == "running" for g in listed["guests"])

    def await_whole(self, dead=(), seconds=90):
        until("all cells to be alive and to agree", lambda: self.is_whole(dead), seconds)

    def check_clean(self, dead=()):
        """Nothing is left of what ended: processes, control groups, sockets."""
        rows = {n: g for n, g in self.rows().items() if g["state"] not in ENDED}
        for cell in range(CELLS):
            known = {g["pid"] for g in rows.values() if g["cell"] == cell}
            if cell not in dead:
                known.add(self.cell(cell)["pid"])
            left = set(lab.members_of_cell(cell)) - known
            if left:
                raise Failed(f"cell {cell}: processes {left} belong to nothing that is listed")
            guests = f"{lab.RUNTIME}/cell-{cell}/guests"
            for name in os.listdir(guests) if os.path.isdir(guests) and cell not in dead else ():
                if name not in rows and os.path.exists(f"{guests}/{name}/console.sock"):
                    raise Failed(f"cell {cell}: the console socket of {name}, which has ended, is left")
            group = f"{GROUPS}/cell-{cell}"
            for name in os.listdir(group) if os.path.isdir(group) else ():
                procs = f"{group}/{name}/cgroup.procs"
                if name in rows or not os.path.exists(procs):
                    continue
                with open(procs, encoding="ascii") as file:
                    if file.read().strip():
                        raise Failed(f"cell {cell}: processes are left in the control group of {name}")

    def events(self, since):
        reply = self.api.ask({"op": "events", "since": since}, range(CELLS))
        return reply["events"] if reply else []

    # --- back to a whole machine ---

    def online(self, cell):
        for cpu in (2 * cell, 2 * cell + 1):
            path = f"/sys/devices/system/cpu/cpu{cpu}/online"
            if not os.path.exists(path):
                continue
            with open(path, encoding="ascii") as file:
                if file.read().strip() == "1":
                    continue
            with open(path, "w", encoding="ascii") as file:
                file.write("1")

    def restore(self):
        """Cells are revived, guests that ended are started again. Returns the seconds it took."""
        start = time.monotonic()
        for cell in [c["cell"] for c in lab.listing("ls")["cells"] if c["state"] == "dead"]:
            self.online(cell)
            must("revive", cell)
        self.await_whole()
        rows = self.rows()
        for name in [n for n in self.checkers if n not in self.words]:
            if rows.get(name, {"state": "stopped"})["state"] not in ENDED:
                must("kill", name)
            del self.checkers[name]
        for name, words in self.words.items():
            if rows.get(name, {"state": "lost"})["state"] in ENDED:
                must("run", name, *words)
                self.connect(name)
        return time.monotonic() - start


def poison_used_page(pid, rng, first=32 << 20, end=40 << 20):
    """One page of those that the checker of a beating guest watches over."""
    offsets = list(range(first, end, lab.PAGE))
    rng.shuffle(offsets)
    start = ram_start(pid)
    for offset in offsets:
        frame = frame_of(pid, start + offset)
        if frame:
            make_bad(frame)
            return offset
    raise Failed("the guest has no memory there")


def make_bad(frame):
    """The kernel takes the frame for a bad one, as after an uncorrected error that nobody has met."""
    with open("/sys/devices/system/memory/hard_offline_page", "w", encoding="ascii") as file:
        file.write(f"{frame * lab.PAGE:#x}")


def frame_of(pid, address):
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        pagemap.seek(address // lab.PAGE * 8)
        entry = int.from_bytes(pagemap.read(8), "little")
    return (entry & (1 << 55) - 1) if entry >> 63 else None


def ram_start(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        return next(int(line.split("-")[0], 16) for line in maps if "memfd:cv-ram" in line)


def boxctl(*words):
    done = subprocess.run([BOXCTL, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"boxctl {words}: {done.stderr.strip()}")
