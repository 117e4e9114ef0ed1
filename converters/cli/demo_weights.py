"""Recipe vmz-golden-1: seeded weights and clips that stand in for files nobody may pass round.

Not pretrained weights. The same numbers on every machine, so that what real Caffe2 computed from them once can be
stored as a small golden. Described in ``tests/goldens/caffe2/README.md``. Needs numpy.
"""

from __future__ import annotations

import re
from hashlib import sha256
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shape = tuple[int, ...]

_LAST_SCALE = re.compile(r"((?:[av]_)?comp_\d+)_spatbn_(\d+)_s")


def vmz_weights(blobs: Mapping[str, Shape], seed: int) -> dict[str, Any]:
    """Float32 arrays for ``blobs`` (Caffe2 name to shape), drawn in sorted name order.

    The last batch norm of each residual block is scaled down, so that deep networks stay in range. Raises
    `ValueError` for a name that the recipe has no rule for.
    """
    import numpy

    last: dict[str, int] = {}
    for name in blobs:
        if match := _LAST_SCALE.fullmatch(name):
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
    """A float32 clip ``[N, C, T, H, W]``, and for audio-visual networks the log-mels behind it."""
    import numpy

    random = numpy.random.RandomState(seed)
    return [random.standard_normal(shape).astype("<f4") for shape in shapes]


def digest(arrays: Mapping[str, Any], separator: bytes = b"\0") -> str:
    """SHA-256 over names, ``separator`` and little-endian float32 bytes in sorted name order."""
    total = sha256()
    for name in sorted(arrays):
        total.update(name.encode("ascii") + separator)
        total.update(arrays[name].astype("<f4", copy=False).tobytes())
    return total.hexdigest()
