# SPDX-License-Identifier: BSD-2-Clause
"""Four Linux guests, one for each node, under Cellvisor or under QEMU, behind one interface: what the
guests say, what whoever manages them is told, and when."""
import array
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import fleet as fl
import lab
from lab import Failed, must, until

KERNEL = os.environ.get("CELLVISOR_GUEST_KERNEL")
INITRD = os.environ.get("CELLVISOR_GUEST_INITRD")
CMDLINE = "console=ttyS0 quiet nokaslr panic=1 cv.mem=16"
MEMORY = 256 << 20
NAMES = [f"g{node}" for node in range(fl.CELLS)]
BOOT_S = 120
HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"


def node_of(name):
    return int(name[1:])


def start_time(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


class Vmm:
    """What both have in common. `consoles` has the guests that were started and not replaced since."""

    def __init__(self):
        self.consoles = {}
        self.away = set()  # guests that a fault has hit hard since all were settled
        lab.write_text(HUGE, "advise")

    def settle(self):
        """All guests beat: those that ended are started again, those that reboot are waited for."""
        for name in NAMES:
            if name not in self.consoles or self.ended(name):
                self.start(name)
        for name in NAMES:
            try:
                self.consoles[name].wait_beats(3, BOOT_S)
            except Failed:  # it has ended meanwhile, or hangs where it was struck
                self.kill(name)
                self.start(name)
                self.consoles[name].wait_beats(3, BOOT_S)
        self.away.clear()

    def map_of_ram(self, pid):
        with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
            line = next((line for line in maps if self.RAM in line), None)
        if not line:
            raise Failed(f"process {pid} maps no guest RAM")
        return int(line.split("-")[0], 16)

    def frame(self, name, gpa):
        pid = self.pid(name)
        return fl.frame_of(pid, self.map_of_ram(pid) + gpa)

    def unused(self, name, first, last, count, rng):
        """Frames of pages in [first, last) that hold zeroes: RAM that the guest has not used so far."""
        pid = self.pid(name)
        start, frames = self.map_of_ram(pid), []
        with open(f"/proc/{pid}/pagemap", "rb") as pagemap, open(f"/proc/{pid}/mem", "rb") as memory:
            entries = array.array("Q", os.pread(pagemap.fileno(), (last - first) // lab.PAGE * 8,
                                                (start + first) // lab.PAGE * 8))
            for n in rng.sample(range(len(entries)), len(entries)):
                if len(frames) == count:
                    break
                if entries[n] >> 63 and entries[n] >> 56 & 1 and \
                        not any(os.pread(memory.fileno(), lab.PAGE, start + first + n * lab.PAGE)):
                    frames.append(entries[n] & (1 << 55) - 1)
        return frames

    def busiest_cpu(self, name):
        """Where the thread ran last that has had most CPU time: its vCPU."""
        pid, best = self.pid(name), (-1, 0)
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            best = max(best, (int(fields[11]) + int(fields[12]), int(fields[36])))
        return best[1]


class Qmp:
    """QEMU's control socket, as a manager holds it: what it is told, and when."""

    def __init__(self, path):
        self.told = []  # (monotonic, text)
        self._replies = queue.Queue()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        threading.Thread(target=self._read, daemon=True).start()
        if not self.ask("qmp_capabilities", 60):
            raise Failed("QEMU does not answer at its control socket")

    def _read(self):
        with self._socket.makefile() as lines:
            try:
                for line in lines:
                    self._line(json.loads(line))
            except (OSError, ValueError):
                pass
        self.told.append((time.monotonic(), "QMP closed"))

    def _line(self, said):
        if "event" in said:
            data = said.get("data", {})
            words = [str(data[key]) for key in ("reason", "recipient", "action") if key in data]
            self.told.append((time.monotonic(), " ".join([said["event"], *words])))
        elif "return" in said or "error" in said:
            self._replies.put(said)

    def ask(self, command, seconds=5):
        """The reply, or None."""
        while not self._replies.empty():
            self._replies.get()
        try:
            self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
            return self._replies.get(timeout=seconds)
        except (OSError, queue.Empty):
            return None


class QemuConsole(lab.Console):
    def __init__(self, name, path, pid):
        self.process_id = pid
        super().__init__(name, path)

    def _pid(self):
        return self.process_id


class Qemu(Vmm):
    """QEMU as libvirt would start it: CPUs and memory of one node, a control group, QMP."""
    NAME, RAM = "QEMU", "memfd:memory-backend"
    GROUP = "/sys/fs/cgroup/cv-peer"

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="cv-peer-")
        self.guests = {}
        self.left = {}  # name: (monotonic, status)
        lab.write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
        os.makedirs(self.GROUP, exist_ok=True)
        lab.write_text(f"{self.GROUP}/cgroup.subtree_control", "+memory")

    def start(self, name):
        node, path = node_of(name), os.path.join(self.folder, name)
        self.left.pop(name, None)
        for end in ("tty", "qmp"):
            if os.path.exists(f"{path}.{end}"):
                os.unlink(f"{path}.{end}")
        os.makedirs(self.group(name), exist_ok=True)
        lab.write_text(f"{self.group(name)}/memory.max", "max")
        qemu = ["numactl", f"--cpunodebind={node}", f"--membind={node}", "qemu-system-x86_64", "-accel", "kvm",
                "-machine", "q35,memory-backend=ram", "-cpu", "host", "-m", f"{MEMORY >> 20}M", "-object",
                f"memory-backend-memfd,id=ram,size={MEMORY},host-nodes={node},policy=bind,prealloc=on", "-kernel",
                KERNEL, "-initrd", INITRD, "-append", CMDLINE, "-display", "none", "-nodefaults", "-serial",
                f"unix:{path}.tty,server=on,wait=off", "-qmp", f"unix:{path}.qmp,server=on,wait=off"]
        with open(f"{path}.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(["sh", "-c", f'echo $$ >{self.group(name)}/cgroup.procs; exec "$@"', "sh", *qemu],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(f"the sockets of {name}", lambda: os.path.exists(f"{path}.tty") and os.path.exists(f"{path}.qmp"), 60)
        self.consoles[name] = QemuConsole(name, f"{path}.tty", process.pid)
        self.guests[name] = (process, Qmp(f"{path}.qmp"))
        threading.Thread(target=self._wait, args=(name, process), daemon=True).start()

    def _wait(self, name, process):
        status = process.wait()
        if self.guests[name][0] is process:
            self.left[name] = (time.monotonic(), f"exit status {status}" if status >= 0 else f"signal {-status}")

    def kill(self, name):
        process = self.guests[name][0]
        process.kill()
        until(f"{name} to end", lambda: name in self.left, 30)

    def group(self, name):
        return f"{self.GROUP}/{name}"

    def pid(self, name):
        return self.guests[name][0].pid

    def ended(self, name):
        return self.left[name][1] if name in self.left else None

    def answers(self, name):
        return self.guests[name][1].ask("query-status") is not None

    def news(self, name, since):
        """What its manager was told: [(seconds since then, text)], earliest first."""
        told = self.guests[name][1].told + ([self.left[name]] if name in self.left else [])
        return sorted((round(t - since, 3), text) for t, text in told if t >= since)

    def lost(self, _):
        return ""  # it keeps no record

    def said(self, name):
        with open(f"{self.folder}/{name}.log", encoding="utf-8", errors="replace") as log:
            return log.read()[-400:]

    def node_death(self, node, struck):
        """The injector of Cellvisor, whose question is answered as a monitor would: these processes die."""
        name = f"g{node}"
        survivors = [cpu for cpu in range(2 * fl.CELLS) if cpu // 2 != node]
        what = {"ok": True, "cell": node, "nodes": [node], "cpus": survivors,
                "members": [{"pid": self.pid(name), "start_time": start_time(self.pid(name))}]}
        with tempfile.TemporaryDirectory(prefix="cvp", dir="/run") as runtime:
            os.mkdir(f"{runtime}/cell-0")
            server = socket.socket(socket.AF_UNIX)
            server.bind(f"{runtime}/cell-0/monitor.sock")
            server.listen()
            threading.Thread(target=answer_injector, args=(server, what), daemon=True).start()
            inject_node_death(node, struck, dict(os.environ, CELLVISOR_RUNTIME_DIR=runtime))

    def close(self):
        for process, _ in self.guests.values():
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def answer_injector(server, what):
    pong = {"ok": True, "cell": 0, "incarnation": 1, "live": fl.CELLS}
    while True:
        client, _ = server.accept()
        with client, client.makefile() as lines:
            for line in lines:
                reply = pong if json.loads(line)["op"] == "ping" else what
                client.sendall(json.dumps(reply).encode() + b"\n")


def inject_node_death(node, struck, env):
    """Calls struck() when the CPUs stand still; returns when the node is dead and its CPUs are offline."""
    with subprocess.Popen([lab.CELLVISOR, "inject", "node-death", str(node)], text=True, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as injector:
        said = []
        for line in injector.stdout:
            said.append(line.strip())
            if "; poisoning" in line:
                struck()
    if injector.returncode != 0:
        raise Failed(f"inject node-death {node}: {said}")


class Ours(Vmm):
    NAME, RAM = "Cellvisor", "memfd:cv-ram"
    UNTOLD = {"guest-started", "node-death-injected", "cell-up"}

    def __init__(self):
        super().__init__()
        self.api = fl.Api()
        must("up")
        self.wall = time.time() - time.monotonic()

    def start(self, name):
        must("run", name, "--kernel", KERNEL, "--initrd", INITRD, "--memory", f"{MEMORY >> 20}M", "--cell",
             node_of(name), "--heal", "--cmdline", CMDLINE)
        self.consoles[name] = lab.console_of(name)

    def kill(self, name):
        if not self.ended(name):
            must("kill", name)

    def row(self, name):
        listed = until("a monitor to answer", lambda: self.api.ask({"op": "ls"}, range(fl.CELLS)), 60)
        return next((g for g in listed["guests"] if g["name"] == name), None)

    def group(self, name):
        return f"{fl.GROUPS}/cell-{node_of(name)}/{name}"

    def pid(self, name):
        return self.row(name)["pid"]

    def ended(self, name):
        row = self.row(name)
        if row is None:
            return "gone"
        return row["state"] if row["state"] in fl.ENDED else None

    def answers(self, name):
        return self.row(name)["state"] == "running"

    def news(self, name, since):
        reply = self.api.ask({"op": "events", "since": since + self.wall}, range(fl.CELLS)) or {"events": []}
        return sorted((round(e["time"] - self.wall - since, 3), e["event"]) for e in reply["events"]
                      if e["event"] not in self.UNTOLD and (e["guest"] == name or
                                                            not e["guest"] and e["cell"] == node_of(name)))

    def lost(self, name):
        """What became of its lost pages, in words."""
        status, out, _ = lab.cellvisor("show", name, "--json")
        ends = [m["end"] for m in json.loads(out).get("memory_errors", [])] if status == 0 else []
        return ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))

    def said(self, name):
        row = self.row(name)
        return re.sub(r"\s+", " ", str(row.get("cause") or "")) if row else ""

    def node_death(self, node, struck):
        inject_node_death(node, struck, os.environ)

    def close(self):
        lab.cellvisor("down", "--force")
