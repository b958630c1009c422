#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the box itself. Prints `ok NAME` or `not ok NAME: why` per test.

  box_selftest.py outside     everything: tables, QEMU played by a script, then two real starts;
                              the first one runs the checks of `inside` too
  box_selftest.py inside      in a running box: the control channel and what it causes
"""
import contextlib
import glob
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BOX = os.path.join(ROOT, "sim", "box", "box")
sys.path.insert(0, os.path.dirname(BOX))
from boxlib import common, control, freeze, kernel, life, machine, qemu  # noqa: E402

MIB = 1 << 20


class Failed(Exception):
    """A check that does not hold; its text says what was seen."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(what, got, wanted):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def until(what, condition, seconds=60):
    """Generous, since it only guards against hanging."""
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"waited {seconds} s for: {what}")
        time.sleep(0.05)


def box(*args, **more):
    """Runs box; its exit status and what it wrote."""
    done = subprocess.run([BOX, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
                          check=False, **more)
    return done.returncode, done.stdout, done.stderr


# --- outside, without a start ------------------------------------------------------------------

def out_wrong_command_lines_are_refused():
    table = [
        ([], "no command"),
        (["--"], "no command"),
        (["--", ""], "no command"),
        (["--nodes", "0", "--", "true"], "--nodes.*1 to"),
        (["--nodes", "x", "--", "true"], "--nodes.*'x'"),
        (["--nodes", "-1", "--", "true"], "--nodes"),
        (["--nodes", "99", "--", "true"], "--nodes"),
        (["--nodes", "31", "--memory-only", "2", "--", "true"], "--memory-only"),
        (["--cpus-per-node", "2,2", "--", "true"], "2 values for 4 nodes"),
        (["--cpus-per-node", "0", "--", "true"], "--cpus-per-node"),
        (["--cpus-per-node", "20", "--", "true"], "80 CPUs"),
        (["--cpus-per-node", "2,,2,2", "--", "true"], "''"),
        (["--memory-per-node", "2G,2G,2G", "--", "true"], "3 values for 4 nodes"),
        (["--memory-per-node", "lots", "--", "true"], "'lots'"),
        (["--memory-per-node", "2G,2G,2G,1M", "--", "true"], "node 3 needs at least 64M"),
        (["--memory-per-node", "128M,2G,2G,2G", "--", "true"], "node 0 needs at least 512M"),
        (["--memory-per-node", "1073741825", "--", "true"], "steps of 2M"),
        (["--distances", "10,20/20,10", "--", "true"], "4 rows of 4"),
        (["--nodes", "2", "--distances", "10,20", "--", "true"], "2 rows of 2"),
        (["--nodes", "2", "--distances", "10,20/20", "--", "true"], "2 rows of 2"),
        (["--nodes", "2", "--distances", "10,20/20,11", "--", "true"], "row 1 has 11"),
        (["--nodes", "2", "--distances", "10,10/20,10", "--", "true"], "row 0 has 10"),
        (["--nodes", "2", "--distances", "10,255/20,10", "--", "true"], "255"),
        (["--limit", "0", "--", "true"], "--limit"),
        (["--limit", "soon", "--", "true"], "'soon'"),
        (["--env", "CERTAINLY_NOT_SET", "--", "true"], "CERTAINLY_NOT_SET"),
        (["--bogus", "--", "true"], "--help"),
        (["--print-kernel", "--", "true"], "no command"),
    ]
    for args, pattern in table:
        status, out, err = box(*args)
        equal(f"exit status of box {args} ({err.strip()})", status, 2)
        check(re.search(pattern, err) and len(err.strip().splitlines()) == 1 and not out, f"{args}: {out} {err!r}")


def out_help_teaches():
    status, out, _ = box("--help")
    equal("exit status", status, 0)
    for word in ("--nodes", "--memory-only", "BOX_SHARE", "exit status", "examples", "124"):
        check(word in out, f"the help lacks {word}")


def out_machines_are_parsed():
    asked = machine.parse_machine("2", "2,1", "1G,512M,768m", "10,21,31;22,10,41;32,42,10", "1")
    equal("nodes", asked.nodes, (machine.Node(0, 2, 1024 * MIB), machine.Node(2, 1, 512 * MIB),
                                 machine.Node(3, 0, 768 * MIB)))
    equal("distances", asked.distances, ((10, 21, 31), (22, 10, 41), (32, 42, 10)))
    equal("node of the last CPU", asked.node_of_cpu(2), 1)
    same = machine.parse_machine("4", "2", "2G", None, "0")
    equal("CPUs", [node.cpu_list() for node in same.nodes], [[0, 1], [2, 3], [4, 5], [6, 7]])
    equal("distances", same.distances[1], (20, 10, 20, 20))
    words = " ".join(qemu.topology_options(asked))
    check("sockets=3,cores=1" in words and "node,nodeid=2,memdev=m2" in words and "dist,src=2,dst=1,val=42" in words,
          words)


def out_requests_that_are_none_are_ignored_or_refused():
    ident = b"0123456789abcdef"
    for line in (b"", b"x", b"box1", b"box1 " + ident, b"box1 " + ident[:15] + b" ping",
                 b"box1 " + ident.upper() + b" ping", b"box1  " + ident + b" ping",
                 b"box1 " + ident + b" p\xc3\xa4ng", b"box12345 " + ident + b" ping",
                 b"alf box1 " + ident + b" ping", b"box1 " + ident + b" " + b"x" * 2000):
        equal(f"{line[:40]!r}", control.parse_request(line), None)
    for line, reason in ((b"box2 " + ident + b" ping", "box1"), (b"box1 " + ident + b" ", "empty"),
                         (b"box1 " + ident + b" ping ", "empty"), (b"box1 " + ident + b" a  b", "empty"),
                         (b"box1 " + ident + b" a\tb", "empty"), (b"box1 " + ident + b" a" + b" b" * 17, "more than")):
        try:
            got = control.parse_request(line)
        except control.Refused as refused:
            check(reason in str(refused) and refused.id == ident.decode(), f"{line!r}: {refused}")
        else:
            raise Failed(f"{line!r} passes as {got}")
    equal("a good one", control.parse_request(b"box1 " + ident + b" freeze 3 idle"),
          control.Request(ident.decode(), "freeze", ("3", "idle")))


class FakeEffects:
    """Notes what a handler does; CPU 5 can't be frozen."""

    def __init__(self):
        self.done = []
        self.ice = set()

    def freeze(self, cpu, how):
        if cpu == 5:
            raise common.BoxError("CPU 5 did not idle")
        self.ice.add(cpu)
        self.done.append(("freeze", cpu, how))
        return "idle"

    def thaw(self, cpu):
        self.ice.remove(cpu)
        self.done.append(("thaw", cpu))

    def frozen(self):
        return sorted(self.ice)

    def mce(self, text):
        self.done.append(("mce", text))

    def power_off(self):
        self.done.append(("power-off",))


def ask(handler, text):
    reply = handler.reply_to(b"box1 0123456789abcdef " + text.encode()).decode()
    check(reply.startswith("box1 0123456789abcdef ") and reply.endswith("\n"), reply)
    return reply[len("box1 0123456789abcdef "):-1]


def out_requests_are_refused_with_a_reason():
    asked = machine.parse_machine("3", "2", "512M", None, "1")
    words = "0x8400100000000000 0x5 0x1000 0x0"
    table = [("bogus", "no such request"), ("freeze", "takes"), ("freeze 1 idle x", "takes"), ("ping 1", "takes"),
             ("freeze 6", "0 to 5"), ("freeze -1", "not a number"), ("freeze 1e0", "not a number"),
             ("freeze 0x", "not a number"), ("freeze 1 soon", "'soon'"), ("freeze-node 4", "0 to 3"),
             ("freeze-node 3", "no CPUs"), ("thaw-node 1", "no CPU of node 1 is frozen"),
             (f"mce 6 0 {words}", "CPU"), (f"mce 0 10 {words}", "bank"), ("mce 0 0 0x1 0x5 0x0 0x0", "VAL"),
             ("mce 0 0 0x10000000000000000 0x5 0x0 0x0", "not a number"),
             ("mce 0 0 99999999999999999999 0x5 0x0 0x0", "status"),
             (f"mce 0 0 {words} loud", "'loud'"), (f"mce 0 {words}", "takes"),
             ("mce 0 0 0x8400100000000000;quit 0 0 0", "not a number")]
    effects = FakeEffects()
    handler = control.Handler(asked, effects)
    for text, reason in table:
        reply = ask(handler, text)
        check(reply.startswith("error ") and reason in reply, f"{text}: {reply}")
    equal("done", effects.done, [])


def out_requests_do_what_they_say():
    effects = FakeEffects()
    handler = control.Handler(machine.parse_machine("3", "2", "512M", None, "1"), effects)
    equal("ping", ask(handler, "ping"), "ok")
    equal("info", json.loads(ask(handler, "info")[3:])["nodes"][3],
          {"node": 3, "cpus": [], "memory_bytes": 512 * MIB, "distances": [20, 20, 20, 10]})
    equal("freeze-node", ask(handler, "freeze-node 1 idle"), "ok 2=idle 3=idle")
    words = "0x8400100000000000 0x5 0x1000 0x0"
    check("frozen CPU 3" in ask(handler, f"mce 3 0 {words}"), "a machine check for a frozen CPU")
    check("frozen CPU 2" in ask(handler, f"mce 0 0 {words} broadcast"), "a broadcast with a frozen CPU")
    equal("mce", ask(handler, f"mce 0 1 {words}"), "ok")
    equal("thaw", ask(handler, "thaw 2"), "ok")
    equal("thaw-node", ask(handler, "thaw-node 1"), "ok")
    equal("mce", ask(handler, f"mce 2 0 {words} broadcast"), "ok")
    check("did not idle" in ask(handler, "freeze-node 2"), "a node with a CPU that can't be frozen")
    equal("power-off", ask(handler, "power-off"), "ok")
    equal("done", effects.done, [
        ("freeze", 2, "idle"), ("freeze", 3, "idle"), ("mce", f"mce 0 1 {words}"), ("thaw", 2), ("thaw", 3),
        ("mce", f"mce -b 2 0 {words}"), ("freeze", 4, "any"), ("thaw", 4), ("power-off",)])


def out_streams_are_cut_right():
    lines, text = control.Lines(), b"one\n\n" + b"x" * 1024 + b"\ntwo\nrest"
    equal("lines, byte by byte", [line for i in range(len(text)) for line in lines.feed(text[i:i + 1])],
          [b"one", b"", b"two"])
    equal("the rest", lines.feed(b"less\n"), [b"restless"])
    frames = life.Frames()
    data = b"a\0\0\0\0\0\0\0" + b"o\0\0\0\5\0\0\0hello" + b"x\0\0\0\1\0\0\0" + b"7"
    got = [frame for i in range(len(data)) for frame in frames.feed(data[i:i + 1])]
    equal("frames", got, [(life.ALIVE, b""), (life.STDOUT, b"hello"), (life.EXIT, b"7")])
    for bad in (b"z\0\0\0\0\0\0\0", b"o\1\0\0\0\0\0\0", b"o\0\0\0\1\0\1\0", b"\0" * 8):
        try:
            life.Frames().feed(bad)
        except common.BoxError:
            continue
        raise Failed(f"{bad!r} passes as a frame")
    for bad in (b"", b"-1", b"256", b"x"):
        try:
            life.parse_exit(bad)
        except common.BoxError:
            continue
        raise Failed(f"{bad!r} passes as an exit status")


def out_only_a_thread_that_waits_for_a_condition_counts_as_idle():
    equal("cond_wait", freeze.waits_in_futex("202 0x55d0 0x189 0x0 0x0 0x0 0xffffffff 0x7f 0x7f\n"), True)
    for text in ("running\n", "202 0x55d0 0x80 0x2 0x0 0x0 0x0 0x7f 0x7f\n", "1 0x5 0x189 0x0 0x0 0x0 0x0 0x7f 0x7f\n",
                 "-1 0x7f 0x7f\n", ""):
        equal(text, freeze.waits_in_futex(text), False)


def out_modules_load_after_what_they_need():
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/modules.dep", "w", encoding="utf-8") as file:
            file.write("k/a.ko: k/b-x.ko k/c.ko\nk/b-x.ko: k/c.ko\nk/c.ko:\nk/d.ko.xz: k/c.ko\n")
        with open(f"{folder}/modules.builtin", "w", encoding="utf-8") as file:
            file.write("k/e.ko\n")
        equal("order", kernel.load_order(folder, ["a", "e", "d"]), ["k/c.ko", "k/b-x.ko", "k/a.ko", "k/d.ko.xz"])
        equal("order", kernel.load_order(folder, ["b_x"]), ["k/c.ko", "k/b-x.ko"])
        try:
            kernel.load_order(folder, ["nosuch"])
        except common.BoxError as error:
            check("nosuch" in str(error), str(error))
        else:
            raise Failed("a module that is missing is not told")


# --- outside, QEMU played by a script ---------------------------------------------------------------

def leftovers(pid):
    """Files that the box of this process id has left behind."""
    return glob.glob(os.path.join(common.BUILD, f"run-{pid}-*"))


def played(script, start_seconds=20.0, limit=None, again=0):
    """Runs a box whose QEMU is this Python script, which finds its end of the run port in `run`.
    The exit status, and what the box said."""
    head = ("#!/usr/bin/python3\nimport sys, os, time, re\n"
            "run = int(re.search(r'socket,id=run,fd=(\\d+)', ' '.join(sys.argv))[1])\n")
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "qemu")
        with open(program, "w", encoding="ascii") as file:
            file.write(head + script)
        os.chmod(program, 0o755)
        real = qemu.PROGRAM, life.START_SECONDS
        qemu.PROGRAM, life.START_SECONDS = program, start_seconds
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                status = life.run(machine.parse_machine("1", "1", "512M", None, "0"), b"/\0\0true\0",
                                  os.path.join(folder, "share"), limit, again)
        finally:
            qemu.PROGRAM, life.START_SECONDS = real
    return status, said.getvalue()


