"""Describe a checkpoint file without reading its tensors: format, layout, network, provenance."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from converters.conversion.identify import declared_settings
from converters.conversion.recognize import ambiguous_layouts, recognize
from converters.errors import Refused
from converters.files import NeedsWhole
from converters.formats.open import open_checkpoint
from converters.lazy_module import LazyModule
from converters.mapping.match import others_that_fit
from converters.mapping.network_info import NetworkInfo, network_info
from converters.mapping.variants import multiply_adds, parameters, weights
from converters.shown import Shown
from converters.tensor import FLOATS

from .support_table import holding_layouts, source_layouts

if TYPE_CHECKING:
    from converters.conversion import by_user_mapping, tensor_stats
    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.tensor import Tensor

    from . import released
else:
    by_user_mapping = LazyModule("converters.conversion.by_user_mapping")
    tensor_stats = LazyModule("converters.conversion.tensor_stats")
    released = LazyModule("converters.inspection.released")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inspection(Shown):
    """What a file is. ``network`` is None where no layout fits; ``unknown`` then says why.

    ``parameters`` counts weights and biases, ``weights`` leaves norms and biases out. ``multiply_adds`` are those for
    the clip that the network was made for, ``counted`` those at the size that its authors count at. ``layouts`` are the
    PyTorch layouts that can hold the network, each with a note, ``refusing`` those that cannot, each with the reason,
    ``source_layouts`` those of source frameworks that can.
    ``statistics`` and ``mapping``, which says how the file agrees with a mapping file, are there only on request.
    ``hashes`` are the digests of each file, by its name and by kind, and ``release`` the published release that they
    prove it to be; both are there only on request.
    ``beside`` are other state dicts in the file, such as averages of the weights. ``unseen`` is what such files do not
    show and the user must say; ``also`` are other networks with the file's names and shapes, which it is taken for if
    that is asked for. ``others`` are the names of all that is not
    converted; ``unconverted`` are those of them that are tensors, with dtype and shape.
    """

    path: str
    container: str
    size: int
    layout: str = ""
    layout_title: str = ""
    network: NetworkInfo | None = None
    unknown: str = ""
    parameters: int = 0
    weights: int = 0
    multiply_adds: int = 0
    counted: int = 0
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    dropped: tuple[str, ...] = ()
    others: tuple[str, ...]
    unconverted: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    layouts: Mapping[str, str] = field(default_factory=dict)
    refusing: Mapping[str, str] = field(default_factory=dict)
    source_layouts: tuple[str, ...] = ()
    provenance: Mapping[str, Any] | None
    statistics: Mapping[str, tensor_stats.Statistics] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    unseen: str = ""
    also: tuple[str, ...] = ()
    mapping: by_user_mapping.Matched | None = None
    hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    release: released.Released | None = None

    def lines(self) -> tuple[str, ...]:
        """File; network and layout, or why it is not known; size."""
        network = self.network
        known = (
            f"{network.title}, {network.classes or 'no'} classes, layout {self.layout}"
            if network
            else self.unknown
        )
        counts = f"{len(self.tensors)} tensors"
        return (
            f"{self.path}: {self.container}",
            known,
            f"{counts}, {self.parameters / 1e6:.1f} M parameters" if network else counts,
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "network": self.network.as_data() if self.network else None,
            "statistics": {name: values.as_dict() for name, values in self.statistics.items()},
            "mapping": self.mapping.as_data() if self.mapping else None,
            "release": self.release.as_data() if self.release else None,
        }


def inspect(
    path: str | os.PathLike[str],
    *,
    layout: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    stats: bool = False,
    mapping: str | os.PathLike[str] | None = None,
    hash: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Inspection:
    """What a checkpoint file is: container, network, tensors, preprocessing, provenance.

    ``entry`` is the path of a state dict in a PyTorch file that has several, ``head`` the file's name of the classifier
    layer, if it differs from the layout's. ``stats`` reads the tensors, to report ranges, NaN and Inf; by default none
    is read. ``mapping`` is a mapping file to match the file with, on the side that fits better. ``hash`` reads the
    files, to report their hashes and the published release that these prove the file to be. ``progress`` is
    told in words what is being read. Raises `BadInput` for a file that is not a checkpoint.
    """
    location = os.fspath(path)
    mapping_file = None
    if mapping is not None:
        from converters.mapping.user_mapping import load_mapping

        mapping_file = load_mapping(os.fspath(mapping))

    def inspect_file(*, distant: bool) -> Inspection:
        with open_checkpoint(location, entry=entry, distant=distant) as checkpoint:
            inspection = _inspect(checkpoint, layout, head, drop)
            if stats:
                inspection = replace(inspection, statistics=_statistics(checkpoint, progress))
            if mapping_file is not None:
                from converters.conversion.by_user_mapping import match_either

                matched = match_either(mapping_file, checkpoint.tensors, checkpoint.other_values)
                inspection = replace(inspection, mapping=matched)
            return inspection

    try:
        inspection = inspect_file(distant=not (stats or hash))
    except NeedsWhole:
        inspection = inspect_file(distant=False)
    if hash and progress:
        progress("hashing the file")
    return _with_hashes(location, inspection) if hash else inspection


def _inspect(checkpoint: Checkpoint, layout: str | None, head: str | None, drop: Sequence[str]) -> Inspection:
    """What a checkpoint's names and shapes say."""
    match, unknown = None, ""
    try:
        match = recognize(checkpoint, layout, head=head, drop=drop, ask=False)
    except Refused as error:
        unknown = (
            f"{error.told.what}: {error.told.hint}" if checkpoint.format == "arrays" else error.told.what
        )
    if match is None:
        return _inspect_file(checkpoint, unknown)
    inspection = _inspect_network(checkpoint, match)
    if layout is None and (others := ambiguous_layouts(checkpoint, match)):
        title = f"{inspection.layout_title}; or {', '.join(others)}, whose networks compute something else"
        inspection = replace(inspection, layout_title=title)
    return inspection


