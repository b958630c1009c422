#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tests that need a NUMA server with KVM: run inside the box (4 nodes, 2 CPUs each), all in
one boot. Prints `ok NAME` or `not ok NAME: why` per test.

  in_box.py [PATTERN]     only the tests whose name matches
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import lab
from lab import Failed, cellvisor, listing, must, until

WORK = tempfile.mkdtemp(prefix="cv-test-")
NODES = 4
MIB = 1 << 20
KERNEL = os.environ["CELLVISOR_GUEST_KERNEL"]
INITRD = os.environ["CELLVISOR_GUEST_INITRD"]
TINY = os.path.join(lab.BUILD, "tiny.img")
TINY_HOLD = os.path.join(lab.BUILD, "tiny-hold.img")
TINY_BUSY = os.path.join(lab.BUILD, "tiny-busy.img")
TINY_TOUCH = os.path.join(lab.BUILD, "tiny-touch.img")
TINY_TOUCHED = 32 * MIB
RETIRE_AFTER, DRAIN_AFTER = 4, 12  # corrected errors


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(what, got, wanted):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def disk(name, mib=32):
    path = os.path.join(WORK, name)
    with open(path, "wb") as file:
        file.truncate(int(mib * MIB))
    return path


def run_guest(name, *args, memory="256M", cpus=1, cmdline=""):
    """Starts a guest with the test kernel and initrd, and returns its console."""
    must("run", name, "--kernel", KERNEL, "--initrd", INITRD, "--memory", memory, "--cpus", cpus,
         "--cmdline", f"console=ttyS0 quiet cv.mem=32 {cmdline}".strip(), *args)
    return lab.console_of(name)


def run_tiny(name, *args, memory="64M", kernel=TINY_HOLD):
    """Starts the smallest guest, which says one letter and halts for ever; returns its row."""
    return json.loads(must("run", name, "--kernel", kernel, "--memory", memory, "--json", *args))


def guest_row(name):
    rows = [row for row in listing("ls")["guests"] if row["name"] == name]
    return rows[0] if rows else None


def cell_row(cell):
    return next(row for row in listing("ls")["cells"] if row["cell"] == cell)


def wait_state(name, state, seconds=120):
    def reached():
        row = guest_row(name)
        return row and row["state"] == state and row
    return until(f"guest {name} to be {state}", reached, seconds)


def refuse(status, pattern, *args):
    """The command has to fail with this exit status and say, in one line, what is wrong."""
    got, out, err = cellvisor(*args)
    equal(f"exit status of {' '.join(map(str, args))} ({err.strip()})", got, status)
    check(re.search(pattern, err), f"error text {err!r} does not match {pattern!r}")
    check(len(err.strip().splitlines()) <= 2, f"more than one clear error: {err!r}")
    return err


# --- before any cell is up ---------------------------------------------------------------------

def test_topo_agrees_with_the_kernel():
    nodes = listing("topo")["nodes"]
    equal("number of nodes", len(nodes), NODES)
    for node in nodes:
        equal(f"CPUs of node {node['node']}", set(node["cpus"]), lab.cpus_of_node(node["node"]))
        with open(f"/sys/devices/system/node/node{node['node']}/distance", encoding="ascii") as file:
            equal("distances", node["distances"], [int(x) for x in file.read().split()])


def test_commands_before_up_say_how_to_start():
    for words in (["ls"], ["show", "x"], ["stop", "x"], ["kill", "x"], ["console", "x"], ["down"],
                  ["events"], ["inject", "node-death", "1"],
                  ["run", "x", "--kernel", KERNEL, "--memory", "256M"]):
        refuse(8, r"cellvisor up", *words)


def test_no_permission_is_said():
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                           lab.CELLVISOR, "up"], capture_output=True, text=True, check=False)
    equal(f"exit status ({done.stderr.strip()})", done.returncode, 6)
    check(re.search(r"root|permission", done.stderr), done.stderr)


def test_no_kvm_is_said():
    script = f"mount --bind /dev/null /dev/kvm && exec {lab.CELLVISOR} up"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    equal(f"exit status ({done.stderr.strip()})", done.returncode, 6)
    check("/dev/kvm" in done.stderr, done.stderr)
    check(not os.path.exists(lab.RUNTIME) or not os.listdir(lab.RUNTIME), "something is left behind")


def test_stale_runtime_directory_is_no_obstacle():
    os.makedirs(f"{lab.RUNTIME}/cell-0", mode=0o700, exist_ok=True)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(f"{lab.RUNTIME}/cell-0/monitor.sock")
    stale.close()
    refuse(8, r"cellvisor up", "ls")
    must("up")
    must("down")


