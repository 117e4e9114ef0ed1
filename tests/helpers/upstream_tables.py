"""Reference facts of the real networks; `data/README.md` says where they come from."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.helpers.paths import DATA

Op = tuple[str, list[str], list[str], dict[str, Any]]
"""A Caffe2 operator: type, inputs, outputs, arguments (strides of 1 and pads of 0 are left out)."""


@dataclass(frozen=True)
class VmzTable:
    """A network as VMZ's own builder made it, or one of its variants.

    ``blobs`` are in network order; ``roles`` names what a suffix does not tell; ``variants`` maps flags to
    the change they make.
    """

    model: str
    depth: int
    flags: dict[str, int]
    output: str
    blobs: dict[str, tuple[int, ...]]
    roles: dict[str, list[str]]
    ops: list[Op]
    variants: dict[str, dict[str, Any]]

    def variant(self, name: str) -> VmzTable:
        """The table with one variant's flags (``"clip_length=16,..."``) instead of its own."""
        change = self.variants[name]
        flags = dict(self.flags)
        for item in name.split(","):
            key, value = item.split("=")
            flags[key] = int(value)
        gone = set(change["blobs_gone"])
        blobs = {blob: shape for blob, shape in self.blobs.items() if blob not in gone}
        blobs |= {blob: tuple(shape) for blob, shape in change["blobs_changed"].items()}
        ops = [op for op in self.ops if not gone.intersection(op[1])]
        output = self.output.replace(f"L{self.flags['num_labels']}", f"L{flags['num_labels']}")
        # The last first, so that a new operator finds the one after it that takes its output.
        for new in reversed([tuple(op) for op in change["ops_changed"]]):
            made = new[2][0]
            old = [i for i, op in enumerate(ops) if op[2][0] == made and op[0] != "Relu"]
            takers = [i for i, op in enumerate(ops) if made in op[1]]
            if old:
                ops[old[0]] = new
            else:
                ops.insert(takers[0] if takers else len(ops), new)
        return VmzTable(self.model, self.depth, flags, output, blobs, self.roles, ops, {})


@dataclass(frozen=True)
class TargetTable:
    """The state dict of a live network of another project: ``keys`` in order, ``()`` for a scalar.

    ``norms`` and ``pools`` are what its modules said; ``deviations`` what was changed to build it.
    """

    source: str
    deviations: str
    norms: list[dict[str, Any]]
    pools: list[dict[str, Any]]
    keys: dict[str, tuple[int, ...]]


@cache
def vmz_tables() -> dict[str, VmzTable]:
    """All tables of VMZ's networks by ``model-depth``."""
    tables = {}
    for name, table in _read("vmz-tables.json.gz").items():
        table["blobs"] = {blob: tuple(shape) for blob, shape in table["blobs"].items()}
        table["ops"] = [tuple(op) for op in table["ops"]]
        tables[name] = VmzTable(**table)
    return tables


@cache
def target_tables() -> dict[str, TargetTable]:
    """All tables of target networks by ``ecosystem/model``."""
    tables = {}
    for name, table in _read("target-tables.json.gz").items():
        table["keys"] = {key: tuple(shape) for key, shape in table["keys"].items()}
        tables[name] = TargetTable(**table)
    return tables


def _read(name: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))
