"""Results in words, for a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from converters.conversion.by_user_mapping import Matched
    from converters.conversion.convert import Result
    from converters.conversion.mean import Mean
    from converters.inspection.diff import Difference, Pair
    from converters.inspection.inspect import Inspection
    from converters.inspection.support_table import Support
    from converters.mapping.network_info import NetworkInfo
    from converters.suggestion.suggest import Suggestion
    from converters.verification.outcome import Verification

_NUMBER = re.compile(r"(\d+)")

SHOWN = 10
"""Lines of one sort that a report has at most."""


def conversion_text(result: Result) -> str:
    """A few lines on a conversion done or planned."""
    info = result.info
    network = f"{info.title} ({info.model or info.variant}), {_classes(info)}: " if info else ""
    size = f"{len(result.rows)} tensors, {megabytes(result.nbytes)}"
    lines = [f"{network}{size}, {result.layout} -> {result.target}"]
    changed = sum(1 for row in result.rows if row.source and any(not op.keeps_bytes for op in row.ops))
    filled = sum(1 for row in result.rows if row.source is None)
    copied = len(result.rows) - changed - filled
    what = "constants" if any(row.source is None and row.shape for row in result.rows) else "batch counters"
    lines.append(f"{copied} copied bit for bit, {changed} computed, {filled} {what} filled in")
    if result.dropped:
        names = fold_names(result.dropped)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"dropped by name: {', '.join(names[:SHOWN])}{more}")
    lines += [f"note: {note}" for note in result.notes]
    if result.output is None:
        lines.append("dry run: nothing written")
    else:
        seconds = sum(result.timings.values())
        checked = ", every tensor read back and compared" if result.verified else ""
        lines.append(f"wrote {result.output} in {seconds:.2f} s{checked}")
    return _lines(lines)


def mean_conversion_text(result: Mean) -> str:
    """A few lines on a mean that was converted."""
    return _lines(
        [
            f"mean cube {_size(result.shape)} (channel, frame, y, x), float32, {mean_text(result.means)}"
            if len(result.shape) > 3
            else f"mean image {_size(result.shape)} (channel, y, x), float32, {mean_text(result.means)}",
            f"wrote {result.output}",
        ]
    )


def mean_text(means: Iterable[float]) -> str:
    """The means of a mean's channels."""
    return f"channel means {' '.join(f'{value:.2f}' for value in means)}"


def inspection_text(found: Inspection) -> str:
    """All that is known of a file, its tensors folded by index."""
    lines = [f"{found.path}: {found.container}, {megabytes(found.size)}"]
    info = found.network
    if info is None:
        lines.append(f"network      not recognised: {found.unknown}")
    else:
        lines += _network_lines(found, info)
    if found.mapping:
        lines += _mapping_lines(found.mapping)
    lines.append(f"tensors      {len(found.tensors)}")
    lines += [f"  {line}" for line in fold_tensors(found.tensors)]
    if found.dropped:
        lines.append(f"solver state {', '.join(fold_names(found.dropped))} (dropped by a conversion)")
    if found.others:
        lines.append(f"not tensors  {', '.join(fold_names(found.others))}")
    if found.statistics:
        lines += _statistics_lines(found)
    if found.provenance:
        lines += _provenance_lines(found.provenance)
    return _lines(lines)


def difference_text(found: Difference) -> str:
    """What two files differ in, names folded by their numbers, the worst figures of each group."""
    lines = [
        f"{label} {side.path}: {side.container}, {megabytes(side.size)}"
        + (f", {side.network} in layout {side.layout}" if side.layout else ", no network known here")
        for label, side in (("A", found.a), ("B", found.b))
    ]
    if found.canonical:
        lines.append("compared under canonical names, batch counters left out")
    lines += [f"note: {note}" for note in found.notes]
    by_name = {row.name: row for row in found.rows}
    for (texts, kind, change), numbers in _groups(
        (row.name, (row.kind, _change(row))) for row in found.rows if row.kind != "equal"
    ):
        rows = [by_name[_unfolded(texts, each)] for each in numbers]
        line = f"{kind:<9}  {_folded(texts, numbers)}  {change}"
        if kind == "values":
            cosine = min(row.cosine for row in rows)
            line += (
                f"  {sum(row.unequal for row in rows):,} values, by up to "
                f"{max(row.largest for row in rows):.3g}, cosine {cosine:.9g}"
            )
        lines.append(line + (f"  ({len(rows)} tensors)" if len(rows) > 1 else ""))
    equal = sum(1 for row in found.rows if row.kind == "equal")
    differ = len(found.rows) - equal
    lines.append(
        f"{equal} tensors are equal bit for bit, {differ} differ"
        if differ
        else f"all {equal} tensors are equal bit for bit"
    )
    return _lines(lines)


