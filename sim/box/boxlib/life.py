# SPDX-License-Identifier: BSD-2-Clause
"""One box's life: start QEMU, pass on what the command writes, end it."""
import ctypes
import glob
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from . import control, kernel, qemu
from .common import BUILD, STATUS_AGAIN, STATUS_BOX, STATUS_LIMIT, BoxError, say

START_SECONDS = 60
START_SECONDS_PER_CPU = 5  # beyond eight: QEMU's start grows with them
FRAME_BYTES_MAX = 65536
PR_SET_PDEATHSIG = 1
ALIVE, STDOUT, STDERR, EXIT, FAIL = b"aoexf"


class NoLife(Exception):
    """The box did not start in time."""


class MachineEnded(BoxError):
    """Before its command did."""


class Frames:
    """Cuts the run port's bytes into frames (sim/box/proto.h). BoxError for anything else."""

    def __init__(self):
        self._rest = b""

    def feed(self, data):
        frames = []
        self._rest += data
        while len(self._rest) >= 8:
            kind, zero, size = struct.unpack_from("<B3sI", self._rest)
            if kind not in b"aoexf" or zero != b"\0\0\0" or size > FRAME_BYTES_MAX:
                raise BoxError(f"garbage on the run port: {self._rest[:16]!r}")
            if len(self._rest) < 8 + size:
                break
            frames.append((kind, self._rest[8:8 + size]))
            self._rest = self._rest[8 + size:]
        return frames


def parse_exit(data):
    text = data.decode("ascii", "replace")
    if not text.isdigit() or int(text) > 255:
        raise BoxError(f"not an exit status: {text!r}")
    return int(text)


def remove_stale():
    """Removes the folders of boxes that were killed and could not do it themselves."""
    for path in glob.glob(os.path.join(BUILD, "run-*-*")):
        pid = os.path.basename(path).split("-")[1]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(path, ignore_errors=True)


def kernel_complains(console):
    """Whether the box's kernel has ended itself: then it was not the machine."""
    try:
        with open(console, encoding="utf-8", errors="replace") as file:
            return re.search(r"Kernel panic|BUG:|Oops|reboot: ", file.read()) is not None
    except OSError:
        return False


class Signals:
    """Turns signals into bytes that the main loop can wait for."""

    def __init__(self):
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: None)

    def fileno(self):
        return self._read

    def taken(self):
        try:
            return os.read(self._read, 1)[0]
        except BlockingIOError:
            return None


