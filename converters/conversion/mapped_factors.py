"""The factors of a user's mapping, such as the third blob of Caffe's BatchNorm, and how a record keeps them.

On the way there values are divided by their factor, which the output does not store. On the way back the factor is 1,
or the one that the record of that conversion has, with what the division rounded.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.record import Record
from converters.tensor import FLOATS, ITEMSIZE, filled

from .operations.values import AddUlps, Divide
from .rounding import pack, rounding_of, ulps_between, unpack
from .row import Row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.user_mapping import UserMapping
    from converters.tensor import Tensor

    from .operations.base import Operation


class RecordedFactors(Record):
    """What the record has: the ``rows`` of factors, by their names in the file that is written, and the ``steps`` that
    the values multiplied by them still lack."""

    rows: Mapping[str, Row]
    steps: Mapping[str, str]

    def number(self, name: str) -> Tensor | None:
        """A factor that is not 1."""
        row = self.rows.get(name)
        return row.tensor({}) if row else None

    def rounding(self, name: str, dtype: str, shape: tuple[int, ...]) -> tuple[Operation, ...]:
        """What corrects a product. Raises `BadInput` for steps that do not fit the tensor."""
        steps = self.steps.get(name)
        if not steps:
            return ()
        try:
            return (AddUlps(steps=unpack(steps, prod(shape) * ITEMSIZE[dtype])),)
        except ValueError:
            raise _wrong_record() from None


def factor_record(mapping: UserMapping, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the way back needs, for the record: of each factor and of each quotient its dtype, its shape and the steps.
    Reads these tensors."""
    known: dict[str, list[Any]] = {}
    for pair in mapping.pairs:
        if not pair.over:
            continue
        values, divisor = tensors[pair.left], tensors[pair.over]
        one = filled(divisor.name, divisor.dtype, divisor.shape, 1.0)
        for tensor, steps in (
            (divisor, ulps_between(divisor, one)),
            (values, rounding_of(Divide(by=divisor), values)),
        ):
            known[tensor.name] = [tensor.dtype, list(tensor.shape), pack(steps) if any(steps) else ""]
    return {"factors": known} if known else {}


def recorded_factors(
    mapping: UserMapping, record: Mapping[str, Any] | None, tensors: Mapping[str, Tensor], dtype: str | None
) -> RecordedFactors:
    """The factors in a file's record, if it says that this mapping made the file, the other way round, and if nothing
    they belong to was or is cast. Raises `BadInput` for a record that does not go with the mapping."""
    made_by = (record or {}).get("mapping") or {}
    factors = ((record or {}).get("restore") or {}).get("factors")
    same = mapping.sha256 and made_by.get("sha256") == mapping.sha256
    if not factors or not same or made_by.get("source") != mapping.right.name:
        return RecordedFactors(rows={}, steps={})
    try:
        cast = {
            pair.times
            for pair in mapping.pairs
            if pair.times
            and not (tensors[pair.left].dtype == factors[pair.right][0] == (dtype or factors[pair.right][0]))
        }
        pairs = [pair for pair in mapping.pairs if pair.times and pair.times not in cast]
        rows = {pair.times: _row(pair.times, *factors[pair.times]) for pair in pairs}
        steps = {pair.right: str(factors[pair.right][2]) for pair in pairs}
    except (KeyError, IndexError, TypeError, ValueError):
        raise _wrong_record() from None
    return RecordedFactors(rows=rows, steps=steps)


def _row(name: str, dtype: str, shape: list[int], steps: str) -> Row:
    """The row of a factor. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
    if dtype not in FLOATS or len(shape) > 8 or any(size != 1 for size in shape):
        raise ValueError(name)
    ops = (AddUlps(steps=unpack(steps, ITEMSIZE[dtype])),) if steps else ()
    return Row(None, name, dtype, tuple(shape), ops, 1.0)


def _wrong_record() -> BadInput:
    return BadInput("its provenance record does not fit its tensors", hint="convert the source again")
