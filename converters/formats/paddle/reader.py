"""Reads what ``paddle.save`` writes: a dictionary of numpy arrays, or of Paddle's tensors, as data.

``paddle.save(state_dict)`` stores arrays and the table of their names in the program. Tensors in any other dictionary
are pairs of a name and an array, those of static programs a call of ``eval`` with the text ``data``, which is
understood as that one form and not run. Paddle has no unsigned numbers of 16 bits: such arrays are bfloat16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from converters.errors import BadInput, Refused
from converters.formats.pickle.forms import THE_FORM, form_of
from converters.formats.pickle.known import Known
from converters.formats.pickle.machine import Global, code, walk
from converters.formats.pickle.numpy_arrays import NAMES, Array, DType, is_other, refuse_too_many, tensor
from converters.formats.pickle.values import PickleValues
from converters.printable import short_name, with_article

from .entries import NAME_TABLE, PIECES
from .names import as_text
from .pieces import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue
    from converters.tensor import Tensor

WEIGHTS = ("state_dict", "model", "model_state_dict", "model_dict", "net", "params", "weights", "student")
"""Names of entries with the weights, where a file has several dictionaries of tensors."""

_OPTIMIZER = ("_moment1_0", "_moment2_0", "_velocity_0", "_beta1_pow_acc_0", "_beta2_pow_acc_0", "_moment_0")
_NUMPY_2 = b"numpy._core"
_HEAD = 1 << 16


class PaddleFile(NamedTuple):
    """The contents: ``form`` is what the way back restores, ``metadata`` the table of names as it is in the file."""

    tensors: dict[str, Tensor]
    other_values: dict[str, OtherValue]
    metadata: dict[str, OtherValue]
    form: Mapping[str, Any]
    protocol: int


def _tuple(arguments: tuple[object, ...]) -> object:
    """How Paddle stores a tensor in a dictionary that is not a state dict: ``tuple((name, array))``."""
    if len(arguments) != 1 or type(arguments[0]) is not tuple:
        raise code("tuple(...)")
    return arguments[0]


def _dense_tensor(arguments: tuple[object, ...]) -> object:
    """How Paddle stores a tensor of a static program: ``eval("data", {"data": array})``, which is that array."""
    text, names = arguments if len(arguments) == 2 else (None, None)
    if (
        as_text(text) != "data"
        or not isinstance(names, dict)
        or [as_text(name) for name in names] != ["data"]
    ):
        raise code("eval(...)")
    (array,) = names.values()
    if not isinstance(array, Array):
        raise code("eval(...)")
    return array


def _names() -> Known:
    names = Known(NAMES)
    for module in ("builtins", "__builtin__"):
        names[module, "tuple"] = Global("tuple", _tuple)
        names[module, "eval"] = Global("eval", _dense_tensor)
    return names


_NAMES = _names()


def read_paddle(file: SourceFile) -> PaddleFile:
    """Read the names, shapes and offsets of all arrays. Raises `BadInput`, and `Refused` where several state dicts
    may be meant."""
    value, protocol, _ = walk(file, _NAMES)
    entries, beside = _weights(file, value)
    table = entries.pop(NAME_TABLE, None)
    pieces = entries.pop(PIECES, None)
    values = PickleValues(file)
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}
    for name, entry in entries.items():
        array = _array(entry)
        if array is None:
            other_values[name] = values.describe(entry).replace(beside=False)
        elif array.dtype is not None and is_other(array.dtype.code):
            other_values[name] = values.array(array)
        else:
            tensors[name] = tensor(file, name, array)
    if pieces is not None:
        tensors = _in_order(joined(file, tensors, pieces), table)
    if not tensors:
        raise BadInput("holds no arrays", path=file.path, hint="the weights are in another file")
    _refuse_optimizer(file, tensors)
    for name, entry in beside.items():
        other_values[name] = values.describe(entry)
    form: dict[str, Any] = {
        "protocol": protocol,
        "numpy2": _NUMPY_2 in file.read_at(0, min(_HEAD, file.size)),
    }
    if isinstance(table, dict):
        parameters = {as_text(name): as_text(known) for name, known in table.items()}
        if None not in (*parameters, *parameters.values()):
            form["parameters"] = parameters
    metadata = {THE_FORM: form_of(file, value, texts=True)}
    if table is not None:
        metadata[NAME_TABLE] = values.describe(table)
    return PaddleFile(tensors, other_values, metadata, form, protocol)


def _weights(file: SourceFile, value: object) -> tuple[dict[str, object], dict[str, object]]:
    """The dictionary of the weights, and the entries beside it where it is in an entry."""
    if not isinstance(value, dict):
        kind = "single tensor" if _array(value) is not None else PickleValues(file).describe(value).kind
        raise BadInput(f"holds {with_article(kind)} where a state dict must be", path=file.path)
    entries = _named(file, value)
    if any(_array(entry) is not None for entry in entries.values()):
        return entries, {}
    inner = {
        name: entry
        for name, entry in entries.items()
        if isinstance(entry, dict) and any(_array(part) is not None for part in entry.values())
    }
    chosen = [name for name in inner if name in WEIGHTS] or list(inner)
    if len(chosen) > 1:
        raise Refused(
            f"holds {len(chosen)} state dicts, and it is not clear which is meant",
            path=file.path,
            where=", ".join(map(short_name, chosen[:8])),
            hint="load it with paddle.load, and save one of them alone with paddle.save",
        )
    if not chosen:
        return entries, {}
    beside = {name: entry for name, entry in entries.items() if name != chosen[0]}
    return _named(file, cast("dict[object, object]", inner[chosen[0]])), beside


def _named(file: SourceFile, entries: dict[object, object]) -> dict[str, object]:
    """Entries by name; Python 2 wrote names as bytes."""
    refuse_too_many(file, entries)
    named: dict[str, object] = {}
    for key, entry in entries.items():
        name = as_text(key)
        if name is None:
            from converters.formats.pickle.keys import no_name

            raise BadInput(no_name(key, "an entry whose name is"), path=file.path)
        if name in named:
            raise BadInput(f"has the name {short_name(name)} twice, as bytes and as text", path=file.path)
        named[name] = entry
    return named


def _array(value: object) -> Array | None:
    """The array of a tensor: alone, or behind the tensor's name in the program."""
    if type(value) is tuple and len(value) == 2 and isinstance(value[0], (str, bytes)):
        value = value[1]
    if not isinstance(value, Array):
        return None
    if value.dtype is None or value.dtype.code != "u2":
        return value
    array, dtype = Array(), DType("ml_dtypes.bfloat16")
    dtype.order = value.dtype.order
    array.fill(value.data, dtype, value.sizes, value.order)
    return array


def _in_order(tensors: dict[str, Tensor], table: object) -> dict[str, Tensor]:
    """Tensors in the order of the table of names: those in pieces are at the end of the file."""
    if not isinstance(table, dict):
        return tensors
    first = {name: tensors[name] for name in map(as_text, table) if name in tensors}
    return first | tensors


def _refuse_optimizer(file: SourceFile, tensors: Mapping[str, Tensor]) -> None:
    if all(name.endswith(_OPTIMIZER) for name in tensors):
        raise BadInput(
            "holds the state of an optimizer, not weights",
            path=file.path,
            hint="the weights are in the .pdparams beside it",
        )
