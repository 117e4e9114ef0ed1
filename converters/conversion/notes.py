"""What a user must know about a conversion: how the networks of two layouts differ, and what became of the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.formats.tensorflow.averages import names_of_averages
from converters.mapping.file_names import OUTSIDE, averaged_names
from converters.mapping.match import others_that_fit
from converters.mapping.network_info import one_number_text, own_settings_apart
from converters.mapping.settings import settings_text
from converters.mapping.training_state import AVERAGES
from converters.printable import possessive, printable

from .operations.storage import Reverse
from .operations.values import Cast
from .rounding import is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable, Support
    from converters.tensor import Tensor

    from .row import Row


UNCHECKED = "the input's own checksums were not compared"


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
    return own_settings_apart(info.settings, target, match.variant, match.sizes)


def settings_note(target: LayoutTable, apart: Mapping[str, Any], info: NetworkInfo) -> str:
    """What to change in the target's network for settings that no weight makes up for."""
    return (
        f"{possessive(target.owner)} own network has {settings_text(apart)}, but these weights need "
        f"{settings_text(info.settings, apart)}: no weight shows this, so change it there, or the outputs will differ"
    )


def channels_note(match: Match, target: LayoutTable) -> Iterator[str]:
    """What to change in the target's code where it takes no such input."""
    taken, channels = target.support_for(match.variant.name).channels, match.sizes.get("channels")
    if taken and channels and channels != taken:
        yield (
            f"{possessive(target.owner)} code has {taken} input channels, but these weights have {channels}: "
            "change it there, or they will not load"
        )


def clip_notes(
    match: Match, target: LayoutTable, info: NetworkInfo, followed: Mapping[str, Any]
) -> Iterator[str]:
    """Which clips the output takes, where they are others than the file's."""
    names = [name for name in followed if name in match.variant.table.given]
    if names:
        yield (
            f"the output takes the clips of {possessive(target.owner)} own network, with "
            f"{settings_text(followed, names)} and not {settings_text(info.settings, names)}"
        )


def fixed_settings(match: Match, target: LayoutTable, info: NetworkInfo, apart: Mapping[str, Any]) -> str:
    """Which settings that differ the target's code does not allow to be changed, in words; empty where there are
    none."""
    support = target.support_for(match.variant.name)
    fixed = [name for name in apart if name in support.fixed]
    has = f"its network has {settings_text(apart, fixed)} where" if fixed else ""
    if any(name in apart for name in support.one_number.settings):
        unset = match.variant.table.given
        fixed = [
            name for name in support.one_number.settings if info.settings[name] not in unset.get(name, ())
        ]
        has = f"its {one_number_text(support.one_number)}, but"
    return f"{has} these weights need {settings_text(info.settings, fixed)}" if fixed else ""


def value_notes(
    rows: Sequence[Row], target: LayoutTable, info: NetworkInfo, eps_shift: float
) -> Iterator[str]:
    """What the operations did to the values."""
    reversed_inputs = [
        row.source for row in rows if row.source and any(isinstance(op, Reverse) for op in row.operations)
    ]
    if reversed_inputs:
        yield f"the input channels of {', '.join(reversed_inputs)} were reversed, between BGR and RGB"
    if eps_shift:
        yield (
            f"{target.owner} networks have batch-norm eps {info.bn_eps - eps_shift:g}, these weights "
            f"{info.bn_eps:g}: the difference, {eps_shift:+.3g}, went into every running_var, so the function stays "
            "the same"
        )


def cast_note(rows: Sequence[Row], tensors: Mapping[str, Tensor], dtype: str) -> str:
    """How many tensors were cast to ``dtype``, and whether there is a way back."""
    exact = all(is_exact(tensors[row.source].dtype, row.dtype) for row in rows if row.source is not None)
    count = sum(1 for row in rows if any(isinstance(op, Cast) for op in row.operations))
    return (
        f"{count} tensors were cast to {dtype}{'' if exact else ', which rounds: there is no exact way back'}"
    )


