"""The report of a verification: one HTML page, see `html`. The same outcome gives the same bytes."""

from __future__ import annotations

from math import floor, isfinite, log10
from os.path import basename
from shlex import quote
from typing import TYPE_CHECKING, Any

from converters.verification.outcome import NOISE

from . import html
from .html import code, text
from .model_card import source_names
from .terminal import fold_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.mapping.network_info import NetworkInfo
    from converters.verification.outcome import (
        BlockResult,
        Evidence,
        FunctionalResult,
        SuspectTensor,
        TensorPair,
        TopClass,
        Verification,
    )

HEIGHT = 200
"""Pixels of the picture at least."""

DECADE = 34
"""Pixels that a power of ten takes in it at least."""

HALF = 44
"""Pixels of a histogram's height on either side of its middle."""


def proof_html(found: Verification, command: Sequence[str]) -> str:
    """The page of an outcome that has its evidence. ``command`` are the words that give the same again."""
    seen = found.evidence
    if seen is None:
        raise ValueError("a report wants the evidence: verify(..., evidence=True)")
    title = f"{found.info.title}: {'verified' if found.ok else 'not verified'}"
    parts = [
        f'<header><p class="soft">convert verify</p>\n<h1>{text(found.info.title)}: {_verdict(found)}</h1>',
        f"<p>{_subject(found)}</p></header>\n<main>",
        _cards(found),
        "<h2>Files</h2>",
        _files(found, seen),
        "<h2>Coverage</h2>",
        *_coverage(found, seen),
        "<h2>Block by block</h2>",
        *_blocks(found),
        "<h2>Values that look wrong</h2>",
        *_values(seen),
        "<h2>What goes in</h2>",
        html.pairs(_input(found.info)),
        "<h2>What the output’s own project does otherwise</h2>",
        *_declared(found),
        "<h2>Provenance</h2>",
        *_provenance(found, seen),
        "<h2>Prove it again</h2>",
        *_again(found, seen, command),
        "</main>",
    ]
    return html.page(title, "\n".join(parts))


def _verdict(found: Verification) -> str:
    return '<span class="good">✓ verified</span>' if found.ok else '<span class="bad">✗ not verified</span>'


def _subject(found: Verification) -> str:
    info = found.info
    classes = f"{info.classes} classes" if info.classes else "no head"
    return (
        f"{text(info.title)} ({code(info.variant)}), {classes}, {_count(info.channels, 'input channel')}: "
        f"{code(basename(found.source))} in layout {code(found.source_layout)} against "
        f"{code(basename(found.output))} in layout {code(found.output_layout)}."
    )


def _cards(found: Verification) -> str:
    exact, ran = found.exact, found.functional
    if exact.ok:
        first = (
            "good",
            "✓ Exact",
            f"The inverse mapping gives all {exact.tensors} tensors of the source back, bit for bit.",
        )
    elif not exact.changed:
        first = (
            "bad",
            "✗ Exact",
            f"All {exact.tensors} tensors of the source come back bit for bit, but the output’s record tells "
            f"otherwise: {text('; '.join(exact.record))}.",
        )
    else:
        changed = _count(len(exact.changed), "tensor")
        first = (
            "bad",
            "✗ Exact",
            f"{changed} of the source’s {exact.tensors} cannot be had back bit for bit.",
        )
    if ran is None:
        second = ("", "– Functional", f"Not looked at: {text(found.skipped)}.")
    elif ran.first is None:
        worst = max(ran.blocks, key=lambda block: block.relative)
        second = (
            "good",
            "✓ Functional",
            f"All {len(ran.blocks)} blocks agree to {_e(ran.tolerance)} of their largest value; the worst is "
            f"{code(worst.name)} with {_e(worst.relative)}.",
        )
    else:
        second = (
            "bad",
            "✗ Functional",
            f"{code(ran.first.name)} is the first block to depart: {_off(ran.first)}.",
        )
    said = len(found.declared.notes)
    third = (
        "",
        "Declared",
        f"{_count(said, 'note')} on what the output’s own project does otherwise."
        if said
        else "Nothing: the output’s own project computes what the source’s does.",
    )
    cards = [
        f'<li class="{kind}"><strong>{name}</strong>{words}</li>'
        for kind, name, words in (first, second, third)
    ]
    return f'<ul class="cards">\n{chr(10).join(cards)}\n</ul>'


def _off(block: BlockResult) -> str:
    return text(block.fault) or f"off by {_e(block.relative)} of the largest value"


