"""``convert load-report FILE --module package.module:build``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.options import ReadOptions

from .options import add_options, report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Say whether a file loads strictly into your own nn.Module. If not, list the
tensors that are missing, those that are unexpected, and those whose shapes
differ. This runs the code that --module names; the file is read as data.
Exit code 1 if the file does not load strictly."""

EXAMPLES = (
    "convert load-report out.pth --module my_project.models:build",
    "convert load-report out.pth --module torchvision.models.video:r3d_18",
)

MODULE_HELP = (
    "a function without arguments that returns your network; this runs your code, which may be in the "
    "current folder"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a checkpoint, with the names that your module has")
    parser.add_argument("--module", metavar="PACKAGE.MODULE:NAME", required=True, help=MODULE_HELP)
    add_options(parser, ReadOptions, only=("entry",))


def run(options: argparse.Namespace) -> int:
    """Compare and print; returns 1 if the file does not load strictly."""
    from converters.own_module.load_report import load_report
    from converters.reports.terminal.load_report import load_report_text

    found = load_report(options.file, options.module, entry=options.entry)
    return report(options, found.as_data, lambda: load_report_text(found), ok=found.strict)
