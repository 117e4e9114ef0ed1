"""What readers keep beside the tensors, as plain Python values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.formats.other_value import OtherValue


def plain(value: OtherValue) -> Any:
    """A number, text, None, or a list or dictionary of these; only for values that do not contain themselves. Of an
    array, what it is."""
    if value.parts is not None:
        parts = list(value.parts())
        if value.kind in ("list", "tuple", "set", "frozenset", "torch.Size"):
            return [plain(part) for _, part in parts]
        return {name: plain(part) for name, part in parts}
    if value.data is None:
        return value.value
    if value.shape is not None:
        return f"{value.kind} {value.shape}"
    return b"".join(bytes(chunk) for chunk in value.data.chunks()).decode()


def all_plain(values: Mapping[str, OtherValue]) -> dict[str, Any]:
    """All values by name."""
    return {name: plain(value) for name, value in values.items()}
