# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel, fetched once, and the initramfs that the box boots from."""
import contextlib
import fcntl
import glob
import lzma
import os
import re
import shlex
import shutil
import subprocess
import tempfile

from . import cpio
from .common import BUILD, ROOT, BoxError, say

# Loaded in this order, each after what it depends on. The rest can be loaded with modprobe.
MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay",
           "kvm-amd", "hwpoison-inject", "msr"]
KERNEL = os.path.join(BUILD, "kernel")


@contextlib.contextmanager
def locked():
    """Boxes that start at the same time fetch and unpack one after the other."""
    os.makedirs(BUILD, exist_ok=True)
    with open(os.path.join(BUILD, ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def one(pattern):
    found = sorted(glob.glob(pattern))
    if len(found) != 1:
        raise BoxError(f"{pattern} should be one file, found {len(found)}; remove {KERNEL} to fetch it again")
    return found[0]


def run(*command, cwd=None):
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise BoxError(f"{command[0]} is missing; ./setup installs what is needed") from error
    if done.returncode != 0:
        raise BoxError(f"'{shlex.join(command)}' failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def package_name():
    """The real package behind linux-image-amd64. Not the cloud flavour: it lacks memory-failure."""
    shown = run("apt-cache", "show", "--no-all-versions", "linux-image-amd64")
    match = re.search(r"^Depends:.*?\b(linux-image-[0-9][\w.+-]*-amd64)\b", shown, re.MULTILINE)
    if not match:
        raise BoxError("apt knows no package linux-image-amd64; run 'apt-get update' (./setup does it)")
    return match[1]


def fetch():
    """Fetches the kernel's package and unpacks it, without installing it."""
    for stale in glob.glob(f"{BUILD}/kernel-*"):
        shutil.rmtree(stale, ignore_errors=True)  # of a box that was killed; we hold the lock
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=BUILD) as work:
        name = package_name()
        say(f"fetching {name} (once; kept in {os.path.relpath(KERNEL, ROOT)})")
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name, cwd=work)
        run("dpkg-deb", "-x", one(f"{work}/{name}_*.deb"), f"{work}/root")
        release = os.path.basename(one(f"{work}/root/boot/vmlinuz-*")).removeprefix("vmlinuz-")
        modules = next((path for path in (f"{work}/root/lib/modules", f"{work}/root/usr/lib/modules")
                        if os.path.isdir(path)), None)
        if not modules:
            raise BoxError(f"{name} holds no modules")
        os.makedirs(f"{work}/done/lib")
        os.rename(f"{work}/root/boot", f"{work}/done/boot")
        os.rename(modules, f"{work}/done/lib/modules")
        run("/sbin/depmod", "-b", f"{work}/done", release)
        shutil.rmtree(KERNEL, ignore_errors=True)
        os.rename(f"{work}/done", KERNEL)


def ensure():
    """(kernel image, folder of its modules), fetched if they are not there yet."""
    with locked():
        if not os.path.isdir(KERNEL):
            fetch()
    return one(f"{KERNEL}/boot/vmlinuz-*"), one(f"{KERNEL}/lib/modules/*")


def canonical(path):
    return os.path.basename(path).split(".")[0].replace("-", "_")


def load_order(modules, wanted):
    """Paths below `modules` of the wanted modules and all they depend on, dependencies first.
    What is built into the kernel is left out."""
    needs, builtin, order = {}, set(), []
    with open(f"{modules}/modules.dep", encoding="utf-8") as file:
        for line in file:
            path, _, after = line.partition(":")
            needs[canonical(path)] = (path, after.split())
    with open(f"{modules}/modules.builtin", encoding="utf-8") as file:
        builtin.update(canonical(line.strip()) for line in file)
    for name in wanted:
        key = canonical(name)
        if key in builtin:
            continue
        if key not in needs:
            raise BoxError(f"the kernel in {modules} has no module {name}")
        path, after = needs[key]
        # modules.dep lists the direct dependencies first and their own later.
        for each in [*reversed(after), path]:
            if each not in order:
                order.append(each)
    return order


def module_bytes(path):
    with open(path, "rb") as file:
        data = file.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def dynamically_linked(path):
    """True for an ELF file that names an interpreter: it can't run in the initramfs."""
    with open(path, "rb") as file:
        return b"ld-linux" in file.read(65536)


def boxctl():
    """The newest static boxctl of any build; the preset in use first."""
    preset = os.environ.get("CELLVISOR_PRESET", "release")
    built = sorted(glob.glob(f"{ROOT}/build/*/boxctl"), key=os.path.getmtime, reverse=True)
    built = [path for path in [f"{ROOT}/build/{preset}/boxctl", *built]
             if os.path.isfile(path) and not dynamically_linked(path)]
    if not built:
        raise BoxError("boxctl is not built; ./setup builds it")
    return built[0]


def base_archive(modules):
    """busybox, the first script and the modules: the same for every box with this kernel."""
    busybox = shutil.which("busybox")
    if not busybox or dynamically_linked(busybox):
        raise BoxError("no static busybox; ./setup installs the package busybox-static")
    archive = cpio.Archive()
    for folder in ("bin", "dev", "proc", "sys", "modules", "host", "scratch", "new"):
        archive.add(folder, cpio.DIRECTORY)
    with open(busybox, "rb") as file:
        archive.add("bin/busybox", cpio.PROGRAM, file.read())
    archive.add("bin/sh", cpio.LINK, b"busybox")
    with open(os.path.join(os.path.dirname(__file__), "init.sh"), "rb") as file:
        archive.add("init", cpio.PROGRAM, file.read())
    order = load_order(modules, MODULES)
    for path in order:
        archive.add(f"modules/{canonical(path)}.ko", cpio.FILE, module_bytes(f"{modules}/{path}"))
    archive.add("modules/order", cpio.FILE, "".join(f"{canonical(path)}\n" for path in order).encode())
    return archive.bytes()


def write_initramfs(path, modules, settings, spec):
    """`settings`: shell variables for init.sh; `spec`: the command, for `boxctl run`."""
    archive = cpio.Archive()
    archive.add("box", cpio.DIRECTORY)
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    archive.add("box/settings", cpio.FILE, lines.encode("utf-8", "surrogateescape"))
    archive.add("box/spec", cpio.FILE, spec)
    with open(boxctl(), "rb") as file:
        archive.add("box/boxctl", cpio.PROGRAM, file.read())
    with open(path, "wb") as file:
        file.write(base_archive(modules))
        file.write(archive.bytes())
