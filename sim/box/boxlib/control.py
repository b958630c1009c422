# SPDX-License-Identifier: BSD-2-Clause
"""The outside's end of the control port (sim/box/proto.h, docs/box.md): judges each request and
makes the hardware event happen."""
import dataclasses
import json
import re
import select
import threading

from .common import BoxError
from .freeze import Freezer

VERSION = "box1"
LINE_BYTES = 1024
WORDS = 16
ALL_ONES = (1 << 64) - 1


class Refused(Exception):
    """A request that can't be done; its text is the reply's reason."""


@dataclasses.dataclass(frozen=True)
class Request:
    id: str
    verb: str
    words: tuple


def parse_request(line):
    """A Request; None for bytes that are no request and to which nobody awaits a reply. Refused
    (with .id) for one that can be answered but not understood."""
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        return None
    head = re.match(r"(box\d{1,4}) ([0-9a-f]{16}) ", text)
    if not head or len(line) >= LINE_BYTES:
        return None
    words = text[head.end():].split(" ")
    reason = None
    if head[1] != VERSION:
        reason = f"this box speaks {VERSION}, not {head[1]}"
    elif len(words) > WORDS + 1:
        reason = f"more than {WORDS} words"
    elif not all(word and word.isprintable() for word in words):
        reason = "empty words"
    if reason:
        refused = Refused(reason)
        refused.id = head[2]
        raise refused
    return Request(head[2], words[0], tuple(words[1:]))


def number(text, what, low, high):
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}|\d{1,20}", text):
        raise Refused(f"{what}: '{text}' is not a number")
    value = int(text, 0) if text.startswith("0x") else int(text)
    if not low <= value <= high:
        raise Refused(f"{what}: there is {low} to {high}, not {text}")
    return value


class Lines:
    """Cuts a stream into lines; one that is too long is dropped whole."""

    def __init__(self):
        self._rest = b""
        self._dropping = False

    def feed(self, data):
        *whole, rest = (self._rest + data).split(b"\n")
        lines = []
        for line in whole:
            if not self._dropping and len(line) < LINE_BYTES:
                lines.append(line)
            self._dropping = False
        if len(rest) >= LINE_BYTES:
            self._dropping, rest = True, b""
        self._rest = rest
        return lines


