"""The report of a verification: one HTML page, see `html`. The same outcome gives the same bytes."""

from __future__ import annotations

from math import isfinite
from shlex import quote
from typing import TYPE_CHECKING, Any

from converters.extras import installing
from converters.locations import name_of
from converters.mapping.settings import settings_text
from converters.verification.outcome import REFERENCE

from . import html
from .block_chart import block_chart, error_text
from .folding import fold_names
from .histogram import histogram_figure
from .html import code, text
from .model_card import source_names
from .wording import RELEASED_ONLY, again_text, classes_text, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.mapping.network_info import NetworkInfo
    from converters.verification.outcome import (
        BlockResult,
        Evidence,
        FunctionalResult,
        TensorPair,
        TopClass,
        Verification,
    )

MAX_NAMES = 8
"""Folded names that one line lists."""


def verification_page(verification: Verification, command: Sequence[str]) -> str:
    """The page of an outcome with evidence. ``command`` is the command line that reproduces it."""
    evidence = verification.evidence
    if evidence is None:
        raise ValueError("a report needs the evidence: verify(..., evidence=True)")
    title = verification.info.title
    parts = [
        f'<header><p class="soft">convert verify</p>\n<h1>{text(title)}: {_verdict(verification)}</h1>',
        f"<p>{_subject(verification)}</p></header>\n<main>",
        _cards(verification),
        "<h2>Files</h2>",
        _files(evidence),
        "<h2>Coverage</h2>",
        *_coverage(verification, evidence),
        "<h2>Block by block</h2>",
        *_blocks(verification),
        "<h2>Suspect values</h2>",
        *_suspects(evidence),
        "<h2>Input</h2>",
        html.pairs(_input_rows(verification.info)),
        "<h2>What the weights do not show</h2>",
        *_declared(verification),
        "<h2>Provenance</h2>",
        *_provenance(verification, evidence),
        "<h2>Reproduce this</h2>",
        *_reproduce(verification, evidence, command),
        "</main>",
    ]
    return html.page(f"{title}: {verification.verdict}", "\n".join(parts))


def _verdict(verification: Verification) -> str:
    return {
        "verified": '<span class="good">✓ verified</span>',
        "bytes only": "bytes only",
        "not verified": '<span class="bad">✗ not verified</span>',
    }[verification.verdict]


def _subject(verification: Verification) -> str:
    info = verification.info
    return (
        f"{text(info.title)} ({code(info.variant)}), {classes_text(info)}, {counted(info.channels, 'input channel')}: "
        f"{code(name_of(verification.source))} in layout {code(verification.source_layout)} against "
        f"{code(name_of(verification.output))} in layout {code(verification.output_layout)}."
    )


# Summary


def _cards(verification: Verification) -> str:
    return html.cards(
        (_exact_card(verification), _functional_card(verification), _declared_card(verification))
    )


def _exact_card(verification: Verification) -> tuple[str, str, str]:
    exact = verification.exact
    total = exact.tensors
    if exact.ok and exact.rounded:
        return (
            "good",
            "✓ Exact",
            f"{exact.rounded} of {total} tensors are the source’s, rounded as the output’s record says; all others are "
            "restored bit for bit.",
        )
    if exact.ok:
        return (
            "good",
            "✓ Exact",
            f"The inverse mapping restores all {total} tensors of the source bit for bit.",
        )
    if not exact.changed:
        return (
            "bad",
            "✗ Exact",
            f"All {total} tensors of the source are restored bit for bit, but the output’s record contradicts it: "
            f"{text('; '.join(exact.record))}.",
        )
    changed = counted(len(exact.changed), "tensor")
    return "bad", "✗ Exact", f"{changed} of the source’s {total} cannot be restored bit for bit."


def _both(result: FunctionalResult) -> str:
    if result.module:
        return f" The output’s side is your own module {text(result.module)}."
    return " Both are our reference networks." if result.source_network == REFERENCE else ""


