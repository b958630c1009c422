# SPDX-License-Identifier: BSD-2-Clause
"""The machine that faults are injected into: its cells, its guests with their checkers, and the
way back to a whole machine after each injection."""
import bisect
import concurrent.futures
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "box"))
import lab
from lab import Failed, must, until

CELLS = 4
BEAT = os.path.join(lab.BUILD, "beat.img")
BOXCTL = os.path.join(lab.BUILD, "boxctl")
GROUPS = "/sys/fs/cgroup/cellvisor"
DISK_MIB = 32
EHWPOISON = 133
BEAT_MS = 100
WATCHED_MIB = 4
WATCHED_FROM = 32 << 20  # guest address (guests/beat)
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
    PASS = 8  # heartbeats after which it has verified all memory that it watches over

    def __init__(self, name, path):
        self.name = name
        self.console = lab.Console(name, path)
        self.lines = 0  # how many were looked at
        self.clock = 0.0

    def mark(self):
        return len(self.console.beats)

    def judge(self, since, fresh_after, seconds=60):
        """Waits for two heartbeats after `fresh_after`, then checks all of them from number `since` on.
        Returns the longest pause between two of them."""
        self.console.wait("two heartbeats after the fault", lambda c: self.beats_after(fresh_after) >= 2, seconds)
        beats = self.console.beats[max(0, since - 1):]
        numbers = [b[1] for b in beats]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise Failed(f"{self.name}: heartbeats {numbers} are not in sequence")
        if any(b[3] != "ok" for b in beats):
            raise Failed(f"{self.name}: wrong bytes in its memory")
        new = self.console.lines[self.lines:]
        self.lines += len(new)
        clocks = [self.clock] + [float(line.split()[2]) for line in new if self.console.BEAT.match(line)]
        back = next((n for n in range(1, len(clocks)) if clocks[n] < clocks[n - 1]), None)
        if back:
            said = [line for line in new if self.console.BEAT.match(line)][max(0, back - 4):back + 3]
            raise Failed(f"{self.name}: its clock went back from {clocks[back - 1]}: {said}")
        self.clock = clocks[-1]
        return max(b[0] - a[0] for a, b in zip(beats, beats[1:]))

    def beats_after(self, when):
        beats = self.console.beats
        return len(beats) - bisect.bisect_right(beats, when, key=lambda b: b[0])

    def passed(self, after, seconds=60):
        """Waits until all its memory was verified after `after`; what is found wrong once stays so."""
        self.console.wait("a pass over its memory", lambda c: self.beats_after(after) > self.PASS, seconds)
        if self.console.beats[-1][3] != "ok":
            raise Failed(f"{self.name}: wrong bytes in its memory")


