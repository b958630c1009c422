# SPDX-License-Identifier: BSD-2-Clause
"""The table: faults x targets x moments. A fault says whom it may hurt (the oracle derives that from
the needs of the guests), what shows that it was noticed, and whether its victim has to die."""
import os
import resource
import signal
import subprocess
import threading

import fleet as fl
import lab
from lab import Failed, cellvisor, must, until

NODE_DEATH_S = 1.5  # what the injector takes to strike
DYING_NODES = (1, 2, 3)  # CPU 0 can't go offline
MOMENTS = ("idle", "booting", "cpu-load", "memory-load", "disk-load", "recovery", "borrowed", "moving", "visited",
           "live-move")


class Fault:
    """One kind of fault.

    target    'monitor', 'guest', 'node' or 'cpu'
    weight    how often it is drawn
    victim    'dies': the target guest has to end; 'may-die': it may; 'lives': nobody may end
    sign      regular expression of event names that tell of it; '': no event has to
    moments   when it makes sense
    for_a_while  it is taken back before the recovery begins
    """

    def __init__(self, name, target, inject, weight, victim="lives", sign="", moments=MOMENTS, undo=None,
                 new_monitor=False, for_a_while=False):
        self.name, self.target, self.inject, self.weight = name, target, inject, weight
        self.victim, self.sign, self.moments, self.undo = victim, sign, moments, undo
        self.new_monitor, self.for_a_while = new_monitor, for_a_while

    def targets(self):
        if self.target in ("node", "cpu"):
            return [f"{self.target}{n}" for n in DYING_NODES]
        return [f"{self.target}{n}" for n in range(fl.CELLS)]


def signal_monitor(number):
    return lambda shot: os.kill(shot.monitor_pid, number)


def signal_guest(number):
    return lambda shot: os.kill(shot.guest_pid, number)


def guest_stop(shot):
    """It has to be called silent while it stands still, and to go on where it was."""
    os.kill(shot.guest_pid, signal.SIGSTOP)

    def silent():
        return shot.fleet.rows()[shot.guest]["state"] == "silent"
    until("ls to say that the guest is silent", silent, 60)


def guest_go_on(shot):
    os.kill(shot.guest_pid, signal.SIGCONT)


def node_death(shot):
    """The injector tells when it strikes: from then on the time runs."""
    if shot.carry_out:
        threading.Timer(shot.rng.uniform(0, NODE_DEATH_S), shot.carry_out).start()
    shot.process = subprocess.Popen([lab.CELLVISOR, "inject", "node-death", str(shot.cell)], text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = []
    for line in shot.process.stdout:
        said.append(line)
        if "CPUs frozen" in line:
            shot.struck()
            return
    raise Failed(f"inject node-death {shot.cell}: {''.join(said).strip()}")


def node_death_end(shot):
    out, _ = shot.process.communicate(timeout=120)
    if shot.process.returncode != 0:
        raise Failed(f"inject node-death {shot.cell}: {out.strip()}")


def memory_error_used(shot):
    shot.note = f"page {fl.poison_used_page(shot.guest_pid, shot.rng):#x}"


def memory_error_monitor(shot):
    """A page of the monitor's own memory: its heap, its stack or its data."""
    with open(f"/proc/{shot.monitor_pid}/maps", encoding="ascii") as maps:
        areas = [line.split() for line in maps if "rw-p" in line]
    pages = []
    for area in areas:
        start, end = (int(x, 16) for x in area[0].split("-"))
        pages += range(start, min(end, start + (4 << 20)), lab.PAGE)
    shot.rng.shuffle(pages)
    for page in pages:
        frame = fl.frame_of(shot.monitor_pid, page)
        if frame and fl.make_bad(frame):
            shot.note = f"address {page:#x}"
            return
    raise Failed("the monitor has no memory")


def machine_check_deferred(shot):
    def used():
        page = shot.rng.randrange(fl.WATCHED_MIB << 20) // lab.PAGE * lab.PAGE
        return fl.frame_of_ram(shot.guest_pid, fl.WATCHED_FROM + page)
    frame = until("a page that the guest uses", used, 30)
    with open("/sys/devices/system/machinecheck/machinecheck0/check_interval", "w", encoding="ascii") as file:
        file.write("1")
    fl.boxctl("mce", "--cpu", 0, "--bank", 1, "--addr", f"{frame * lab.PAGE:#x}")
    shot.note = f"frame {frame:#x}"


def machine_check_corrected(shot):
    cpu = shot.rng.randrange(2 * fl.CELLS)
    fl.boxctl("mce", "--cpu", cpu, "--bank", 1, "--status", "0x9400000000000000", "--addr",
              f"{shot.rng.randrange(1 << 20, 1 << 30) & ~4095:#x}")
    shot.note = f"CPU {cpu}"


def set_cpu(cpu, text):
    with open(f"/sys/devices/system/cpu/cpu{cpu}/online", "w", encoding="ascii") as file:
        file.write(text)


def cpu_offline(shot):
    shot.cpu = 2 * shot.cell + shot.rng.randrange(2)
    set_cpu(shot.cpu, "0")
    shot.note = f"CPU {shot.cpu}"


def cpu_online(shot):
    set_cpu(shot.cpu, "1")


def no_descriptors(pid_of):
    """The process gets no further descriptor: a limit below what it has."""
    def inject(shot):
        pid = pid_of(shot)
        shot.limited = pid
        shot.limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, shot.limit[1]))
        shot.hold = shot.rng.uniform(0.5, 2)
    return inject


def no_descriptors_end(shot):
    """Whoever wanted something meanwhile was told so, and nothing is wrong afterwards."""
    if os.path.exists(f"/proc/{shot.limited}"):
        resource.prlimit(shot.limited, resource.RLIMIT_NOFILE, shot.limit)


