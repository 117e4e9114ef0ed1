"""Seeded weights and clips, in place of released files that may not be redistributed.

They are not pretrained. They are the same on every machine, so that a small golden file can hold what real Caffe2
computed from them. This is recipe vmz-golden-1 of the goldens. Needs numpy.
"""

from __future__ import annotations

import re
from hashlib import sha256
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shape = tuple[int, ...]

_SCALE = re.compile(r"((?:[av]_)?comp_\d+)_spatbn_(\d+)_s")


def vmz_weights(blobs: Mapping[str, Shape], seed: int) -> dict[str, Any]:
    """Float32 arrays for ``blobs`` (Caffe2 name to shape), drawn in the order of the sorted names.

    The last batch norm of each residual block is scaled down, so that activations of deep networks stay in range.
    Raises `ValueError` for a name without a rule.
    """
    import numpy

    last: dict[str, int] = {}
    for name in blobs:
        if match := _SCALE.fullmatch(name):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    damped = {f"{block}_spatbn_{index}_s" for block, index in last.items()}
    damping = 0.1 if len(last) > 16 else 0.2
    random = numpy.random.RandomState(seed)
    arrays = {}
    for name in sorted(blobs):
        shape = blobs[name]
        if name.endswith("_w"):
            value = random.standard_normal(shape)
            value *= sqrt((2 if len(shape) > 2 else 1) / prod(shape[1:]))
        elif name.endswith(("_s", "_riv")):
            value = random.uniform(0.5, 1.5, shape)
            if name in damped:
                value *= damping
        elif name.endswith(("_b", "_rm")):
            value = random.standard_normal(shape) * 0.1
        else:
            raise ValueError(f"no rule for blob {name}")
        arrays[name] = value.astype("<f4")
    return arrays


def vmz_inputs(seed: int, *shapes: Shape) -> list[Any]:
    """A float32 clip ``[N, C, T, H, W]``, followed by the log-mels for audio-visual networks."""
    import numpy

    random = numpy.random.RandomState(seed)
    return [random.standard_normal(shape).astype("<f4") for shape in shapes]


def digest(arrays: Mapping[str, Any], separator: bytes = b"\0") -> str:
    """SHA-256 over each name, ``separator`` and the little-endian float32 values, in the order of the sorted names."""
    total = sha256()
    for name in sorted(arrays):
        total.update(name.encode("ascii") + separator)
        total.update(arrays[name].astype("<f4", copy=False).tobytes())
    return total.hexdigest()
