"""Writes PaddlePaddle's parameter files as ``paddle.save(state_dict)`` does, byte for byte.

That is a pickle of protocol 4, or of the protocol, the order and with numpy's module name that the original file had.
Weights that never were in a Paddle file get names of their own in the table of the program's names; Paddle reads the
table only where it is asked to. An original without the table is written without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.formats.pickle.writer import NUMPY_1, NUMPY_2, Fresh, PickleWriter

from .entries import NAME_TABLE, PIECE_BYTES, PIECES, SHAPE, SLICES
from .pieces import split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output
    from converters.tensor import Tensor

_CODES = {"bfloat16": "u2"}


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write one file."""
    (out,) = outputs
    form = content.original.get("paddle", {}) if content.same_layout else {}
    write_pdparams(out, content.tensors, form, progress=content.progress)


def write_pdparams(
    out: Output,
    tensors: Sequence[Tensor],
    form: Mapping[str, Any],
    *,
    progress: Callable[[int], None] | None = None,
    piece: int = PIECE_BYTES,
) -> None:
    """Write tensors in the ``form`` of an original file (`reader.PaddleFile`). Raises `Refused` for a name that occurs
    twice or is one of Paddle's own entries."""
    known = form.get("parameters", {})
    place = {name: number for number, name in enumerate(known)}
    ordered = sorted(tensors, key=lambda tensor: place.get(tensor.name, len(place)))
    state: dict[str, object] = {tensor.name: tensor for tensor in ordered}
    if len(state) < len(tensors) or NAME_TABLE in state or PIECES in state:
        raise Refused("has a name twice, or a name of Paddle's own entries")
    protocol = form.get("protocol", 4)
    protocol = protocol if protocol in (2, 3) else 4
    if not form or known:  # files before Paddle 2.0, and of static programs, have none
        state[NAME_TABLE] = {name: Fresh(known.get(name) or name.replace(".", "_")) for name in state}
    pieces = split(ordered, piece) if protocol < 4 else {}
    for name, parts in pieces.items():
        state.pop(name)
        state |= {part.name: part for part in parts}
    if pieces:
        shapes = {tensor.name: tensor.shape for tensor in tensors}
        state[PIECES] = {
            name: {SHAPE: shapes[name], SLICES: [part.name for part in parts]}
            for name, parts in pieces.items()
        }
    numpy = NUMPY_2 if form.get("numpy2") else NUMPY_1
    writer = PickleWriter(out, progress, protocol=protocol, numpy=numpy, codes=_CODES)
    writer.value(state)
    writer.end()
