"""Compare what two files hold beside the tensors that can be converted."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from converters.formats.other_value import OtherValue
from converters.printable import printable, shape_text
from converters.tensor import Held, same_data, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.formats.checkpoint import Checkpoint

ONLY_A, ONLY_B, DIFFERS, UNKNOWN, EQUAL = "only in A", "only in B", "differs", "unknown", "equal"
"""How two values compare. A value that nothing can tell from another one is unknown, and so not equal."""

RECORD = "the record"
"""The name of the record that this tool writes, among the other values."""

FORM = "how the file is written"
"""All that a file has beside what it holds, in a word: the order of entries, compression, padding, identifiers."""

_DEPTH = 64
_VALUES = 200_000
"""Values that are followed in all: containers can be shared and can contain themselves."""
_LISTED = 20
"""Differences that are listed of one value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherComparison:
    """One value in two files: ``kind`` is how it compares, ``a`` and ``b`` say what it is, empty where it is not."""

    name: str
    kind: str
    a: str
    b: str


class Others(NamedTuple):
    """What was compared beside the tensors, and the names of what was not, for each side."""

    compared: tuple[OtherComparison, ...]
    not_compared: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def same_files(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two checkpoints have the same bytes in all of their files, also those that are only compared."""
    if not _same_outside(a, b) or [file.size for file in a.files] != [file.size for file in b.files]:
        return False
    return all(
        same_data(whole_file(left), whole_file(right)) for left, right in zip(a.files, b.files, strict=True)
    )


def _same_outside(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether metadata in files of their own (``path``), which are not open, are the same."""
    left, right = (
        {name: value.data for name, value in one.metadata.items() if hasattr(value.data, "path")}
        for one in (a, b)
    )
    pairs = ((data, right.get(name)) for name, data in left.items())
    return left.keys() == right.keys() and all(x and y and same_data(x, y) for x, y in pairs)


def equal_others(checkpoint: Checkpoint) -> Others:
    """What a file holds beside its tensors, compared with itself."""
    values = _all(checkpoint)
    return Others(
        tuple(
            OtherComparison(name=name, kind=EQUAL, a=described(value), b=described(value))
            for name, value in values.items()
        )
    )


def others_inside(a: Checkpoint, b: Checkpoint) -> Others:
    """Compare what two state dicts hold beside their tensors, wherever they are in their files; all else is named."""
    inside, beside = [], []
    for checkpoint in (a, b):
        own = {name: value for name, value in checkpoint.other_values.items() if not value.beside}
        inside.append(own)
        beside.append(tuple(name for name in _all(checkpoint) if name not in own))
    return Others(tuple(compare_others(*inside)), (beside[0], beside[1]))


def others_of(a: Checkpoint, b: Checkpoint) -> Others:
    """Compare what two files hold beside their tensors. Of two formats only what both have a place for: values that
    one of them alone holds are named, unless they are tensors."""
    left, right = _all(a), _all(b)
    if have_one_format(a, b):
        return Others(tuple(compare_others(left, right)))
    beside_a, beside_b = (
        tuple(
            name for name, value in one.items() if name not in other and (name not in checkpoint.unconverted)
        )
        for checkpoint, one, other in ((a, left, right), (b, right, left))
    )
    for names, values in ((beside_a, left), (beside_b, right)):
        for name in names:
            del values[name]
    return Others(tuple(compare_others(left, right)), (beside_a, beside_b))


def _all(checkpoint: Checkpoint) -> dict[str, OtherValue]:
    """Everything beside the tensors by name: values, metadata, and the record."""
    found = {**checkpoint.other_values}
    for name, value in checkpoint.metadata.items():
        found[name if name not in found else f"{name} (metadata)"] = value
    if checkpoint.provenance is not None:
        text = json.dumps(checkpoint.provenance, sort_keys=True)
        found[RECORD] = OtherValue(kind="record", data=Held(text.encode()))
    return found


def have_one_format(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two files are of one format, in whatever versions."""
    return _format(a) == _format(b)


def _format(checkpoint: Checkpoint) -> str:
    """The first word of what the file is: a format without its versions."""
    return checkpoint.container.split()[0].rstrip(",")


def described(value: OtherValue) -> str:
    """What a value is: its dtype and shape, or a number or short text itself."""
    if value.shape is not None:
        return f"{value.kind} {shape_text(value.shape)}"
    if value.value is None:
        return value.kind
    text = printable(str(value.value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def compare_others(a: Mapping[str, OtherValue], b: Mapping[str, OtherValue]) -> Iterator[OtherComparison]:
    """Compare values by name, in the order of A; those of B alone come last. Of an unequal container the unequal
    values in it follow, by their paths."""
    comparer = _Comparer()
    for name, value in a.items():
        if name not in b:
            yield OtherComparison(name=name, kind=ONLY_A, a=described(value), b="")
            continue
        found = comparer.all_differences(name, value, b[name])
        first = next(found, None)
        if first is None:
            yield OtherComparison(name=name, kind=EQUAL, a=described(value), b=described(b[name]))
            continue
        yield first
        for _, difference in zip(range(_LISTED - 1), found, strict=False):
            yield difference
    for name, value in b.items():
        if name not in a:
            yield OtherComparison(name=name, kind=ONLY_B, a="", b=described(value))


class _Comparer:
    """Follows the values of two files in step."""

    def __init__(self) -> None:
        self._left = _VALUES
        self._followed: dict[tuple[int, int], tuple[OtherValue, OtherValue]] = {}

    def all_differences(self, name: str, a: OtherValue, b: OtherValue) -> Iterator[OtherComparison]:
        """Every unequal value in two. Two containers that occur together again, in each other too, are followed
        once."""
        self._followed.clear()
        return self._differences(name, a, b, 0)

    def _differences(self, name: str, a: OtherValue, b: OtherValue, depth: int) -> Iterator[OtherComparison]:
        pair = (id(a), id(b))
        if pair in self._followed:
            return
        if a.parts is not None and b.parts is not None:
            self._followed[pair] = (a, b)  # held, so that their numbers stay theirs
        self._left -= 1
        if not _same_value(a, b) or not _same_data(a, b):
            yield OtherComparison(name=name, kind=DIFFERS, a=described(a), b=described(b))
        elif a.opaque or b.opaque or self._left < 0 or depth > _DEPTH:
            yield OtherComparison(name=name, kind=UNKNOWN, a=described(a), b=described(b))
        elif a.parts is not None and b.parts is not None:
            yield from self._parts(name, a, b, depth)

    def _parts(self, name: str, a: OtherValue, b: OtherValue, depth: int) -> Iterator[OtherComparison]:
        left, right = _by_name(a), _by_name(b)
        for inner, value in left.items():
            path = _joined(name, inner)
            if inner in right:
                yield from self._differences(path, value, right[inner], depth + 1)
            else:
                yield OtherComparison(name=path, kind=ONLY_A, a=described(value), b="")
            if self._left < 0:
                yield OtherComparison(name=name, kind=UNKNOWN, a=described(a), b=described(b))
                return
        for inner, value in right.items():
            if inner not in left:
                path = _joined(name, inner)
                yield OtherComparison(name=path, kind=ONLY_B, a="", b=described(value))


def _same_value(a: OtherValue, b: OtherValue) -> bool:
    """Whether two are of one kind and shape and say the same; NaN by its bits, since it is not equal to itself."""
    return (a.kind, a.shape, _bits(a.value)) == (b.kind, b.shape, _bits(b.value)) and (
        (a.parts is None) == (b.parts is None)
    )


def _bits(value: bool | int | float | str | None) -> str | bytes:
    return struct.pack("<d", value) if isinstance(value, float) else repr(value)


def _same_data(a: OtherValue, b: OtherValue) -> bool:
    if a.data is None or b.data is None:
        return a.data is b.data or a.opaque or b.opaque
    return same_data(a.data, b.data)


def _by_name(value: OtherValue) -> dict[str, OtherValue]:
    """The parts of a value; a name that occurs again gets a number."""
    found: dict[str, OtherValue] = {}
    for name, part in value.parts() if value.parts else ():
        found[name if name not in found else f"{name} #{len(found)}"] = part
    return found


def _joined(path: str, name: str) -> str:
    return f"{path}{name}" if not (path and name) or name.startswith(("[", ".")) else f"{path}.{name}"
