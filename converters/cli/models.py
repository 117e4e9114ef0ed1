"""``convert models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused

from .options import report

if TYPE_CHECKING:
    import argparse

    from converters.inspection.support_table import SupportedNetwork

DESCRIPTION = "List the networks, their sources and the layouts that hold them."

EXAMPLES = (
    "convert models 'r2plus1d-*'",
    "convert models --layout torchvision",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="variants to list, with * and ?, or a part of their names",
    )
    parser.add_argument("--layout", metavar="LAYOUT", help="list only what this layout holds")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from converters.inspection.support_table import support_table
    from converters.reports.terminal.models import models_text

    table = [row for row in support_table() if _is_wanted(row, options.pattern, options.layout)]
    if not table:
        raise _nothing(options.pattern, options.layout)
    return report(options, lambda: {"models": [row.as_data() for row in table]}, lambda: models_text(table))


def _is_wanted(row: SupportedNetwork, pattern: str | None, layout: str | None) -> bool:
    if layout is not None:
        from converters.mapping.layout_tables import known_layout

        known_layout(layout)
        if layout not in (*row.layouts, *row.sources):
            return False
    if pattern is None:
        return True
    from fnmatch import fnmatchcase

    wanted = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    return any(fnmatchcase(name.lower(), wanted) for name in (row.variant, row.title))


def _nothing(pattern: str | None, layout: str | None) -> Refused:
    """The error where nothing is left to list."""
    from converters.inspection.support_table import support_table
    from converters.spelling import did_you_mean

    hint = did_you_mean(pattern or "", (row.variant for row in support_table()))
    what = f"no network is called {pattern!r}" if pattern else "no network"
    return Refused(
        f"{what}{f' in layout {layout}' if layout else ''}", hint=hint or "`convert models` lists all"
    )