# Files


def _files(found: Verification, seen: Evidence) -> str:
    formats = dict(zip(("source", "output"), seen.containers, strict=True))
    return html.table(
        "files",
        ("file", "is the", "format", "bytes", "SHA-256"),
        [
            (
                code(file.name),
                file.role,
                text(formats.get(file.role, "NumPy array")),
                f"{file.size:,}",
                code(file.sha256),
            )
            for file in seen.files
        ],
        numbers=(3,),
    )


# Coverage


def _coverage(found: Verification, seen: Evidence) -> Iterator[str]:
    both = sum(1 for way in seen.pairs if way.source and way.output)
    left = [way for way in seen.pairs if not way.output]
    filled = [way for way in seen.pairs if not way.source]
    rows = [
        ("in both files", f"{both} tensors, mapped one to one"),
        (
            "filled in",
            _names([way.output[0] for way in filled if way.output], "constants the source implies"),
        ),
        (
            "batch counters",
            f"{len(seen.counters)}, which inference does not use" if seen.counters else "none",
        ),
        (
            "taken into others",
            _names([way.source[0] for way in left if way.source], "which the output does not store"),
        ),
        ("dropped", _names(found.exact.dropped, "no weights of the network")),
    ]
    yield html.pairs(rows)
    if found.exact.changed:
        yield f"<h3>{_count(len(found.exact.changed), 'tensor')} that cannot be had back</h3>"
        yield html.table(
            "tensors that cannot be had back",
            ("in the source", "in the network", "what is wrong"),
            [(code(one.name), code(one.canonical), text(one.why)) for one in found.exact.changed],
        )
    if found.exact.record:
        yield "<h3>What the output’s record tells otherwise than the source</h3>"
        yield f"<ul>{''.join(f'<li>{text(one)}</li>' for one in found.exact.record)}</ul>"
    changed = {one.canonical for one in found.exact.changed}
    yield f"<details><summary>All {len(seen.pairs)} tensors</summary>"
    yield html.table(
        "all tensors",
        ("in the source", "shape", "in the output", "shape", "dtype", "comes back"),
        [_way(way, way.canonical not in changed) for way in seen.pairs],
    )
    yield "</details>"


def _way(way: TensorPair, same: bool) -> tuple[str, ...]:
    sides = [
        (code(side[0]), text("×".join(map(str, side[2])) or "scalar")) if side else ("–", "")
        for side in (way.source, way.output)
    ]
    dtypes = dict.fromkeys(side[1] for side in (way.source, way.output) if side)
    verdict = ("yes" if same else '<strong class="bad">no</strong>') if way.source else "–"
    return (*sides[0], *sides[1], text(" → ".join(dtypes)), verdict)


def _names(names: Sequence[str], what: str) -> str:
    if not names:
        return "none"
    folded = fold_names(names)
    more = f" and {len(folded) - 8} more" if len(folded) > 8 else ""
    return f"{len(names)}, {text(what)}: {', '.join(map(code, folded[:8]))}{more}"


# Blocks


def _blocks(found: Verification) -> Iterator[str]:
    ran = found.functional
    if ran is None:
        yield f"<p>Not looked at: {text(found.skipped)}.</p>"
        return
    yield (
        f"<p>Both sides were given the same clip, {text(ran.clip)}: the source as its own framework’s network in "
        f"onnxruntime, the output as the reference network in PyTorch ({text(ran.device)}). They share the files’ "
        "reader and nothing else. Counted is the largest difference in a block over the source’s largest value there."
        "</p>"
    )
    yield _picture(ran)
    yield html.table(
        "blocks",
        ("block", "in the source", "shape", "relative", "largest difference", "cosine", ""),
        [
            (
                code(block.name),
                code(block.source_name),
                "×".join(map(str, block.shape)),
                _e(block.relative),
                _e(block.max_abs) if not block.fault else "–",
                f"{block.cosine:.9f}" if not block.fault else "–",
                _mark(block, ran),
            )
            for block in ran.blocks
        ],
        numbers=(3, 4, 5),
    )
    if ran.source_top or ran.output_top:
        yield "<h2>The five likeliest classes</h2>"
        pairs = (
            [*zip(ran.source_top, ran.output_top, strict=True)] if ran.output_top and ran.source_top else []
        )
        yield html.table(
            "the five likeliest classes",
            ("", "source’s side", "logit", "output’s side", "logit"),
            [(str(rank), *_class(one), *_class(other)) for rank, (one, other) in enumerate(pairs, 1)],
            numbers=(2, 4),
        )