class Handler:
    """Does what requests ask for. `effects` has freeze(cpu, how), thaw(cpu), frozen(),
    mce(text) and power_off()."""

    def __init__(self, machine, effects):
        self._machine = machine
        self._effects = effects
        self._verbs = {"ping": (0, 0, self._ping), "info": (0, 0, self._info),
                       "freeze": (1, 2, self._freeze), "thaw": (1, 1, self._thaw),
                       "freeze-node": (1, 2, self._freeze_node), "thaw-node": (1, 1, self._thaw_node),
                       "mce": (6, 7, self._mce), "power-off": (0, 0, self._power_off)}

    def reply_to(self, line):
        """The reply, with its newline; empty if nobody awaits one."""
        try:
            request = parse_request(line)
            if request is None:
                return b""
        except Refused as refused:
            return f"{VERSION} {refused.id} error {refused}\n".encode()
        try:
            verdict, text = "ok", self._do(request)
        except (Refused, BoxError) as refused:
            verdict, text = "error", str(refused)
        except (OSError, TimeoutError) as error:
            verdict, text = "error", f"{type(error).__name__}: {error}"
        text = " ".join(text.split())
        return f"{VERSION} {request.id} {verdict} {text}".strip()[:LINE_BYTES - 1].encode("ascii", "replace") + b"\n"

    def _do(self, request):
        if request.verb not in self._verbs:
            raise Refused(f"no such request: {request.verb}")
        least, most, verb = self._verbs[request.verb]
        if not least <= len(request.words) <= most:
            raise Refused(f"{request.verb} takes {least} to {most} words, not {len(request.words)}")
        return verb(*request.words) or ""

    def _cpu(self, text):
        return number(text, "CPU", 0, self._machine.cpus - 1)

    def _node(self, text):
        node = number(text, "node", 0, len(self._machine.nodes) - 1)
        cpus = self._machine.nodes[node].cpu_list()
        if not cpus:
            raise Refused(f"node {node} has no CPUs")
        return cpus

    @staticmethod
    def _how(text):
        if text not in ("idle", "any"):
            raise Refused(f"freeze: 'idle' or 'any', not '{text}'")
        return text

    def _ping(self):
        return ""

    def _info(self):
        return json.dumps(self._machine.describe(), separators=(",", ":"))

    def _freeze(self, cpu, how="any"):
        return self._effects.freeze(self._cpu(cpu), self._how(how))

    def _thaw(self, cpu):
        self._effects.thaw(self._cpu(cpu))

    def _freeze_node(self, node, how="any"):
        cpus, how, done = self._node(node), self._how(how), []
        try:
            for cpu in cpus:
                done.append((cpu, self._effects.freeze(cpu, how)))
        except Exception:
            for cpu, _ in done:
                self._effects.thaw(cpu)
            raise
        return " ".join(f"{cpu}={state}" for cpu, state in done)

    def _thaw_node(self, node):
        frozen = [cpu for cpu in self._node(node) if cpu in self._effects.frozen()]
        if not frozen:
            raise Refused(f"no CPU of node {node} is frozen")
        for cpu in frozen:
            self._effects.thaw(cpu)

    def _mce(self, cpu, bank, status, mcg_status, addr, misc, broadcast=None):
        cpu, bank = self._cpu(cpu), number(bank, "bank", 0, 9)
        words = [number(text, what, 0, ALL_ONES) for text, what in
                 ((status, "status"), (mcg_status, "mcgstatus"), (addr, "addr"), (misc, "misc"))]
        if broadcast not in (None, "broadcast"):
            raise Refused(f"mce: 'broadcast' or nothing, not '{broadcast}'")
        if not words[0] >> 63:
            raise Refused("mce: bit 63 (VAL) of status has to be set")
        frozen = self._effects.frozen()
        if frozen and (broadcast or cpu in frozen):
            raise Refused(f"mce: the emulator would wait for the frozen CPU {cpu if cpu in frozen else frozen[0]}")
        flag = "-b " if broadcast else ""
        self._effects.mce(f"mce {flag}{cpu} {bank} " + " ".join(f"{word:#x}" for word in words))

    def _power_off(self):
        self._effects.power_off()


class Effects:
    """What a Handler does to a running QEMU. All in one thread, since ptrace wants it so."""

    def __init__(self, pid, qmp, on_power_off):
        self._qmp = qmp
        self._freezer = Freezer(pid, qmp.threads(), qmp)
        self.freeze = self._freezer.freeze
        self.thaw = self._freezer.thaw
        self.frozen = self._freezer.frozen
        self.power_off = on_power_off

    def mce(self, line):
        said = self._qmp.human(line)
        if said:
            raise BoxError(f"QEMU: {said}")


class Server(threading.Thread):
    """Serves the control port until stop() or until the port closes."""

    def __init__(self, sock, make_effects, machine):
        super().__init__(daemon=True, name="box-control")
        self._sock = sock
        self._make_effects = make_effects
        self._machine = machine
        self._stopping = False

    def stop(self):
        self._stopping = True
        self.join(5)

    def run(self):
        lines = Lines()
        handler = None
        while not self._stopping:
            if not select.select([self._sock], [], [], 0.2)[0]:
                continue
            try:
                data = self._sock.recv(65536)
                if not data:
                    return
                for line in lines.feed(data):
                    if handler is None:
                        handler = Handler(self._machine, self._make_effects())
                    self._sock.sendall(handler.reply_to(line))
            except (OSError, BoxError):
                return  # QEMU has gone
