# SPDX-License-Identifier: BSD-2-Clause
"""`box`: its command line."""
import argparse
import os
import re
import signal

from . import kernel, life, machine
from .common import BUILD, STATUS_BOX, STATUS_USAGE, BoxError, UsageError, say

PASSED_ON = {"PATH", "HOME", "TERM", "LANG", "USER", "LOGNAME"}
BIN = "/run/box/bin"

HELP = """\
Boots a NUMA server in QEMU (a real Linux kernel with real KVM, on any machine), runs COMMAND in it
as root, passes on what it writes, and returns its exit status. COMMAND starts in the current
folder and sees this machine's files; what it writes is gone afterwards, except in $BOX_SHARE.
Inside, `boxctl` asks for hardware events: machine checks, frozen CPUs. docs/box.md tells more."""

EPILOG = """\
Where nodes may differ, give one value for all or a list with one for each:
  --cpus-per-node 4,2 --memory-per-node 2G,1G

exit status:
  that of COMMAND (128+N if signal N ended it, 127 not found, 126 not executable), or
  2    the command line is wrong
  124  the limit was reached
  125  the box itself failed
  130  Ctrl-C (128 + the signal)

examples:
  box -- numactl -H
  box --nodes 2 --memory-only 1 --distances '10,20,30/20,10,50/30,50,10' -- lstopo
  box -- sh -c 'boxctl freeze 3; sleep 2; boxctl thaw 3; dmesg >$BOX_SHARE/dmesg'"""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}; box --help tells more")


def parser():
    p = Parser(prog="box", description=HELP, epilog=EPILOG, allow_abbrev=False,
               usage="box [OPTION...] -- COMMAND...",
               formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--nodes", default="4", metavar="N", help="nodes with CPUs (default: 4)")
    p.add_argument("--cpus-per-node", default="2", metavar="N[,N...]", help="(default: 2)")
    p.add_argument("--memory-per-node", default="2G", metavar="SIZE[,SIZE...]", help="(default: 2G)")
    p.add_argument("--distances", metavar="MATRIX",
                   help="a row per node, values separated by ',', rows by '/' or ';' (default: 10 and 20)")
    p.add_argument("--memory-only", default="0", metavar="N",
                   help="further nodes without CPUs, such as CXL memory (default: 0)")
    p.add_argument("--limit", metavar="SECONDS", help="end the box after that time, whatever happens")
    p.add_argument("--again", default="0", metavar="N",
                   help="boot anew, up to so many times, if the machine ends by itself or COMMAND ends with "
                        "status 75, which says that the emulated machine has failed it (default: 0)")
    p.add_argument("--env", action="append", default=[], metavar="NAME",
                   help="pass this environment variable on too (always: CELLVISOR_*, BOX_*, PATH, HOME, "
                        "TERM, LANG)")
    p.add_argument("--share", metavar="FOLDER", default=os.path.join(BUILD, "share"),
                   help="the folder whose files stay, at the same path inside, named by $BOX_SHARE "
                        "(default: build/box/share)")
    p.add_argument("--print-kernel", action="store_true",
                   help="print the path of Debian's kernel image, fetching it if needed, and end")
    p.add_argument("--print-modules", action="store_true", help="print the folder of its modules, and end")
    p.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return p


def parse_limit(text):
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,7}(\.\d+)?", text) or float(text) <= 0:
        raise UsageError(f"--limit: '{text}' is not a time in seconds above 0")
    return float(text)


def environment(extra, share):
    """What the command gets of our environment."""
    env = {name: value for name, value in os.environ.items()
           if name in PASSED_ON or name in extra or name.startswith(("CELLVISOR_", "BOX_"))}
    env["PATH"] = f"{BIN}:{env.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    env.setdefault("HOME", "/root")
    env["BOX_SHARE"] = share
    return env


def make_spec(folder, env, command):
    """The file that `boxctl run` reads (sim/box/run.h)."""
    strings = [folder, *(f"{name}={value}" for name, value in env.items()), "", *command]
    return b"".join(os.fsencode(text) + b"\0" for text in strings)


def current_folder():
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise BoxError("the current folder does not exist any more") from error


def work(arguments):
    options = parser().parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if options.print_kernel or options.print_modules:
        if command:
            raise UsageError("--print-kernel and --print-modules run no command")
        image, modules = kernel.ensure()
        for wanted, path in ((options.print_kernel, image), (options.print_modules, modules)):
            if wanted:
                print(path)
        return 0
    if not command or not command[0]:
        raise UsageError("no command; say for example: box -- numactl -H")
    asked = machine.parse_machine(options.nodes, options.cpus_per_node, options.memory_per_node,
                                  options.distances, options.memory_only)
    limit = parse_limit(options.limit)
    if not re.fullmatch(r"\d", options.again):
        raise UsageError(f"--again: '{options.again}' is not a number up to 9")
    for name in options.env:
        if name not in os.environ:
            raise UsageError(f"--env {name}: there is no such environment variable")
    share = os.path.realpath(options.share)
    spec = make_spec(current_folder(), environment(set(options.env), share), command)
    return life.run(asked, spec, share, limit, int(options.again))


def main(arguments):
    try:
        return work(arguments)
    except UsageError as error:
        say(str(error))
        return STATUS_USAGE
    except BoxError as error:
        say(str(error))
        return STATUS_BOX
    except KeyboardInterrupt:
        say("ended by SIGINT")
        return 128 + signal.SIGINT
