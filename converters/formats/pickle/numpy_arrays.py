"""numpy's part of a pickle: arrays, dtypes and scalars as inert values, which may still be in the file.

Names and arguments are those that numpy 1.x and 2.x write under Python 2 and 3, taken from real pickles.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.printable import short_name
from converters.tensor import ITEMSIZE, NUMPY_CODES, Data, FileBytes, Held, Swapped, Tensor

from .machine import Global, Inert, InertDict, NamedBytes, NamedText, bytearray_of, code, put
from .strings import RAW, PickleError, Span, decoded_chunks, latin1

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    from converters.files import SourceFile

OTHER_KINDS = {
    "O": "Python objects",
    "S": "byte strings",
    "U": "texts",
    "T": "texts",
    "V": "structured elements",
    "M": "dates",
    "m": "durations",
    "c": "complex numbers",
    "u": "unsigned numbers",
}
"""What elements that are not converted are, by the first letter of their type code; one byte without sign is."""

_NAMES = {"c8": "complex64", "c16": "complex128", "u2": "uint16", "u4": "uint32", "u8": "uint64"}

_ML_DTYPES = "ml_dtypes."

_FORMATS = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"} | {
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "b1": "?",
}

_OTHER_SCALARS = "cfmMSUV"
"""Kinds of scalars beside those of `_FORMATS`; a scalar that is a Python object would be code."""

_MAX_AXES = 64  # numpy's own limit
_CODE_LENGTH = 16  # of a dtype's type code; numbers have two characters

TENSOR_LIMIT = 1 << 16
"""Entries of a dictionary of tensors at most. They take little in the stream where they share their values."""


def refuse_too_many(file: SourceFile, entries: Sized) -> None:
    """Raise `BadInput` for a dictionary with more entries than any checkpoint has."""
    if len(entries) > TENSOR_LIMIT:
        raise BadInput(
            f"holds a dictionary of {len(entries):,} entries; {TENSOR_LIMIT:,} at most are read",
            path=file.path,
            hint="no checkpoint has so many",
        )


def numpy_kind(type_code: str) -> str:
    """What elements of a type that is not converted are: a dtype's name, or words."""
    if type_code in _NAMES:
        return _NAMES[type_code]
    if type_code.startswith(_ML_DTYPES):
        return type_code.removeprefix(_ML_DTYPES)
    return words_for(type_code) if type_code else "an array without contents"


def words_for(type_code: str) -> str:
    """What elements that are not converted are, in words, with their type code."""
    return f"{OTHER_KINDS.get(type_code[0], 'elements')} ({short_name(type_code)})"


def dtype_of(type_code: str) -> str:
    """The dtype of a type code, a key of `ITEMSIZE`; empty for one that a state dict cannot hold."""
    return "bfloat16" if type_code == f"{_ML_DTYPES}bfloat16" else NUMPY_CODES.get(type_code, "")


def is_other(type_code: str) -> bool:
    """Whether elements of a type are known, but none that a state dict can hold."""
    return not dtype_of(type_code) and (type_code[0] in OTHER_KINDS or type_code.startswith(_ML_DTYPES))


ARRAY = "numpy.ndarray"
"""The class of ordinary arrays."""


class DType(Inert):
    """A ``numpy.dtype``: its type code, such as ``f4``, its byte order, one of ``< > |``, and in ``more`` the fields of
    a structure, a subarray, and the unit of a date, as the stream has them."""

    __slots__ = ("code", "more", "name", "order")

    def __init__(self, type_code: str) -> None:
        self.name = "numpy.dtype"
        self.code = type_code
        self.order = ""
        self.more: tuple[object, ...] = ()

    def set_state(self, state: object) -> None:
        """``(version, order, subarray, names, fields, size, alignment, flags[, metadata])``"""
        if type(state) is not tuple or len(state) not in (8, 9) or self.order:
            raise PickleError("has a dtype of unknown form")
        order = _ascii(state[1])
        if order not in ("<", ">", "|"):
            raise PickleError("has a dtype without a byte order")
        if any(part is not None for part in state[2:5]):
            self.code = "V"  # fields or a subarray: not one number an element
        self.order = order
        self.more = state[2:]

    def made_from(self) -> tuple[object, ...]:
        """Its code, its order, and all else."""
        return (self.code, self.order, self.more)


class Integer(int):
    """A whole number or truth value of numpy's, of the type ``name``."""

    name: str

    def __new__(cls, name: str, value: int) -> Integer:
        made = super().__new__(cls, value)
        made.name = name
        return made


