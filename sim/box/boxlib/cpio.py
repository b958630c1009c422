# SPDX-License-Identifier: BSD-2-Clause
"""Writes a cpio archive of the 'newc' form, as the kernel takes for an initramfs. Several may
follow each other in one file."""

DIRECTORY = 0o040755
FILE = 0o100644
PROGRAM = 0o100755
LINK = 0o120777


class Archive:
    def __init__(self):
        self._parts = []
        self._inode = 0

    def add(self, name, mode, data=b""):
        self._inode += 1
        encoded = name.encode() + b"\0"
        numbers = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def bytes(self):
        self.add("TRAILER!!!", 0)
        whole = b"".join(self._parts)
        return whole + b"\0" * (-len(whole) % 512)
