"""A tensor's histogram as SVG: the output's counts above the axis, the source's below, on a log scale."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

from .html import code, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.outcome import Histogram, SuspectTensor

HALF = 44
"""The height above and below the axis, in pixels."""


def histogram_figure(tensor: SuspectTensor, bins: Histogram) -> str:
    """The figure of a suspect tensor, with the reasons why it is one."""
    reasons = "; ".join(tensor.reasons)
    label = f"{tensor.canonical}: {reasons}. Finite values from {bins.low:.3g} to {bins.high:.3g}."
    zero = ""
    if bins.low < 0 < bins.high:
        x = f"{-bins.low / (bins.high - bins.low) * 100:.2f}%"
        zero = f'<line x1="{x}" x2="{x}" y1="0" y2="{2 * HALF}" stroke="var(--ink)" stroke-dasharray="2 3"/>'
    return (
        f'<figure><figcaption>{code(tensor.canonical)}<br><strong class="bad">{text(reasons)}</strong></figcaption>'
        f'<svg role="img" height="{2 * HALF + 18}" aria-label="{text(label)}">{"".join(_bars(bins))}{zero}'
        f'<line x1="0" x2="100%" y1="{HALF}" y2="{HALF}" stroke="var(--ink)"/>'
        f'<text x="0" y="{2 * HALF + 15}">{bins.low:.3g}</text>'
        f'<text x="100%" y="{2 * HALF + 15}" text-anchor="end">{bins.high:.3g}</text></svg></figure>'
    )


def _bars(bins: Histogram) -> Iterator[str]:
    largest = log10(1 + max(bins.output + bins.source))
    width = 100 / len(bins.output)
    for counts, ink in ((bins.output, "var(--mark)"), (bins.source, "var(--soft)")):
        for place, count in enumerate(counts):
            if count:
                height = max(1.0, log10(1 + count) / largest * HALF)
                top = HALF - height if counts is bins.output else HALF
                yield (
                    f'<rect x="{place * width:.2f}%" width="{width * 0.86:.2f}%" y="{top:.1f}" height="{height:.1f}" '
                    f'fill="{ink}"/>'
                )
