"""Writes nested dictionaries of numpy arrays as CPython's pickle of protocol 4 does under numpy 1, byte for byte.

Both numpy 1 and 2 read it; an array of bfloat16 needs ml_dtypes to be read, which JAX brings along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.pickle.writer import PickleWriter

from .names import nested
from .slash_keys import slash_keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write one file. Raises `Refused` for names that are not nested dictionaries."""
    (out,) = outputs
    tree = nested(content.tensors, slash_keys_of(content))
    writer = PickleWriter(out, content.progress)
    writer.value(tree)
    writer.end()