def _class(one: TopClass) -> tuple[str, str]:
    return (f"{text(one.label)} ({one.number})" if one.label else f"class {one.number}"), _logit(one.logit)


def _logit(value: float) -> str:
    return f"{value:.6f}" if isfinite(value) else "not a number"


def _mark(block: BlockResult, ran: FunctionalResult) -> str:
    if block.relative <= ran.tolerance:
        return '<span class="good">agrees</span>'
    first = "first to depart" if block is ran.first else "departs"
    return f'<strong class="bad">{first}</strong>{f": {text(block.fault)}" if block.fault else ""}'


def _picture(ran: FunctionalResult) -> str:
    """The blocks' errors from the first to the last, on a log scale. Places across are in per cent, so that texts keep
    their size on any screen."""
    errors = [block.relative for block in ran.blocks if isfinite(block.relative) and block.relative > 0]
    low = floor(log10(min([*errors, NOISE / 10])))
    high = floor(log10(max([*errors, ran.tolerance]))) + 1
    decade = max(DECADE, HEIGHT / (high - low))
    bottom = round((high - low) * decade, 2)

    def y(error: float) -> float:
        if not isfinite(error):
            return 0.0
        return round((high - log10(error)) * decade, 2) if error > 0 else bottom

    def rule(at: float, name: str, style: str) -> str:
        return (
            f'<line x1="0" x2="100%" y1="{at}" y2="{at}" {style}/>'
            f'<text x="-8" y="{at + 4:.2f}" text-anchor="end">{name}</text>'
        )

    def label(at: float, words: str) -> str:
        return f'<text class="over" x="100%" y="{at - 6:.2f}" text-anchor="end">{words}</text>'

    lines = [
        f'<rect x="0" width="100%" y="{y(NOISE)}" height="{bottom - y(NOISE):.2f}" fill="var(--band)"/>',
        *(
            rule(y(10.0**power), "1" if power == 0 else f"1e{power}", 'stroke="var(--line)"')
            for power in range(low, high + 1)
            if 10.0**power not in (NOISE, ran.tolerance)
        ),
        rule(y(NOISE), _e(NOISE), 'stroke="var(--mark)" stroke-dasharray="2 3"'),
        rule(y(ran.tolerance), _e(ran.tolerance), 'stroke="var(--bad)" stroke-dasharray="7 4"'),
    ]
    for place, block in enumerate(ran.blocks):
        lines += _point(
            block, ran, f"{(place + 0.5) / len(ran.blocks) * 100:.2f}%", y(block.relative), bottom
        )
    lines += [label(bottom, "float32 noise"), label(y(ran.tolerance), "tolerance")]
    lines.append(f'<text x="0" y="{bottom + 18:.2f}">{text(ran.blocks[0].name)}</text>')
    lines.append(f'<text x="100%" y="{bottom + 18:.2f}" text-anchor="end">{text(ran.blocks[-1].name)}</text>')
    if ran.first is not None:
        place = ran.blocks.index(ran.first)
        x = (place + 0.5) / len(ran.blocks) * 100
        anchor = "start" if x < 50 else "end"
        lines.append(
            f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="-22" y2="{bottom}" stroke="var(--bad)"/>'
            f'<text x="{x:.2f}%" dx="{6 if x < 50 else -6}" y="-12" text-anchor="{anchor}" fill="var(--bad)" '
            f'font-weight="600">first to depart: {text(ran.first.name)}</text>'
        )
    worst = max(ran.blocks, key=lambda block: block.relative)
    told = (
        f"Relative error of {len(ran.blocks)} blocks on a logarithmic scale from 1e{low} to 1e{high}. Largest: "
        f"{worst.name}, {_e(worst.relative)}. float32 noise {_e(NOISE)}, tolerance {_e(ran.tolerance)}. "
        + (f"First to depart: {ran.first.name}." if ran.first else "No block departs.")
    )
    return (
        '<figure><div style="padding: 28px 4px 26px 3.4rem">'
        f'<svg role="img" height="{bottom}" aria-label="{text(told)}">'
        + "\n".join(lines)
        + "</svg></div><figcaption>Blocks in the order computed, from left to right; largest difference over largest "
        "value, each line ten times the one below. Hollow: no difference at all. Cross: not a number, or on one side "
        "only.</figcaption></figure>"
    )


