"""Describe a verification: bytes, function and declared differences, in a few lines each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.reports.folding import fold_names
from converters.reports.wording import classes_text, printable_lines
from converters.verification.outcome import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.outcome import DeclaredDifferences, ExactResult, Verification

MAX_TENSORS = 10


def verification_text(verification: Verification) -> str:
    """The outcome, for a person."""
    info = verification.info
    layouts = f"{verification.source_layout} and {verification.output_layout}"
    lines = [f"{info.title} ({info.variant}), {classes_text(info)}: {layouts}"]
    lines += _exact_lines(verification.exact)
    lines += _functional_lines(verification)
    lines += _declared_lines(verification.declared)
    lines.append(_verdict(verification))
    return printable_lines(lines)


def _verdict(verification: Verification) -> str:
    compared = "all values as they were rounded" if verification.exact.rounded else "all bytes"
    words = {
        "verified": f"verified: YES, {compared} and both networks",
        "bytes only": "bytes only: the networks were not run",
        "not verified": "verified: NO",
    }[verification.verdict]
    missing = "; --require functional asks for more" if verification.agrees and not verification.ok else ""
    return f"{words}{missing} ({sum(verification.timings.values()):.1f} s)"


def _exact_lines(exact: ExactResult) -> Iterator[str]:
    total, changed = exact.tensors, exact.changed
    if exact.ok and exact.rounded:
        restored = total - exact.rounded
        rest = f", {restored} are restored bit for bit" if restored else ""
        yield f"exact       {exact.rounded} of {total} tensors are the source's, rounded as the record says{rest}"
    elif exact.ok:
        yield f"exact       all {total} tensors are restored bit for bit"
    elif not changed:
        yield f"exact       FAILED: all {total} tensors are restored bit for bit, but the record is wrong"
    else:
        yield f"exact       FAILED: {len(changed)} of {total} tensors are not restored"
        for tensor in changed[:MAX_TENSORS]:
            yield f"  {tensor.name} ({tensor.canonical}): {tensor.why}"
        if len(changed) > MAX_TENSORS:
            yield f"  ... and {len(changed) - MAX_TENSORS} more"
    for fault in exact.record:
        yield f"  the record has {fault}"
    if exact.dropped:
        yield f"  not part of the network: {', '.join(fold_names(exact.dropped))}"


def _functional_lines(verification: Verification) -> Iterator[str]:
    result = verification.functional
    if result is None:
        yield f"functional  not run: {verification.skipped}"
        return
    first = result.first
    if first is None:
        worst, last = result.worst, result.blocks[-1]
        yield (
            f"functional  all {len(result.blocks)} blocks agree to {result.tolerance:.2g} of the largest value "
            f"(worst {worst.relative:.1e}, {worst.name}; {last.name} {last.relative:.1e})"
        )
    else:
        off = first.fault or f"off by {first.relative:.1e} of the largest value, {result.tolerance:g} allowed"
        yield f"functional  FAILED: the first block to differ is {first.name}, {off}"
    if result.order:
        yield f"  {result.order}"
    yield f"  clip {result.clip}; {result.device}"
    if result.module:
        yield f"  the output's side is your own module {result.module}"
    if result.rounded:
        yield f"  {result.tolerance:.1e} is allowed, as the weights are rounded to {result.rounded}"
    if result.source_network == REFERENCE and not result.module:
        yield "  both are our reference networks: the source is a PyTorch file"
    for side, top in (("source", result.source_top), ("output", result.output_top)):
        if top:
            ranked = ", ".join(f"{entry.label or entry.number} {entry.logit:.3f}" for entry in top)
            yield f"  {side}'s top {len(top)}: {ranked}"


def _declared_lines(declared: DeclaredDifferences) -> Iterator[str]:
    for note in declared.notes:
        yield f"declared    {note}"
    if declared.first:
        yield (
            f"  the output's own network first differs at {declared.first}; its logits differ by "
            f"{declared.relative:.1e} of the largest"
        )