def _with_hashes(location: str, inspection: Inspection) -> Inspection:
    from converters.hashes import LENGTHS

    from .released import file_digests, released

    digests = file_digests(location, LENGTHS)
    found = released(location, inspection.layout, inspection.network, digests)
    return replace(inspection, hashes=digests, release=found)


def _inspect_file(checkpoint: Checkpoint, unknown: str) -> Inspection:
    """What can be said of any file."""
    return Inspection(
        path=checkpoint.path,
        container=checkpoint.container,
        size=checkpoint.size,
        unknown=unknown,
        tensors=_described(checkpoint.tensors),
        others=tuple(checkpoint.other_values),
        unconverted=tuple(
            (name, other.kind, other.shape)
            for name, other in checkpoint.other_values.items()
            if other.shape is not None
        ),
        provenance=checkpoint.provenance,
    )


def _inspect_network(checkpoint: Checkpoint, match: Match) -> Inspection:
    """What can be said of a file of a known network; its tensors come in the order of the network's modules."""
    info = network_info(match, checkpoint.provenance, declared=declared_settings(checkpoint))
    multiply_adds, counted = _costs(match, info)
    layouts, refusing = holding_layouts(match.variant)
    names = dict.fromkeys(match.file_name(slot) for slot in match.slots if slot.name)
    in_order = {name: checkpoint.tensors[name] for name in (*names, *checkpoint.tensors)}
    return replace(
        _inspect_file(checkpoint, ""),
        layout=match.layout.name,
        layout_title=match.layout.title,
        network=info,
        parameters=parameters(match.variant, match.sizes, match.present),
        weights=weights(match.variant, match.sizes),
        multiply_adds=multiply_adds,
        counted=counted,
        tensors=_described(in_order),
        dropped=match.dropped,
        layouts=layouts,
        refusing=refusing,
        source_layouts=source_layouts(match.variant),
        beside=tuple(checkpoint.details.get("beside", ())),
        unseen=match.layout.storage.inverse_std,
        also=() if checkpoint.provenance else others_that_fit(match),
    )


def _described(tensors: Mapping[str, Tensor]) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    return tuple((name, tensor.dtype, tensor.shape) for name, tensor in tensors.items())


def _statistics(
    checkpoint: Checkpoint, progress: Callable[[str], None] | None
) -> dict[str, tensor_stats.Statistics]:
    from converters.conversion.tensor_stats import statistics

    found = {}
    for number, (name, tensor) in enumerate(checkpoint.tensors.items(), 1):
        if progress:
            progress(f"reading tensor {number} of {len(checkpoint.tensors)}")
        if tensor.dtype in FLOATS:
            found[name] = statistics(tensor)
    return found


def _costs(match: Match, info: NetworkInfo) -> tuple[int, int]:
    """Multiply-adds for the clip the network was made for, and as its authors count; 0 where no clip is known."""
    if not info.input.get("clip"):
        return 0, 0

    def at(clip: list[int], positions: int) -> int:
        return multiply_adds(
            match.variant,
            match.sizes,
            tuple(clip),
            head_positions=positions,
            choices=info.settings,
        )

    return at(info.input["clip"], 1), at(info.input["counted_at"], info.input["counted_positions"])
