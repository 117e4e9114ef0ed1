"""Describe a file: format, layout, network, provenance, tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.mapping.settings import settings_text
from converters.printable import shape_text
from converters.reports.folding import fold_names, fold_tensors
from converters.reports.wording import (
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


def inspection_text(inspection: Inspection) -> str:
    """All that is known of a file, its tensors folded by their numbers."""
    lines = [f"{inspection.path}: {inspection.container}, {human_size(inspection.size)}"]
    info = inspection.network
    if info is None:
        lines.append(f"network      not recognised: {inspection.unknown}")
    else:
        lines += _network_lines(inspection, info)
        lines += _input_lines(info)
        lines += _target_lines(inspection, info)
    if inspection.mapping:
        lines += _mapping_lines(inspection.mapping)
    if inspection.hashes:
        lines += _hash_lines(inspection)
    lines.append(f"tensors      {len(inspection.tensors)}")
    lines += [f"  {line}" for line in fold_tensors(inspection.tensors)]
    if dropped := [name for name in inspection.dropped if name not in inspection.others]:
        lines.append(f"solver state {', '.join(fold_names(dropped))} (dropped by a conversion)")
    if inspection.unconverted:
        lines.append(f"not converted {len(inspection.unconverted)}")
        lines += [f"  {line}" for line in fold_tensors(inspection.unconverted)]
    unconverted = {name for name, _, _ in inspection.unconverted}
    if others := [name for name in inspection.others if name not in unconverted]:
        lines.append(f"not tensors  {', '.join(fold_names(others))}")
    if inspection.statistics:
        lines += _statistics_lines(inspection.statistics)
    if inspection.provenance:
        lines += _provenance_lines(inspection.provenance)
    return printable_lines(lines)


def _network_lines(inspection: Inspection, info: NetworkInfo) -> Iterator[str]:
    channels = counted(info.channels, "input channel")
    yield f"network      {info.title} ({info.variant}), {classes_text(info)}, {channels}"
    yield f"layout       {inspection.layout} ({inspection.layout_title})"
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
            f"std {values_text(described['std'])}{', every 2nd frame' if described.get('frame_step') == 2 else ''}"
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
        yield f"frames       {described['resize']}"


def _target_lines(inspection: Inspection, info: NetworkInfo) -> Iterator[str]:
    if info.licence:
        yield f"licence      {info.licence} (of the released weights)"
    for name, note in inspection.layouts.items():
        yield f"converts to  {name}{f': {note}' if note else ''}"
    for name, reason in inspection.refusing.items():
        yield f"not to       {name}: {reason}"


def _mapping_lines(matched: Matched) -> Iterator[str]:
    mapping = matched.mapping
    yield (
        f"mapping      {mapping.path}, side [{mapping.left.name}]: {matched.matched} of {len(mapping.pairs)} "
        "rows match"
    )
    if matched.open_points:
        yield f"  {counted(matched.open_points, 'point')} in it not yet confirmed"
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


def _provenance_lines(provenance: Any) -> Iterator[str]:
    source, tool = provenance["source"], provenance["tool"]
    yield f"made by      {tool['name']} {tool['version']}, mapping {provenance['mapping']['sha256'][:16]}"
    yield f"made from    {source['name']} ({source['container']}, {source['size']:,} bytes, layout {source['layout']})"
    if "sha256" in source:
        yield f"  sha256 {source['sha256']}"
    for note in provenance["notes"]:
        yield f"note         {note}"
