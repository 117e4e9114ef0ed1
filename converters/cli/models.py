"""``convert models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "List every network, its sources and the layouts that support it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from converters.inspection.support_table import support_table
    from converters.reports.terminal.models import models_text

    table = support_table()
    return report(options, lambda: {"models": [row.as_data() for row in table]}, lambda: models_text(table))
