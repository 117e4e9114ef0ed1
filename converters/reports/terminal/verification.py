"""Describe a verification: bytes, function and declared differences, in a few lines each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.reports.folding import fold_names
from converters.reports.wording import classes_text, printable_lines

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
    verdict = "YES" if verification.ok else "NO"
    lines.append(f"verified: {verdict} ({sum(verification.timings.values()):.1f} s)")
    return printable_lines(lines)


def _exact_lines(exact: ExactResult) -> Iterator[str]:
    total, changed = exact.tensors, exact.changed
    if exact.ok:
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
            f"functional  all {len(result.blocks)} blocks agree to {result.tolerance:g} of the largest value "
            f"(worst {worst.relative:.1e}, {worst.name}; {last.name} {last.relative:.1e})"
        )
    else:
        off = first.fault or f"off by {first.relative:.1e} of the largest value, {result.tolerance:g} allowed"
        yield f"functional  FAILED: the first block to differ is {first.name}, {off}"
    yield f"  clip {result.clip}; {result.device}"
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