def out_a_start_without_life_is_repeated_once_and_told():
    status, said = played("time.sleep(100)", start_seconds=1)
    equal("exit status", status, 125)
    check("a second time" in said and "no life again" in said and len(said.splitlines()) == 2, said)
    equal("files left behind", leftovers(os.getpid()), [])


def out_the_folder_of_a_killed_box_is_removed():
    with subprocess.Popen(["true"]) as gone:
        pass
    stale, alive = (os.path.join(common.BUILD, f"run-{pid}-test") for pid in (gone.pid, os.getpid()))
    for folder in (stale, alive):
        os.makedirs(folder)
    life.remove_stale()
    left = [os.path.exists(folder) for folder in (stale, alive)]
    shutil.rmtree(alive)
    equal("folders left", left, [False, True])


def out_a_second_start_that_lives_is_fine():
    with tempfile.TemporaryDirectory() as folder:
        status, said = played(f"first = not os.path.exists('{folder}/x')\nopen('{folder}/x', 'w')\n"
                              "time.sleep(100 if first else 0)\n"
                              "os.write(run, b'a\\0\\0\\0\\0\\0\\0\\0' + b'x\\0\\0\\0\\2\\0\\0\\0' + b'42')\n"
                              "time.sleep(100)",
                              start_seconds=2)
    equal(f"exit status ({said})", status, 42)
    check("a second time" in said, said)


