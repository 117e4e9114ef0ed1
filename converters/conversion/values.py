"""Checks of a conversion that need the values of the input's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput, Refused
from converters.tensor import FLOATS, filled, same_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor

    from .plan import Plan


def with_finite_note(plan: Plan, checkpoint: Checkpoint, *, strict: bool) -> Plan:
    """The plan with a note on NaN and Inf in the input, which ``strict`` refuses. Reads all tensors."""
    bad = _not_finite(list(checkpoint.tensors.values()))
    if not bad:
        return plan
    what = f"{len(bad)} tensor{'s hold' if len(bad) > 1 else ' holds'} NaN or Inf"
    where = ", ".join(bad[:3])
    if strict:
        hint = "leave --strict out to convert them as they are"
        raise BadInput(what, path=checkpoint.path, where=where, faults=tuple(bad), hint=hint)
    return plan.replace(notes=(*plan.notes, f"{what}: {where}"))


def _not_finite(tensors: Sequence[Tensor]) -> list[str]:
    """The names of tensors that hold NaN or Inf. Reads them all."""
    from .tensor_stats import not_finite

    return [tensor.name for tensor in tensors if tensor.dtype in FLOATS and not_finite(tensor)]


def refuse_unequal(plan: Plan, checkpoint: Checkpoint) -> None:
    """Raise `Refused` if the file stores one tensor under two names with different values."""
    for first, second in plan.equal:
        if not same_bytes(checkpoint.tensors[first], checkpoint.tensors[second]):
            raise Refused(
                "stores one tensor under two names, with different values",
                path=checkpoint.path,
                where=f"{first}, {second}",
                hint="the file is damaged, or only one of the two was changed",
            )


def refuse_lost(plan: Plan, checkpoint: Checkpoint) -> None:
    """Raise `Refused` if a tensor would be lost: the target stores no such tensor and implies other values."""
    for name, value in plan.implied:
        tensor = checkpoint.tensors[name]
        if name in plan.dropped and not _is_filled(tensor, value):
            raise Refused(
                f"has a tensor that this network lacks, with values other than {value:g}",
                where=name,
                path=checkpoint.path,
                hint="the file's network is not the one that its names say",
            )
        refuse_unlike(tensor, value, checkpoint.path, where=name)


def refuse_unlike(tensor: Tensor, value: float, path: str, *, where: str) -> None:
    """Refuse a target that takes a tensor of the file ``path`` for ``value`` everywhere, which it is not."""
    if not _is_filled(tensor, value):
        raise Refused(
            f"the target has no such tensor and assumes it to be {value:g} everywhere; here it has other values",
            where=where,
            path=path,
            hint="choose another target",
        )


def _is_filled(tensor: Tensor, value: float) -> bool:
    return tensor.tobytes() == filled(tensor.name, tensor.dtype, tensor.shape, value).tobytes()
