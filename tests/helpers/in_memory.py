"""Conversions and proofs of tensors that are in no file: the whole way but for reading, writing and running."""

from __future__ import annotations

import zlib
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

import converters.verification.verify as verification
from converters.conversion import convert as conversion
from converters.conversion import execute
from converters.conversion.provenance import dump
from converters.conversion.write import Written
from converters.formats.checkpoint import Checkpoint
from converters.formats.provenance_record import parse_provenance
from converters.formats.registry import usual_suffix
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.tensor import Held, Repeated, Tensor
from converters.verification.outcome import Comparison, DeclaredDifferences
from tests.helpers import layout_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from converters.conversion.result import Result
    from converters.mapping.variants import Variant
    from converters.verification.outcome import Verification

LARGE = 1 << 15
"""Values of a tensor that is one value throughout, so that it costs neither time nor memory."""


def held(name: str, values: np.ndarray) -> Tensor:
    """A float32 tensor of these values."""
    return Tensor(name, "float32", values.shape, Held(values.astype("<f4").tobytes()))


def values_of(tensor: Tensor) -> np.ndarray:
    """The values of a float32 tensor, as an array of its own."""
    return np.frombuffer(tensor.tobytes(), "<f4").reshape(tensor.shape).copy()


def seeded(layout: str, one: Variant) -> dict[str, Tensor]:
    """A file's tensors: random values, and one value throughout in those that are large."""
    sizes, found = layout_weights.sizes(one), {}
    for slot in tensor_slots(load_layout(layout), one, sizes, {"blending": False}):
        if not slot.name:
            continue
        shape = slot.file_shape(sizes)
        random = np.random.default_rng(zlib.crc32(slot.canonical.encode()))
        if prod(shape) > LARGE:
            value = random.standard_normal(1).astype("<f4").tobytes()
            found[slot.name] = Tensor(slot.name, "float32", shape, Repeated(value, prod(shape)))
        else:
            low = 0.5 if slot.leaf == "running_var" else -1.0
            found[slot.name] = held(slot.name, random.uniform(low, 1.5, shape))
    return found


def opened(layout: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any] | None) -> Checkpoint:
    """These tensors as if a file of a layout held them."""
    return Checkpoint(
        path="x",
        format=load_layout(layout).format,
        container="a file",
        tensors=tensors,
        provenance=parse_provenance(dump(record), "x") if record else None,
    )


def convert(
    source: Checkpoint, layout: str, target: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **how: Any
) -> tuple[dict[str, Tensor], Result]:
    """Convert what is opened: the output's tensors, and the result."""
    (folder / "x").write_bytes(b"")
    monkeypatch.setattr(execute, "open_checkpoint", lambda path, **_: source)
    monkeypatch.setattr(
        execute, "write_output", lambda path, kind, work, _: Written(dict(work.draft), {}, None)
    )
    path = folder / f"y{usual_suffix(load_layout(target).format)}"
    result = conversion.convert(folder / "x", path, source=layout, to=target, **how)
    return {row.target: row.tensor(source.tensors) for row in result.rows}, result


def verify(
    source: Checkpoint,
    output: Checkpoint,
    layouts: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    **how: Any,
) -> Verification:
    """Verify what is opened. No network runs."""
    sides = {"source": source, "output": output}
    monkeypatch.setattr(verification, "open_checkpoint", lambda path, **_: sides[path])
    monkeypatch.setattr(verification, "compare", not_run)
    return verification.verify("source", "output", source_layout=layouts[0], layout=layouts[1], **how)


def not_run(*_: Any, **__: Any) -> Comparison:
    """In place of `functional.compare`, where only the bytes matter."""
    return Comparison(None, DeclaredDifferences(()), "not run in this test")