def out_a_qemu_that_ends_is_told_with_its_reason():
    status, said = played("sys.exit('no such machine')")
    equal("exit status", status, 125)
    check("ended before the command did" in said and "no such machine" in said, said)


def out_a_machine_that_failed_is_booted_again_as_often_as_asked():
    alive = "os.write(run, b'a\\0\\0\\0\\0\\0\\0\\0')\n"
    ends = "os.write(run, b'x\\0\\0\\0\\2\\0\\0\\0' + b'%d')\ntime.sleep(100)"
    panic = ("import pathlib\npathlib.Path(re.search(r'id=console,path=(\\S+)', ' '.join(sys.argv))[1])"
             ".write_text('Kernel panic - not syncing')\n")
    # What the first start does; how often it may begin again; the exit status, and the number of starts.
    for first, again, wanted, starts in ((alive, 1, 42, 2), (alive, 0, 125, 1), (alive + ends % 75, 1, 42, 2),
                                         (alive + ends % 75, 0, 75, 1), (alive + ends % 74, 1, 74, 1),
                                         (panic + alive, 1, 125, 1)):
        with tempfile.TemporaryDirectory() as folder:
            count = f"{folder}/starts"
            status, said = played(f"open('{count}', 'a').write('x')\n"
                                  f"if os.path.getsize('{count}') > 1:\n    {alive}    "
                                  + (ends % 42).replace("\n", "\n    ") + "\n" + first + "\nsys.exit()", again=again)
            equal(f"exit status ({first!r}, {said})", status, wanted)
            equal(f"starts ({first!r})", os.path.getsize(count), starts)
            equal("told", said.count("booting again"), starts - 1)


