# SPDX-License-Identifier: BSD-2-Clause
"""What all parts of the box share: where things are, and its two kinds of failure."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
BUILD = os.path.join(ROOT, "build", "box")

STATUS_USAGE = 2
STATUS_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
STATUS_LIMIT = 124
STATUS_BOX = 125


class BoxError(Exception):
    """The box itself can't do it; the text says what would be right. Exit status 125."""


class UsageError(Exception):
    """The command line is wrong. Exit status 2."""


def say(text):
    print(f"box: {text}", file=sys.stderr, flush=True)
