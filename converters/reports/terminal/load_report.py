"""Describe what a module makes of a file: each sort of fault, its names folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.own_module.load_report import shapes_text
from converters.reports.folding import fold_names
from converters.reports.wording import printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.own_module.load_report import LoadReport

MOST = 12
"""Lines of each sort of fault."""


def load_report_text(report: LoadReport) -> str:
    """The report, for a person."""
    return printable_lines([*_lines(report)])


def _lines(report: LoadReport) -> Iterator[str]:
    if report.strict:
        yield f"loads strictly: YES, all {report.tensors} tensors of {report.file} into {report.module}"
        return
    yield f"loads strictly: NO, {report.file} into {report.module}"
    yield from _sort(report.missing, "missing", "they stay as the module initialises them")
    yield from _sort(report.unexpected, "unexpected", "the module has no such tensors")
    if report.shapes:
        yield f"shapes      {len(report.shapes)} differ"
        yield from _most([f"  {shapes_text(row)}" for row in report.shapes])
    if report.nearest:
        yield "nearest     most similar names of the same shape, module: file"
        near: dict[str, list[str]] = {}
        for missing, unexpected in report.nearest.items():
            near.setdefault(_without_numbers(missing), [missing, unexpected])
        yield from _most([f"  {missing}: {unexpected}" for missing, unexpected in near.values()])
    if report.prefix.startswith("-"):
        yield f"hint        the names are the same after {report.prefix[1:]!r} is added in front of each of the file's"
    elif report.prefix:
        yield f"hint        the names are the same after {report.prefix!r} is removed from each of the file's"
    if report.error:
        yield f"PyTorch     {report.error}"


def _sort(names: Sequence[str], what: str, why: str) -> Iterator[str]:
    if names:
        yield f"{what:<11} {len(names)} tensors: {why}"
        yield from _most([f"  {line}" for line in fold_names(names)])


def _most(lines: list[str]) -> list[str]:
    more = [f"  ... and {len(lines) - MOST} more lines; --json has all"] if len(lines) > MOST else []
    return lines[:MOST] + more


def _without_numbers(name: str) -> str:
    return "".join(sign for sign in name if not sign.isdigit())
