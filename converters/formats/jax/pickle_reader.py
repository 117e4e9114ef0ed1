"""Reads pickles of nested dictionaries of arrays: variables of Flax, parameters and states of Haiku.

The arrays are numpy's or JAX's, and stay in the file. The dictionaries may be Flax's ``FrozenDict`` and Haiku's, and
keys may be tuples. Nothing runs: see `pickle.machine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.pickle.forms import form_of
from converters.formats.pickle.known import Known
from converters.formats.pickle.machine import walk
from converters.formats.pickle.numpy_arrays import NAMES, Array, is_other, tensor
from converters.formats.pickle.values import PickleValues

from .names import Flat

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue
    from converters.tensor import Tensor

_NAMES = Known(NAMES)


def read_nested_pickle(file: SourceFile) -> tuple[Flat, int, OtherValue]:
    """Read the names, shapes and offsets of all arrays; also the pickle's protocol and its form. Raises
    `BadInput`."""
    value, protocol, _ = walk(file, _NAMES)
    values = PickleValues(file)

    def leaf(name: str, value: object) -> Tensor | OtherValue:
        if not isinstance(value, Array):
            return values.describe(value).replace(beside=False)
        if value.dtype is not None and is_other(value.dtype.code):
            return values.array(value)
        return tensor(file, name, value)

    flat = Flat(file)
    flat.add(value, leaf)
    if not flat.tensors and not any(other.is_tensor for other in flat.other_values.values()):
        raise BadInput("holds no arrays", path=file.path, hint="the weights are in another file")
    return flat, protocol, form_of(file, value)
