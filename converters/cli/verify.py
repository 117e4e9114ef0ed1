"""``convert verify SOURCE OUTPUT``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from converters.conversion.options import VERIFY_OPTIONS, NetworkOptions, ReadOptions
from converters.locations import is_remote, without_credentials

from .load_report import MODULE_HELP
from .options import add_options, report, values_of

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Prove a conversion on your own files. The inverse mapping must give the
source's bytes back, and the source framework's network (run by onnxruntime)
must compute what the output's network computes, block by block. Exit code 1
if anything differs. If no network of the source is known, the verdict is
"bytes only", with exit code 0: see --require."""

EXAMPLES = (
    "convert verify ircsn_152.pkl out.pth --html proof.html",
    "convert verify ircsn_152.pkl out.pth --require functional --junit proof.xml",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source_file", metavar="SOURCE", help="the file that was converted")
    parser.add_argument("output", metavar="OUTPUT", help="the result, of this tool or another")
    files = parser.add_argument_group("input")
    files.add_argument("--source", metavar="LAYOUT", help="the layout of SOURCE, if several fit")
    files.add_argument("--layout", metavar="LAYOUT", help="the layout of OUTPUT, if several fit")
    add_options(files, ReadOptions, only=VERIFY_OPTIONS)
    network = parser.add_argument_group("network")
    add_options(network, NetworkOptions, only=VERIFY_OPTIONS)
    network.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="where OUTPUT runs: cpu (default), cuda or auto"
    )
    network.add_argument(
        "--module",
        metavar="PACKAGE.MODULE:NAME",
        help=f"{MODULE_HELP}; it runs in place of our network of OUTPUT, which must load into it strictly",
    )
    network.add_argument(
        "--clip", metavar="FILE.npy", help="float32 [N, C, T, H, W], preprocessed (default: noise)"
    )
    output_require = parser.add_argument_group("proof")
    output_require.add_argument(
        "--require",
        choices=("exact", "functional"),
        help="exact (default): bytes are enough if the source has no known network; functional: they give exit code 1",
    )
    network.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the noise (default: 0)")
    output = parser.add_argument_group("output")
    output.add_argument("--html", metavar="REPORT.html", help="write a report on both files, one HTML page")
    output.add_argument("--force", action="store_true", help="replace an existing report")
    output.add_argument("--junit", metavar="FILE.xml", help="write the outcome for a CI server")


def run(options: argparse.Namespace) -> int:
    """Verify and print; returns 1 if verification fails."""
    from converters.reports.terminal.verification import verification_text
    from converters.verification.verify import verify

    from .progress_bar import StatusLine, is_shown

    _require_writable_reports(options)
    with StatusLine() as line:
        verification = verify(
            options.source_file,
            options.output,
            source_layout=options.source,
            layout=options.layout,
            device=options.device,
            clip=options.clip,
            seed=options.seed,
            require=options.require,
            progress=line.say if is_shown(options) else None,
            evidence=options.html is not None,
            module=options.module,
            **values_of(options, ReadOptions, NetworkOptions, only=VERIFY_OPTIONS),
        )
    if options.html is not None:
        from converters.reports.html import write_page
        from converters.reports.verification_page import verification_page

        write_page(options.html, verification_page(verification, _command(options)), force=options.force)
    if options.junit is not None:
        from converters.reports.junit import write_junit

        write_junit(options.junit, verification)
    return report(options, verification.as_data, lambda: verification_text(verification), ok=verification.ok)


def _require_writable_reports(options: argparse.Namespace) -> None:
    """Raise, before any work, if a report cannot be written or would replace a file that is read."""
    from converters.conversion.write import refuse_early, refuse_input
    from converters.errors import UsageError

    wanted = ((options.html, options.force), (options.junit, True))
    reports = [(path, force) for path, force in wanted if path is not None]
    if len({os.path.realpath(path) for path, _ in reports}) < len(reports):
        raise UsageError(
            "--html and --junit name the same file", path=options.html, hint="choose another name"
        )
    for path, force in reports:
        for read in filter(None, (options.source_file, options.output, options.clip)):
            refuse_input(read, path)
        refuse_early(path, force=force)


def _command(options: argparse.Namespace) -> list[str]:
    """The words of this command, to be run in the folder of the files that are no addresses."""
    words = ["convert", "verify", _base_name(options.source_file), _base_name(options.output)]
    for name in ("source", "layout", "variant", "entry", "head", "device"):
        if (value := getattr(options, name)) not in (None, "cpu"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--clip", _base_name(options.clip)] if options.clip else ["--seed", str(options.seed)]
    for pattern in options.drop:
        words += ["--drop", pattern]
    for name, value in options.settings:
        words += ["--set", f"{name}={value}"]
    words += ["--module", options.module] if options.module else []
    for folder in options.tables:
        words += ["--tables", _base_name(folder)]
    return [*words, *(["--inverse-std"] if options.inverse_std else [])]


def _base_name(path: str) -> str:
    return without_credentials(path) if is_remote(path) else os.path.basename(os.path.abspath(path))