def test_of_two_ups_at_once_one_wins():
    ups = [subprocess.Popen([lab.CELLVISOR, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
           for _ in range(2)]
    said = [up.communicate(timeout=120)[1] for up in ups]
    equal(f"exit statuses ({said})", sorted(up.returncode for up in ups), [0, 7])
    must("down")


def test_stopped_monitors_are_taken_down():
    must("up")
    run_tiny("left", "--cell", 1)
    monitors = [cell["pid"] for cell in listing("ls")["cells"]]
    for pid in monitors:
        os.kill(pid, signal.SIGSTOP)
    refuse(9, r"down --force", "down")
    must("down", "--force")
    equal("processes left", [p for c in range(NODES) for p in lab.members_of_cell(c)], [])
    check(not os.path.exists(lab.RUNTIME), "the runtime directory is left behind")


# --- where vCPUs run: cells of CPUs 0,1 / 2,3 / 4-7 (two nodes) --------------------------------

def vcpus(name=None):
    """The vCPUs of all guests or of one, as listed; what the kernel says has to be the same."""
    rows = listing("vcpus", *([name] if name else []))["vcpus"]
    for row in rows:
        pid = guest_row(row["guest"])["pid"]
        with open(f"/proc/{pid}/task/{row['tid']}/status", encoding="ascii") as status:
            allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", status.read())[1]
        with open(f"/proc/{pid}/task/{row['tid']}/stat", encoding="ascii") as stat:
            row["processor"] = int(stat.read().rsplit(")", 1)[1].split()[36])
        row["kernel"] = lab.parse_cpulist(allowed)
    return rows


def cpus_by_guest():
    return {row["guest"]: row["kernel"] for row in vcpus() if row["vcpu"] == 0}


def online(cpu, on):
    with open(f"/sys/devices/system/cpu/cpu{cpu}/online", "w", encoding="ascii") as file:
        file.write("1" if on else "0")


def needs(name):
    return guest_row(name)["needs"]


def visitors():
    return [(row["host"], row["guest"], row["vcpu"], row["home"]) for row in listing("vcpus")["visitors"]]


def test_busy_guests_pinned_badly_are_spread():
    # Emulated CPUs that are all busy make monitors late: that is not what is tested here.
    must("up", "--cells", "0/1/2-3", "--suspect-ms", 8000)
    for n in range(3):
        run_tiny(f"bad{n}", "--cell", 2, kernel=TINY_BUSY)
    rows = until("all vCPUs to be found", lambda: len(vcpus()) == 3 and vcpus(), 20)
    for row in rows:
        os.sched_setaffinity(row["tid"], {4})

    def spread():
        where = list(cpus_by_guest().values())
        return sum(cpus == {4} for cpus in where) <= 1 and sum(cpus == {6, 7} for cpus in where) >= 1 and \
            all(cpus in ({4}, {4, 5}, {6, 7}) for cpus in where)

    until("them to be spread over both nodes", spread, 60)


def test_what_is_listed_of_vcpus_is_what_the_kernel_says():
    def agree():
        rows = vcpus()
        return len(rows) == 3 and all(set(row["cpus"]) == row["kernel"] and row["processor"] in row["kernel"] and
                                      row["runnable"] and row["cell"] == 2 for row in rows) and rows
    rows = until("listing and kernel to agree", agree, 30)
    check(sum(row["moves"] for row in rows) >= 2, f"moves that were not counted: {rows}")


def test_vcpus_leave_a_node_without_cpus_and_come_back():
    for cpu in (6, 7):
        online(cpu, False)
    try:
        until("all to run on node 2", lambda: all(c <= {4, 5} for c in cpus_by_guest().values()), 60)
    finally:
        for cpu in (6, 7):
            online(cpu, True)
    try:
        until("one of them to run on node 3", lambda: {6, 7} in cpus_by_guest().values(), 60)
    finally:
        for n in range(3):
            must("kill", f"bad{n}")


def test_an_idle_cell_takes_a_vcpu_and_gives_it_back():
    for n in range(2):
        run_tiny(f"busy{n}", "--cell", 0, kernel=TINY_BUSY)
    run_tiny("roam", "--cell", 0, "--cells-max", 2, kernel=TINY_BUSY)
    host = until("the vCPU to run in another cell", lambda: needs("roam")[1:], 60)[0]
    there = {1: {2, 3}, 2: {4, 5, 6, 7}}[host]
    until("its thread to be there", lambda: cpus_by_guest()["roam"] <= there, 20)
    equal("visitors", visitors(), [(host, "roam", 0, 0)])
    run_tiny("more", "--cell", 0, kernel=TINY_BUSY)
    time.sleep(1)
    for name, cpus in cpus_by_guest().items():
        check(name == "roam" or cpus <= {0, 1}, f"{name} may need one cell and runs on {cpus}")
        check(name == "roam" or needs(name) == [0], f"needs of {name}: {needs(name)}")
    must("kill", "more")
    must("kill", "busy1")
    until("the vCPU to be back", lambda: cpus_by_guest()["roam"] <= {0, 1}, 60)
    until("the need to be struck", lambda: needs("roam") == [0], 30)
    until("the visit to be ended", lambda: visitors() == [], 30)
    told = [e["event"] for e in listing("events")["events"] if e.get("guest") == "roam"]
    check("vcpu-away" in told and "vcpu-home" in told, f"events: {told}")


def test_a_monitor_killed_meanwhile_leaves_vcpus_where_they_are():
    run_tiny("busy1", "--cell", 0, kernel=TINY_BUSY)
    host = until("the vCPU to run in another cell", lambda: needs("roam")[1:], 60)[0]
    for cell in (0, host):
        old, pid = cell_row(cell)["pid"], guest_row("roam")["pid"]
        where = until("its thread to be there", lambda: not cpus_by_guest()["roam"] & {0, 1} and cpus_by_guest(), 20)
        os.kill(old, signal.SIGKILL)
        for name in where:
            cpus = lab.cpus_of_threads(guest_row(name)["pid"], r"vcpu0")["vcpu0"]
            check(cpus == where[name], f"{name} went from {where[name]} to {cpus} without a monitor")
        monitor_comes_back(cell, old)
        wait_state("roam", "running")
        until("the visit to be known again", lambda: visitors() == [(host, "roam", 0, 0)], 30)
        equal("needs", needs("roam"), [0, host])
        equal("process", guest_row("roam")["pid"], pid)


# A process that registers as a guest of cell 0 that is adopted, with a ledger that says what it likes.
PRETENDER = """
import json, os, socket, sys
with open("/proc/self/stat", encoding="ascii") as stat:
    start = int(stat.read().rsplit(")", 1)[1].split()[19])
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(sys.argv[1])
sock.send(json.dumps({
    "op": "register", "name": "liar", "pid": os.getpid(), "start_time": start, "state": "running", "cause": "",
    "reboots": 0, "memory_errors": 0,
    "spec": {"name": "liar", "kernel": "/k", "cpus": 1, "memory_bytes": 64 << 20, "cells_max": 2},
    "home": {"cell": 0, "nodes": [0], "cpus": [0, 1]},
    "ledger": {"number": 1, "memory": [0, 32], "loans": [], "visits": json.loads(sys.argv[2])}}).encode())
while sock.recv(65536):
    pass
"""


def test_what_a_guest_process_kept_of_visits_is_judged():
    def pretend(visits):
        return subprocess.Popen([sys.executable, "-c", PRETENDER, f"{lab.RUNTIME}/cell-0/guests.sock",
                                 json.dumps(visits)])

    # A cell of another birth; what can't be; and a need that is taken over as it was kept.
    for visits, cause in (([0, 2, 77, 0], "cell 2, which died"), ([0, 0, 1, 0], "can't be true")):
        with pretend(visits) as liar:
            equal("exit status", liar.wait(60), -signal.SIGKILL)
        check(cause in wait_state("liar", "lost", 30)["cause"], str(guest_row("liar")))
    with pretend([0, 2, 1, 0]) as liar:
        until("it to be adopted", lambda: guest_row("liar")["state"] == "running", 30)
        equal("needs", needs("liar"), [0, 2])
        must("kill", "liar")
        liar.wait(60)


def test_a_gang_has_a_cpu_for_each_vcpu():
    refuse(5, r"--gang.*only 4.*--cpus 4", "run", "g", "--kernel", TINY_HOLD, "--memory", "64M", "--cpus", "5",
           "--cell", "2", "--gang")
    run_tiny("gang", "--cpus", "3", "--cell", 2, "--gang")

    def alone():
        where = [row["kernel"] for row in vcpus("gang")]
        return len(where) == 3 and all(len(cpus) == 1 for cpus in where) and set.union(*where)
    cpus = alone()
    check(cpus and len(cpus) == 3 and cpus <= {4, 5, 6, 7}, f"CPUs of the gang: {vcpus('gang')}")
    rows = vcpus("gang")
    refuse(7, r"gang", "move-vcpu", "gang", "0", "--to-cpu", min(rows[1]["kernel"]))
    gone = min(rows[0]["kernel"])
    online(gone, False)
    try:
        left = until("another CPU each", lambda: (alone() or set()) and len(alone()) == 3 and
                     gone not in alone() and alone(), 60)
        check(left <= {4, 5, 6, 7}, f"{left} with CPU {gone} offline")
        refuse(7, r"offline", "move-vcpu", "gang", "0", "--to-cpu", gone)
    finally:
        online(gone, True)
    must("kill", "gang")


def test_vcpus_are_moved_by_hand():
    must("kill", "busy1")
    until("the vCPU to be back", lambda: needs("roam") == [0] and cpus_by_guest()["roam"] <= {0, 1}, 60)
    reply = listing("move-vcpu", "roam", "0", "--to-cpu", 6)
    check(reply["to"] == 6 and reply["us"] > 0, str(reply))
    equal("CPUs", cpus_by_guest()["roam"], {6})
    time.sleep(1)
    equal("CPUs of one that is held, with an idle CPU at home", cpus_by_guest()["roam"], {6})
    refuse(7, r"visits cell 2", "move-vcpu", "roam", "0", "--to-cpu", 2)
    must("move-vcpu", "roam", "0", "--to-cpu", 1)
    equal("CPUs", cpus_by_guest()["roam"], {1})
    equal("needs", needs("roam"), [0])
    must("move-vcpu", "roam", "0", "--release")
    refuse(7, r"--cells-max", "move-vcpu", "busy0", "0", "--to-cpu", "4")
    refuse(3, r"CPU 99", "move-vcpu", "busy0", "0", "--to-cpu", "99")
    refuse(3, r"vCPU 7", "move-vcpu", "busy0", "7", "--to-cpu", "1")
    refuse(3, r"nobody", "move-vcpu", "nobody", "0", "--to-cpu", "1")
    equal("exit status without a CPU", cellvisor("move-vcpu", "busy0", "0")[0], 2)
    must("down", "--force")


# --- cells -------------------------------------------------------------------------------------

def test_without_a_tracer_corrected_errors_are_not_counted():
    done = subprocess.run(["unshare", "-m", "sh", "-c", "umount -l /sys/kernel/debug && exec \"$0\" up", lab.CELLVISOR],
                          capture_output=True, text=True, timeout=120, check=False)
    equal(f"exit status of up ({done.stderr})", done.returncode, 0)
    check(re.search(r"errors are not counted: .*tracer", done.stdout), done.stdout)

    def said():
        return [e["cell"] for e in listing("events")["events"] if e["event"] == "errors-not-counted"]
    until("one cell to say so", said, 30)
    equal("who says it", said(), [0])
    must("down")


def test_up_starts_a_cell_per_node():
    must("up", "--retire-after", RETIRE_AFTER, "--drain-after", DRAIN_AFTER)
    cells = listing("ls")["cells"]
    equal("cells", [(c["cell"], c["nodes"], c["state"]) for c in cells],
          [(n, [n], "alive") for n in range(NODES)])


def test_monitors_are_pinned_and_their_text_is_their_own():
    inodes = set()
    for cell in range(NODES):
        pid = cell_row(cell)["pid"]
        equal(f"CPUs of monitor {cell}", os.sched_getaffinity(pid), lab.cpus_of_node(cell))
        inodes.add(os.stat(f"/proc/{pid}/exe").st_ino)
        with open(f"/proc/{pid}/numa_maps", encoding="ascii") as maps:
            lines = maps.read().splitlines()
        text = [line for line in lines if "memfd:" in line and "cellvisor" in line]
        check(text, f"monitor {cell} does not run from a copy of its own: {lines[:3]}")
        for line in text:
            where = set(re.findall(r"\bN(\d+)=", line))
            check(where <= {str(cell)}, f"executable of monitor {cell} is on nodes {where}: {line}")
    equal("number of copies of the executable", len(inodes), NODES)


def test_second_up_is_refused():
    refuse(7, r"already", "up")


# --- bad input, each refused with one clear error and nothing left behind -----------------------

def leftovers():
    return sorted(os.path.join(d, f) for d, _, files in os.walk(lab.RUNTIME) for f in files
                  if "/guests/" in d), [p for c in range(NODES) for p in lab.members_of_cell(c)]


def make_bad(name, data):
    path = os.path.join(WORK, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def test_bad_input_to_run():
    with open(KERNEL, "rb") as file:
        kernel = file.read()
    with open(INITRD, "rb") as file:
        initrd = file.read()
    good = {"--kernel": KERNEL, "--initrd": INITRD, "--memory": "256M", "--cpus": "1"}
    table = [
        ("a text as kernel", {"--kernel": "/etc/passwd"}, 4, r"not a .*kernel|bzImage"),
        ("a kernel cut in half", {"--kernel": make_bad("half", kernel[:len(kernel) // 2])}, 4, r"truncated|shorter"),
        ("an empty kernel", {"--kernel": make_bad("empty", b"")}, 4, r"."),
        ("a folder as kernel", {"--kernel": "/etc"}, 4, r"."),
        ("no such kernel", {"--kernel": "/nonexistent/vmlinuz"}, 4, r"/nonexistent/vmlinuz"),
        ("an initrd cut short", {"--initrd": make_bad("cut", initrd[:len(initrd) * 2 // 3])}, 4, r"truncated"),
        ("a text as initrd", {"--initrd": "/etc/passwd"}, 4, r"initrd"),
        ("too little memory", {"--memory": "16M"}, 4, r"at least"),
        ("no memory", {"--memory": "0"}, 4, r"."),
        ("memory in words", {"--memory": "lots"}, 2, r"lots"),
        ("more memory than the machine has", {"--memory": "64G"}, 5, r"[GM]iB"),
        ("no CPUs", {"--cpus": "0"}, 2, r"cpus|CPU"),
        ("too many CPUs", {"--cpus": "100000"}, 2, r"cpus|CPU"),
        ("an unknown cell", {"--cell": "7"}, 3, r"cell 7"),
        ("an unknown node", {"--nodes": "9"}, 3, r"node 9"),
        ("a missing disk", {"--disk": "/nonexistent/disk"}, 4, r"/nonexistent/disk"),
        ("an empty disk", {"--disk": make_bad("short0", b"")}, 4, r"short0"),
        ("a short disk", {"--disk": make_bad("short", b"x" * 700)}, 4, r"512"),
        ("a bad name", {}, 2, r"name"),
    ]
    before = leftovers()
    for what, change, status, pattern in table:
        words = [w for pair in {**good, **change}.items() for w in pair]
        name = "Not/A/Name" if what == "a bad name" else "bad"
        try:
            refuse(status, pattern, "run", name, *words)
        except Failed as failed:
            raise Failed(f"{what}: {failed}") from failed
        equal(f"{what}: guests", listing("ls")["guests"], [])
    until("refused guests to leave nothing", lambda: leftovers() == before, 20)


def test_unknown_names_are_said():
    refuse(3, r"nobody", "show", "nobody")
    refuse(3, r"nobody", "stop", "nobody")
    refuse(3, r"nobody", "kill", "nobody")
    refuse(3, r"nobody", "console", "nobody")
    refuse(3, r"node 9", "inject", "node-death", "9")
    refuse(2, r"bogus", "bogus")
    refuse(2, r".", "ls", "--bogus")


def test_of_several_who_want_one_name_one_gets_it():
    words = [lab.CELLVISOR, "run", "wanted", "--kernel", TINY_HOLD, "--memory", "64M"]
    runs = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [run.communicate(timeout=120)[1] for run in runs]
    equal(f"exit statuses ({said})", sorted(run.returncode for run in runs), [0, 7, 7, 7])
    equal("guests", [(g["name"], g["state"]) for g in listing("ls")["guests"]], [("wanted", "running")])
    must("kill", "wanted")


def test_attached_guest_is_heard_from_its_first_byte_on():
    status, out, err = cellvisor("run", "tiny", "--kernel", TINY, "--memory", "64M", "--attach")
    equal(f"exit status ({err.strip()})", status, 0)
    equal("what it said", out, "T")
    equal("state", guest_row("tiny")["state"], "stopped")


def test_memory_is_not_promised_twice():
    size = cell_row(1)["free_bytes"] * 6 // 10 // (2 * MIB) * 2
    run_tiny("first", "--cell", 1, memory=f"{size}M")
    refuse(5, r"MiB|GiB", "run", "second", "--kernel", TINY_HOLD, "--cell", "1", "--memory", f"{size}M")
    equal("cell of one that may go anywhere", run_tiny("third", memory=f"{size}M")["cell"] != 1, True)
    must("kill", "first")
    run_tiny("second", "--cell", 1, memory=f"{size}M")
    must("kill", "second")
    must("kill", "third")


def test_nonsense_on_the_socket_costs_its_sender_alone():
    def talk(data):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(f"{lab.RUNTIME}/cell-0/monitor.sock")
            client.sendall(data)
            return json.loads(client.makefile().readline())

    for data in (b"ls\n", b"{}\n", b"\xff" * 3000 + b"\n", b'{"op":"ls","x":1}\n', b'{"op":"cell-down"}\n',
                 b"x" * 65536):
        equal(f"answer to {data[:20]!r}", talk(data)["ok"], False)
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(f"{lab.RUNTIME}/cell-0/monitor.sock")
    deaf.sendall(b'{"op":"ls"}\n' * 1000)
    equal("a good request", talk(b'{"op":"ping"}\n')["ok"], True)
    deaf.close()


def test_guests_outlive_all_monitors():
    pid = run_tiny("alone", "--cell", 3)["pid"]
    for cell in listing("ls")["cells"]:
        os.kill(cell["pid"], signal.SIGKILL)
    until("all monitors to be gone", lambda: cellvisor("ls")[0] == 8, 30)
    refuse(8, r"down --force", "down")
    must("up")
    equal("process of the guest", wait_state("alone", "running", 60)["pid"], pid)
    must("kill", "alone")


# --- guests --------------------------------------------------------------------------------------

GUESTS = {}


def start_all():
    if GUESTS:
        return
    for cell in range(NODES):
        name = f"g{cell}"
        extra = ["--cell", cell, "--disk", disk(f"{name}.img")]
        if cell == 3:
            extra += ["--vnuma", "2"]
        GUESTS[name] = run_guest(name, *extra, memory=f"{256 + 32 * cell}M", cpus=2 if cell in (2, 3) else 1)
    for console in GUESTS.values():
        console.wait_ready()


def test_guests_boot_one_on_each_cell():
    start_all()
    rows = listing("ls")["guests"]
    equal("guests", [(g["name"], g["cell"], g["state"]) for g in rows if g["state"] != "stopped"],
          [(f"g{n}", n, "running") for n in range(NODES)])


def test_name_taken_is_refused():
    refuse(7, r"g1", "run", "g1", "--kernel", KERNEL, "--initrd", INITRD, "--memory", "256M")


def test_guest_sees_the_cpus_and_memory_it_was_given():
    for cell, (name, console) in enumerate(GUESTS.items()):
        info = console.ask("info")
        equal(f"CPUs of {name}", info["cpus_online"], 2 if cell in (2, 3) else 1)
        asked = (256 + 32 * cell) * MIB
        usable = info["memory_bytes"]
        check(asked * 0.75 < usable <= asked, f"{name} sees {usable} bytes of {asked}")


def test_guest_sees_the_vnuma_it_was_given():
    equal("nodes of g1", len(GUESTS["g1"].ask("info")["nodes"]), 1)
    nodes = GUESTS["g3"].ask("info")["nodes"]
    equal("nodes of g3", len(nodes), 2)
    equal("CPUs by node of g3", [n["cpus"] for n in nodes], [[0], [1]])
    for n, node in enumerate(nodes):
        check(node["memory_bytes"] > 90 * MIB, f"node {n} of g3 has {node['memory_bytes']} bytes")
        equal("distance to itself", node["distances"][n], 10)
        check(all(d >= 10 for d in node["distances"]), f"distances {node['distances']}")


def test_every_touched_page_is_on_its_node():
    for cell, (name, console) in enumerate(GUESTS.items()):
        pid = guest_row(name)["pid"]
        counts = lab.nodes_of_ram(pid)
        check(sum(counts.values()) * lab.PAGE > 48 * MIB, f"{name} touched only {counts} pages")
        equal(f"nodes with pages of {name}", set(counts), {cell})
        check(console.beats[-1][3] == "ok", f"{name}: a wrong checksum")


def test_every_vcpu_runs_on_its_nodes_cpus():
    for cell, name in enumerate(GUESTS):
        threads = lab.cpus_of_threads(guest_row(name)["pid"], r"vcpu")
        equal(f"vCPU threads of {name}", len(threads), 2 if cell in (2, 3) else 1)
        for thread, cpus in threads.items():
            check(cpus and cpus <= lab.cpus_of_node(cell), f"{name} {thread} may run on CPUs {cpus}")


def test_disk_survives_fsync_and_reboot():
    console = GUESTS["g1"]
    console.ask("disk-write 42 8")
    console.ask("disk-verify 42 8")
    console.send("reboot")
    console.wait_ready(times=2)
    console.ask("disk-verify 42 8")
    try:
        console.ask("disk-verify 43 8")
    except Failed:
        pass
    else:
        raise Failed("the guest's disk check accepts a wrong pattern: this test can't fail")
    equal("reboots", guest_row("g1")["reboots"], 1)
    with open(os.path.join(WORK, "g1.img"), "rb") as file:
        check(any(file.read(8 * MIB)), "nothing reached the disk image")


def test_console_command_types_and_prints():
    done = subprocess.run([lab.CELLVISOR, "console", "g2", "--log"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False)
    equal("exit status", done.returncode, 0)
    check("cv-ready" in done.stdout, f"the console's log lacks what the guest said: {done.stdout[-200:]!r}")


def beats_go_on(names, work):
    """Runs work() and checks that each of these guests goes on beating, with right sums."""
    before = {name: len(GUESTS[name].beats) for name in names}
    work()
    for name in names:
        GUESTS[name].wait_beats(3)
        fresh = GUESTS[name].beats[before[name]:]
        sequence = [beat[1] for beat in fresh]
        equal(f"heartbeats of {name} in sequence", sequence, list(range(sequence[0], sequence[0] + len(fresh))))
        check(all(beat[3] == "ok" for beat in fresh), f"{name}: wrong sums in its memory")


def monitor_comes_back(cell, old, seconds=60):
    def back():
        row = cell_row(cell)
        return row["state"] == "alive" and row["pid"] not in (0, old) and row
    return until(f"a new monitor of cell {cell}", back, seconds)


def kill_monitor(cell, signum):
    old = cell_row(cell)["pid"]
    guest = guest_row(f"g{cell}")["pid"]
    incarnation = cell_row(cell)["incarnation"]

    def hurt():
        os.kill(old, signum)
        row = monitor_comes_back(cell, old)
        check(row["incarnation"] > incarnation, f"incarnation {row['incarnation']} after {incarnation}")

    beats_go_on(list(GUESTS), hurt)
    row = wait_state(f"g{cell}", "running")
    equal("process of the guest", row["pid"], guest)
    must("show", f"g{cell}")


def test_a_killed_monitor_costs_no_guest():
    kill_monitor(1, signal.SIGKILL)


def test_a_stopped_monitor_costs_no_guest():
    kill_monitor(2, signal.SIGSTOP)


def test_a_killed_guest_process_hurts_nobody_else():
    run_guest("victim", "--cell", 1).wait_ready()
    pid = guest_row("victim")["pid"]
    beats_go_on(list(GUESTS), lambda: os.kill(pid, signal.SIGKILL))
    wait_state("victim", "crashed")
    events = [e for e in listing("events")["events"] if e.get("guest") == "victim"]
    check(any("signal 9" in e["cause"] for e in events), f"no event names the cause: {events}")


# --- memory errors -------------------------------------------------------------------------------

HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
HURT = []


def hurt_guest():
    """A guest of cell 1 with a disk and two CPUs, that memory errors strike again and again."""
    if not HURT:
        HURT.append(run_guest("hurt", "--cell", 1, "--disk", disk("hurt.img"), memory="192M", cpus=2,
                              cmdline="nokaslr panic=-1"))
        HURT[0].wait_ready()
    return HURT[0]


def inject(name, *args):
    return json.loads(must("inject", "memory-error", name, "--json", *args))


def record_of(name, gpa, **wanted):
    """Waits until `show` lists the page as lost, with these values; returns the record."""
    def found():
        for m in listing("show", name).get("memory_errors", []):
            if m["gpa"] == gpa and all(m.get(key) == value for key, value in wanted.items()):
                return m
        return None
    return until(f"the page at {gpa:#x} of {name} to be recorded with {wanted}", found, 60)


def events_of(name, event):
    return [e for e in listing("events")["events"] if e.get("guest") == name and e["event"] == event]


def others_go_on(console, work):
    """work() strikes the guest of this console; neither it nor any other stops beating."""
    GUESTS[console.name] = console
    try:
        beats_go_on(list(GUESTS), work)
    finally:
        del GUESTS[console.name]


def frame_of(pid, gpa):
    """The host's frame behind a page of guest RAM below 3 GiB."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        start = next(int(line.split("-")[0], 16) for line in maps if "memfd:cv-ram" in line)
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        pagemap.seek((start + gpa) // lab.PAGE * 8)
        entry = int.from_bytes(pagemap.read(8), "little")
    return entry & (1 << 55) - 1 if entry >> 63 else None


def correct_errors(frame):
    """One corrected error of this frame from each CPU: enough to have it retired."""
    for cpu in range(2 * NODES):
        subprocess.run(["boxctl", "mce", "--cpu", str(cpu), "--bank", "4", "--status", "0x9400400000080813",
                        "--addr", f"{frame * lab.PAGE:#x}"], check=True, stdout=subprocess.DEVNULL)


def retire(cell, frame):
    correct_errors(frame)
    return until_retired(cell, frame)


def until_retired(cell, frame):
    said = f"page frame {frame:#x} "
    return until(f"{said} of cell {cell} to be retired", lambda: next(
        (e for e in listing("events")["events"] if e["event"] == "page-retired" and said in e["cause"]), None), 60)


def errors_of_node(cell):
    return cell_row(cell)["corrected_errors"]["nodes"][0]


OWNED = []  # the page of a process in "hurt" that lives


def owned_page(console):
    if not OWNED:
        OWNED.append(console.ask("owner")["gpa"])
    return OWNED[0]


def test_a_page_with_corrected_errors_is_retired_unnoticed():
    console = hurt_guest()

    def hurt():
        gpa = owned_page(console)
        pid = guest_row("hurt")["pid"]
        frame = frame_of(pid, gpa)
        equal("cell of the event", retire(1, frame)["cell"], 1)
        equal("the owner", console.ask("owner-touch")["intact"], True)
        check(frame_of(pid, gpa) not in (None, frame), "the page is where it was")
        equal("nodes of its RAM", set(lab.nodes_of_ram(pid)), {1})
        seen = cell_row(1)["corrected_errors"]
        equal("pages", [(p["node"], p["state"]) for p in seen["pages"] if p["frame"] == frame], [(1, "retired")])
        equal("node", [(n["node"], n["retired"], n["failing"]) for n in seen["nodes"]], [(1, 1, False)])
        check(seen["dimms"] and all("bank 4" in d["dimm"] for d in seen["dimms"]), seen["dimms"])

    others_go_on(console, hurt)
    equal("lost pages", guest_row("hurt")["memory_error_count"], 0)


def test_corrected_errors_are_heard_after_the_reader_died():
    """The lowest cell reads the kernel's trace for all; the trace waits for its next monitor."""
    console = hurt_guest()
    frame = frame_of(guest_row("hurt")["pid"], owned_page(console))
    old = cell_row(0)["pid"]
    os.kill(old, signal.SIGKILL)
    correct_errors(frame)
    monitor_comes_back(0, old)
    until_retired(1, frame)
    equal("the owner", console.ask("owner-touch")["intact"], True)


def test_a_memory_error_kills_only_the_process_that_owned_the_page():
    console = hurt_guest()

    def hurt():
        gpa = OWNED.pop() if OWNED else console.ask("owner")["gpa"]
        equal("the owner", console.ask("owner-touch")["intact"], True)
        frame = inject("hurt", "--gpa", gpa)["frame"]
        seen = record_of("hurt", gpa)
        equal("frame and node", (seen.get("frame"), seen.get("node")), (frame, 1))
        equal("the owner", console.ask("owner-touch"), {"alive": False, "intact": False, "signal": 7})
        record_of("hurt", gpa, end="told", frame=frame, node=1)
        check("vcpu" in record_of("hurt", gpa), "nobody is said to have used the page")
        check(console.ask("kernel-log Hardware")["lines"] > 0, "the guest's kernel tells of no error")
        check(any(f"{gpa:#x} on node 1" in e["cause"] and "told" in e["cause"]
                  for e in events_of("hurt", "guest-memory-error")), "no event tells of it")

    others_go_on(console, hurt)
    row = guest_row("hurt")
    equal("state and errors in ls", (row["state"], row["memory_error_count"]), ("running", 1))


def test_early_news_of_a_memory_error_reach_the_guest():
    console = hurt_guest()

    def hurt():
        console.ask("look-for-errors")
        gpa = console.ask("owner")["gpa"]
        inject("hurt", "--gpa", gpa, "--machine-check")
        record_of("hurt", gpa, end="told")
        until("the guest's kernel to give the page up",
              lambda: console.ask(f"kernel-log {gpa >> 12:#x}:")["lines"] > 0, 60)
        check("vcpu" not in record_of("hurt", gpa), "somebody used the page")
        equal("the owner", console.ask("owner-touch"), {"alive": False, "intact": False, "signal": 7})
        check("vcpu" not in record_of("hurt", gpa), "the guest still used the page")

    others_go_on(console, hurt)


def test_a_lost_buffer_is_an_io_error():
    console = hurt_guest()

    def hurt():
        gpa = console.ask("owner")["gpa"]
        console.ask("owner-write-disk")
        inject("hurt", "--gpa", gpa)
        record_of("hurt", gpa)
        try:
            console.ask("owner-write-disk")
        except Failed as failed:
            check("Input/output error" in str(failed), str(failed))
        else:
            raise Failed("a lost page was written to the disk")
        console.ask("disk-write 7 4")
        console.ask("disk-verify 7 4")
        equal("the owner, which then uses the page", console.ask("owner-touch")["signal"], 7)

    others_go_on(console, hurt)


def test_a_guest_with_lost_pages_gets_fresh_ones_at_its_reboot():
    console = hurt_guest()
    pid = guest_row("hurt")["pid"]

    def hurt():
        gpa = console.ask("owner")["gpa"]
        inject("hurt", "--gpa", gpa)
        record_of("hurt", gpa)
        console.send("reboot")
        console.wait_ready(times=2)
        equal("what its memory holds", console.ask("fill 64")["intact"], True)

    beats_go_on(list(GUESTS), hurt)
    equal("process and reboots", (guest_row("hurt")["pid"], guest_row("hurt")["reboots"]), (pid, 1))
    must("stop", "hurt")
    check(guest_row("hurt")["memory_error_count"] > 0, "its errors are forgotten")


def test_a_guest_that_cannot_be_told_ends():
    run_tiny("blunt", "--cell", 1, kernel=TINY_TOUCH)
    beats_go_on(list(GUESTS), lambda: inject("blunt", "--gpa", TINY_TOUCHED))
    row = wait_state("blunt", "crashed")
    check(re.search(r"memory error at guest address 0x2000000 on node 1\b.*could not be told", row["cause"]), str(row))


def test_untouched_pages_are_healed_unnoticed():
    with open(HUGE, encoding="ascii") as file:
        setting = re.search(r"\[(\w+)\]", file.read())[1]
    lab.write_text(HUGE, "advise")
    console = run_guest("healing", "--cell", 2, "--heal", memory="192M")
    console.wait_ready()
    lab.write_text(HUGE, setting)
    check(lab.huge_bytes_of_ram(guest_row("healing")["pid"]) >= 32 * MIB, "its memory is not in huge pages")

    def hurt():
        unused = [inject("healing", "--random", "--unused")["gpa"] for _ in range(12)]
        equal("what a full memory holds", console.ask("fill 64")["intact"], True)
        lost = [m for m in listing("show", "healing")["memory_errors"] if m["gpa"] in unused]
        check(lost and all(m["end"] == "healed" and "vcpu" in m for m in lost), f"not healed in use: {lost}")

    others_go_on(console, hurt)
    equal("what the guest noticed", console.ask("kernel-log Hardware")["lines"], 0)
    # A page that moves out of a huge one because its frame has corrected errors is whole.
    gpa = console.ask("owner")["gpa"]
    frame = frame_of(guest_row("healing")["pid"], gpa)
    retire(2, frame)
    equal("the owner", console.ask("owner-touch")["intact"], True)
    check(frame_of(guest_row("healing")["pid"], gpa) != frame, "the page is where it was")
    inject("healing", "--gpa", gpa)
    equal("the owner of a page that was touched", console.ask("owner-touch")["signal"], 7)
    equal("what is lost of a huge page", record_of("healing", gpa, end="told")["bytes"], 4096)
    must("kill", "healing")


def test_a_page_of_the_initrd_is_healed_with_the_right_bytes():
    pid = run_tiny("unread", "--cell", 1, "--heal", "--initrd", INITRD)["pid"]
    with open(INITRD, "rb") as file:
        wanted = file.read()
    at = 64 * MIB - (len(wanted) + 4095) // 4096 * 4096  # as high as RAM goes
    equal("the initrd in its place", lab.read_ram(pid, at, 8 * 4096), wanted[:8 * 4096])
    inject("unread", "--gpa", at + 5 * 4096)
    equal("source", record_of("unread", at + 5 * 4096, end="healed")["source"], "what was loaded")
    equal("the initrd after it", lab.read_ram(pid, at, 8 * 4096), wanted[:8 * 4096])
    must("kill", "unread")


def test_a_memory_error_in_a_guest_process_ends_only_that_guest():
    pid = run_tiny("inner", "--cell", 1)["pid"]

    def hurt():
        check(lab.poison_area(pid, "[heap]"), "no page was poisoned")
        cellvisor("show", "inner")

    beats_go_on(list(GUESTS), hurt)
    row = wait_state("inner", "crashed")
    check(re.search(r"own memory|signal", row["cause"]), str(row))


def test_a_memory_error_in_a_monitor_costs_no_guest():
    old = cell_row(3)["pid"]
    guest = guest_row("g3")["pid"]

    def hurt():
        check(lab.poison_area(old, "[heap]"), "no page was poisoned")
        monitor_comes_back(3, old)

    beats_go_on(list(GUESTS), hurt)
    equal("process of the guest", wait_state("g3", "running")["pid"], guest)


def test_memory_errors_that_cannot_be_injected_are_refused():
    refuse(3, r"nobody", "inject", "memory-error", "nobody", "--random")
    equal("exit status without a page", cellvisor("inject", "memory-error", "g0")[0], 2)
    refuse(4, r"no RAM", "inject", "memory-error", "g0", "--gpa", "0xfffffff000")


def test_stop_presses_the_power_button():
    run_guest("leaving", "--cell", 0).wait_ready()
    must("stop", "leaving")
    check(guest_row("leaving") is None or guest_row("leaving")["state"] == "stopped", str(guest_row("leaving")))


def test_power_off_from_inside():
    console = run_guest("off", "--cell", 0)
    console.wait_ready()
    console.send("poweroff")
    wait_state("off", "stopped")


def test_kill_ends_a_guest_at_once():
    run_guest("short", "--cell", 0)
    pid = guest_row("short")["pid"]
    must("kill", "short")
    check(not os.path.exists(f"/proc/{pid}"), "the process lives on")


def test_placement_says_why():
    out = must("run", "placed", "--kernel", KERNEL, "--initrd", INITRD, "--memory", "256M")
    row = guest_row("placed")
    check(f"cell {row['cell']}" in out and "because" in out or ":" in out, f"no reason in words: {out!r}")
    must("kill", "placed")


# --- loans of memory between cells -----------------------------------------------------------------

def loans_agree():
    """What one cell holds, another has lent, line by line, and the sums are the sums of the lines."""
    cells = listing("ls")["cells"]
    keys = ("id", "lender", "borrower", "guest", "node", "bytes")
    held, lent = ([tuple(line[key] for key in keys) for cell in cells for line in cell["loans"]
                   if line["state"] == state] for state in ("held", "lent"))
    for cell in cells:
        equal("lent", cell["lent_bytes"], sum(x["bytes"] for x in cell["loans"] if x["state"] == "lent"))
        equal("borrowed", cell["borrowed_bytes"], sum(x["bytes"] for x in cell["loans"] if x["state"] == "held"))
    check(all(line["state"] in ("held", "lent") for cell in cells for line in cell["loans"]) and
          sorted(held) == sorted(lent), f"the books differ: held {held}, lent {lent}")
    return held


def wait_loans(wanted):
    """Waits until the books agree on so many loans, which may take a message or two."""
    def agreed():
        try:
            return len(loans_agree()) == wanted
        except Failed:
            return False
    until(f"both books to have {wanted} loans: {[c['loans'] for c in listing('ls')['cells']]}", agreed, 60)


def memory_of(name):
    return {part["node"]: part["bytes"] for part in guest_row(name)["memory"]}


def pages_fit_the_books(name):
    """Nothing of the guest is on a node where the books have nothing, or less."""
    books, pages = memory_of(name), lab.nodes_of_ram(guest_row(name)["pid"])
    for node, count in pages.items():
        check(count * lab.PAGE <= books.get(node, 0), f"{name} has {count} pages on node {node}, its books {books}")
    return pages


def goes_on(console):
    before = len(console.beats)
    console.wait_beats(3)
    check(all(beat[3] == "ok" for beat in console.beats[before:]), f"{console.name}: wrong sums in its memory")


def node_free(node):
    with open(f"/sys/devices/system/node/node{node}/meminfo", encoding="ascii") as file:
        return int(re.search(r"MemFree:\s+(\d+) kB", file.read())[1]) * 1024


LOANS = {}


def test_loan_is_moved_counted_and_given_back():
    console = LOANS["lb"] = run_guest("lb", "--cell", 0, "--cells-max", 3)
    console.wait_ready()
    run_tiny("alone")
    refuse(4, r"--cells-max", "borrow", "alone", "--size", "4M")
    must("kill", "alone")
    refuse(7, r"not running", "borrow", "alone", "--size", "4M")
    refuse(3, r"nobody", "give-back", "nobody")
    refuse(2, r"2 MiB", "borrow", "lb", "--size", "3M")
    refuse(4, r"home", "borrow", "lb", "--size", "4M", "--from", 0)
    refuse(3, r"cell 9", "borrow", "lb", "--size", "4M", "--from", 9)
    refuse(5, r"lends only|does not lend", "borrow", "lb", "--size", "60G", "--from", 1)
    refuse(7, r"borrowed nothing", "give-back", "lb")
    wait_loans(0)
    free = node_free(1)
    report = listing("borrow", "lb", "--size", "192M", "--from", 1)
    equal("node", (report["lender"], report["node"], report["bytes"]), (1, 1, 192 * MIB))
    taken = free - node_free(1)
    pages = pages_fit_the_books("lb")
    equal("memory", memory_of("lb"), {0: 64 * MIB, 1: 192 * MIB})
    equal("needs", guest_row("lb")["needs"], [0, 1])
    check(pages[1] >= report["pages"] > 4000, f"{report} but {pages}")
    # The guest touches new pages meanwhile, so the two listings of the kernel differ a little.
    maps = lab.numa_maps_of_ram(guest_row("lb")["pid"])
    check(set(maps) == set(pages) and all(abs(maps[n] - pages[n]) < 1024 for n in pages), f"{maps} but {pages}")
    check(abs(taken - report["pages"] * lab.PAGE) < 24 * MIB, f"node 1 has {taken} less, {report} was moved")
    wait_loans(1)
    goes_on(console)
    second = listing("borrow", "lb", "--size", "4M")
    equal("a lender that it needs already is asked before others", second["lender"], 1)
    third = listing("borrow", "lb", "--size", "4M", "--from", 3)
    equal("needs", guest_row("lb")["needs"], [0, 1, 3])
    refuse(4, r"--cells-max", "borrow", "lb", "--size", "4M", "--from", 2)
    wait_loans(3)
    pages_fit_the_books("lb")
    back = listing("give-back", "lb", "--from", 1)
    equal("given back", back["bytes"], 196 * MIB)
    equal("memory", memory_of("lb"), {0: 252 * MIB, 3: 4 * MIB})
    equal("needs", guest_row("lb")["needs"], [0, 3])
    equal("nodes", 1 in pages_fit_the_books("lb"), False)
    wait_loans(1)
    equal("the last loan", (third["bytes"], cell_row(3)["lent_bytes"]), (4 * MIB, 4 * MIB))
    must("give-back", "lb")
    equal("needs", guest_row("lb")["needs"], [0])
    equal("nodes", set(pages_fit_the_books("lb")), {0})
    wait_loans(0)
    goes_on(console)


def test_loan_outlives_the_monitors():
    console = LOANS["lb"]
    report = listing("borrow", "lb", "--size", "64M", "--from", 1)
    for cell in (0, 1):
        old = cell_row(cell)["pid"]
        os.kill(old, signal.SIGKILL)
        monitor_comes_back(cell, old)
        wait_state("lb", "running")
        wait_loans(1)
        equal("needs", guest_row("lb")["needs"], [0, 1])
        equal("memory", memory_of("lb"), {0: 192 * MIB, 1: 64 * MIB})
        goes_on(console)
    check(pages_fit_the_books("lb")[1] >= report["pages"], "pages have left their node")
    # Both at work, and one of them dies: either way the books agree, and nothing is lost.
    for cell in (0, 1):
        work = subprocess.Popen([lab.CELLVISOR, "borrow", "lb", "--size", "128M", "--from", "1"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        old = cell_row(cell)["pid"]
        os.kill(old, signal.SIGKILL)
        monitor_comes_back(cell, old)
        work.wait(timeout=330)
        wait_state("lb", "running")
        until("the loan to be all or nothing", lambda: memory_of("lb") in (
            {0: 192 * MIB, 1: 64 * MIB}, {0: 64 * MIB, 1: 192 * MIB}), 60)
        until("its pages to be where the books have them", lambda: fits("lb"), 60)
        wait_loans(len(memory_of("lb")) - 1 + (memory_of("lb")[1] > 64 * MIB))
        goes_on(console)
        until("memory to be at rest", lambda: cellvisor("give-back", "lb")[0] == 0, 60)
        wait_loans(0)
        equal("needs", guest_row("lb")["needs"], [0])
        must("borrow", "lb", "--size", "64M", "--from", 1)
    # A guest that ends while its memory is moved gives everything back.
    work = subprocess.Popen([lab.CELLVISOR, "borrow", "lb", "--size", "128M", "--from", "1"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    must("kill", "lb")
    work.wait(timeout=330)
    wait_loans(0)
    equal("what is lent", cell_row(1)["lent_bytes"], 0)


def fits(name):
    try:
        return pages_fit_the_books(name)
    except Failed:
        return False


def test_loan_lets_a_guest_start_that_is_larger_than_any_cell():
    largest = max(cell["free_bytes"] for cell in listing("ls")["cells"])
    size = largest // MIB // 2 * 2 + 128
    wide = ["--kernel", KERNEL, "--initrd", INITRD, "--memory", f"{size}M", "--cmdline", "console=ttyS0 quiet cv.mem=32"]
    refuse(5, r"--cells-max", "run", "wide", *wide)
    said = must("run", "wide", *wide, "--cells-max", 2)
    check("borrowed of cell" in said, said)
    row = guest_row("wide")
    lender = next(part["lender"] for part in row["memory"] if "lender" in part)
    equal("needs", row["needs"], sorted([row["cell"], lender]))
    equal("memory", sum(part["bytes"] for part in row["memory"]), size * MIB)
    wait_loans(1)
    # All that is free is promised now: nobody else gets it.
    refuse(5, r"free", "run", "more", "--kernel", TINY_HOLD, "--memory", "1G", "--cell", row["cell"])
    console = lab.console_of("wide")
    console.wait_ready()
    pages_fit_the_books("wide")
    goes_on(console)
    check(console.ask("info")["memory_bytes"] > size * MIB * 0.8, "the guest does not see its memory")
    must("kill", "wide")
    wait_loans(0)
    equal("needs of nobody", [g for g in listing("ls")["guests"] if g["state"] == "running" and len(g["needs"]) > 1], [])


def test_loan_of_two_who_start_on_the_same_memory_one_gets_it():
    size = sum(cell["free_bytes"] for cell in listing("ls")["cells"]) * 6 // 10 // MIB // 2 * 2
    words = ["--kernel", TINY_HOLD, "--memory", f"{size}M", "--cells-max", "4"]
    runs = [subprocess.Popen([lab.CELLVISOR, "run", f"half{n}", *words], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True) for n in range(2)]
    said = [run.communicate(timeout=240)[1] for run in runs]
    equal(f"exit statuses ({said})", sorted(run.returncode for run in runs), [0, 5])
    live = [g for g in listing("ls")["guests"] if g["name"].startswith("half") and g["state"] == "running"]
    equal("guests", len(live), 1)
    wait_loans(len(live[0]["memory"]) - 1)
    equal("memory", sum(part["bytes"] for part in live[0]["memory"]), size * MIB)
    must("kill", live[0]["name"])
    wait_loans(0)


def test_loan_ends_by_itself_when_there_is_room():
    run_tiny("filler", "--cell", 1, memory=f"{cell_row(1)['free_bytes'] // MIB // 2 * 2 - 160}M")
    console = run_guest("roomy", "--cell", 1, "--cells-max", 2)
    row = guest_row("roomy")
    equal("number of cells it needs", len(row["needs"]), 2)
    console.wait_ready()
    wait_loans(1)
    pages_fit_the_books("roomy")
    must("kill", "filler")
    until("the guest to be home again", lambda: guest_row("roomy")["needs"] == [1], 60)
    equal("memory", memory_of("roomy"), {1: 256 * MIB})
    wait_loans(0)
    equal("nodes", set(pages_fit_the_books("roomy")), {1})
    goes_on(console)
    # Its home gets short, so it borrows by itself; then its lender does, and wants it back.
    run_tiny("filler", "--cell", 1, memory=f"{cell_row(1)['free_bytes'] // MIB // 2 * 2}M")
    lender = until("the guest to borrow", lambda: [n for n in guest_row("roomy")["needs"] if n != 1], 60)[0]
    wait_loans(1)
    # Its pages count at home until they have moved.
    until("32 MiB to be free at home", lambda: cell_row(1)["free_bytes"] // MIB == 32, 60)
    pages_fit_the_books("roomy")
    must("kill", "filler")
    until("the guest to be home again", lambda: guest_row("roomy")["needs"] == [1], 60)
    must("borrow", "roomy", "--size", "64M", "--from", lender)
    run_tiny("filler", "--cell", lender, memory=f"{cell_row(lender)['free_bytes'] // MIB // 2 * 2}M")
    until("the lender to get what it needs", lambda: cell_row(lender)["free_bytes"] >= 32 * MIB, 60)
    equal("what is still lent", cell_row(lender)["lent_bytes"] // MIB, 32)
    wait_loans(1)
    goes_on(console)
    events = [e["event"] for e in listing("events")["events"] if e.get("guest") == "roomy"]
    check(events.count("memory-borrowed") == 2 and events.count("memory-returned") >= 2, str(events))
    must("kill", "filler")
    must("kill", "roomy")
    wait_loans(0)


# --- guests that move to other cells ---------------------------------------------------------------

def own_pages(pid):
    """Pages of a guest process by node, without those of the kernel's own that it lets it see."""
    counts = {}
    with open(f"/proc/{pid}/numa_maps", encoding="ascii") as maps:
        for line in maps:
            if " file=anon_inode:" not in line:
                for node, pages in re.findall(r"\bN(\d+)=(\d+)", line):
                    counts[int(node)] = counts.get(int(node), 0) + int(pages)
    return counts


def lives_on(name, cell, pid):
    """The guest is at home there and nowhere else, with all that it has."""
    rows = [row for row in listing("ls")["guests"] if row["name"] == name and row["state"] == "running"]
    equal("homes, process and needs", [(row["cell"], row["pid"], row["needs"]) for row in rows], [(cell, pid, [cell])])
    equal("memory", {part["node"] for part in rows[0]["memory"]}, {cell})
    equal("nodes of its RAM", set(lab.nodes_of_ram(pid)), {cell})
    equal("nodes of its process", set(own_pages(pid)), {cell})
    for thread, cpus in lab.cpus_of_threads(pid, ".").items():
        check(cpus <= lab.cpus_of_node(cell), f"{thread} may run on {cpus}")
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        check(f"cell-{cell}/{name}" in file.read(), "it is in another cell's control group")
    check(os.path.exists(f"{lab.RUNTIME}/cell-{cell}/guests/{name}/console.sock"), "its folder is elsewhere")


def settled(name, cell, pid):
    try:
        lives_on(name, cell, pid)
    except (Failed, OSError) as failed:
        settled.why = failed
        return False
    return True


def wait_home(name, cell, pid):
    try:
        until("home", lambda: settled(name, cell, pid), 60)
    except Failed:
        raise settled.why from None
    wait_loans(0)


MOVES = {}


def test_move_takes_a_guest_to_another_cell():
    console = MOVES["mv"] = run_guest("mv", "--cell", 0, "--disk", disk("mv.img"), cpus=2)
    console.wait_ready()
    pid = guest_row("mv")["pid"]
    wait_home("mv", 0, pid)
    refuse(2, r"--cell", "move", "mv")
    refuse(3, r"cell 9", "move", "mv", "--cell", 9)
    refuse(3, r"no guest", "move", "nobody", "--cell", 1)
    refuse(7, r"already", "move", "mv", "--cell", 0)
    report = listing("move", "mv", "--cell", 1)
    equal("moved", (report["from"], report["to"], report["bytes"]), (0, 1, 256 * MIB))
    wait_home("mv", 1, pid)
    goes_on(console)
    console.ask("disk-write 42 8")
    console.ask("disk-verify 42 8")
    goes_on(lab.console_of("mv"))
    events = [e["event"] for e in listing("events")["events"] if e["guest"] == "mv"]
    check("guest-moved" in events and "guest-adopted" in events, events)
    # Its new monitor can be replaced, and is then found again.
    old = cell_row(1)["pid"]
    os.kill(old, signal.SIGKILL)
    monitor_comes_back(1, old)
    wait_state("mv", "running")
    wait_home("mv", 1, pid)
    goes_on(console)


def test_move_that_has_no_room_changes_nothing():
    run_tiny("full", "--cell", 2, memory=f"{cell_row(2)['free_bytes'] // MIB // 2 * 2 - 64}M")
    pid = guest_row("mv")["pid"]
    refuse(5, r"no room", "move", "mv", "--cell", 2)
    wait_home("mv", 1, pid)
    must("kill", "full")
    goes_on(MOVES["mv"])


def test_move_survives_the_death_of_either_monitor():
    """At whatever moment: it ends up with one home, and that one has all of it."""
    console = MOVES["mv"]
    pid = guest_row("mv")["pid"]
    here = 1
    for n, delay in enumerate((0.15, 0.6)):
        there = 1 - here
        victim = (here, there)[n % 2]
        old = cell_row(victim)["pid"]
        work = subprocess.Popen([lab.CELLVISOR, "move", "mv", "--cell", str(there)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        os.kill(old, signal.SIGKILL)
        monitor_comes_back(victim, old)
        work.wait(timeout=330)
        wait_state("mv", "running")
        until("a home", lambda: settled("mv", here, pid) or settled("mv", there, pid), 120)
        wait_loans(0)
        here = guest_row("mv")["cell"]
        goes_on(console)
    must("kill", "mv")


def live_on(cell):
    return [row["name"] for row in listing("ls")["guests"] if row["cell"] == cell and row["state"] == "running"]


def test_drain_empties_a_cell_and_undrain_opens_it():
    refuse(3, r"cell 9", "drain", 9)
    console = run_guest("dr", "--cell", 1)
    console.wait_ready()
    pid = guest_row("dr")["pid"]
    lender = run_guest("dl", "--cell", 2, "--cells-max", 2)
    lender.wait_ready()
    must("borrow", "dl", "--size", "32M", "--from", 1)
    before = live_on(1)
    must("drain", 1)
    equal("state", cell_row(1)["state"], "drained")
    equal("lent", cell_row(1)["lent_bytes"], 0)
    rows = {row["name"]: row for row in listing("ls")["guests"] if row["state"] == "running"}
    check(all(rows[name]["cell"] != 1 for name in before), f"some of {before} are still there")
    wait_home("dr", rows["dr"]["cell"], pid)
    equal("needs of the borrower", rows["dl"]["needs"], [2])
    goes_on(console)
    goes_on(lender)
    refuse(7, r"undrain", "run", "no", "--kernel", TINY_HOLD, "--memory", "64M", "--cell", 1)
    refuse(7, r"undrain", "move", "dr", "--cell", 1)
    # It stays closed whatever becomes of its monitor.
    old = cell_row(1)["pid"]
    os.kill(old, signal.SIGKILL)
    until("a new monitor", lambda: cell_row(1)["pid"] not in (0, old) and cell_row(1)["state"] == "drained", 60)
    check(run_tiny("else")["cell"] != 1, "a guest was placed on a drained cell")
    must("kill", "else")
    must("undrain", 1)
    equal("state", cell_row(1)["state"], "alive")
    for name in before:
        must("move", name, "--cell", 1)
    wait_home("dr", 1, pid)
    for name in ("dr", "dl"):
        must("kill", name)


def test_drain_follows_too_many_corrected_errors():
    start_all()
    before = live_on(2)
    pid = guest_row("g2")["pid"]
    pages = (gpa for gpa in range(64 * MIB, 160 * MIB, lab.PAGE) if frame_of(pid, gpa))

    def hurt():
        for _ in range(DRAIN_AFTER // RETIRE_AFTER):
            if cell_row(2)["state"] == "alive":
                retire(2, frame_of(pid, next(pages)))
        until("its cell to be drained", lambda: cell_row(2)["state"] == "drained", 180)

    beats_go_on(list(GUESTS), hurt)
    row = errors_of_node(2)
    equal("node", (row["node"], row["failing"]), (2, True))
    check(row["errors"] >= DRAIN_AFTER, row)
    failing = [e for e in listing("events")["events"] if e["event"] == "node-failing"]
    equal("events", [(e["cell"], e["by"]) for e in failing], [(2, 2)])
    equal("who is left", live_on(2), [])
    equal("nodes of g2", 2 in lab.nodes_of_ram(pid), False)
    must("undrain", 2)
    equal("node", [(n["errors"], n["failing"]) for n in cell_row(2)["corrected_errors"]["nodes"]], [(0, False)])
    for name in before:
        must("move", name, "--cell", 2)


def test_drain_names_what_fits_nowhere():
    sizes = {cell: cell_row(cell)["free_bytes"] // MIB // 2 * 2 for cell in range(NODES)}
    big = max(sizes, key=sizes.get)
    others = [cell for cell in sizes if cell != big]
    before = live_on(big)
    run_tiny("whale", "--cell", big, memory=f"{sizes[big] - 64}M")
    for cell in others:
        run_tiny(f"fill{cell}", "--cell", cell, memory=f"{sizes[cell] - 256}M")
    refuse(5, r"'whale'", "drain", big)
    equal("it goes on", (guest_row("whale")["cell"], guest_row("whale")["state"]), (big, "running"))
    equal("state", cell_row(big)["state"], "draining")
    must("undrain", big)
    for name in ["whale"] + [f"fill{cell}" for cell in others]:
        must("kill", name)
    for name in set(before) - set(live_on(big)):
        must("move", name, "--cell", big)


def test_down_refuses_with_running_guests():
    refuse(7, r"g0.*--force|--force.*g0", "down")


# --- a node dies -----------------------------------------------------------------------------------

def test_loans_of_and_to_the_cell_that_will_die():
    for name, cell, lender in (("needy", 1, 2), ("orphan", 2, 3)):
        run_guest(name, "--cell", cell, "--cells-max", 2, memory="128M").wait_ready()
        # On a busy machine the monitor of a cell may just have been replaced.
        until(f"{name} to borrow", lambda: cellvisor("borrow", name, "--size", "32M", "--from", lender)[0] == 0, 60)
    wait_loans(2)
    until("all monitors to be there", lambda: all(c["state"] == "alive" for c in listing("ls")["cells"]), 60)


def test_a_guest_whose_vcpu_visits_a_cell_needs_it():
    run_tiny("roamer", "--cell", 0, "--cells-max", 2)
    until("its vCPU to be found", lambda: vcpus("roamer"), 20)
    must("move-vcpu", "roamer", "0", "--to-cpu", 4)
    equal("needs", needs("roamer"), [0, 2])
    # Its home's monitor may forget, not what its process keeps.
    old = cell_row(0)["pid"]
    os.kill(old, signal.SIGKILL)
    monitor_comes_back(0, old)
    until("the visit to be known again", lambda: visitors() == [(2, "roamer", 0, 0)], 30)
    time.sleep(5)
    row = vcpus("roamer")[0]
    equal("its place", (row["kernel"], row["held"], needs("roamer"), visitors()),
          ({4}, True, [0, 2], [(2, "roamer", 0, 0)]))


def test_a_dead_node_takes_only_its_guest():
    dead = 2
    others = [name for name in GUESTS if name != f"g{dead}"]
    beats_go_on(others, lambda: must("inject", "node-death", dead))
    lost = wait_state(f"g{dead}", "lost", 60)
    check("node" in lost["cause"], f"the cause is not told: {lost}")
    equal("state of the cell", cell_row(dead)["state"], "dead")
    for name in others:
        equal(f"state of {name}", guest_row(name)["state"], "running")
        GUESTS[name].ask("info")


def test_the_death_ended_the_guest_whose_vcpu_was_there():
    check("needed" in wait_state("roamer", "lost", 90)["cause"], str(guest_row("roamer")))


def test_no_process_of_the_dead_cell_is_left():
    until("all processes of cell 2 to be gone", lambda: not lab.members_of_cell(2), 60)


def test_a_dead_lender_takes_who_borrowed_of_it_and_a_dead_borrower_gives_back():
    if not guest_row("needy"):
        return
    until("the guest that needed the dead cell to end", lambda: guest_row("needy")["state"] in ("lost", "crashed"), 60)
    check(re.search(r"cell 2|needed|node 2", guest_row("needy")["cause"]), str(guest_row("needy")))
    equal("state of the guest of the dead cell", guest_row("orphan")["state"], "lost")
    wait_loans(0)
    equal("what is lent", [cell["lent_bytes"] for cell in listing("ls")["cells"]], [0] * NODES)


def test_the_events_tell_the_death():
    events = listing("events")["events"]
    told = [e for e in events if e.get("guest") == "g2" and e["event"] == "guest-lost"]
    check(told, f"no event tells that g2 was lost: {events[-5:]}")
    check(all(e.get(key) is not None for e in told for key in ("time", "cell", "guest", "cause")), str(told))


def test_survivors_still_start_guests():
    run_guest("after", memory="192M").wait_ready()
    refuse(3, r"cell 2.*dead|dead.*cell 2", "run", "x", "--kernel", KERNEL, "--initrd", INITRD,
           "--memory", "256M", "--cell", "2")


def test_a_stopped_guest_is_called_silent():
    pid = run_tiny("mute", "--cell", 1)["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_state("mute", "silent", 60)
    equal("state by show", listing("show", "mute")["state"], "silent")
    os.kill(pid, signal.SIGCONT)
    wait_state("mute", "running", 60)
    told = [e["event"] for e in listing("events")["events"] if e.get("guest") == "mute"]
    equal("events", [e for e in told if e in ("guest-silent", "guest-heard")], ["guest-silent", "guest-heard"])
    must("kill", "mute")


def next_life(name, pid, seconds=60):
    """The row of a guest once it runs in another process than this one."""
    def lives():
        row = guest_row(name)
        return row and row["state"] == "running" and row["pid"] != pid and row
    return until(f"guest {name} to be restarted", lives, seconds)


def test_a_crashed_guest_is_restarted_as_often_as_it_may():
    refuse(2, r"on-failure", "run", "x", "--kernel", TINY_HOLD, "--memory", "64M", "--restart", "always")
    refuse(2, r"attach", "run", "x", "--kernel", TINY_HOLD, "--memory", "64M", "--restart", "on-failure", "--attach")
    row = run_tiny("phoenix", "--cell", 1, "--restart", "on-failure:2")
    for life in (1, 2):
        os.kill(row["pid"], signal.SIGKILL)
        row = next_life("phoenix", row["pid"])
        equal("restarts", row["spec"]["restarts"], life)
    os.kill(row["pid"], signal.SIGKILL)
    wait_state("phoenix", "crashed")
    time.sleep(6)
    equal("state after the last", guest_row("phoenix")["state"], "crashed")
    causes = [e["cause"] for e in listing("events")["events"] if e["event"] == "guest-restarted"]
    equal("events of restarts", len([c for c in causes if "signal 9" in c]), 2)


def test_a_guest_that_waits_for_its_restart_can_be_given_up():
    for pid in (run_tiny("given-up", "--cell", 1, "--restart", "on-failure")["pid"],):
        os.kill(pid, signal.SIGKILL)
    wait_state("given-up", "crashed")
    check("not be restarted" in must("kill", "given-up"), "it is not said")
    time.sleep(4)
    equal("record", guest_row("given-up"), None)


def test_a_lost_guest_is_restarted_elsewhere():
    """One that may live anywhere, and happens to live on the cell that dies."""
    started = []
    while not started or started[-1]["cell"] != 3:
        check(len(started) < 12, f"none was placed on cell 3: {started}")
        started.append(run_tiny(f"r{len(started)}", "--restart", "on-failure:3"))
    name, pid = started[-1]["name"], started[-1]["pid"]
    must("inject", "node-death", 3)
    row = next_life(name, pid)
    check(row["cell"] != 3, str(row))
    told = [e["cause"] for e in listing("events")["events"] if e["event"] == "guest-restarted" and e["guest"] == name]
    equal(f"events of its restart: {told}", len(told), 1)
    for other in started:
        must("kill", other["name"])


def test_a_repaired_cell_comes_back():
    before = cell_row(3)
    equal("state", before["state"], "dead")
    refuse(3, r"cell 9", "revive", "9")
    refuse(7, r"not dead", "revive", "0")
    refuse(7, r"offline.*online", "revive", "3")
    for cpu in lab.parse_cpulist("6-7"):
        with open(f"/sys/devices/system/cpu/cpu{cpu}/online", "w", encoding="ascii") as file:
            file.write("1")
    must("revive", "3")
    equal("state", cell_row(3)["state"], "alive")
    run_tiny("again", "--cell", 3)
    pages = lab.nodes_of_ram(guest_row("again")["pid"])
    equal("nodes with pages", set(pages), {3})
    must("kill", "again")


# --- the end ---------------------------------------------------------------------------------------

def test_down_ends_everything():
    must("down", "--force")
    for cell in range(NODES):
        equal(f"processes of cell {cell}", lab.members_of_cell(cell), {})
    check(not os.path.exists(lab.RUNTIME) or not os.listdir(lab.RUNTIME), "the runtime directory is left behind")
    refuse(8, r"cellvisor up", "ls")


def guests_now():
    status, out, _ = cellvisor("ls", "--json")
    return [row for row in json.loads(out)["guests"] if row["pid"]] if status == 0 else []


def after_a_failure(before):
    """Says how the guests are, and ends those that the failed test started: the next ones need the room."""
    for row in guests_now():
        print(f"# guest {row['name']} on cell {row['cell']}: {row['state']}: {lab.threads_in_words(row['pid'])}", flush=True)
        if row["name"] not in before:
            cellvisor("kill", row["name"])
    print(f"# load {os.getloadavg()}", flush=True)
    kernel = subprocess.run(["dmesg", "--level=emerg,alert,crit,err,warn"], capture_output=True, text=True, check=False)
    print("".join(f"# {line}\n" for line in kernel.stdout.splitlines()[-8:]), end="", flush=True)


def main():
    wanted = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    bad = 0
    for name, function in list(globals().items()):
        if not name.startswith("test_") or not wanted.search(name):
            continue
        title = name[5:].replace("_", " ")
        start = time.monotonic()
        before = {row["name"] for row in guests_now()}
        try:
            function()
            print(f"ok {title} # {time.monotonic() - start:.1f} s", flush=True)
        except Exception as problem:
            bad += 1
            why = problem if isinstance(problem, Failed) else traceback.format_exc()
            print(f"not ok {title}: {why}", flush=True)
            after_a_failure(before)
    shutil.rmtree(WORK, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