class Fleet:
    def __init__(self, work):
        self.work = work
        self.api = Api()
        self.checkers = {}
        self.words = {}  # how each guest that is to be there was started
        self.booting = None  # the Linux guest: a thread that waits for it, and what becomes of that
        self.up = False

    # --- the whole machine ---

    def start(self, linux):
        must("up")
        self.up = True
        jobs = [lambda cell=cell: self.run(f"b{cell}", cell) for cell in range(CELLS)]
        self.at_once(jobs + [self.add_linux] if linux else jobs)
        self.await_whole()

    def at_once(self, jobs):
        """Does independent things at the same time; fails if one fails."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(jobs) or 1) as pool:
            for job in [pool.submit(job) for job in jobs]:
                job.result()

    def down(self):
        lab.cellvisor("down", "--force")
        self.checkers = {}
        self.words = {}
        self.booting = None
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
        self.words["lx"] = [
            "--kernel", os.environ["CELLVISOR_GUEST_KERNEL"], "--initrd", os.environ["CELLVISOR_GUEST_INITRD"],
            "--memory", "192M", "--disk", self.disk, "--cmdline", "console=ttyS0 quiet cv.mem=16", "--cell", 1]
        self.boot_linux()

    def boot_linux(self):
        """Starts it; that it beats is waited for besides."""
        self.checkers.pop("lx", None)
        must("run", "lx", *self.words["lx"])
        became = {}

        def wait():
            try:
                became["checker"] = self.attach("lx", 300)
            except (Failed, OSError) as error:
                became["error"] = error
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self.booting = thread, became

    def take_linux(self, wait):
        """From now on it is judged as the others are, if it beats."""
        if not self.booting:
            return
        thread, became = self.booting
        if wait:
            thread.join()
        if thread.is_alive():
            return
        self.booting = None
        if "checker" in became:
            self.checkers["lx"] = became["checker"]
        elif self.rows().get("lx", {"state": "lost"})["state"] not in ENDED:
            raise Failed(f"lx: {became['error']}")

    def run(self, name, cell, cmdline="", keep=True, mib=WATCHED_MIB, extra=()):
        """Starts a guest with a checker; returns when it beats."""
        words = ["--kernel", BEAT, "--memory", "64M", "--cmdline", f"cv.mem={mib} cv.ms={BEAT_MS} {cmdline}", "--cell",
                 cell, *extra]
        must("run", name, *words)
        if keep:
            self.words[name] = words
        return self.connect(name)

    def connect(self, name):
        self.checkers[name] = self.attach(name)
        return self.checkers[name]

    def attach(self, name, seconds=120):
        reply = until(f"somebody to know {name}", lambda: self.api.ask({"op": "show", "name": name}, range(CELLS)), 30)
        checker = Checker(name, reply["guest"]["console"])
        checker.console.wait("its first heartbeat", lambda c: c.beats, seconds)
        return checker

    # --- books ---

    def ls(self, cells=range(CELLS)):
        return self.api.ask({"op": "ls"}, cells)

    def rows(self):
        return {g["name"]: g for g in (self.ls() or {"guests": []})["guests"]}

    def cell(self, number):
        listed = until("a monitor to answer", self.ls, 60)
        return next(c for c in listed["cells"] if c["cell"] == number)

    def living(self):
        """Rows of guests that live; while one moves there may be two of it."""
        return [g for g in until("a monitor to answer", self.ls, 60)["guests"] if g["state"] not in ENDED]

    def needs(self):
        """{guest: the cells that it needs} of those that live: the oracle."""
        needs = {}
        for g in self.living():
            needs.setdefault(g["name"], set()).update(g["needs"], [g["cell"]])
        return needs

    def check_needs(self, dead=()):
        """Whatever a guest uses, by the kernel's books, is of a cell that it is said to need, and that lives."""
        before = self.needs()
        used = {g["name"]: used_cells(g["pid"]) for g in self.living()}
        after = self.needs()
        for name, cells in used.items():
            if name in after and cells - before.get(name, set()) - after[name]:
                raise Failed(f"{name} uses {cells} and is said to need {after[name]}")
            if name in after and after[name] & set(dead):
                raise Failed(f"{name} lives and is said to need {after[name]}: {dead} are dead")

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

    def left(self, dead):
        """What is left of guests that have ended, in words, or None."""
        rows = {g["name"]: g for g in self.living()}
        cells = {c["cell"]: c for c in until("a monitor to answer", self.ls, 60)["cells"]}
        known = {g["pid"] for g in rows.values()} | {c["pid"] for n, c in cells.items() if n not in dead}
        strangers = {pid: what for pid, what in members().items() if pid not in known}
        if strangers:
            return f"processes {strangers} belong to nothing that is listed"
        for cell in range(CELLS):
            guests = f"{lab.RUNTIME}/cell-{cell}/guests"
            for name in os.listdir(guests) if os.path.isdir(guests) and cell not in dead else ():
                if name not in rows and os.path.exists(f"{guests}/{name}/console.sock"):
                    return f"cell {cell}: the console socket of {name}, which has ended"
            group = f"{GROUPS}/cell-{cell}"
            for name in os.listdir(group) if os.path.isdir(group) else ():
                procs = f"{group}/{name}/cgroup.procs"
                if name in rows or not os.path.exists(procs):
                    continue
                with open(procs, encoding="ascii") as file:
                    if file.read().strip():
                        return f"cell {cell}: processes in the control group of {name}"
        return None

    def check_clean(self, dead=(), seconds=20):
        """Nothing is left of what ended: processes, control groups, sockets. What is killed needs a moment."""
        end = time.monotonic() + seconds
        while True:
            left = self.left(dead)
            if not left:
                return
            if time.monotonic() > end:
                raise Failed(f"left behind: {left}")
            time.sleep(0.2)

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
        for cell in [c["cell"] for c in until("a monitor to answer", self.ls, 60)["cells"] if c["state"] == "dead"]:
            self.online(cell)
            must("revive", cell)
        self.await_whole()
        rows = self.rows()
        jobs = []
        for name in [n for n in self.checkers if n not in self.words]:
            if rows.get(name, {"state": "stopped"})["state"] not in ENDED:
                jobs.append(lambda name=name: must("kill", name))
            del self.checkers[name]
        for name, words in self.words.items():
            if rows.get(name, {"state": "lost"})["state"] in ENDED:
                if name == "lx":
                    jobs.append(self.boot_linux)
                    continue
                jobs.append(lambda name=name, words=words: (must("run", name, *words), self.connect(name)))
        self.at_once(jobs)
        return time.monotonic() - start


