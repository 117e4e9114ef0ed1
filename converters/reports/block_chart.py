"""A chart of the blocks' errors, as SVG: from the first block to the last, on a log scale."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import TYPE_CHECKING

from converters.verification.outcome import NOISE

from .html import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.outcome import BlockResult, FunctionalResult

MIN_HEIGHT = 200
"""Of the chart, in pixels."""

MIN_DECADE = 34
"""The least height of a power of ten, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """The chart's powers of ten from ``low`` to ``high``, each ``decade`` pixels high."""

    low: int
    high: int
    decade: float

    @classmethod
    def of(cls, result: FunctionalResult) -> _Scale:
        errors = [
            block.relative for block in result.blocks if isfinite(block.relative) and block.relative > 0
        ]
        low = floor(log10(min([*errors, NOISE / 10])))
        high = floor(log10(max([*errors, result.tolerance]))) + 1
        return cls(low=low, high=high, decade=max(MIN_DECADE, MIN_HEIGHT / (high - low)))

    @property
    def bottom(self) -> float:
        return round((self.high - self.low) * self.decade, 2)

    def y(self, error: float) -> float:
        if not isfinite(error):
            return 0.0
        return round((self.high - log10(error)) * self.decade, 2) if error > 0 else self.bottom


def block_chart(result: FunctionalResult) -> str:
    """The chart as a figure. Horizontal positions are in per cent, so that text keeps its size on any screen."""
    scale = _Scale.of(result)
    lines = [
        *_rules(scale, result.tolerance),
        *_points(scale, result),
        _label(scale.bottom, "float32 noise"),
        _label(scale.y(result.tolerance), "tolerance"),
        *_block_names(scale, result),
        *_first_to_differ(scale, result),
    ]
    return (
        '<figure><div style="padding: 28px 4px 26px 3.4rem">'
        f'<svg role="img" height="{scale.bottom}" aria-label="{text(_description(scale, result))}">'
        + "\n".join(lines)
        + "</svg></div><figcaption>Blocks from left to right in the order computed: largest difference divided by "
        "largest value, each line ten times the one below. Hollow: no difference at all. Cross: not a number, or on "
        "one side only.</figcaption></figure>"
    )


def error_text(value: float) -> str:
    """An error in few characters: 0.95, or 9.53e-07 as 9.5e-7, and powers of ten without a mantissa's decimals."""
    if not isfinite(value):
        return "∞"
    if value == 0 or 0.01 <= value < 100:
        return f"{value:.2g}"
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(power)}" if value != float(f"1e{power}") else f"1e{int(power)}"


def _rules(scale: _Scale, tolerance: float) -> Iterator[str]:
    """The band of noise, and a line for every power of ten, for the noise and for the tolerance."""
    noise = scale.y(NOISE)
    yield f'<rect x="0" width="100%" y="{noise}" height="{scale.bottom - noise:.2f}" fill="var(--band)"/>'
    for power in range(scale.low, scale.high + 1):
        if 10.0**power not in (NOISE, tolerance):
            name = "1" if power == 0 else f"1e{power}"
            yield _rule(scale.y(10.0**power), name, 'stroke="var(--line)"')
    yield _rule(noise, error_text(NOISE), 'stroke="var(--mark)" stroke-dasharray="2 3"')
    yield _rule(scale.y(tolerance), error_text(tolerance), 'stroke="var(--bad)" stroke-dasharray="7 4"')


def _rule(y: float, name: str, style: str) -> str:
    return (
        f'<line x1="0" x2="100%" y1="{y}" y2="{y}" {style}/>'
        f'<text x="-8" y="{y + 4:.2f}" text-anchor="end">{name}</text>'
    )


def _label(y: float, words: str) -> str:
    return f'<text class="over" x="100%" y="{y - 6:.2f}" text-anchor="end">{words}</text>'


def _points(scale: _Scale, result: FunctionalResult) -> Iterator[str]:
    for place, block in enumerate(result.blocks):
        x = f"{(place + 0.5) / len(result.blocks) * 100:.2f}%"
        y = scale.y(block.relative)
        ink = "var(--mark)" if block.relative <= result.tolerance else "var(--bad)"
        yield f'<line x1="{x}" x2="{x}" y1="{y}" y2="{scale.bottom}" stroke="{ink}" stroke-opacity=".35"/>'
        yield _point(block, x, y, ink)


def _point(block: BlockResult, x: str, y: float, ink: str) -> str:
    fault = f", {text(block.fault)}" if block.fault else ""
    title = f"<title>{text(block.name)}: {error_text(block.relative)}{fault}</title>"
    if not isfinite(block.relative):
        return (
            f'<svg x="{x}" y="{y}" width="1" height="1"><path d="M-4-4 4 4M-4 4 4-4" stroke="{ink}" '
            f'stroke-width="2.5"/>{title}</svg>'
        )
    if block.relative == 0:
        return f'<circle cx="{x}" cy="{y}" r="3" fill="var(--paper)" stroke="{ink}" stroke-width="2">{title}</circle>'
    if ink == "var(--bad)":
        return f'<svg x="{x}" y="{y}" width="1" height="1"><path d="M0-5 5 0 0 5-5 0Z" fill="{ink}"/>{title}</svg>'
    return f'<circle cx="{x}" cy="{y}" r="3.5" fill="{ink}">{title}</circle>'


def _block_names(scale: _Scale, result: FunctionalResult) -> Iterator[str]:
    y = f"{scale.bottom + 18:.2f}"
    yield f'<text x="0" y="{y}">{text(result.blocks[0].name)}</text>'
    yield f'<text x="100%" y="{y}" text-anchor="end">{text(result.blocks[-1].name)}</text>'


def _first_to_differ(scale: _Scale, result: FunctionalResult) -> Iterator[str]:
    first = result.first
    if first is not None:
        x = (result.blocks.index(first) + 0.5) / len(result.blocks) * 100
        anchor, dx = ("start", 6) if x < 50 else ("end", -6)
        yield f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="-22" y2="{scale.bottom}" stroke="var(--bad)"/>'
        yield (
            f'<text x="{x:.2f}%" dx="{dx}" y="-12" text-anchor="{anchor}" fill="var(--bad)" font-weight="600">'
            f"first to differ: {text(first.name)}</text>"
        )


def _description(scale: _Scale, result: FunctionalResult) -> str:
    """The chart in words, for readers who cannot see it."""
    worst, first = result.worst, result.first
    return (
        f"Relative error of {len(result.blocks)} blocks on a logarithmic scale from 1e{scale.low} to 1e{scale.high}. "
        f"Largest: {worst.name}, {error_text(worst.relative)}. float32 noise {error_text(NOISE)}, tolerance "
        f"{error_text(result.tolerance)}. "
        + (f"First to differ: {first.name}." if first else "No block differs.")
    )