def _averages_note(match: Match, entry: str, without: Set[str]) -> str:
    """Which of the network's variables have the values of averages."""
    names = [match.file_name(slot) for slot in match.slots if slot.name]
    plain = [name for name in names if name in without]
    if not plain:
        return f"the variables have the values of their averages {entry} (--entry)"
    named = ", ".join(map(printable, plain[:2])) + (f" and {len(plain) - 2} more" if len(plain) > 2 else "")
    return (
        f"{len(names) - len(plain)} of {len(names)} variables have the values of their averages {entry} (--entry); "
        f"there is none of {named}, which are as trained"
    )


def input_notes(checkpoint: Checkpoint, match: Match, info: NetworkInfo) -> Iterator[str]:
    """How the input was read."""
    if match.has_inverse_std:
        yield "the file's variances were read as inverse standard deviations (--inverse-std)"
    yield from _naming_notes(match)
    others = others_that_fit(match)
    if others and info.model not in others and not checkpoint.provenance:
        yield (
            f"names and shapes are also those of {', '.join(others)}: taken for {match.variant.title} (--variant)"
        )
    yield from left_out_notes(match)
    yield from shape_notes(match, checkpoint.tensors)
    beside = checkpoint.details.get("beside")
    if beside:
        which = (
            f"those in {checkpoint.details['wrapper']}" if checkpoint.details["wrapper"] else "the file's own"
        )
        names = ", ".join(beside[:8]) + (f" and {len(beside) - 8} more" if len(beside) > 8 else "")
        yield f"the weights are {which}; beside them are {names} (--entry chooses another)"
    if checkpoint.format == "tensorflow" and "wrapper" in checkpoint.details:
        yield _averages_note(match, checkpoint.details["wrapper"], {*checkpoint.details["without_average"]})
    usual = match.variant.values.get("stem_t")
    frames = match.sizes.get("stem_t")
    if usual and len(usual) == 2 and frames != usual[0] and "stem_stride" in info.settings:
        yield (
            f"the stem's kernel spans {frames} frames; its stride in time, which no weight shows, is assumed to be "
            f"{info.settings['stem_stride']} (--set stem_stride=N)"
        )


def _naming_notes(match: Match) -> Iterator[str]:
    """How the file's names differ from its layout's, and whether it has a head."""
    if match.prefix and match.layout.format == "pytorch":
        outside = bool(match.names or match.aside or match.told)
        names = "the names of the network start" if outside else "every name in the input starts"
        yield f"{names} with {printable(match.prefix)}"
    if match.wrappers:
        yield f"names in the input contain {' and '.join(match.wrappers)}, which wrappers put there"
    if match.layout.naming.absent:
        alone = "" if match.sizes["classes"] else ": it is a file of the backbone alone"
        yield f"no name in the input starts with {match.layout.naming.absent}{alone}"
    if match.layout.format == "pytorch" and averaged_names(
        [*match.dropped, *(slot.name for slot in match.slots)]
    ):
        yield "the file also has averages of the weights (ema_*): the weights without ema_ were converted"
    if match.layout.naming.head:
        yield f"the input's head is called {printable(match.layout.naming.head.lstrip(OUTSIDE))} (--head)"
    if not match.sizes["classes"]:
        yield "there is no head: the output ends with features"


def left_out_notes(match: Match) -> Iterator[str]:
    """Which names were left out as no weights, and which since the user said so."""
    kinds: dict[str, list[str]] = {}
    for name, kind in match.aside.items():
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        of_variables = kind == AVERAGES and match.layout.format == "tensorflow"
        entries = names_of_averages(names) if of_variables else []
        more = f" (--entry {entries[0]} takes them)" if entries else ""
        yield f"left aside, since they are {kind}, not weights of the network: {_some(names)}{more}"
    if match.told:
        yield f"dropped as asked for: {_some(match.told)}"


def shape_notes(match: Match, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Which tensors have further axes of one that the layout does not know."""
    names = [
        name
        for slot in match.slots
        if slot.name
        and (name := match.file_name(slot)) in tensors
        and slot.stored.plain(tensors[name].shape, len(slot.shape)) is None
    ]
    if names:
        yield f"reshaped, since their shapes differ only by axes of one: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(map(printable, names[:3]))}{more}"
