"""What to say where a conversion needs a tensor that is not converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.formats.checkpoint import Checkpoint
    from converters.formats.other_value import OtherValue

_MISSING = "missing: "
_HINT = "save it as numbers of another dtype, such as float32"


def refuse_nothing_else(checkpoint: Checkpoint) -> None:
    """Raise `Refused` for a file whose tensors are all of a kind that is not converted."""
    unconverted = checkpoint.unconverted
    if not checkpoint.tensors and unconverted:
        raise _needed(Refused("", path=checkpoint.path), list(unconverted), unconverted)


def with_unconverted(error: Refused, unconverted: Mapping[str, OtherValue]) -> Refused:
    """The refusal of a file that lacks tensors of a network, where it has one of them in a form that is not converted:
    the same with that as the reason."""
    missing = {
        fault.removeprefix(_MISSING).partition(" ")[0]: fault
        for fault in error.faults
        if fault.startswith(_MISSING)
    }
    names = [name for name in unconverted if name in missing]
    if not names:
        return error
    said = {missing[name]: f"not converted: {name} ({unconverted[name].kind})" for name in names}
    faults = tuple(said.get(fault, fault) for fault in error.faults)
    return _needed(Refused("", path=error.path, faults=faults), names, unconverted)


def _needed(error: Refused, names: list[str], unconverted: Mapping[str, OtherValue]) -> Refused:
    """The error with the first of the tensors that are needed."""
    first = names[0]
    error.what = f"holds a tensor that cannot be converted: it is {unconverted[first].kind}"
    error.where = short_name(first) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    error.hint = unconverted[first].hint or _HINT
    return error