def _point(block: BlockResult, ran: FunctionalResult, x: str, y: float, bottom: float) -> Iterator[str]:
    departs = not block.relative <= ran.tolerance
    ink = "var(--bad)" if departs else "var(--mark)"
    title = f"<title>{text(block.name)}: {_e(block.relative)}{f', {text(block.fault)}' if block.fault else ''}</title>"
    yield f'<line x1="{x}" x2="{x}" y1="{y}" y2="{bottom}" stroke="{ink}" stroke-opacity=".35"/>'
    if not isfinite(block.relative):
        yield (
            f'<svg x="{x}" y="{y}" width="1" height="1"><path d="M-4-4 4 4M-4 4 4-4" stroke="{ink}" '
            f'stroke-width="2.5"/>{title}</svg>'
        )
    elif block.relative == 0:
        yield f'<circle cx="{x}" cy="{y}" r="3" fill="var(--paper)" stroke="{ink}" stroke-width="2">{title}</circle>'
    elif departs:
        yield f'<svg x="{x}" y="{y}" width="1" height="1"><path d="M0-5 5 0 0 5-5 0Z" fill="{ink}"/>{title}</svg>'
    else:
        yield f'<circle cx="{x}" cy="{y}" r="3.5" fill="{ink}">{title}</circle>'


# Values


def _values(seen: Evidence) -> Iterator[str]:
    if not seen.suspects:
        yield (
            f"<p>None: all {seen.tensors_read} tensors of the output were read. No NaN, no Inf, no negative variance, "
            "no weight that is zero everywhere, no dead channel.</p>"
        )
        return
    yield (
        f"<p>{_count(len(seen.suspects), 'tensor')} of the {seen.tensors_read} in the output. A channel is called dead "
        "where all its weights are a millionth of the tensor’s largest or less; that may be as it was trained.</p>"
    )
    drawn = [one for one in seen.suspects if one.histogram]
    if drawn:
        yield (
            '<p class="soft">How the finite values spread, number of values on a log scale: the output’s upwards, the '
            "source’s downwards.</p>"
        )
        yield '<div class="cards">' + "\n".join(map(_histogram, drawn)) + "</div>"
    rest = [one for one in seen.suspects if not one.histogram]
    if rest:
        yield html.table(
            "more tensors that look wrong",
            ("tensor", "why"),
            [(code(one.canonical), text("; ".join(one.reasons))) for one in rest],
        )


def _histogram(one: SuspectTensor) -> str:
    bins = one.histogram
    assert bins is not None
    most = log10(1 + max(bins.output + bins.source))
    told = "; ".join(one.reasons)
    step = 100 / len(bins.output)
    bars = []
    for counts, up, ink in ((bins.output, True, "var(--mark)"), (bins.source, False, "var(--soft)")):
        for place, count in enumerate(counts):
            if count:
                tall = max(1.0, log10(1 + count) / most * HALF)
                top = HALF - tall if up else HALF
                bars.append(
                    f'<rect x="{place * step:.2f}%" width="{step * 0.86:.2f}%" y="{top:.1f}" height="{tall:.1f}" '
                    f'fill="{ink}"/>'
                )
    if bins.low < 0 < bins.high:
        zero = f"{-bins.low / (bins.high - bins.low) * 100:.2f}%"
        bars.append(
            f'<line x1="{zero}" x2="{zero}" y1="0" y2="{2 * HALF}" stroke="var(--ink)" stroke-dasharray="2 3"/>'
        )
    label = f"{one.canonical}: {told}. Finite values from {bins.low:.3g} to {bins.high:.3g}."
    return (
        f'<figure><figcaption>{code(one.canonical)}<br><strong class="bad">{text(told)}</strong></figcaption>'
        f'<svg role="img" height="{2 * HALF + 18}" aria-label="{text(label)}">{"".join(bars)}'
        f'<line x1="0" x2="100%" y1="{HALF}" y2="{HALF}" stroke="var(--ink)"/>'
        f'<text x="0" y="{2 * HALF + 15}">{bins.low:.3g}</text>'
        f'<text x="100%" y="{2 * HALF + 15}" text-anchor="end">{bins.high:.3g}</text></svg></figure>'
    )


# The rest


