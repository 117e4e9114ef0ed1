"""``convert models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "The support table: every network, its sources and its layouts."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from converters.inspection.support_table import support_table
    from converters.reports.terminal import models_text

    table = support_table()
    return outcome(options, lambda: {"models": [row._asdict() for row in table]}, lambda: models_text(table))
