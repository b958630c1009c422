# SPDX-License-Identifier: BSD-2-Clause
"""round trip of 64 bytes between two processes: a call of the fabric against pipes and a unix socket"""
import os
import re
import subprocess

import lab


def measure(_options):
    done = subprocess.run([os.path.join(lab.BUILD, "bench_fabric"), "5000"], capture_output=True, text=True,
                          timeout=600, check=False)
    if done.returncode != 0:
        raise lab.Failed(f"bench_fabric: {done.stderr}")
    result = {}
    for name, middle, late, least in re.findall(r"^(.+?)\s+median\s+([\d.]+)\s+p99\s+([\d.]+)\s+least\s+([\d.]+)",
                                                done.stdout, re.MULTILINE):
        name = name.replace(" ", "_")
        result.update({f"{name}_us_median": float(middle), f"{name}_us_p99": float(late),
                       f"{name}_us_least": float(least)})
    return result
