# SPDX-License-Identifier: BSD-2-Clause
"""Freezes and thaws the emulated CPUs: each is a thread of QEMU, stopped by ptrace.

A thread that is stopped while it holds a lock of QEMU would stop everything. A CPU that idles in
HLT holds none: its thread waits in the futex of a condition variable of its own. So the freeze
waits for such a moment, stops the thread, and asks QEMU for the registers of that CPU: the answer
says that the CPU halts, and that it came says that QEMU lives."""
import ctypes
import errno
import os
import time

from .common import BoxError

PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000
SYS_FUTEX = 202
FUTEX_COMMAND_MASK = 0x7f
FUTEX_WAIT_BITSET = 9  # what pthread_cond_wait uses; a mutex waits with FUTEX_WAIT
IDLE_SECONDS = 2.0
BUSY_SECONDS = 8.0
ANSWER_SECONDS = 1.0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, tid, data=0):
    if _libc.ptrace(request, tid, None, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")


def waits_in_futex(text):
    """Judges a line of /proc/PID/task/TID/syscall: does the thread wait for a condition?"""
    words = text.split()
    if len(words) < 3 or words[0] != str(SYS_FUTEX):
        return False
    return int(words[2], 16) & FUTEX_COMMAND_MASK == FUTEX_WAIT_BITSET


class Freezer:
    """All calls from one thread: the kernel knows a tracer by its thread. If that thread ends,
    every CPU is thawed."""

    def __init__(self, pid, threads, qmp):
        self._pid = pid
        self._threads = threads
        self._qmp = qmp
        self._frozen = {}  # CPU: the signal that its thread was about to take, or 0

    def frozen(self):
        return sorted(self._frozen)

    def _idles(self, tid):
        with open(f"/proc/{self._pid}/task/{tid}/syscall", encoding="ascii") as file:
            return waits_in_futex(file.read())

    def _stop(self, tid):
        """Stops the thread; the signal that it was about to take, or 0."""
        _ptrace(PTRACE_SEIZE, tid)
        _ptrace(PTRACE_INTERRUPT, tid)
        end = time.monotonic() + 5
        while True:
            pid, status = os.waitpid(tid, os.WNOHANG | WALL)
            if pid == tid:
                if not os.WIFSTOPPED(status):
                    raise BoxError("the CPU's thread has ended")
                event = status >> 16
                return 0 if event else os.WSTOPSIG(status)
            if time.monotonic() > end:
                raise BoxError("the CPU's thread does not stop")
            time.sleep(0.0005)

    def _let_go(self, tid, signum):
        try:
            _ptrace(PTRACE_DETACH, tid, signum)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    def _answers(self, cpu):
        """What QEMU says of the stopped CPU: 'halted' or 'executing'; None if it does not answer."""
        try:
            registers = self._qmp.human("info registers", cpu, ANSWER_SECONDS)
        except TimeoutError:
            return None
        return "halted" if "HLT=1" in registers else "executing"

    def _try(self, cpu, idle_only):
        """One attempt; 'idle', 'busy', or None if it has to be tried again."""
        tid = self._threads[cpu]
        if idle_only and not self._idles(tid):
            return None
        signum = self._stop(tid)
        idle = self._idles(tid)
        state = None
        if idle or not idle_only:
            state = self._answers(cpu)
        if state is None or (idle_only and state != "halted"):
            self._let_go(tid, signum)
            if state is None and (idle or not idle_only):
                self._qmp.human("info status")  # it answers again before anything else happens
            return None
        self._frozen[cpu] = signum
        return "idle" if idle and state == "halted" else "busy"

    def freeze(self, cpu, how):
        """Freezes one CPU; 'idle' or 'busy': what it was doing. `how`: 'idle' refuses a busy one."""
        if cpu in self._frozen:
            raise BoxError(f"CPU {cpu} is frozen already")
        end = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < end:
            state = self._try(cpu, idle_only=True)
            if state:
                return state
            time.sleep(0.001)
        if how == "idle":
            raise BoxError(f"CPU {cpu} did not idle for {IDLE_SECONDS:g} s")
        end = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < end:
            state = self._try(cpu, idle_only=False)
            if state:
                return state
            time.sleep(0.02)
        raise BoxError(f"CPU {cpu} held a lock of the emulator at each attempt for {BUSY_SECONDS:g} s")

    def thaw(self, cpu):
        if cpu not in self._frozen:
            raise BoxError(f"CPU {cpu} is not frozen")
        self._let_go(self._threads[cpu], self._frozen.pop(cpu))
