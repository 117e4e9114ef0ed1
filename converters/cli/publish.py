"""``convert publish FILE`` and ``convert publish --check DIR``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import UsageError
from converters.printable import printable

from .options import outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Publish a converted file as OpenMMLab names them, name-<first 8 digits of the
SHA-256>.pth, without training state, verified, with a model card and
SHA256SUMS. --check verifies a folder of published files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="a .pth or .safetensors of a known network")
    parser.add_argument(
        "--name",
        metavar="PATTERN",
        default="{stem}-{hash8}",
        help="of {stem} {network} {layout} {classes} {hash8} (default: {stem}-{hash8})",
    )
    parser.add_argument("--folder", metavar="DIR", help="where to (default: the file's folder)")
    parser.add_argument("--source", metavar="SRC", help="the file must be, bit for bit, what SRC converts to")
    parser.add_argument(
        "--run", action="store_true", help="run both networks too, as `convert verify` does; for the card"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file of that name")
    parser.add_argument("--check", metavar="DIR", help="verify a folder of published files")


def run(options: argparse.Namespace) -> int:
    """Publish or check, print, and return 1 where a folder has a fault."""
    if (options.file is None) == (options.check is None):
        raise UsageError("publish takes a FILE or --check DIR", hint="see `convert publish --help`")
    return _check(options) if options.check is not None else _publish(options)


def _publish(options: argparse.Namespace) -> int:
    from converters.publication.publish import publish

    done = publish(
        options.file,
        name=options.name,
        folder=options.folder,
        source=options.source,
        run=options.run,
        force=options.force,
    )
    lines = [f"published {done.path} ({done.size:,} bytes)", f"SHA-256 {done.sha256}", *done.checks]
    lines += [f"left out: {name}" for name in done.stripped]
    lines.append(f"card {done.card}; hashes {done.sums}")
    return outcome(options, done.as_data, lambda: "\n".join(printable(line) for line in lines))


def _check(options: argparse.Namespace) -> int:
    from converters.publication.publish import check_folder

    found = check_folder(options.check)
    return outcome(
        options,
        lambda: {"files": [one._asdict() for one in found]},
        lambda: "\n".join(printable(f"{one.name}: {one.fault or 'as published'}") for one in found),
        ok=not any(one.fault for one in found),
    )
