# SPDX-License-Identifier: BSD-2-Clause
"""What the demo and the tests inside the box share: the command line as a user types it, a
guest's console as a user sees it, and the kernel's own word on where pages and threads are."""
import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRESET = os.environ.get("CELLVISOR_PRESET", "release")
BUILD = os.path.join(ROOT, "build", PRESET)
CELLVISOR = os.path.join(BUILD, "cellvisor")
RUNTIME = os.environ.get("CELLVISOR_RUNTIME_DIR", "/run/cellvisor")
PAGE = 4096


class Failed(Exception):
    """A check that does not hold; its text says what was seen."""


class MachineFailed(SystemExit):
    """The machine under the test failed, not what was tested: ends the program with a status that tells
    sim/box/box to boot anew (docs/box.md)."""

    def __init__(self, text):
        super().__init__(75)
        print(f"# {text}", file=sys.stderr, flush=True)


def cellvisor(*args, timeout=240):
    """Runs `cellvisor ARGS`; returns its exit status, standard output and standard error."""
    done = subprocess.run([CELLVISOR, *map(str, args)], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def must(*args, timeout=240):
    """Runs `cellvisor ARGS`, which has to succeed; returns its standard output."""
    status, out, err = cellvisor(*args, timeout=timeout)
    if status != 0:
        raise Failed(f"cellvisor {' '.join(map(str, args))}: exit status {status}: {err.strip()}")
    return out


def listing(*args):
    """The parsed output of `cellvisor ARGS --json`."""
    return json.loads(must(*args, "--json"))


def until(what, condition, seconds):
    """Waits for condition() to be true and returns its value. The time is generous: the box is
    slow, and it only guards against hanging."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for: {what}")
        time.sleep(0.1)


class Console:
    """A guest's console, read from now on by a thread of its own. Holds every heartbeat with the
    time of its arrival, and answers of the guest's agent to commands."""

    QUIET_S = 20
    BEAT = re.compile(r"cv-beat (\d+) ([\d.]+) ([0-9a-f]+) (ok|BAD)")

    def __init__(self, name, path):
        self.name = name
        self.beats = []
        self.lines = []
        self.ready_at = None
        self.readies = 0
        self.closed_at = None
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._line(line.decode("utf-8", "replace").strip("\r"))
        self._socket.close()
        with self._changed:
            self.closed_at = time.monotonic()
            self._changed.notify_all()

    def _line(self, line):
        now = time.monotonic()
        with self._changed:
            self.lines.append(line)
            beat = self.BEAT.search(line)
            if beat:
                self.beats.append((now, int(beat[1]), beat[3], beat[4]))
            # After a reset it may stand behind a heartbeat that was cut short.
            if "cv-ready" in line:
                self.ready_at = self.ready_at or now
                self.readies += 1
            self._changed.notify_all()

    def wait(self, what, condition, seconds):
        """Waits until condition(self), called at each new line, is true; returns its value."""
        end = time.monotonic() + seconds
        look, seen = time.monotonic() + self.QUIET_S, 0
        with self._changed:
            while True:
                value = condition(self)
                if value:
                    return value
                left = end - time.monotonic()
                if len(self.lines) > seen:
                    look, seen = time.monotonic() + self.QUIET_S, len(self.lines)
                elif time.monotonic() > look:
                    look += self.QUIET_S
                    self._blame_the_machine()
                if left <= 0:
                    break
                if self.closed_at:
                    raise Failed(f"guest {self.name}: its console closed while waiting for: {what}")
                self._changed.wait(min(left, 1.0))
        pid = self._pid()
        threads = threads_in_words(pid) if pid else "not found"
        tail = "\n".join(self.lines[-15:])
        raise Failed(f"guest {self.name}: waited {seconds} s for: {what}; threads: {threads}; it said:\n{tail}")

    def _pid(self):
        status, out, _ = cellvisor("show", self.name, "--json")
        return json.loads(out)["pid"] if status == 0 else 0

    def _blame_the_machine(self):
        pid = self._pid()
        if pid and runs_the_host(pid):
            raise MachineFailed(f"the emulated CPU has put the host's state in place of guest {self.name}'s: "
                                "nothing that runs on it could go on (docs/box.md)")

    def wait_ready(self, times=1, seconds=180):
        self.wait("its agent to be ready", lambda c: c.readies >= times, seconds)

    def wait_beats(self, more, seconds=120):
        wanted = len(self.beats) + more
        self.wait(f"{more} more heartbeats", lambda c: len(c.beats) >= wanted, seconds)

    def send(self, text):
        self._socket.sendall(text.encode() + b"\n")

    def ask(self, command, seconds=180):
        """Types a command at the agent's console; returns what it answered, parsed from JSON."""
        name = command.split()[0]
        start = len(self.lines)
        self.send(command)
        prefix = f"cv-reply {name} "

        def answer(console):
            return next((line for line in console.lines[start:] if prefix in line), None)

        line = self.wait(f"the answer to '{command}'", answer, seconds)
        verdict, _, text = line.split(prefix, 1)[1].partition(" ")
        if verdict != "ok":
            raise Failed(f"guest {self.name}: {command}: {line}")
        return json.loads(text) if text else {}


def console_of(name):
    """Connects to the console of a running guest."""
    return Console(name, listing("show", name)["console"])


# --- the kernel's own word -------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_MOVE_PAGES = 279


def nodes_of_ram(pid):
    """Counts the touched pages of a guest process's RAM by node, asked of the kernel by
    move_pages: {node: pages}. A page never touched is not counted."""
    counts = {}
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        areas = [line.split()[0] for line in maps if "memfd:cv-ram" in line]
    if not areas:
        raise Failed(f"process {pid} maps no guest RAM")
    for area in areas:
        start, end = (int(x, 16) for x in area.split("-"))
        for first in range(start, end, 16384 * PAGE):
            n = min(16384, (end - first) // PAGE)
            pages = (ctypes.c_void_p * n)(*range(first, first + n * PAGE, PAGE))
            status = (ctypes.c_int * n)()
            if _libc.syscall(_MOVE_PAGES, pid, ctypes.c_ulong(n), pages, None, status, 0) != 0:
                raise Failed(f"move_pages of {pid}: {os.strerror(ctypes.get_errno())}")
            for node in status:
                if node >= 0:
                    counts[node] = counts.get(node, 0) + 1
    return counts


def numa_maps_of_ram(pid):
    """The same as /proc/PID/numa_maps has it."""
    counts = {}
    with open(f"/proc/{pid}/numa_maps", encoding="ascii") as maps:
        for line in maps:
            if "memfd:cv-ram" in line:
                for node, pages in re.findall(r"\bN(\d+)=(\d+)", line):
                    counts[int(node)] = counts.get(int(node), 0) + int(pages)
    return counts


def write_text(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def poison_area(pid, name):
    """Makes the frames behind a process's first mapping of this name fail, as memory errors that
    nobody has met yet would; ends early when the process has ended. Returns how many there were."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        line = next(line for line in maps if name in line)
    poisoned = 0
    for address in range(*(int(x, 16) for x in line.split()[0].split("-")), PAGE):
        try:
            with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
                pagemap.seek(address // PAGE * 8)
                entry = int.from_bytes(pagemap.read(8), "little")
        except OSError:
            break
        if entry >> 63:
            write_text("/sys/devices/system/memory/hard_offline_page", f"{(entry & (1 << 55) - 1) * PAGE:#x}")
            poisoned += 1
    return poisoned


def _thread(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/stat", encoding="utf-8") as file:
        head, _, tail = file.read().rpartition(")")
    fields = tail.split()
    with open(f"/proc/{pid}/task/{tid}/wchan", encoding="ascii") as file:
        waits = file.read()
    with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as file:
        allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", file.read())[1]
    return head.partition("(")[2], fields[0], int(fields[36]), allowed, waits, int(fields[11]) + int(fields[12])


def threads_in_words(pid):
    """What each thread of a process does, for the text of a failure: its state, its CPU of those allowed,
    where in the kernel it waits, and how much CPU time one second gave it."""
    words = []
    try:
        tids = os.listdir(f"/proc/{pid}/task")
        before = {tid: _thread(pid, tid) for tid in tids}
        time.sleep(1)
        for tid in tids:
            name, state, cpu, allowed, waits, ticks = _thread(pid, tid)
            words.append(f"{name} {state} cpu {cpu} of {allowed} {waits} +{(ticks - before[tid][5]) * 10} ms")
    except OSError as error:
        words.append(str(error))
    return "; ".join(words)


def _symbol(name):
    """[start, end) of a function of the kernel, or None."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        symbols = sorted((int(line.split()[0], 16), line.split()[2]) for line in file)
    at = next((i for i, (_, n) in enumerate(symbols) if n == name), None)
    return at is not None and (symbols[at][0], symbols[at + 1][0])


def runs_the_host(pid):
    """Whether a guest's instruction pointer is where the host enters guests, which no guest can cause:
    QEMU's nested SVM loses a guest's state so now and then. The word of KVM's own trace."""
    tracing = "/sys/kernel/tracing"
    own = f"{tracing}/instances/cv-lab-{os.getpid()}"
    entry = _symbol("__svm_vcpu_run")
    if not entry:
        return False
    if not os.path.isdir(f"{tracing}/instances"):
        subprocess.run(["mount", "-t", "tracefs", "none", tracing], check=False)
    try:
        os.mkdir(own)
        write_text(f"{own}/set_event_pid", " ".join(os.listdir(f"/proc/{pid}/task")))
        write_text(f"{own}/events/kvm/kvm_exit/enable", "1")
        time.sleep(0.3)
        with open(f"{own}/trace", encoding="ascii", errors="replace") as file:
            rips = [int(rip, 16) for rip in re.findall(r"\brip 0x([0-9a-f]+)", file.read())]
        write_text(f"{own}/events/kvm/kvm_exit/enable", "0")
        os.rmdir(own)
    except OSError as error:
        print(f"# kvm's trace can't be read: {error}", file=sys.stderr, flush=True)
        return False
    return any(entry[0] <= rip < entry[1] for rip in rips)


def read_ram(pid, offset, count):
    """Bytes of a guest's RAM, read behind its back."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if os.readlink(path).startswith("/memfd:cv-ram"):
            with open(path, "rb") as file:
                return os.pread(file.fileno(), count, offset)
    raise Failed(f"process {pid} has no guest RAM")


def huge_bytes_of_ram(pid):
    """How much of a guest's RAM its process maps by huge pages."""
    inside, huge = False, 0
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                inside = "memfd:cv-ram" in line
            elif inside and line.startswith("ShmemPmdMapped:"):
                huge += int(line.split()[1]) << 10
    return huge


def cpus_of_threads(pid, pattern):
    """{thread name: set of allowed CPUs} of the threads of `pid` whose name matches."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as comm:
            name = comm.read().strip()
        if re.search(pattern, name):
            found[name] = os.sched_getaffinity(int(tid))
    return found


def cpus_of_node(node):
    with open(f"/sys/devices/system/node/node{node}/cpulist", encoding="ascii") as listed:
        return parse_cpulist(listed.read())


def parse_cpulist(text):
    cpus = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def members_of_cell(cell):
    """Live processes of a cell, by what they themselves say on their command line and by their
    CPUs: not by our own books."""
    alive = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state in "ZX" or not words[0].endswith(b"cellvisor"):
            continue
        if f"--cell={cell}".encode() in words:
            alive[int(pid)] = words[1].decode()
    return alive