def _functional_card(verification: Verification) -> tuple[str, str, str]:
    result = verification.functional
    if result is None:
        return "", "– Functional", f"Not run: {text(verification.skipped)}."
    if result.first is None:
        worst = result.worst
        both = _both(result)
        rounded = f", as the weights are rounded to {result.rounded}" if result.rounded else ""
        return (
            "good",
            "✓ Functional",
            f"All {len(result.blocks)} blocks agree to {error_text(result.tolerance)} of their largest value{rounded}; "
            f"the worst is {code(worst.name)} with <span class='whole'>{error_text(worst.relative)}</span>.{both}",
        )
    first = result.first
    return "bad", "✗ Functional", f"{code(first.name)} is the first block to differ: {_off(first)}."


def _declared_card(verification: Verification) -> tuple[str, str, str]:
    notes = len(verification.declared.notes)
    words = (
        f"{counted(notes, 'note')} on what the weights do not show."
        if notes
        else "Nothing: the output’s own project computes what the source’s does."
    )
    return "", "Declared", words


def _off(block: BlockResult) -> str:
    return text(block.fault) or f"off by {error_text(block.relative)} of the largest value"


# Files and tensors


def _files(evidence: Evidence) -> str:
    formats = dict(zip(("source", "output"), evidence.containers, strict=True))
    return html.table(
        "files",
        ("file", "role", "format", "bytes", "SHA-256"),
        [
            (
                code(file.name),
                file.role,
                text(formats.get(file.role, "NumPy array")),
                f"{file.size:,}",
                code(file.sha256),
            )
            for file in evidence.files
        ],
        numbers=(3,),
    )


def _coverage(verification: Verification, evidence: Evidence) -> Iterator[str]:
    exact = verification.exact
    yield html.pairs(_coverage_rows(verification, evidence))
    if exact.changed:
        yield f"<h3>{counted(len(exact.changed), 'tensor')} that cannot be restored</h3>"
        yield html.table(
            "tensors that cannot be restored",
            ("in the source", "in the network", "what is wrong"),
            [(code(tensor.name), code(tensor.canonical), text(tensor.why)) for tensor in exact.changed],
        )
    if exact.record:
        yield "<h3>Where the output’s record contradicts the source</h3>"
        yield _bullets(exact.record)
    changed = {tensor.canonical for tensor in exact.changed}
    yield f"<details><summary>All {len(evidence.pairs)} tensors</summary>"
    yield html.table(
        "all tensors",
        ("in the source", "shape", "in the output", "shape", "dtype", "restored"),
        [_pair_cells(pair, pair.canonical not in changed) for pair in evidence.pairs],
    )
    yield "</details>"


def _coverage_rows(verification: Verification, evidence: Evidence) -> Iterator[tuple[str, str]]:
    both = sum(1 for pair in evidence.pairs if pair.source and pair.output)
    filled = [pair.output[0] for pair in evidence.pairs if pair.output and not pair.source]
    merged = [pair.source[0] for pair in evidence.pairs if pair.source and not pair.output]
    counters = len(evidence.counters)
    yield "in both files", f"{both} tensors, mapped one to one"
    yield "filled in", _names(filled, "constants that the source implies")
    yield "batch counters", f"{counters}, not used for inference" if counters else "none"
    yield "merged", _names(merged, "which the output does not store")
    yield "dropped", _names(verification.exact.dropped, "not weights of the network")


def _pair_cells(pair: TensorPair, restored: bool) -> tuple[str, ...]:
    cells = [
        (code(side[0]), text("×".join(map(str, side[2])) or "scalar")) if side else ("–", "")
        for side in (pair.source, pair.output)
    ]
    dtypes = dict.fromkeys(side[1] for side in (pair.source, pair.output) if side)
    verdict = ("yes" if restored else '<strong class="bad">no</strong>') if pair.source else "–"
    return (*cells[0], *cells[1], text(" → ".join(dtypes)), verdict)


def _names(names: Sequence[str], what: str) -> str:
    if not names:
        return "none"
    folded = fold_names(names)
    more = f" and {len(folded) - MAX_NAMES} more" if len(folded) > MAX_NAMES else ""
    return f"{len(names)}, {text(what)}: {', '.join(map(code, folded[:MAX_NAMES]))}{more}"


