"""Reads Caffe2 checkpoints in Python pickles: VMZ's, and those of related Caffe2 projects.

The file holds ``{'blobs': {name: array}}`` or ``{name: array}``, written by Python 2 or 3 with any protocol. It is
read as data (`pickle.machine`); the arrays stay in the file.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.formats.pickle.forms import form_of
from converters.formats.pickle.known import Known
from converters.formats.pickle.machine import walk
from converters.formats.pickle.numpy_arrays import NAMES, Array, is_other, refuse_too_many, tensor
from converters.formats.pickle.strings import PickleError, Span, encodes
from converters.formats.pickle.values import PickleValues
from converters.formats.sniff import expect
from converters.printable import short_name, with_article

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue
    from converters.tensor import Tensor

_NAMES = Known(NAMES)
_BLOBS = (Array, type(None), bool, int, float, str, bytes, Span)


class Caffe2Pickle(NamedTuple):
    """The contents of a checkpoint, in the file's order.

    ``tensors`` are the arrays by blob name, ``other_values`` the blobs that are plain values (``model_iter``) and
    arrays that are not converted.
    ``nested`` is true for ``{'blobs': ...}``; entries beside ``'blobs'`` then follow the blobs.
    """

    tensors: dict[str, Tensor]
    other_values: dict[str, OtherValue]
    nested: bool
    protocol: int
    form: OtherValue


class NoBlobs(BadInput):
    """The pickle is one of JAX's, or of other nested dictionaries."""


def read_caffe2_pickle(file: SourceFile) -> Caffe2Pickle:
    """Read the names, shapes and offsets of all arrays.

    Raises `NoBlobs` for a pickle of nested dictionaries, `BadInput` for a file of another kind, a damaged file, a
    pickle with code, a blob that is neither array nor plain value, and a name that occurs twice.
    """
    expect(file, "pickle")
    value, protocol, _ = walk(file, _NAMES, refuse=partial(_refuse, file))
    if _is_nested(value):
        raise NoBlobs("holds arrays in nested dictionaries, not Caffe2 blobs", path=file.path)
    values = PickleValues(file)
    if not isinstance(value, dict):
        raise BadInput(
            f"holds {with_article(values.describe(value).kind)} where a Caffe2 checkpoint has a dictionary of blobs",
            path=file.path,
        )
    entries = _named(file, value)
    blobs, beside, nested = entries, {}, False
    wrapped = entries.get("blobs")
    if isinstance(wrapped, dict):
        blobs, nested = _named(file, wrapped), True
        beside = {name: entry for name, entry in entries.items() if name != "blobs"}
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}

    def add(name: str, array: Array) -> None:
        if array.dtype is not None and is_other(array.dtype.code):
            other_values[name] = values.array(array)
        else:
            tensors[name] = tensor(file, name, array)

    for name, blob in blobs.items():
        if isinstance(blob, Array):
            add(name, blob)
        elif blob is None or isinstance(blob, (bool, int, float, str, bytes, Span)):
            other_values[name] = values.describe(blob).replace(beside=False)
        else:
            raise BadInput(
                "is neither an array nor a number",
                path=file.path,
                where=short_name(name),
                hint="this is not a checkpoint of Caffe2 blobs",
            )
    if not tensors:
        for name, blob in blobs.items():
            if isinstance(blob, Array):
                tensor(file, name, blob)  # raises, and says what it holds instead of weights
        raise BadInput("holds no arrays", path=file.path, hint="this is not a checkpoint of Caffe2 blobs")
    for name, entry in beside.items():
        if name in blobs:
            raise _twice(file, name, "among the blobs and beside them")
        if isinstance(entry, Array):
            add(name, entry)
        else:
            other_values[name] = values.describe(entry).replace(beside=False)
    return Caffe2Pickle(tensors, other_values, nested, protocol, form_of(file, value))


def _is_nested(value: object) -> bool:
    """Whether the arrays are in dictionaries within the outermost one, or under names as Flax's. Blobs are not."""
    if isinstance(value, dict) and all(map(_is_of_caffe2, value.keys(), value.values())):
        return False
    from converters.formats.pickle.nested import is_nested

    return is_nested(value)


def _is_of_caffe2(key: object, entry: object) -> bool:
    if type(key) is str:
        return (type(entry) in _BLOBS and not key.startswith("params")) or key == "blobs"
    return type(key) is bytes and (type(entry) in _BLOBS or key == b"blobs")


def _refuse(file: SourceFile, module: str, name: str) -> PickleError:
    """What to say of a name that is not known. People also pickle PyTorch's models and state dicts."""
    from converters.formats.pickle.whole_models import WAY_OUT, refusal

    error = refusal(file, 0, file.size, module, name)
    if error.hint.startswith(WAY_OUT) or module not in ("torch._utils", "torch.storage"):
        return error
    return PickleError(
        "holds PyTorch tensors that torch.save did not write", "load it with PyTorch, and torch.save it"
    )


def _named(file: SourceFile, entries: dict[object, object]) -> dict[str, object]:
    """Entries by name; Python 2 and 3 wrote names as bytes or text."""
    refuse_too_many(file, entries)
    named: dict[str, object] = {}
    for key, value in entries.items():
        try:
            name = key.decode("utf-8") if isinstance(key, bytes) else key
        except UnicodeDecodeError:
            name = None
        if not isinstance(name, str) or not encodes(name):
            from converters.formats.pickle.keys import no_name

            raise BadInput(no_name(key, "an entry whose name is"), path=file.path)
        if name in named:
            raise _twice(file, name, "as bytes and as text")
        named[name] = value
    return named


def _twice(file: SourceFile, name: str, how: str) -> BadInput:
    return BadInput(
        f"has the name {short_name(name)} twice, {how}",
        path=file.path,
        hint="only one of the two can be used: save the file with that one",
    )