def monitor_fds(shot):
    no_descriptors(lambda s: s.monitor_pid)(shot)
    status, _, err = cellvisor("run", "nofds", "--kernel", fl.BEAT, "--memory", "64M", "--cell", shot.cell)
    shot.note = f"run: status {status}"
    if status == 0:
        must("kill", "nofds")
    elif not err.startswith("cellvisor: ") or len(err.strip().splitlines()) != 1:
        raise Failed(f"no clear error: {err!r}")


def guest_oom(shot):
    """The limit of its control group sinks below what it has: the kernel kills it."""
    group = f"{fl.GROUPS}/cell-{shot.cell}/{shot.guest}"
    if not os.path.isdir(group):
        raise Failed(f"no control group {group}")
    with open(f"{group}/memory.max", "w", encoding="ascii") as file:
        file.write("2M")


def monitor_memory_error_end(shot):
    """A page that it has not met yet must not strike during the next injection."""
    if shot.fleet.cell(shot.cell)["pid"] == shot.monitor_pid:
        shot.note += ", not met"
        os.kill(shot.monitor_pid, signal.SIGKILL)
        until("its next life", lambda: shot.fleet.is_whole() and
              shot.fleet.cell(shot.cell)["incarnation"] > shot.incarnation, 60)


def disk_full(shot):
    """The image lies on a file system that is full: the guest is told, and goes on afterwards."""
    console = shot.fleet.checkers["lx"].console
    folder = os.path.dirname(shot.fleet.disk)
    filler = f"{folder}/filler"
    with open(filler, "wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
    try:
        console.ask(f"disk-write {shot.rng.randrange(1 << 30)} {fl.DISK_MIB - 8}")
        raise Failed("a full disk was not told to the guest")
    except Failed as failed:
        if "cv-reply disk-write error" not in str(failed):
            raise
    finally:
        os.unlink(filler)
    seed = shot.rng.randrange(1 << 30)
    console.ask(f"disk-write {seed} 2")
    console.ask(f"disk-verify {seed} 2")


FAULTS = [
    Fault("monitor-kill", "monitor", signal_monitor(signal.SIGKILL), 14, sign="monitor-restarted", new_monitor=True),
    Fault("monitor-stop", "monitor", signal_monitor(signal.SIGSTOP), 8, sign="cell-suspect|monitor-restarted",
          new_monitor=True),
    Fault("monitor-segv", "monitor", signal_monitor(signal.SIGSEGV), 6, sign="monitor-restarted", new_monitor=True),
    Fault("monitor-memory-error", "monitor", memory_error_monitor, 8, undo=monitor_memory_error_end),
    Fault("monitor-no-descriptors", "monitor", monitor_fds, 4, undo=no_descriptors_end, for_a_while=True,
          moments=("idle", "cpu-load")),
    Fault("guest-kill", "guest", signal_guest(signal.SIGKILL), 12, "dies", "guest-crashed|guest-start-failed"),
    Fault("guest-segv", "guest", signal_guest(signal.SIGSEGV), 6, "dies", "guest-crashed|guest-start-failed"),
    Fault("guest-stop", "guest", guest_stop, 3, sign="guest-silent", undo=guest_go_on, for_a_while=True,
          moments=("idle", "memory-load")),
    Fault("guest-memory-error", "guest", memory_error_used, 12, "may-die"),
    Fault("guest-no-memory", "guest", guest_oom, 6, "dies", "guest-crashed|guest-start-failed", moments=("idle", "memory-load")),
    Fault("guest-no-descriptors", "guest", no_descriptors(lambda s: s.guest_pid), 4, undo=no_descriptors_end,
          for_a_while=True, moments=("idle", "memory-load")),
    # A second passes until the kernel is told: a page that moves meanwhile leaves the frame to somebody else.
    Fault("machine-check-deferred", "guest", machine_check_deferred, 8, "may-die",
          moments=tuple(m for m in MOMENTS if m not in ("moving", "live-move"))),
    Fault("machine-check-corrected", "cpu", machine_check_corrected, 4),
    Fault("cpu-offline", "cpu", cpu_offline, 4, undo=cpu_online,
          moments=("idle", "cpu-load", "memory-load", "visited")),
    Fault("node-death", "node", node_death, 6, "dies", "cell-dead", undo=node_death_end),
    Fault("disk-full", "guest", disk_full, 2, moments=("disk-load",)),
]


def rows(linux):
    """Every combination that makes sense: (fault, target, moment), in a fixed order."""
    found = []
    for fault in FAULTS:
        for target in fault.targets():
            for moment in fault.moments:
                if moment == "disk-load" and (not linux or not target.endswith("1")):
                    continue
                found.append((fault, target, moment))
    return found


def row_name(row):
    return f"{row[0].name}@{row[1]}@{row[2]}"


def draw(rng, table):
    """The next row: first the fault by weight, then one of its rows."""
    faults = sorted({row[0].name: row[0] for row in table}.values(), key=lambda f: f.name)
    fault = rng.choices(faults, [f.weight for f in faults])[0]
    return rng.choice([row for row in table if row[0] is fault])


def each(rng, table):
    """A row of every fault, so that all moments come: those with few to choose from first, at the moment that
    was taken least."""
    faults = [fault for fault in FAULTS if any(row[0] is fault for row in table)]
    taken = dict.fromkeys(MOMENTS, 0)
    chosen = {}
    for fault in sorted(faults, key=lambda f: (len(f.moments), rng.random())):
        of = [row for row in table if row[0] is fault]
        least = min(taken[row[2]] for row in of)
        chosen[fault] = rng.choice([row for row in of if taken[row[2]] == least])
        taken[chosen[fault][2]] += 1
    return [chosen[fault] for fault in faults]