def out_garbage_and_failures_from_inside_are_told():
    status, said = played("os.write(run, b'garbage!garbage!')\ntime.sleep(100)")
    equal("exit status", status, 125)
    check("garbage" in said, said)
    status, said = played("os.write(run, b'f\\0\\0\\0\\7\\0\\0\\0' + b'no disk')\ntime.sleep(100)")
    equal("exit status", status, 125)
    check("no disk" in said, said)


def out_a_share_that_is_no_folder_is_told():
    status, _, err = box("--share", "/dev/null/x", "--", "true")
    equal("exit status", status, 125)
    check("/dev/null/x" in err and "--share" in err and len(err.splitlines()) == 1, err)


def out_no_qemu_is_told():
    real = qemu.PROGRAM
    qemu.PROGRAM = "/nonexistent/qemu"
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            status = life.run(machine.parse_machine("1", "1", "512M", None, "0"), b"/\0\0true\0",
                              os.path.join(common.BUILD, "share"), None)
    finally:
        qemu.PROGRAM = real
    equal("exit status", status, 125)
    check("./setup" in said.getvalue(), said.getvalue())


# --- outside, real starts ---------------------------------------------------------------------------

def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def out_ctrl_c_ends_a_box_while_it_starts():
    with subprocess.Popen([BOX, "--", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        until("QEMU to start", lambda: children_of(process.pid))
        check(leftovers(process.pid), "a box that runs has its folder: this test could not fail")
        machine_pid = children_of(process.pid)[0]
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    equal(f"exit status ({err})", process.returncode, 130)
    check("SIGINT" in err and "Traceback" not in err, err)
    check(not os.path.exists(f"/proc/{machine_pid}"), "QEMU lives on")
    equal("files left behind", leftovers(process.pid), [])


ASYMMETRIC = ["--nodes", "2", "--cpus-per-node", "2,1", "--memory-per-node", "1G,512M,768M", "--memory-only", "1",
              "--distances", "10,21,31/22,10,41/32,42,10"]

# Says what the kernel sees, waits for the outside, runs the checks of `inside`, and fails on purpose.
SCRIPT = """
cd /sys/devices/system/node
echo first
for node in node[0-9]*; do
	echo "$node: $(cat $node/cpulist): $(cat $node/distance): $(sed -n 's/.*MemTotal: *//p' $node/meminfo)"
done
echo "numactl: $(numactl -H | head -1)"
echo "environment: $CELLVISOR_SELFTEST $SELFTEST_MORE ${SELFTEST_LESS-none}"
echo "user: $(id -u) folder: $OLDPWD argument: $1"
echo "to stderr" >&2
until [ -e "$BOX_SHARE/go" ]; do sleep 0.1; done
cp "$BOX_SHARE/go" "$BOX_SHARE/gone"
echo lost >"$2" && cat "$2"
head -c 300000 /dev/zero | tr '\\0' x
echo
/usr/bin/python3 "$3" inside
exit 37
"""


def run_asymmetric(folder):
    """The box with SCRIPT: what it wrote line by line, and its standard error and status. Answers
    the line `first` through the shared folder, so output that is not streamed hangs."""
    env = dict(os.environ, CELLVISOR_SELFTEST="passed", SELFTEST_MORE="on", SELFTEST_LESS="request")
    with subprocess.Popen([BOX, "--limit", "400", "--share", os.path.join(folder, "share"), "--env", "SELFTEST_MORE",
                           *ASYMMETRIC, "--", "bash", "-c", SCRIPT, "bash", "two words",
                           os.path.join(folder, "scratch"), os.path.abspath(__file__)],
                          cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "first":
                with open(os.path.join(folder, "share", "go"), "w", encoding="ascii") as file:
                    file.write("from outside")
        err = process.stderr.read()
    return lines, err, process.returncode, leftovers(process.pid)


def start_once():
    """The one asymmetric box, for all the tests that look at it."""
    if not hasattr(start_once, "seen"):
        with tempfile.TemporaryDirectory() as folder:
            lines, err, status, left = run_asymmetric(folder)
            gone = os.path.join(folder, "share", "gone")
            kept = open(gone, encoding="ascii").read() if os.path.exists(gone) else None
            start_once.seen = {"folder": folder, "lines": lines, "err": err, "status": status, "kept": kept,
                               "files": sorted(os.listdir(folder)), "left": left}
    return start_once.seen


def out_the_exit_status_comes_out():
    seen = start_once()
    equal(f"exit status ({seen['err'][-300:]})", seen["status"], 37)


def out_the_kernel_sees_the_asymmetric_machine():
    lines = start_once()["lines"]
    nodes = [line for line in lines if line.startswith("node")]
    equal("nodes, CPUs, distances", [line.rsplit(":", 1)[0] for line in nodes],
          ["node0: 0-1: 10 21 31", "node1: 2: 22 10 41", "node2: : 32 42 10"])
    for line, asked in zip(nodes, (1024, 512, 768)):
        seen = int(line.rsplit(":", 1)[1].split()[0]) / 1024
        check(asked * 0.75 < seen <= asked, f"{line}: asked for {asked} MiB")
    check("numactl: available: 3 nodes (0-2)" in lines, f"{lines[:9]}")


def out_command_gets_its_environment_folder_and_words():
    seen = start_once()
    check("environment: passed on none" in seen["lines"], f"{seen['lines'][:12]}")
    check(f"user: 0 folder: {seen['folder']} argument: two words" in seen["lines"], f"{seen['lines'][:12]}")


def out_output_is_whole_and_on_its_own_stream():
    seen = start_once()
    check("x" * 300000 in seen["lines"], "300000 bytes in one go do not arrive whole")
    check("to stderr" in seen["err"].splitlines(), seen["err"])
    check("to stderr" not in seen["lines"], "standard error is mixed into standard output")
    check(not any("Linux version" in line for line in seen["lines"]), "the kernel talks on standard output")


def out_only_the_shared_folder_is_written():
    seen = start_once()
    check("lost" in seen["lines"], "the scratch layer takes no writes")
    equal("files in the folder outside", seen["files"], ["share"])
    equal("what came back through the share", seen["kept"], "from outside")


def out_nothing_is_left_behind():
    equal("files left behind", start_once()["left"], [])
    check(os.path.exists(os.path.join(common.BUILD, "console.log")), "no log of the kernel's messages")


def out_checks_inside():
    told = [line for line in start_once()["lines"] if re.match(r"(not )?ok ", line)]
    for line in told:
        print(line.replace("ok ", "ok inside: ", 1), flush=True)
    check(len(told) >= 8, f"only {len(told)} checks ran inside")
    check(not any(line.startswith("not") for line in told), "see above")


def out_a_hang_ends_by_its_limit():
    status, out, err = box("--limit", "25", "--nodes", "1", "--memory-per-node", "1G", "--", "sh", "-c",
                           "echo up; nosuchcommand; trap '' TERM INT; sleep 1000")
    equal(f"exit status ({err})", status, 124)
    equal("output", out, "up\n")
    check("limit of 25 s" in err and "nosuchcommand" in err, err)


# --- inside ---------------------------------------------------------------------------------------

def boxctl(*words, status=0):
    done = subprocess.run(["boxctl", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False)
    equal(f"exit status of boxctl {words} ({done.stderr.strip()})", done.returncode, status)
    return (done.stderr if status else done.stdout).strip()


def boxctl_info():
    return json.loads(boxctl("info"))


def last_cpu():
    return max(cpu for node in boxctl_info()["nodes"] for cpu in node["cpus"])


def ticks(pid):
    """User time of a process, in clock ticks."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rsplit(")", 1)[1].split()[11])


@contextlib.contextmanager
def others_only(cpu):
    """We ourselves stay off that CPU, or we would freeze with it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_info_agrees_with_the_kernel():
    for node in boxctl_info()["nodes"]:
        with open(f"/sys/devices/system/node/node{node['node']}/distance", encoding="ascii") as file:
            equal("distances", node["distances"], [int(word) for word in file.read().split()])
        cpus = sorted(int(re.search(r"\d+$", path)[0]) for path in
                      glob.glob(f"/sys/devices/system/node/node{node['node']}/cpu[0-9]*"))
        equal("CPUs", node["cpus"], cpus)


def in_callers_take_turns():
    callers = [subprocess.Popen(["boxctl", "ping"]) for _ in range(8)]
    equal("exit statuses", [caller.wait(120) for caller in callers], [0] * 8)


def in_leftovers_of_a_dead_caller_hurt_nobody():
    port = next(path for path in glob.glob("/sys/class/virtio-ports/*")
                if open(path + "/name", encoding="ascii").read().strip() == "org.cellvisor.box.control")
    with open("/dev/" + os.path.basename(port), "wb", buffering=0) as file:
        file.write(b"box1 0123456789abcdef info\nbox1 0123")
    boxctl("ping")
    check("nodes" in boxctl_info(), "info")


def in_wrong_requests_are_refused():
    cpu = last_cpu()
    check("is not frozen" in boxctl("thaw", cpu, status=1), "thaw of a CPU that runs")
    check("not 4000" in boxctl("freeze", 4000, status=1), "freeze of no CPU")
    check("VAL" in boxctl("mce", "--cpu", 0, "--addr", "0x1000", "--status", 1, status=1), "a status without VAL")
    boxctl("freeze", "x", status=1)
    boxctl("bogus", status=2)
    boxctl("freeze", status=2)
    boxctl("ping", 1, status=2)
    boxctl("mce", "--cpu", 0, status=2)
    boxctl("mce", "--cpu", "one", "--addr", 0, status=2)


def in_an_idle_cpu_freezes_and_thaws():
    cpu = last_cpu()
    with others_only(cpu), tempfile.TemporaryDirectory() as folder:
        mark = os.path.join(folder, "ran")
        equal("state", boxctl("freeze", cpu, "--idle"), "idle")
        check("frozen already" in boxctl("freeze", cpu, status=1), "freeze twice")
        check("frozen CPU" in boxctl("mce", "--cpu", cpu, "--addr", "0x1000", status=1), "a machine check for it")
        with subprocess.Popen(["taskset", "-c", str(cpu), "touch", mark]) as process:
            time.sleep(2)
            ran_early = os.path.exists(mark)
            boxctl("thaw", cpu)
            equal("exit status", process.wait(60), 0)
        check(not ran_early, "a frozen CPU ran a process")
        check(os.path.exists(mark), "a thawed CPU does not run the process")


def in_a_busy_cpu_freezes_and_thaws():
    cpu = last_cpu()
    with others_only(cpu), subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"]) as process:
        until("the loop to run", lambda: ticks(process.pid) > 20)
        check("did not idle" in boxctl("freeze", cpu, "--idle", status=1), "--idle on a busy CPU")
        equal("state", boxctl("freeze", cpu), "busy")
        before = ticks(process.pid)
        time.sleep(2)
        equal("ticks of a process on a frozen CPU", ticks(process.pid), before)
        boxctl("thaw", cpu)
        until("the loop to go on", lambda: ticks(process.pid) > before + 20)
        process.kill()


def in_a_node_freezes_and_thaws():
    nodes = [node for node in boxctl_info()["nodes"] if node["cpus"] and 0 not in node["cpus"]]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    try:
        node = nodes[-1]
        equal("states", boxctl("freeze-node", node["node"], "--idle"), " ".join(f"{cpu}=idle" for cpu in node["cpus"]))
        boxctl("ping")
        boxctl("thaw-node", node["node"])
        check("no CPU of node" in boxctl("thaw-node", node["node"], status=1), "thaw twice")
        empty = [other["node"] for other in boxctl_info()["nodes"] if not other["cpus"]]
        for number in empty:
            check("no CPUs" in boxctl("freeze-node", number, status=1), "freeze of a node without CPUs")
    finally:
        os.sched_setaffinity(0, before)
    for cpu in node["cpus"]:
        subprocess.run(["taskset", "-c", str(cpu), "true"], check=True, timeout=60)


# A page of this process is hit by a deferred machine check: prints its frame, waits for the signal.
VICTIM = """
import ctypes, mmap, os, signal, struct, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGBUS})
PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY = 33, 1, 1
assert ctypes.CDLL(None).prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0
page = mmap.mmap(-1, 4096)
page[:] = b"v" * 4096
with open("/proc/self/pagemap", "rb") as file:
    file.seek(ctypes.addressof(ctypes.c_char.from_buffer(page)) // 4096 * 8)
    frame = struct.unpack("Q", file.read(8))[0] & (1 << 55) - 1
print(hex(frame << 12), flush=True)
info = signal.sigtimedwait({signal.SIGBUS}, 60)
print("signal", info.si_code if info else "none", flush=True)
os._exit(0)
"""


def in_a_deferred_machine_check_reaches_the_process():
    with subprocess.Popen(["/usr/bin/python3", "-c", VICTIM], stdout=subprocess.PIPE, text=True) as victim:
        address = victim.stdout.readline().strip()
        boxctl("mce", "--cpu", 1, "--addr", address, "--status", "0x8400100000000000", "--mcgstatus", "0x5")
        said = victim.stdout.readline().strip()
    bus_mceerr_ao = 5
    equal("what the process got", said, f"signal {bus_mceerr_ao}")
    with open("/proc/kpageflags", "rb") as file:
        file.seek(int(address, 16) // 4096 * 8)
        flags = struct.unpack("Q", file.read(8))[0]
    check(flags >> 19 & 1, f"the kernel does not hold the frame for poisoned: {flags:#x}")


def main():
    prefix = {"outside": "out_", "inside": "in_"}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    wanted = re.compile(sys.argv[2] if len(sys.argv) > 2 else "")
    if not prefix:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    bad = 0
    for name, function in list(globals().items()):
        if not name.startswith(prefix) or not wanted.search(name):
            continue
        title = name[len(prefix):].replace("_", " ")
        try:
            function()
            print(f"ok {title}", flush=True)
        except Failed as failed:
            bad += 1
            print(f"not ok {title}: {failed}", flush=True)
        except Exception:
            bad += 1
            print(f"not ok {title}: {' '.join(traceback.format_exc().split())}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