def _input(info: NetworkInfo) -> Iterator[tuple[str, str]]:
    """Preprocessing, and what else no weight shows, in words."""
    told = info.input
    if "clip" in told:
        *frames, height, width = told["clip"]
        clip = (
            f"{_count(frames[0], 'frame')} of {height}×{width} pixels"
            if frames
            else f"{height}×{width} log-mels"
        )
        step = told.get("frame_step", 1)
        skipped = {1: "", 2: ", every second one"}.get(step, f", one of every {step}")
        yield "clip", f"{clip}{skipped if frames else ''}"
    if "resize" in told:
        yield "made by", text(told["resize"])
    if "order" in told:
        between = f", values from {told['range'][0]:g} to {told['range'][1]:g}" if "range" in told else ""
        yield "channels", f"{text(told['order'])}{between}"
    if "mean" in told:
        yield "then", f"less {_list(told['mean'])}, divided by {_list(told['std'])}, channel by channel"
    if "mean_cube" in told:
        yield "then", f"less {text(told['mean_cube'])}"
    if "mean_file" in told:
        mean = told["mean_file"]
        yield (
            "mean file",
            f"{code(mean['name'])}, channel means {_list(mean['means'])}, CRC-32 {code(mean['crc32'])}",
        )
    if not told:
        yield "clip", "no table says what the network was made for"
    yield "batch-norm eps", f"{info.bn_eps:g} in the source"
    if info.family in ("resnet3d", "audiovisual"):
        yield "pool behind the stem", "yes" if info.pool1 else "no"
    if info.stem_stride != 1:
        yield "stem’s stride in time", str(info.stem_stride)


def _declared(found: Verification) -> Iterator[str]:
    declared = found.declared
    if not declared.notes:
        yield "<p>Nothing that is known: it computes what the source’s network does.</p>"
        return
    yield "<p>Whatever the weights are; no fault of the conversion.</p>"
    yield "<ul>" + "".join(f"<li>{text(note)}</li>" for note in declared.notes) + "</ul>"
    if declared.first:
        yield (
            f"<p>On the same clip its own network departs first at {code(declared.first)}, its logits by "
            f"{_e(declared.relative)} of the largest.</p>"
        )


def _provenance(found: Verification, seen: Evidence) -> Iterator[str]:
    record: Any = found.provenance
    if record is None:
        yield "<p>The output has no record of a conversion: it was judged by its names and values alone.</p>"
    else:
        tool, mapping = record["tool"], record["mapping"]
        rows = [
            ("made by", f"{text(tool['name'])} {text(tool['version'])}"),
            ("mapping", f"{code(mapping['source'])} → {code(mapping['target'])}, {code(mapping['sha256'])}"),
        ]
        for name, source in source_names(record):
            size = source.get("size")
            digest = source.get("sha256")
            rows.append(
                (
                    "made from",
                    code(name)
                    + (f", {text(source['container'])}" if isinstance(source.get("container"), str) else "")
                    + (f", {size:,} bytes" if isinstance(size, int) else "")
                    + (f", SHA-256 {code(digest)}" if isinstance(digest, str) else ""),
                )
            )
        if found.info.licence:
            rows.append(("licence", f"{text(found.info.licence)}, of the released weights"))
        rows += [("note", text(note)) for note in record["notes"]]
        yield "<p>What the output’s own record says.</p>"
        yield html.pairs(rows)
    software = ", ".join(f"{text(name)} {text(version)}" for name, version in seen.software.items())
    yield f'<p class="soft">This proof was made with {software}.</p>'


def _again(found: Verification, seen: Evidence, command: Sequence[str]) -> Iterator[str]:
    sums = "\n".join(f"{file.sha256}  {text(file.name)}" for file in seen.files)
    extra = "[torch,onnx]" if found.functional is not None else ""
    version = seen.software["video-checkpoint-converters"]
    yield "<p>With the same files in one folder, as <code>sha256sum -c</code> checks them:</p>"
    yield f"<pre>{sums}</pre>"
    line = text(" ".join(map(quote, command)))
    yield f"<pre>pip install 'video-checkpoint-converters{extra}=={version}'\n{line}</pre>"
    yield (
        "<p>The exit code is 0 where everything holds and 1 where something is missed. On other machines the last "
        "digits of the errors may differ, the verdict may not.</p>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _e(value: float) -> str:
    """An error: 0.95, or 9.53e-07 as 9.5e-7, and powers of ten bare."""
    if not isfinite(value):
        return "∞"
    if value == 0 or 0.01 <= value < 100:
        return f"{value:.2g}"
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(power)}" if value != float(f"1e{power}") else f"1e{int(power)}"


def _list(values: Sequence[float]) -> str:
    return text(", ".join(f"{value:g}" for value in values)) if len(set(values)) > 1 else f"{values[0]:g}"