class Floating(float):
    """A floating-point number of numpy's, of the type ``name``."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, value: float) -> Floating:
        made = super().__new__(cls, value)
        made.name = name
        return made


class Array(Inert):
    """A ``numpy.ndarray``, or an array of the class ``owner``.

    ``data`` holds the elements, in C order, of an array of shape ``stored``; this array is its transposition by
    ``axes`` (None: itself). ``sizes`` and ``order`` (``C``, ``F``, or axes) are as the stream has them, where many
    arrays can share them; the rest is computed on request.
    """

    __slots__ = ("data", "dtype", "order", "owner", "sizes")

    def __init__(self, owner: str = ARRAY) -> None:
        self.owner = owner
        self.dtype: DType | None = None
        self.sizes: tuple[int, ...] = ()
        self.order: str | tuple[int, ...] = "C"
        self.data: object = None

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in memory."""
        return self.sizes[::-1] if self.order == "F" else self.sizes

    @property
    def axes(self) -> tuple[int, ...] | None:
        """The order of axes that transposes the shape in memory to the logical shape."""
        if self.order == "F" and sum(size != 1 for size in self.sizes) > 1:
            return tuple(range(len(self.sizes)))[::-1]
        return self.order if isinstance(self.order, tuple) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The logical shape."""
        return self.sizes if isinstance(self.order, str) else tuple(self.sizes[axis] for axis in self.order)

    def set_state(self, state: object) -> None:
        """``(version, shape, dtype, is_fortran, data)``"""
        if type(state) is not tuple or len(state) != 5 or not isinstance(state[3], int):
            raise PickleError("has an array of unknown form")
        self.fill(state[4], state[2], state[1], "F" if state[3] else "C")

    def fill(self, data: object, dtype: object, shape: object, order: str | tuple[int, ...]) -> None:
        """Set all fields, once. Only forms are checked here; `tensor`, which knows the name, checks the rest."""
        if not isinstance(dtype, DType) or self.dtype is not None:
            raise PickleError("has an array of unknown form")
        self.sizes = _checked_sizes(shape, 1 << 63)
        self.order = order
        self.dtype = dtype
        self.data = data


def _checked_sizes(value: object, bound: int) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > _MAX_AXES:
        raise PickleError("has an array of unknown form")
    for size in value:
        if type(size) is not int or not 0 <= size < bound:
            raise PickleError("has an array of impossible shape")
    return value


def _ascii(value: object) -> str:
    """A short text, written as bytes by Python 2."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


_ARRAYS = {
    (module, name): Global(f"numpy.{name}")
    for module, name in (
        *(("numpy", name) for name in ("ndarray", "memmap", "matrix", "recarray", "chararray")),
        *(("numpy.matrixlib.defmatrix", "matrix"), ("numpy.rec", "recarray"), ("numpy.char", "chararray")),
    )
}
"""numpy's classes of arrays, which differ in their methods only."""

_ARRAY_CLASSES = frozenset(_ARRAYS.values())
_RECORD = Global("numpy.record")


def _reconstruct(arguments: tuple[object, ...]) -> Array:
    owner = arguments[0] if len(arguments) == 3 else None
    if not isinstance(owner, Global) or owner not in _ARRAY_CLASSES:
        raise PickleError("has an array of unknown form")
    return Array(owner.name)  # the shape (0,) and the code 'b' that follow are placeholders


def _frombuffer(arguments: tuple[object, ...]) -> Array:
    if len(arguments) not in (4, 5):
        raise PickleError("has an array of unknown form")
    array, order = Array(), arguments[3]
    if len(arguments) == 5 and order == "K":
        axes = _checked_sizes(arguments[4], _MAX_AXES)
        array.fill(arguments[0], arguments[1], arguments[2], axes)
        if sorted(axes) != list(range(len(array.sizes))):
            raise PickleError("has an array of impossible order")
    elif order in ("C", "F"):
        array.fill(arguments[0], arguments[1], arguments[2], str(order))
    else:
        raise PickleError("has an array of impossible order")
    return array


def _dtype(arguments: tuple[object, ...]) -> DType:
    kind = arguments[0] if len(arguments) == 3 else ""
    if isinstance(kind, Global) and kind.name.startswith(_ML_DTYPES):
        return DType(kind.name)
    type_code = "V" if kind is _RECORD else _ascii(kind)
    if not 0 < len(type_code) <= _CODE_LENGTH:
        raise PickleError("has a dtype of unknown form")
    return DType(type_code)