def _change(row: Pair) -> str:
    """Dtype of a tensor in one file or two, and its shape where that is what differs."""
    if row.a is None or row.b is None:
        dtype, shape = row.a or row.b or ("", ())
        return f"{_shape(shape)} {dtype}"
    dtypes = row.a[0] if row.a[0] == row.b[0] else f"{row.a[0]} -> {row.b[0]}"
    if row.kind == "shape":
        return f"{_shape(row.a[1])} -> {_shape(row.b[1])} {dtypes}"
    return dtypes


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def suggestion_text(found: Suggestion) -> str:
    """What a proposed mapping rests on, and what is open in it."""
    why = [row["why"] for row in found.rows]
    told = ", ".join(
        f"{why.count(word)} by {word}" for word in sorted(set(why), key=lambda word: (-why.count(word), word))
    )
    lines = [f"{len(found.rows)} tensors paired: {told}"]
    for side, names in zip(("from", "to"), found.left_over, strict=True):
        if names:
            lines.append(f"left over in [{side}]: {', '.join(fold_names(names))}")
    lines += [f"note: {note}" for note in found.notes]
    if found.unsure:
        lines.append(
            f"{found.unsure} are unsure: they stand under [unsure], and nothing converts before you moved them"
        )
    lines.append(f"wrote {found.output}: look at it, then `convert IN OUT --mapping {found.output}`")
    return _lines(lines)


def models_text(table: Iterable[Support]) -> str:
    """The support table: a line for every network."""
    rows = [("network", "variant", "from", "to (first: default)")]
    rows += [(row.title, row.variant, ", ".join(row.sources) or "-", ", ".join(row.layouts)) for row in table]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + f"  {row[3]}"
        for row in rows
    )


def _classes(info: NetworkInfo) -> str:
    return f"{info.classes} classes" if info.classes else "no head"


def _lines(lines: Iterable[str]) -> str:
    """Lines with whatever a file put into them made safe to print."""
    return "\n".join(printable(line) for line in lines)