class Box:
    """`machine`, the command's `spec` (bytes for `boxctl run`), the `share` folder, `limit` in
    seconds or None; `again`: so many times it is booted anew when the machine has failed."""

    def __init__(self, machine, spec, share, limit, again=0):
        self._machine = machine
        self._spec = spec
        self._share = share
        self._end = None
        self._limit = limit
        self._again = again
        self._pending = []  # (descriptor, bytes) that are not written yet
        self._reader_gone = False

    def run(self):
        """The exit status that `box` ends with."""
        signals = Signals()
        image, modules = kernel.ensure()
        try:
            os.makedirs(self._share, exist_ok=True)
        except OSError as error:
            raise BoxError(f"no shared folder {self._share}: {error.strerror}; name another with --share") from error
        remove_stale()
        with tempfile.TemporaryDirectory(prefix=f"run-{os.getpid()}-", dir=BUILD) as folder:
            initramfs = os.path.join(folder, "initramfs")
            settings = {"BOX_SHARE": self._share, "BOX_MODULES": os.path.dirname(modules)}
            kernel.write_initramfs(initramfs, modules, settings, self._spec)
            words = (folder, image, initramfs, signals)
            for _ in range(self._again):
                try:
                    status = self._alive_once(*words)
                except MachineEnded as ended:
                    if kernel_complains(os.path.join(BUILD, "console.log")):
                        raise
                    why = str(ended)
                else:
                    if status != STATUS_AGAIN:
                        return status
                    why = "its command asks for it"
                print(f"# box: booting again: {why}", flush=True)
            return self._alive_once(*words)

    def _alive_once(self, *words):
        self._end = time.monotonic() + self._limit if self._limit else None
        for attempt in (1, 2):
            try:
                return self._once(*words)
            except NoLife:
                if attempt == 1:
                    say(f"no life within {self._start_seconds():g} s; starting it a second time")
        raise BoxError(f"no life again; the kernel's messages are in {BUILD}/console.log")

    def _start_seconds(self):
        return START_SECONDS + START_SECONDS_PER_CPU * max(0, self._machine.cpus - 8)

    def _once(self, folder, image, initramfs, signals):
        console = os.path.join(folder, "console.log")
        ours, theirs = {}, {}
        for name in ("run", "control", "qmp"):
            ours[name], theirs[name] = socket.socketpair()
        words = qemu.command_line(self._machine, image, initramfs, self._share, console,
                                  {name: sock.fileno() for name, sock in theirs.items()})
        libc = ctypes.CDLL(None)
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=[sock.fileno() for sock in theirs.values()], start_new_session=True,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        except FileNotFoundError as error:
            raise BoxError(f"{qemu.PROGRAM} is missing; ./setup installs it") from error
        finally:
            for sock in theirs.values():
                sock.close()
        qmp = qemu.Qmp(ours["qmp"])

        def effects():
            qmp.start(10)
            return control.Effects(process.pid, qmp, process.kill)

        server = control.Server(ours["control"], effects, self._machine)
        server.start()
        try:
            return self._follow(process, ours["run"], signals)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
            server.stop()
            for sock in ours.values():
                sock.close()
            if os.path.exists(console):
                shutil.move(console, os.path.join(BUILD, "console.log"))

    def _follow(self, process, sock, signals):
        """Passes on the command's output until it ends; its exit status."""
        frames = Frames()
        alive_by = time.monotonic() + self._start_seconds()
        alive = False
        status = None
        while status is None or self._pending:
            if status is not None and not self._pending:
                break
            verdict = self._wait(sock, signals, None if alive else alive_by)
            if verdict is not None:
                return verdict
            if self._pending:
                continue
            data = sock.recv(65536) if select.select([sock], [], [], 0)[0] else None
            if data == b"":
                raise self._ended(process)
            for kind, body in frames.feed(data or b""):
                if kind == ALIVE:
                    alive = True
                elif kind == FAIL:
                    raise BoxError(body.decode("utf-8", "replace"))
                elif kind == EXIT:
                    status = parse_exit(body)
                else:
                    self._pending.append((1 if kind == STDOUT else 2, body))
        return status

    def _wait(self, sock, signals, alive_by):
        """Waits for the next thing to do; an exit status if the box has to end now."""
        ends = [end for end in (self._end, alive_by) if end is not None]
        timeout = max(0, min(ends) - time.monotonic()) if ends else None
        reads, writes = [signals], []
        if self._pending:
            writes.append(self._pending[0][0])
        else:
            reads.append(sock)
        ready, writable, _ = select.select(reads, writes, [], timeout)
        if signals in ready:
            signum = signals.taken()
            if signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                say(f"ended by {signal.Signals(signum).name}")
                return 128 + signum
        if writable and not self._write_some():
            say("ended, since nobody reads its output any more")
            return 128 + signal.SIGPIPE
        now = time.monotonic()
        if self._end is not None and now >= self._end:
            say(f"ended by its limit of {self._limit:g} s (--limit)")
            return STATUS_LIMIT
        if alive_by is not None and now >= alive_by and not ready:
            raise NoLife
        return None

    def _write_some(self):
        """Writes what surely fits without waiting. False if the reader has gone."""
        fd, data = self._pending.pop(0)
        try:
            done = os.write(fd, data[:4096])
        except BrokenPipeError:
            return False
        except OSError as error:
            raise BoxError(f"can't pass on the output: {error}") from error
        if done < len(data):
            self._pending.insert(0, (fd, data[done:]))
        return True

    @staticmethod
    def _ended(process):
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        said = process.stderr.read1(4096).decode("utf-8", "replace").strip() if process.poll() is not None else ""
        return MachineEnded("the machine ended before the command did (power-off, reboot or panic)"
                        + (f": {said}" if said else f"; the kernel's messages are in {BUILD}/console.log"))


def run(machine, spec, share, limit, again=0):
    try:
        return Box(machine, spec, share, limit, again).run()
    except BoxError as error:
        sys.stdout.flush()
        say(str(error))
        return STATUS_BOX
