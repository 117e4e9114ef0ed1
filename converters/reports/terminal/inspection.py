"""Describe a file: format, layout, network, provenance, tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.mapping.settings import settings_text
from converters.printable import shape_text
from converters.reports.folding import fold_names, fold_tensors
from converters.reports.wording import (
    RELEASED_ONLY,
    again_text,
    classes_text,
    counted,
    human_size,
    means_text,
    printable_lines,
    values_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.by_user_mapping import Matched
    from converters.conversion.tensor_stats import Statistics
    from converters.inspection.inspect import Inspection
    from converters.mapping.network_info import NetworkInfo


SHOWN_LABELS = 3
"""Names of classes that are shown."""


def inspection_text(inspection: Inspection, *, tensors: bool = False, layouts: bool = False) -> str:
    """What a file is, in some 15 lines. ``tensors`` lists all that is in it, folded by their numbers; ``layouts`` says
    of every layout whether it can hold the network. Of an unknown network the tensors are the answer."""
    lines = [f"{inspection.path}: {inspection.container}, {human_size(inspection.size)}"]
    info = inspection.network
    if info is None:
        lines.append(f"network      not recognised: {inspection.unknown}")
    else:
        lines += _network_lines(inspection, info)
        lines += _input_lines(info)
        lines += _target_lines(inspection, info, every=layouts)
    if inspection.provenance:
        lines += _provenance_lines(inspection.provenance, notes=tensors)
    if inspection.mapping:
        lines += _mapping_lines(inspection.mapping)
    if inspection.hashes:
        lines += _hash_lines(inspection)
    lines += _content_lines(inspection) if tensors or info is None else [_content_line(inspection)]
    lines += _beside_lines(inspection)
    if inspection.statistics:
        lines += _statistics_lines(inspection.statistics)
    return printable_lines(lines)


def _beside_lines(inspection: Inspection) -> Iterator[str]:
    """What other weights are in the file."""
    if inspection.beside:
        names = ", ".join(fold_names(inspection.beside))
        yield f"beside them  {names}: other weights, which --entry takes"


def _content_lines(inspection: Inspection) -> Iterator[str]:
    """All that is in the file, by name."""
    yield f"tensors      {len(inspection.tensors)}"
    yield from (f"  {line}" for line in fold_tensors(inspection.tensors))
    if dropped := [name for name in inspection.dropped if name not in inspection.others]:
        yield f"no weights   {', '.join(fold_names(dropped))} (dropped by a conversion)"
    if inspection.unconverted:
        yield f"not converted {len(inspection.unconverted)}"
        yield from (f"  {line}" for line in fold_tensors(inspection.unconverted))
    if others := _not_tensors(inspection):
        yield f"not tensors  {', '.join(fold_names(others))}"


def _content_line(inspection: Inspection) -> str:
    """How much is in the file, and what shows it."""
    counts = [counted(len(inspection.tensors), "tensor")]
    if dropped := [name for name in inspection.dropped if name not in inspection.others]:
        counts.append(f"{len(dropped)} of them not weights")
    if inspection.unconverted:
        counts.append(f"{counted(len(inspection.unconverted), 'tensor')} that cannot be converted")
    if others := _not_tensors(inspection):
        counts.append(counted(len(others), "other value"))
    return f"in the file  {', '.join(counts)} (--tensors, --layouts and --stats show more)"


def _not_tensors(inspection: Inspection) -> list[str]:
    unconverted = {name for name, _, _ in inspection.unconverted}
    return [name for name in inspection.others if name not in unconverted]


def _network_lines(inspection: Inspection, info: NetworkInfo) -> Iterator[str]:
    channels = counted(info.channels, "input channel")
    yield f"network      {info.title} ({info.variant}), {classes_text(info)}, {channels}"
    if labels := info.input.get("labels"):
        more = ", ..." if len(labels) > SHOWN_LABELS else ""
        yield f"classes      {', '.join(map(str, labels[:SHOWN_LABELS]))}{more}"
    elif info.classes:
        yield "classes      without names"
    yield f"layout       {inspection.layout}: {inspection.layout_title}"
    if info.model:
        yield f"model        {info.model}"
    if info.choices:
        yield f"model        one of {', '.join(info.choices)}; weights cannot show which: choose with --variant"
    elif info.settings:
        yield f"settings     {settings_text(info.settings)}"
    if inspection.also:
        yield f"or           {', '.join(inspection.also)}, whose names and shapes are the same: choose with --variant"
    if inspection.unseen:
        yield f"not in it    {inspection.unseen}"
    yield (
        f"parameters   {inspection.parameters / 1e6:.1f} M ({inspection.parameters:,}), "
        f"{inspection.weights / 1e6:.1f} M without norms and biases"
    )
    if inspection.multiply_adds:
        clip, counted_at = info.input["clip"], info.input["counted_at"]
        line = f"{inspection.multiply_adds / 1e9:.1f} GFLOPs (multiply-adds) for a clip of {shape_text(clip)}"
        if counted_at != clip:
            line += f"; {inspection.counted / 1e9:.1f} at {shape_text(counted_at)}, as its authors count"
        yield f"cost         {line}"


def _input_lines(info: NetworkInfo) -> Iterator[str]:
    described = info.input
    if "mean" in described:
        values = f", values {described['range'][0]}..{described['range'][1]}" if "range" in described else ""
        yield (
            f"input        {described['order']}{values}, mean {values_text(described['mean'])}, "
            f"std {values_text(described['std'])}"
        )
    if "mean_cube" in described:
        yield f"input        {described['order']}, values 0..255, minus {described['mean_cube']}"
    if "mean_file" in described:
        mean = described["mean_file"]
        yield (
            f"mean file    {mean['name']}, {shape_text(mean['shape'])}, {means_text(mean['means'])}, "
            f"CRC-32 {mean['crc32']}"
        )
    if "resize" in described:
        step = described.get("frame_step", 1)
        one_of = f", one of every {step}" if step != 1 else ""
        yield f"frames       {described['resize']}{one_of}{again_text(described)}"


def _target_lines(inspection: Inspection, info: NetworkInfo, *, every: bool) -> Iterator[str]:
    if line := _licence(inspection, info):
        yield f"licence      {line}"
    back = f"and back to  {', '.join(inspection.source_layouts)}" if inspection.source_layouts else ""
    if not every:
        yield f"converts to  {', '.join(inspection.layouts)}"
        yield from filter(None, [back])
        return
    for name, note in inspection.layouts.items():
        yield f"converts to  {name}{f': {note}' if note else ''}"
    yield from filter(None, [back])
    for name, reason in inspection.refusing.items():
        yield f"not to       {name}: {reason}"


def _licence(inspection: Inspection, info: NetworkInfo) -> str:
    """The licence of the release that a hash proves the file to be; else of the one that it is only taken for."""
    release = inspection.release
    if release and release.whole:
        return f"{release.release.licence}, of these weights" if release.release.licence else ""
    return f"{info.licence}, {RELEASED_ONLY}" if info.licence else ""


def _mapping_lines(matched: Matched) -> Iterator[str]:
    mapping = matched.mapping
    yield (
        f"mapping      {mapping.path}, side [{mapping.left.name}]: {matched.matched} of {len(mapping.pairs)} "
        "rows match"
    )
    if matched.open_points:
        yield f"  {matched.open_points} of its rows and names are not confirmed yet"
    for fault in matched.faults:
        yield f"  {fault}"


def _hash_lines(inspection: Inspection) -> Iterator[str]:
    several = len(inspection.hashes) > 1
    for name, digests in inspection.hashes.items():
        for kind, digest in digests.items():
            yield f"{kind:<12} {digest}{f'  {name}' if several else ''}"
    known = inspection.release
    yield f"release      {known.words if known else 'none that is known by a hash'}"
    if known and known.whole:
        release = known.release
        accuracies = ", ".join(f"{name} {value:g} %" for name, value in release.reported.items())
        reported = f"; its authors report {accuracies} on {release.on}" if accuracies else ""
        yield f"  {release.licence}, {release.url}{reported}"


def _statistics_lines(statistics: Mapping[str, Statistics]) -> Iterator[str]:
    bad = {name: values for name, values in statistics.items() if values.nan or values.inf}
    zero = [
        name
        for name, values in statistics.items()
        if values.minimum == values.maximum == 0 and name not in bad
    ]
    yield f"values       {len(statistics)} tensors read, {len(bad)} with NaN or Inf, {len(zero)} all zero"
    for name, values in bad.items():
        yield f"  {name}: {values.nan} NaN, {values.inf} Inf"
    for name in fold_names(zero):
        yield f"  {name}: all zero"


def _provenance_lines(provenance: Any, *, notes: bool) -> Iterator[str]:
    source, tool = provenance["source"], provenance["tool"]
    yield f"made from    {source['name']} ({source['container']}, {source['size']:,} bytes, layout {source['layout']})"
    if "sha256" in source:
        yield f"  sha256 {source['sha256']}"
    yield f"made by      {tool['name']} {tool['version']}, mapping {provenance['mapping']['sha256'][:16]}"
    if notes:
        yield from (f"note         {note}" for note in provenance["notes"])
