"""The outcome of a verification as JUnit XML, the format that CI servers read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.outcome import ExactResult, FunctionalResult, Verification

MAX_TENSORS = 20


def junit_text(verification: Verification) -> str:
    """One test case for the bytes and one for each block."""
    exact, functional = verification.exact, verification.functional
    cases = [("exact", "bytes", _exact_fault(exact)), *(_block_cases(functional) if functional else ())]
    failed = sum(1 for _, _, fault in cases if fault)
    skipped = int(functional is None)
    seconds = sum(verification.timings.values())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="convert verify" tests="{len(cases) + skipped}" failures="{failed}" errors="0" '
        f'skipped="{skipped}" time="{seconds:.3f}">',
    ]
    for group, name, fault in cases:
        case = f"  <testcase classname={_attribute(f'verify.{group}')} name={_attribute(name)}"
        lines.append(f"{case}><failure message={_attribute(fault)}/></testcase>" if fault else f"{case}/>")
    if functional is None:
        lines.append(
            '  <testcase classname="verify.functional" name="logits">'
            f"<skipped message={_attribute(verification.skipped)}/></testcase>"
        )
    return "\n".join([*lines, "</testsuite>", ""])


def write_junit(path: str, verification: Verification) -> None:
    """Write it to a file, replacing an existing one."""
    from converters.formats.io.atomic import replacing

    with replacing(path, force=True) as out:
        out.write(junit_text(verification).encode())


def _exact_fault(exact: ExactResult) -> str:
    changed = [f"{tensor.name}: {tensor.why}" for tensor in exact.changed[:MAX_TENSORS]]
    return "; ".join([*changed, *(f"the record has {fault}" for fault in exact.record)])


def _block_cases(functional: FunctionalResult) -> Iterator[tuple[str, str, str]]:
    for block in functional.blocks:
        agrees = block.relative <= functional.tolerance
        off = "" if agrees else f"off by {block.relative:.2e} of the largest value"
        yield "functional", block.name, block.fault or off


def _attribute(text: str) -> str:
    """An XML attribute's value, quoted: names come from files, and XML cannot hold every character."""
    return quoteattr(printable(text))
