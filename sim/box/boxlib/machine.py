# SPDX-License-Identifier: BSD-2-Clause
"""The machine as it is asked for: nodes, CPUs, memory, distances. Parsing only."""
import dataclasses
import re

from .common import UsageError

MIB = 1 << 20
UNITS = {"": 1, "K": 1 << 10, "M": MIB, "G": 1 << 30, "T": 1 << 40}
MAX_NODES = 32
MAX_CPUS = 64
MIN_NODE_BYTES = 64 * MIB
MIN_FIRST_NODE_BYTES = 512 * MIB
LOCAL = 10
REMOTE = 20


@dataclasses.dataclass(frozen=True)
class Node:
    """A NUMA node: the first and the number of its CPUs (0: memory only), and its memory."""
    first_cpu: int
    cpus: int
    memory: int

    def cpu_list(self):
        return list(range(self.first_cpu, self.first_cpu + self.cpus))


@dataclasses.dataclass(frozen=True)
class Machine:
    nodes: tuple
    distances: tuple  # a row per node: what node i pays to reach node j

    @property
    def cpus(self):
        return sum(node.cpus for node in self.nodes)

    @property
    def memory(self):
        return sum(node.memory for node in self.nodes)

    def node_of_cpu(self, cpu):
        return next(n for n, node in enumerate(self.nodes) if cpu in node.cpu_list())

    def describe(self):
        """For `boxctl info`: the same names as in `cellvisor topo --json`."""
        return {"nodes": [{"node": n, "cpus": node.cpu_list(), "memory_bytes": node.memory,
                           "distances": list(self.distances[n])}
                          for n, node in enumerate(self.nodes)]}


def parse_size(text, what):
    match = re.fullmatch(r"(\d{1,12})([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"{what}: '{text}' is not a size; say for example 2G or 512M")
    return int(match[1]) * UNITS[match[2].upper()]


def parse_count(text, what, low, high):
    if not re.fullmatch(r"\d{1,9}", text.strip()) or not low <= int(text) <= high:
        raise UsageError(f"{what}: '{text}' is not a number from {low} to {high}")
    return int(text)


def spread(values, count, what):
    """One value for all nodes, or one for each."""
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise UsageError(f"{what}: {len(values)} values for {count} nodes; give one for all or one for each")
    return values


def parse_distances(text, count):
    """Rows separated by ';' or '/', values by ','. Node i's row says what i pays to reach each."""
    if text is None:
        return tuple(tuple(LOCAL if i == j else REMOTE for j in range(count)) for i in range(count))
    rows = [[parse_count(value, "--distances", LOCAL, 254) for value in re.split(r"[,\s]+", row.strip())]
            for row in re.split(r"[;/]", text)]
    if len(rows) != count or any(len(row) != count for row in rows):
        raise UsageError(f"--distances: wants {count} rows of {count} values, such as "
                         + "/".join(",".join("10" if i == j else "20" for j in range(2)) for i in range(2))
                         + " for 2 nodes")
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if (value == LOCAL) != (i == j):
                raise UsageError(f"--distances: row {i} has {value} at place {j}; a node is {LOCAL} from "
                                 f"itself and more from every other")
    return tuple(tuple(row) for row in rows)


def parse_machine(nodes, cpus_per_node, memory_per_node, distances, memory_only):
    """Machine of the option texts; UsageError says which is wrong."""
    with_cpus = parse_count(nodes, "--nodes", 1, MAX_NODES)
    without = parse_count(memory_only, "--memory-only", 0, MAX_NODES - with_cpus)
    count = with_cpus + without
    cpus = spread([parse_count(text, "--cpus-per-node", 1, MAX_CPUS) for text in cpus_per_node.split(",")],
                  with_cpus, "--cpus-per-node") + [0] * without
    memory = spread([parse_size(text, "--memory-per-node") for text in memory_per_node.split(",")],
                    count, "--memory-per-node")
    if sum(cpus) > MAX_CPUS:
        raise UsageError(f"--cpus-per-node: {sum(cpus)} CPUs in all; the box takes {MAX_CPUS} at most")
    for n, size in enumerate(memory):
        least = MIN_FIRST_NODE_BYTES if n == 0 else MIN_NODE_BYTES
        if size < least or size % (2 * MIB):
            raise UsageError(f"--memory-per-node: node {n} needs at least {least // MIB}M, in steps of 2M")
    made = tuple(Node(sum(cpus[:n]), cpus[n], memory[n]) for n in range(count))
    return Machine(made, parse_distances(distances, count))