def _bullets(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


# Blocks


def _blocks(verification: Verification) -> Iterator[str]:
    result = verification.functional
    if result is None:
        yield f"<p>Not run: {text(verification.skipped)}.</p>"
        return
    sides = (
        f"the source as {text(result.source_network)}, the output as your own module {text(result.module)}"
        if result.module
        else f"both as our reference networks in PyTorch ({text(result.device)}), as the source is a PyTorch file"
        if result.source_network == REFERENCE
        else "the source as its own framework’s network in onnxruntime, the output as the reference network in PyTorch "
        f"({text(result.device)}). They share the file readers and nothing else"
    )
    yield (
        f"<p>Both sides had the same clip, {text(result.clip)}: {sides}. A block’s relative error is its largest "
        "difference divided by the source’s largest value there.</p>"
    )
    if result.order:
        yield f"<p>Its blocks run in another order: {text(result.order)}.</p>"
    yield block_chart(result)
    yield html.table(
        "blocks",
        ("block", "in the source", "shape", "relative", "largest difference", "cosine", ""),
        [_block_cells(block, result) for block in result.blocks],
        numbers=(3, 4, 5),
    )
    if result.source_top or result.output_top:
        yield "<h2>The five most likely classes</h2>"
        both = bool(result.source_top and result.output_top)
        ranked = zip(result.source_top, result.output_top, strict=True) if both else ()
        yield html.table(
            "the five most likely classes",
            ("", "source", "logit", "output", "logit"),
            [
                (str(rank), *_class_cells(source), *_class_cells(output))
                for rank, (source, output) in enumerate(ranked, 1)
            ],
            numbers=(2, 4),
        )


def _block_cells(block: BlockResult, result: FunctionalResult) -> tuple[str, ...]:
    return (
        code(block.name),
        code(block.source_name),
        "×".join(map(str, block.shape)),
        error_text(block.relative),
        error_text(block.max_abs) if not block.fault else "–",
        f"{block.cosine:.9f}" if not block.fault else "–",
        _mark(block, result),
    )


def _class_cells(ranked: TopClass) -> tuple[str, str]:
    name = f"{text(ranked.label)} ({ranked.number})" if ranked.label else f"class {ranked.number}"
    return name, f"{ranked.logit:.6f}" if isfinite(ranked.logit) else "not a number"


def _mark(block: BlockResult, result: FunctionalResult) -> str:
    if block.relative <= result.tolerance:
        return '<span class="good">agrees</span>'
    words = "first to differ" if block is result.first else "differs"
    return f'<strong class="bad">{words}</strong>{f": {text(block.fault)}" if block.fault else ""}'


# Values


def _suspects(evidence: Evidence) -> Iterator[str]:
    suspects = evidence.suspects
    if not suspects:
        yield (
            f"<p>None: all {evidence.tensors_read} tensors of the output were read. No NaN, no Inf, no negative "
            "variance, no weight that is zero everywhere, no dead channel.</p>"
        )
        return
    yield (
        f"<p>{counted(len(suspects), 'tensor')} of the {evidence.tensors_read} in the output. A channel counts as dead "
        "where none of its weights exceeds a millionth of the tensor’s largest; training can cause that.</p>"
    )
    drawn = [histogram_figure(tensor, tensor.histogram) for tensor in suspects if tensor.histogram]
    if drawn:
        yield (
            '<p class="soft">Distribution of the finite values, counts on a log scale: the output’s above the axis, '
            "the source’s below.</p>"
        )
        yield '<div class="cards">' + "\n".join(drawn) + "</div>"
    rest = [tensor for tensor in suspects if not tensor.histogram]
    if rest:
        yield html.table(
            "more suspect tensors",
            ("tensor", "why"),
            [(code(tensor.canonical), text("; ".join(tensor.reasons))) for tensor in rest],
        )


# The rest


def _input_rows(info: NetworkInfo) -> Iterator[tuple[str, str]]:
    """Preprocessing, and what else weights do not show."""
    described = info.input
    if "clip" in described:
        yield "clip", _clip_text(described)
    if "resize" in described:
        yield "frames", text(described["resize"])
    if "order" in described:
        values = described.get("range")
        between = f", values from {values[0]:g} to {values[1]:g}" if values else ""
        yield "channels", f"{text(described['order'])}{between}"
    if "mean" in described:
        yield (
            "normalised by",
            f"minus {_list(described['mean'])}, divided by {_list(described['std'])}, per channel",
        )
    if "mean_cube" in described:
        yield "normalised by", f"minus {text(described['mean_cube'])}"
    if "mean_file" in described:
        mean = described["mean_file"]
        yield (
            "mean file",
            f"{code(mean['name'])}, channel means {_list(mean['means'])}, CRC-32 {code(mean['crc32'])}",
        )
    if not described:
        yield "clip", "no table says what the network was made for"
    if info.settings:
        yield "settings", f"{code(settings_text(info.settings))} in the source"


def _clip_text(described: Any) -> str:
    *frames, height, width = described["clip"]
    if not frames:
        return f"log-mel spectrogram of {height}×{width}"
    step = described.get("frame_step", 1)
    skipped = {1: "", 2: ", every 2nd frame"}.get(step, f", one frame of every {step}")
    return f"{counted(frames[0], 'frame')} of {height}×{width} pixels{skipped}{again_text(described)}"


def _declared(verification: Verification) -> Iterator[str]:
    declared = verification.declared
    if not declared.notes:
        yield "<p>No differences are known: it computes what the source’s network does.</p>"
        return
    yield "<p>These differences hold for any weights; they are no fault of the conversion.</p>"
    yield _bullets(declared.notes)
    if declared.first:
        yield (
            f"<p>On the same clip its own network first differs at {code(declared.first)}; its logits differ by "
            f"{error_text(declared.relative)} of the largest.</p>"
        )


def _provenance(verification: Verification, evidence: Evidence) -> Iterator[str]:
    record: Any = verification.provenance
    if record is None:
        yield "<p>The output has no record of a conversion: it was judged by its names and values alone.</p>"
    else:
        tool, mapping = record["tool"], record["mapping"]
        rows = [
            ("made by", f"{text(tool['name'])} {text(tool['version'])}"),
            ("mapping", f"{code(mapping['source'])} → {code(mapping['target'])}, {code(mapping['sha256'])}"),
        ]
        rows += [("made from", _source_text(name, source)) for name, source in source_names(record)]
        if verification.info.licence:
            rows.append(("licence", f"{text(verification.info.licence)}, {RELEASED_ONLY}"))
        rows += [("note", text(note)) for note in record["notes"]]
        yield "<p>From the output’s own record.</p>"
        yield html.pairs(rows)
    software = ", ".join(f"{text(name)} {text(version)}" for name, version in evidence.software.items())
    yield f'<p class="soft">Verified with {software}.</p>'


def _source_text(name: str, source: Any) -> str:
    """A file that the output was made from, with whatever its record says of it."""
    words = [code(name)]
    if isinstance(source.get("container"), str):
        words.append(text(source["container"]))
    if isinstance(source.get("size"), int):
        words.append(f"{source['size']:,} bytes")
    if isinstance(source.get("sha256"), str):
        words.append(f"SHA-256 {code(source['sha256'])}")
    return ", ".join(words)


def _reproduce(verification: Verification, evidence: Evidence, command: Sequence[str]) -> Iterator[str]:
    sums = "\n".join(f"{file.sha256}  {text(file.name)}" for file in evidence.files)
    functional = verification.functional
    if functional is None:
        install = "pip install ."
    else:
        install = installing("torch" if functional.source_network == REFERENCE else "torch,onnx")
    version = evidence.software["video-checkpoint-converters"]
    yield "<p>Put the same files in one folder; <code>sha256sum -c</code> checks them against this list:</p>"
    yield f"<pre>{sums}</pre>"
    line = text(" ".join(map(quote, command)))
    yield f"<p>In a checkout of version {version} of this project, and then in the folder with the files:</p>"
    yield f"<pre>{install}\n{line}</pre>"
    yield (
        "<p>The exit code is 0 if everything agrees and 1 if not. On another machine the last digits of the errors may "
        "differ; the verdict should not.</p>"
    )


def _list(values: Sequence[float]) -> str:
    return text(", ".join(f"{value:g}" for value in values)) if len(set(values)) > 1 else f"{values[0]:g}"
