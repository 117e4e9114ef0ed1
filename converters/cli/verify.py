"""``convert verify SOURCE OUTPUT``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .options import add_entry, add_hidden, outcome, settings_of

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Prove a conversion on your own file: the inverse mapping gives the source's
bytes back, and the source framework's network (run by onnxruntime) computes
what the output's network computes, block by block. Exit code 1 where not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("source_file", metavar="SOURCE", help="the file that was converted")
    parser.add_argument(
        "output", metavar="OUTPUT", help="what it was converted into, by this tool or another"
    )
    parser.add_argument("--source", metavar="LAYOUT", help="SOURCE's layout, where more than one fits")
    parser.add_argument("--layout", metavar="LAYOUT", help="OUTPUT's")
    parser.add_argument("--variant", metavar="NAME", help="the network, where names and shapes fit several")
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="where OUTPUT runs: cpu (default), cuda or auto"
    )
    parser.add_argument(
        "--clip", metavar="FILE.npy", help="float32 [N, C, T, H, W], preprocessed (default: noise)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    add_entry(parser)
    add_hidden(parser)
    parser.add_argument(
        "--html", metavar="REPORT.html", help="write a report on both files and the proof, one page"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing report")
    parser.add_argument("--junit", metavar="FILE.xml", help="write the outcome for a CI server as well")


def run(options: argparse.Namespace) -> int:
    """Verify, print, and return 1 where something is missed."""
    from converters.reports.terminal import verification_text
    from converters.verification.verify import verify

    _check_reports(options)
    found = verify(
        options.source_file,
        options.output,
        source_layout=options.source,
        layout=options.layout,
        variant=options.variant,
        entry=options.entry,
        head=options.head,
        device=options.device,
        clip=options.clip,
        seed=options.seed,
        settings=settings_of(options),
        inverse_std=options.inverse_std,
        evidence=options.html is not None,
    )
    if options.html is not None:
        from converters.reports.html import write_page
        from converters.reports.verification_page import proof_html

        write_page(options.html, proof_html(found, _words(options)), force=options.force)
    if options.junit is not None:
        from converters.reports.junit import write_junit

        write_junit(options.junit, found)
    return outcome(options, found.as_data, lambda: verification_text(found), ok=found.ok)


def _check_reports(options: argparse.Namespace) -> None:
    """Refuse a report that could not be written, or would be over a file that is read, before any work."""
    from converters.conversion.write import refuse_early, refuse_input
    from converters.errors import UsageError

    wanted = ((options.html, options.force), (options.junit, True))
    reports = [(path, force) for path, force in wanted if path is not None]
    if len({os.path.realpath(path) for path, _ in reports}) < len(reports):
        raise UsageError("--html and --junit name one file", path=options.html, hint="choose another")
    for report, force in reports:
        for path in filter(None, (options.source_file, options.output, options.clip)):
            refuse_input(path, report)
        refuse_early(report, force=force)


def _words(options: argparse.Namespace) -> list[str]:
    """The command again, with the files in the folder where it is run."""
    words = ["convert", "verify", _base(options.source_file), _base(options.output)]
    for name in ("source", "layout", "variant", "entry", "head", "device"):
        if (value := getattr(options, name)) not in (None, "cpu"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--clip", _base(options.clip)] if options.clip else ["--seed", str(options.seed)]
    for text in options.settings:
        words += ["--set", text]
    return [*words, *(["--inverse-std"] if options.inverse_std else [])]


def _base(path: str) -> str:
    return os.path.basename(os.path.abspath(path))