def megabytes(size: int) -> str:
    """A size in decimal units, as file managers show it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def fold_tensors(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> Iterator[str]:
    """One line for tensors that differ in their numbers only: ``layer{1-4}.0.conv1.weight  64x64x1x1x1 ...``."""
    for (texts, dtype, shape), numbers in _groups((name, (dtype, shape)) for name, dtype, shape in tensors):
        yield f"{_folded(texts, numbers)}  {_shape(shape)} {dtype}" + (
            f"  ({len(numbers)} tensors)" if len(numbers) > 1 else ""
        )


def verification_text(found: Verification) -> str:
    """The three levels, a few lines each."""
    info, exact = found.info, found.exact
    lines = [
        f"{info.title} ({info.variant}), {info.classes} classes: {found.source_layout} and {found.output_layout}"
    ]
    if exact.ok:
        lines.append(f"exact       all {exact.tensors} tensors come back bit for bit")
    elif not exact.changed:
        lines.append(
            f"exact       MISSED: all {exact.tensors} tensors come back bit for bit, the record is wrong"
        )
    else:
        lines.append(f"exact       MISSED: {len(exact.changed)} of {exact.tensors} tensors do not come back")
        lines += [f"  {one.name} ({one.canonical}): {one.why}" for one in exact.changed[:SHOWN]]
        if len(exact.changed) > SHOWN:
            lines.append(f"  ... and {len(exact.changed) - SHOWN} more")
    lines += [f"  the record has {one}" for one in exact.record]
    if exact.dropped:
        lines.append(f"  no weights of the network: {', '.join(fold_names(exact.dropped))}")
    lines += _functional_lines(found)
    lines += [f"declared    {note}" for note in found.declared.notes]
    if found.declared.first:
        lines.append(
            f"  there its own network departs first at {found.declared.first}, its logits by "
            f"{found.declared.relative:.1e} of the largest"
        )
    lines.append(f"verified: {'YES' if found.ok else 'NO'} ({sum(found.timings.values()):.1f} s)")
    return "\n".join(printable(line) for line in lines)


def _functional_lines(found: Verification) -> Iterator[str]:
    ran = found.functional
    if ran is None:
        yield f"functional  not looked at: {found.skipped}"
        return
    if ran.first is None:
        worst = max(ran.blocks, key=lambda block: block.relative)
        yield (
            f"functional  all {len(ran.blocks)} blocks agree to {ran.tolerance:g} of the largest value "
            f"(worst {worst.relative:.1e}, {worst.name}; {ran.blocks[-1].name} {ran.blocks[-1].relative:.1e})"
        )
    else:
        off = (
            ran.first.fault
            or f"off by {ran.first.relative:.1e} of the largest value, {ran.tolerance:g} allowed"
        )
        yield f"functional  MISSED: the first block to depart is {ran.first.name}, {off}"
    yield f"  clip {ran.clip}; {ran.device}"
    for side, top in (("source", ran.source_top), ("output", ran.output_top)):
        if top:
            ranked = ", ".join(f"{one.label or one.number} {one.logit:.3f}" for one in top)
            yield f"  {side}'s top {len(top)}: {ranked}"


def fold_names(names: Iterable[str]) -> list[str]:
    """Names that differ in their numbers only, folded into one."""
    return [_folded(texts, numbers) for (texts,), numbers in _groups((name, ()) for name in names)]


def _groups(
    named: Iterable[tuple[str, tuple[Any, ...]]],
) -> Iterator[tuple[tuple[Any, ...], list[tuple[str, ...]]]]:
    """Names that differ in one number only, together with what else must be equal: (texts, ...), numbers.

    Of a name's numbers the one with most values is folded; the others stay as they are.
    """
    alike: dict[tuple[Any, ...], list[tuple[str, ...]]] = {}
    for name, key in named:
        pieces = _NUMBER.split(name)
        alike.setdefault((tuple(pieces[::2]), *key), []).append(tuple(pieces[1::2]))
    for known, numbers in alike.items():
        width = len(numbers[0])
        most = max(range(width), key=lambda place: len({row[place] for row in numbers}), default=0)
        apart: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for row in numbers:
            apart.setdefault(row[:most] + row[most + 1 :], []).append(row)
        for rows in apart.values():
            yield known, rows


def _unfolded(texts: tuple[str, ...], numbers: tuple[str, ...]) -> str:
    """The one name that has these numbers."""
    return texts[0] + "".join(number + text for number, text in zip(numbers, texts[1:], strict=True))


def _folded(texts: tuple[str, ...], numbers: list[tuple[str, ...]]) -> str:
    out = texts[0]
    for position, text in enumerate(texts[1:]):
        seen = sorted({int(row[position]) for row in numbers})
        out += (_ranges(seen) if len(seen) > 1 else numbers[0][position]) + text
    return out


def _ranges(seen: list[int]) -> str:
    runs: list[list[int]] = []
    for number in seen:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return "{" + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs) + "}"


def _network_lines(found: Inspection, info: NetworkInfo) -> Iterator[str]:
    channels = f"{info.channels} input channel{'s' if info.channels != 1 else ''}"
    yield f"network      {info.title} ({info.variant}), {_classes(info)}, {channels}"
    yield f"layout       {found.layout} ({found.layout_title})"
    if info.model:
        yield f"model        {info.model}"
    if info.choices:
        yield f"model        one of {', '.join(info.choices)}; no weight shows which: --variant says it"
    elif info.settings:
        yield f"settings     {', '.join(f'{name} = {value}' for name, value in info.settings.items())}"
    resnet = info.family in ("resnet3d", "audiovisual")
    pool = f", pool1 {'on' if info.pool1 else 'off'}" if resnet else ""
    if info.family != "c3d":
        yield f"not in it    batch-norm eps {info.bn_eps:g}{pool}"
    if found.unseen:
        yield f"             {found.unseen}"
    yield (
        f"parameters   {found.parameters / 1e6:.1f} M ({found.parameters:,}), "
        f"{found.weights / 1e6:.1f} M without norms and biases"
    )
    if found.multiply_adds:
        line = f"{found.multiply_adds / 1e9:.1f} GFLOPs (multiply-adds) for a clip of {_size(info.input['clip'])}"
        if info.input["counted_at"] != info.input["clip"]:
            line += f"; {found.counted / 1e9:.1f} at {_size(info.input['counted_at'])}, as its authors count"
        yield f"cost         {line}"
    if "mean" in info.input:
        norm = info.input
        values = f", values {norm['range'][0]}..{norm['range'][1]}" if "range" in norm else ""
        yield (
            f"input        {norm['order']}{values}, mean {_list(norm['mean'])}, std {_list(norm['std'])}"
            f"{', every 2nd frame' if norm.get('frame_step') == 2 else ''}"
        )
    if "mean_cube" in info.input:
        yield f"input        {info.input['order']}, values 0..255, less {info.input['mean_cube']}"
    if "mean_file" in info.input:
        mean = info.input["mean_file"]
        yield f"mean file    {mean['name']}, {_size(mean['shape'])}, {mean_text(mean['means'])}, CRC-32 {mean['crc32']}"
    if "resize" in info.input:
        yield f"frames       {info.input['resize']}"
    if info.licence:
        yield f"licence      {info.licence} (of the released weights)"
    for name, note in found.layouts.items():
        yield f"converts to  {name}{f': {note}' if note else ''}"
    for name, reason in found.refusing.items():
        yield f"not to       {name}: {reason}"


def _mapping_lines(found: Matched) -> Iterator[str]:
    side = f"[{found.mapping.left.name}]"
    yield f"mapping      {found.mapping.path}, side {side}: {found.matched} of {len(found.mapping.pairs)} rows match"
    if found.open_points:
        yield f"  {found.open_points} points in it that nobody has confirmed"
    for fault in found.faults:
        yield f"  {fault}"


def _statistics_lines(found: Inspection) -> Iterator[str]:
    bad = {name: one for name, one in found.statistics.items() if one.nan or one.inf}
    zero = [
        name for name, one in found.statistics.items() if one.minimum == one.maximum == 0 and name not in bad
    ]
    yield f"values       {len(found.statistics)} tensors looked at, {len(bad)} with NaN or Inf, {len(zero)} all zero"
    for name, one in bad.items():
        yield f"  {name}: {one.nan} NaN, {one.inf} Inf"
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


def _size(clip: Iterable[int]) -> str:
    return "x".join(str(size) for size in clip)


def _list(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
