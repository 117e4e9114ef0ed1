"""The outcome of a verification as JUnit XML, the format that CI servers read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from converters.printable import printable
from converters.verification.outcome import FUNCTIONAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.outcome import ExactResult, FunctionalResult, Verification

MAX_TENSORS = 20


def junit_text(verification: Verification) -> str:
    """One test case for the bytes and one for each block."""
    exact, functional = verification.exact, verification.functional
    cases = [("exact", "bytes", _exact_fault(exact)), *(_block_cases(functional) if functional else ())]
    failed = sum(1 for _, _, fault in cases if fault)
    failed += int(functional is None and verification.require == FUNCTIONAL)
    skipped = int(functional is None and verification.require != FUNCTIONAL)
    seconds = sum(verification.timings.values())
    tests = len(cases) + int(functional is None)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="convert verify" tests="{tests}" failures="{failed}" errors="0" '
        f'skipped="{skipped}" time="{seconds:.3f}">',
    ]
    for group, name, fault in cases:
        case = f"  <testcase classname={_attribute(f'verify.{group}')} name={_attribute(name)}"
        lines.append(f"{case}><failure message={_attribute(fault)}/></testcase>" if fault else f"{case}/>")
    if functional is None:
        lines.append(
            f'  <testcase classname="verify.functional" name="logits">{_not_run(verification)}</testcase>'
        )
    return "\n".join([*lines, "</testsuite>", ""])


def _not_run(verification: Verification) -> str:
    """Networks that were not run: skipped, or a failure where they are required."""
    kind = "failure" if verification.require == FUNCTIONAL else "skipped"
    return f"<{kind} message={_attribute(f'bytes only: {verification.skipped}')}/>"


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
