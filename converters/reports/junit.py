"""The outcome of a verification as JUnit XML, the form that CI servers read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.outcome import Verification


def junit_text(found: Verification) -> str:
    """One test case for the bytes and one for each block."""
    cases = [("exact", "bytes", _exact_fault(found)), *_blocks(found)]
    failed = sum(1 for _, _, fault in cases if fault)
    skipped = int(found.functional is None)
    seconds = sum(found.timings.values())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="convert verify" tests="{len(cases) + skipped}" failures="{failed}" errors="0" '
        f'skipped="{skipped}" time="{seconds:.3f}">',
    ]
    for group, name, fault in cases:
        case = f"  <testcase classname={quoteattr(f'verify.{group}')} name={quoteattr(_clean(name))}"
        lines.append(
            f"{case}><failure message={quoteattr(_clean(fault))}/></testcase>" if fault else f"{case}/>"
        )
    if found.functional is None:
        lines.append(
            '  <testcase classname="verify.functional" name="logits">'
            f"<skipped message={quoteattr(_clean(found.skipped))}/></testcase>"
        )
    return "\n".join([*lines, "</testsuite>", ""])


def write_junit(path: str, found: Verification) -> None:
    """Write it to a file, replacing one that is there."""
    from converters.formats.io.atomic import replacing

    with replacing(path, force=True) as out:
        out.write(junit_text(found).encode())


def _exact_fault(found: Verification) -> str:
    faults = [f"{one.name}: {one.why}" for one in found.exact.changed[:20]]
    return "; ".join([*faults, *(f"the record has {one}" for one in found.exact.record)])


def _blocks(found: Verification) -> Iterator[tuple[str, str, str]]:
    if found.functional is None:
        return
    for block in found.functional.blocks:
        off = (
            ""
            if block.relative <= found.functional.tolerance
            else f"off by {block.relative:.2e} of the largest"
        )
        yield "functional", block.name, block.fault or off


def _clean(text: str) -> str:
    """Text that XML can hold: names come from files."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