def used_cells(pid):
    """The cells whose CPUs its vCPUs may run on and whose memory its RAM lies on: nodes are cells here."""
    try:
        cells = set(lab.numa_maps_of_ram(pid))
        for cpus in lab.cpus_of_threads(pid, "^vcpu").values():
            cells |= {cpu // 2 for cpu in cpus}
    except OSError:  # it has just ended
        return set()
    return cells


def members():
    """Processes of all cells, by what they say themselves: {pid: words}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if not words[0].endswith(b"cellvisor") or not any(word.startswith(b"--cell=") for word in words):
                continue
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                if file.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    continue
        except OSError:
            continue
        found[int(pid)] = b" ".join(words).decode(errors="replace")[:100]
    return found


def poison_used_page(pid, rng):
    """One page of those that the checker of a beating guest watches over."""
    tried = []

    def strike():
        offset = WATCHED_FROM + rng.randrange(WATCHED_MIB << 20) // lab.PAGE * lab.PAGE
        try:
            frame = frame_of_ram(pid, offset)
        except OSError:  # it has met the one before
            return tried and tried[-1]
        if not frame:
            return None
        tried.append(offset)
        return offset if make_bad(frame) else None
    return until("a page of the guest to become bad", strike, 30)


def make_bad(frame):
    """The kernel takes the frame for a bad one, as after an uncorrected error that nobody has met.
    False: it could not take it away from those who use it, because somebody else holds it just now (as while it
    moves); or it is a bad one already."""
    try:
        with open("/sys/devices/system/memory/hard_offline_page", "w", encoding="ascii") as file:
            file.write(f"{frame * lab.PAGE:#x}")
    except OSError as error:
        if error.errno not in (errno.EBUSY, EHWPOISON):
            raise
        return False
    return True


def frame_of(pid, address):
    """The frame there, if nobody else maps it."""
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        pagemap.seek(address // lab.PAGE * 8)
        entry = int.from_bytes(pagemap.read(8), "little")
    return (entry & (1 << 55) - 1) if entry >> 63 and entry >> 56 & 1 else None


def frame_of_ram(pid, offset):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        start = next((int(line.split("-")[0], 16) for line in maps if "memfd:cv-ram" in line), None)
    return start and frame_of(pid, start + offset)


def boxctl(*words):
    done = subprocess.run([BOXCTL, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"boxctl {words}: {done.stderr.strip()}")
