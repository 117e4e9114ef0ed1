"""``convert suggest A B -o MAPPING``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Propose a mapping from one checkpoint's names to another's, based on values,
names, shapes and order. Uncertain rows are marked, and not used until you
confirm them."""

EXAMPLES = (
    "convert suggest mine.ckpt theirs.pth -o mine.toml",
    "convert suggest run.pth theirs.pth -o mine.toml --entry-a ema_state_dict",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("a", metavar="A", help="the checkpoint with the names you have")
    parser.add_argument("b", metavar="B", help="a checkpoint of the same network with the names you want")
    parser.add_argument(
        "-o", "--output", metavar="MAPPING", required=True, help="the mapping file to write (.toml)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing mapping file")
    parser.add_argument(
        "--no-values", action="store_true", help="use only names, shapes and order; read no tensor data"
    )
    for file in "ab":
        parser.add_argument(
            f"--entry-{file}",
            metavar="PATH",
            help=f"the state dict in {file.upper()}, such as ema_state_dict",
        )


def run(options: argparse.Namespace) -> int:
    """Propose a mapping, write it and print a summary."""
    from converters.reports.terminal.suggestion import suggestion_text
    from converters.suggestion.suggest import suggest

    suggestion = suggest(
        options.a,
        options.b,
        options.output,
        values=not options.no_values,
        entry_left=options.entry_a,
        entry_right=options.entry_b,
        force=options.force,
    )
    return report(options, suggestion.as_data, lambda: suggestion_text(suggestion))
