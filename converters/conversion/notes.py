"""What a user must know about a conversion: how the networks of two layouts differ, and what became of the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.mapping.network_info import differing_settings, layout_settings
from converters.mapping.settings import settings_text

from .operations import Cast, Reverse, is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable, Support
    from converters.tensor import Tensor

    from .plan import Row


def differences(source: Support, target: Support) -> list[str]:
    """How the network of one layout differs from that of another, in words."""
    texts = [target.note]
    if source.config != target.config:
        texts += [source.differs or (source.note if source.config else ""), target.differs]
    return [text for text in dict.fromkeys(texts) if text]


def settings_apart(match: Match, target: LayoutTable, info: NetworkInfo) -> dict[str, Any]:
    """The settings of the target's own network that differ from the file's."""
    if target.identity:
        return {}
    return differing_settings(info.settings, layout_settings(target, match.variant, match.sizes))


def settings_note(target: LayoutTable, apart: Mapping[str, Any], info: NetworkInfo) -> str:
    """What to change in the target's network for settings that no weight makes up for."""
    return (
        f"{target.title}'s own network has {settings_text(apart)}, and these weights need "
        f"{settings_text(info.settings, apart)}: no weight shows it, so change it there, or the outputs differ"
    )


def refuse_fixed(
    match: Match, target: LayoutTable, info: NetworkInfo, apart: Mapping[str, Any], path: str
) -> None:
    """Raise `Refused` where the target's code does not allow a setting to be changed."""
    fixed = [name for name in apart if name in target.support_for(match.variant.name).fixed]
    if fixed:
        raise Refused(
            f"{target.title} cannot hold this {match.variant.title}: its network has "
            f"{settings_text(apart, fixed)} where these weights need {settings_text(info.settings, fixed)}",
            path=path,
            hint="`convert models` shows which layouts can",
        )


def value_notes(
    rows: Sequence[Row], target: LayoutTable, info: NetworkInfo, eps_shift: float
) -> Iterator[str]:
    """What the operations did to the values."""
    reversed_inputs = [
        row.source for row in rows if row.source and any(isinstance(op, Reverse) for op in row.ops)
    ]
    if reversed_inputs:
        yield f"the input channels of {', '.join(reversed_inputs)} were reversed, between BGR and RGB"
    if eps_shift:
        yield (
            f"{target.title} networks have batch-norm eps {info.bn_eps - eps_shift:g}, these weights "
            f"{info.bn_eps:g}: the difference, {eps_shift:+.3g}, went into every running_var, so the function stays "
            "the same"
        )


def cast_note(rows: Sequence[Row], tensors: Mapping[str, Tensor], dtype: str) -> str:
    """How many tensors were cast to ``dtype``, and whether there is a way back."""
    exact = all(is_exact(tensors[row.source].dtype, row.dtype) for row in rows if row.source is not None)
    count = sum(1 for row in rows if any(isinstance(op, Cast) for op in row.ops))
    return (
        f"{count} tensors were cast to {dtype}{'' if exact else ', which rounds: there is no exact way back'}"
    )
