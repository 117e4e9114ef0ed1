"""Writes MXNet's NDArray lists byte for byte as ``mx.nd.save`` does; `ndarray_list` has the format."""

from __future__ import annotations

from struct import pack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.printable import short_name
from converters.record import Record

from .ndarray_list import CPU, DENSE, FLAGS, LIST_MAGIC, MAGICS
from .reader import without_prefixes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output, Sink
    from converters.tensor import Tensor

_FLAGS = {dtype: flag for flag, dtype in FLAGS.items() if dtype != "int16"}
"""The flags of what MXNet 1.9.1 reads, which has no int16."""

_MAGICS = {version: magic for magic, version in MAGICS.items()}
_NUMPY_SHAPES = 3
"""The version in which an array may be a scalar or have no elements."""

_WIDEST_BEFORE_1 = 1 << 32


class Form(Record):
    """How a list is written: the version of its arrays and the device that they are said to have been on, and both of
    the arrays that have others, by their names in the file; these names, in order, of which it may have more or
    fewer."""

    version: int = 2
    device: tuple[int, int] = CPU
    stored_names: tuple[str, ...] = ()
    other_arrays: Mapping[str, tuple[int, tuple[int, int]]] = MappingProxyType({})


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a ``.params``, in the form of the original file if that had this layout."""
    (out,) = outputs
    form = original_form(content.original) if content.same_layout else Form()
    write_params(out, content.tensors, form, progress=content.progress)


def original_form(original: Mapping[str, Any]) -> Form:
    """The form of a file, from its `Checkpoint.details`."""
    return Form(
        version=original.get("version", 2),
        device=tuple(original.get("device", CPU)),
        stored_names=tuple(original.get("stored_names", ())),
        other_arrays={
            name: (version, (kind, number))
            for name, (version, kind, number) in original.get("other_arrays", {}).items()
        },
    )


def write_params(
    out: Sink, tensors: Sequence[Tensor], form: Form, *, progress: Callable[[int], None] | None = None
) -> None:
    """Write ``tensors``, one chunk in memory at a time. Those that ``form`` has names for come first, in its order.

    Raises `Refused` for what the version cannot hold, and for a name that is not valid Unicode.
    """
    stored = dict(zip(without_prefixes(form.stored_names), form.stored_names, strict=True))
    by_name = {tensor.name: tensor for tensor in tensors}
    order = [*(name for name in stored if name in by_name), *(name for name in by_name if name not in stored)]
    names = b"".join(_name(stored.get(name, name)) for name in order)
    out.write(pack("<3Q", LIST_MAGIC, 0, len(order)))
    for name in order:
        tensor = by_name[name]
        in_file = stored.get(name, name)
        out.write(_header(tensor, *form.other_arrays.get(in_file, (form.version, form.device))))
        for chunk in tensor.data.chunks():
            out.write(chunk)
            if progress is not None:
                progress(len(chunk))
    out.write(pack("<Q", len(order)) + names)


def _header(tensor: Tensor, version: int, device: tuple[int, int]) -> bytes:
    """What stands before an array's elements."""
    shape = tensor.shape
    if version < _NUMPY_SHAPES and (not shape or 0 in shape):
        what = "a scalar" if not shape else "an array without elements"
        raise Refused(
            f"an MXNet parameter file has no place for {what}",
            where=short_name(tensor.name),
            hint="leave it out, or write another format",
        )
    if tensor.dtype not in _FLAGS:
        raise Refused(f"MXNet has no {tensor.dtype}", where=short_name(tensor.name))
    if not version and max(shape) >= _WIDEST_BEFORE_1:
        raise Refused(
            "the original file's version has no place for an axis so long", where=short_name(tensor.name)
        )
    start = pack("<I", _MAGICS[version]) if version else b""
    start += pack("<i", DENSE) if version > 1 else b""
    sizes = pack(f"<{len(shape)}{'q' if version else 'I'}", *shape)
    return start + pack("<i", len(shape)) + sizes + pack("<3i", *device, _FLAGS[tensor.dtype])


def _name(name: str) -> bytes:
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("a name is not valid Unicode", where=short_name(name)) from None
    return pack("<Q", len(raw)) + raw
