"""Files with the real blob names and shapes, in the byte format of VMZ's releases, with seeded values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.caffe2.pickle_writer import write_caffe2_pickle
from converters.formats.io.atomic import replacing
from converters.tensor import Held, Tensor
from tests.helpers import seeded_weights
from tests.helpers.upstream_tables import vmz_tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np


def write(path: Path, table: str, seed: int, *, change: str = "") -> dict[str, np.ndarray]:
    """Write one network's pickle with the weights of recipe vmz-golden-1; returns them."""
    made = vmz_tables()[table].variant(change) if change else vmz_tables()[table]
    arrays = seeded_weights.vmz_weights(made.blobs, seed)
    write_arrays(path, arrays)
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of any dtype as ``{'blobs': {...}}``, protocol 2."""
    tensors = [
        Tensor(
            name,
            str(array.dtype),
            array.shape,
            Held(memoryview(array).cast("B") if array.size else memoryview(b"")),
        )
        for name, array in arrays.items()
    ]
    with replacing(path, force=True) as out:
        write_caffe2_pickle(out, tensors)