def _string_dtype(arguments: tuple[object, ...]) -> DType:
    """numpy 2's dtype of texts of any length: ``(whether it converts[, what stands for a missing one])``."""
    made = DType("T")
    made.order = "|"
    made.more = arguments
    return made


def _scalar(arguments: tuple[object, ...]) -> object:
    """A number or a short text as such; a complex or extended number, a date, a long text or a structure as an object
    that holds its bytes."""
    dtype, data = arguments if len(arguments) == 2 else (None, None)
    raw = isinstance(data, bytes) or (isinstance(data, Span) and not data.text)
    if not isinstance(dtype, DType) or not raw or not dtype.order:
        raise PickleError("has a number of unknown form")
    kind, form = dtype.code[0], _FORMATS.get(dtype.code, "")
    if isinstance(data, bytes):
        if kind == "S":
            return NamedBytes("numpy.bytes_", data)
        if kind == "U":
            coding = "utf-32-be" if dtype.order == ">" else "utf-32-le"
            return NamedText("numpy.str_", data.decode(coding, "replace"))
        if form and struct.calcsize(form) == len(data):
            number: int | float | bool = struct.unpack((">" if dtype.order == ">" else "<") + form, data)[0]
            name = f"numpy.{NUMPY_CODES.get(dtype.code) or _NAMES[dtype.code]}"
            return Floating(name, number) if isinstance(number, float) else Integer(name, number)
    if form or kind not in _OTHER_SCALARS:
        raise PickleError("has a number of unknown form")
    from .inert_objects import Bystander

    return Bystander("numpy.core.multiarray.scalar", arguments)


def _encode(arguments: tuple[object, ...]) -> bytes | Span:
    text, codec = arguments if len(arguments) == 2 else (None, None)
    if codec not in ("latin1", "latin-1", b"latin-1"):  # the last is Python 2's, for a bytearray
        raise code(f"_codecs.encode({short_name(codec) if isinstance(codec, str) else '...'})")
    if isinstance(text, str):
        return latin1(text)
    if isinstance(text, Span) and text.text:
        return Span(text.offset, text.length, text.coding, False)
    raise PickleError("has bytes of unknown form")


def _bytes(arguments: tuple[object, ...]) -> bytes:
    if arguments:  # Python 3 writes only empty ones this way
        raise PickleError("has bytes of unknown form")
    return b""


def _bytearray(arguments: tuple[object, ...]) -> object:
    if not arguments:
        return bytearray_of(b"")
    if len(arguments) == 2:
        return bytearray_of(_encode(arguments))
    data = arguments[0]
    if len(arguments) == 1 and (isinstance(data, bytes) or (isinstance(data, Span) and not data.text)):
        return bytearray_of(data)
    raise PickleError("has bytes of unknown form")


def _pairs(arguments: tuple[object, ...]) -> int:
    """The cost of an OrderedDict: a pair with a key of its own takes four bytes, such as ``K1 N TUPLE2``."""
    return 4 * len(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], list) else 0


def ordered_dict(arguments: tuple[object, ...]) -> InertDict:
    """``([pairs])`` or ``()``, whose items follow."""
    entries = InertDict("collections.OrderedDict")
    pairs = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or not isinstance(pairs, list):
        raise PickleError("has an OrderedDict of unknown form")
    for pair in pairs:  # Python 2 gives all pairs to the call
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise PickleError("has an OrderedDict of unknown form")
        put(entries, pair[0], pair[1])
    return entries


def _names() -> dict[tuple[str, str], Global]:
    reconstruct = Global("numpy.core.multiarray._reconstruct", _reconstruct)
    scalar = Global("numpy.core.multiarray.scalar", _scalar)
    frombuffer = Global("numpy.core.numeric._frombuffer", _frombuffer)
    bytes_, bytearray_ = Global("bytes", _bytes), Global("bytearray", _bytearray)
    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy._core.multiarray", "scalar"): scalar,
        ("numpy.core.numeric", "_frombuffer"): frombuffer,
        ("numpy._core.numeric", "_frombuffer"): frombuffer,
        **_ARRAYS,
        ("numpy", "record"): _RECORD,
        ("numpy.rec", "record"): _RECORD,
        ("numpy", "dtype"): Global("numpy.dtype", _dtype),
        ("numpy._core._internal", "_convert_to_stringdtype_kwargs"): Global(
            "numpy.dtypes.StringDType", _string_dtype
        ),
        ("_codecs", "encode"): Global("_codecs.encode", _encode),
        ("__builtin__", "bytes"): bytes_,
        ("builtins", "bytes"): bytes_,
        ("__builtin__", "bytearray"): bytearray_,
        ("builtins", "bytearray"): bytearray_,
        ("collections", "OrderedDict"): Global("collections.OrderedDict", ordered_dict, _pairs),
    }


NAMES = _names()
"""The closed table of the names that a pickle of numpy arrays needs, in the spellings of numpy 1 and 2 and of
Python 2 and 3. Read only."""


class Decoded(NamedTuple):
    """Bytes that were written as text; exactly ``nbytes`` must result. Raises `BadInput` otherwise."""

    file: SourceFile
    span: Span
    nbytes: int
    name: str

    def chunks(self) -> Iterator[memoryview]:
        left = self.nbytes
        try:
            for chunk in decoded_chunks(self.file, self.span):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
        except PickleError as error:
            raise BadInput(error.what, path=self.file.path, where=self.name, hint=error.hint) from None
        if left:
            raise BadInput(
                f"holds {'more' if left < 0 else 'fewer'} bytes than its shape takes ({self.nbytes:,})",
                path=self.file.path,
                where=self.name,
                hint=PickleError("").hint,
            )


class Transposed(NamedTuple):
    """The C-order bytes of an array of shape ``stored`` with its axes in the order ``axes``. Needs numpy, and memory
    for the tensor twice while it is read."""

    data: Data
    stored: tuple[int, ...]
    axes: tuple[int, ...]
    itemsize: int

    def chunks(self) -> Iterator[memoryview]:
        import numpy as np

        raw = bytearray()
        for chunk in self.data.chunks():
            raw += chunk
        if not raw:
            return
        elements = np.frombuffer(raw, f"u{self.itemsize}").reshape(self.stored)
        flat = np.ascontiguousarray(elements.transpose(self.axes)).reshape(-1).view(np.uint8).data
        for start in range(0, len(flat), CHUNK):
            yield flat[start : start + CHUNK]


def _amount(nbytes: int) -> str:
    return f"{nbytes:,}" if nbytes < 1 << 64 else "more than any file has"


def tensor(file: SourceFile, name: str, array: Array) -> Tensor:
    """The tensor of an array. Raises `BadInput`, naming it, unless its dtype is one of `ITEMSIZE` and it has as many
    bytes as its shape and dtype ask for."""
    problem = hint = ""
    dtype = "" if array.dtype is None else dtype_of(array.dtype.code)
    shape = array.shape
    nbytes = prod(shape) * ITEMSIZE.get(dtype, 0)
    data = array.data
    if array.dtype is None:
        problem = "is an array without contents"
    elif not dtype:
        problem = f"holds {words_for(array.dtype.code)}, not weights"
        hint = "only arrays of numbers can be converted"
    elif not array.dtype.order:
        problem = "has a dtype without a byte order"
    elif isinstance(data, bytes):
        if len(data) != nbytes:
            problem = f"has {len(data):,} bytes, but its shape takes {_amount(nbytes)}"
    elif not isinstance(data, Span) or data.text:
        problem = "has contents that are not bytes"
    elif not data.may_hold(nbytes):
        what = "" if data.coding == RAW else " of text"
        problem = f"has {data.length:,} bytes{what}, but its shape takes {_amount(nbytes)}"
    if problem or array.dtype is None:
        raise BadInput(problem, path=file.path, where=short_name(name), hint=hint or PickleError("").hint)
    return Tensor(name, dtype, shape, _data(file, name, array, array.dtype, nbytes, ITEMSIZE[dtype]))


def _data(file: SourceFile, name: str, array: Array, dtype: DType, nbytes: int, itemsize: int) -> Data:
    content = array.data
    data: Data
    if not isinstance(content, Span):
        assert isinstance(content, bytes)
        data = Held(content)
    elif content.coding == RAW:
        data = FileBytes(file, content.offset, nbytes)
    else:
        data = Decoded(file, content, nbytes, short_name(name))
    if dtype.order == ">" and itemsize > 1:
        data = Swapped(data, itemsize)
    axes = array.axes
    if axes is not None:
        data = Transposed(data, array.stored, axes, itemsize)
    return data
