"""``convert publish FILE ...`` and ``convert publish --check DIR``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.options import NetworkOptions
from converters.errors import UsageError
from converters.printable import printable

from .options import add_options, report, values_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from converters.publication.publish import Published

_SETTINGS = ("settings",)
"""Those options of a conversion that this command takes."""

DESCRIPTION = """\
Publish a converted file under a name like OpenMMLab's, name-<first 8 digits
of the SHA-256>.pth: strip training state, check the file, write a model card
and SHA256SUMS. --push then puts all of it into a repository on the Hugging
Face Hub. --check checks a folder of published files; it and its
sub-folders may contain no other checkpoint of any framework."""

EXAMPLES = (
    "convert publish out.pth --folder released --source ircsn_152.pkl --verify",
    "convert publish --check released",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help=".pth or .safetensors files of known networks"
    )
    parser.add_argument(
        "--name",
        metavar="PATTERN",
        default="{stem}-{hash8}",
        help="a pattern of {stem} {network} {layout} {classes} {hash8} (default: {stem}-{hash8})",
    )
    parser.add_argument("--folder", metavar="DIR", help="where to publish (default: FILE's folder)")
    parser.add_argument(
        "--source", metavar="SRC", help="require FILE and its record to be exactly what SRC converts to"
    )
    add_options(parser, NetworkOptions, only=_SETTINGS)
    parser.add_argument(
        "--verify", action="store_true", help="also run both networks, as `convert verify` does"
    )
    parser.add_argument(
        "--license",
        metavar="NAME",
        default="",
        help="the licence of these weights, for the card (default: the release's, if a hash proves them to be its)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file of that name")
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        default="",
        help="then put it, its card and its configuration into this repository on the Hugging Face Hub",
    )
    parser.add_argument(
        "--check", metavar="DIR", help="check a folder of published files, with its sub-folders"
    )


def run(options: argparse.Namespace) -> int:
    """Publish a file or check a folder, and print the outcome; returns 1 if the folder has a fault."""
    if bool(options.files) == (options.check is not None):
        raise UsageError("publish takes files or --check DIR", hint="see `convert publish --help`")
    if len(options.files) > 1 and options.source is not None:
        raise UsageError(
            "--source belongs to one file, and there are several", hint="publish the files one by one"
        )
    if len(options.files) != 1 and options.push:
        raise UsageError("--push is for one file", hint="a repository holds one network")
    return _check(options) if options.check is not None else _publish(options)


def _publish(options: argparse.Namespace) -> int:
    from converters.publication.publish import publish

    from .progress_bar import StatusLine, is_shown

    done = []
    for file in options.files:
        with StatusLine() as line:
            published = publish(
                file,
                name=options.name,
                folder=options.folder,
                source=options.source,
                **values_of(options, NetworkOptions, only=_SETTINGS),
                verify=options.verify,
                license=options.license,
                force=options.force,
                push=options.push,
                progress=line.say if is_shown(options) else None,
            )
        done.append(published)
        if not (options.json or options.quiet):
            print("\n".join(map(printable, _lines(published))), flush=True)
    data = done[0].as_data if len(done) == 1 else lambda: {"published": [one.as_data() for one in done]}
    return report(options, data, None)


def _lines(published: Published) -> Iterator[str]:
    yield f"published {published.path} ({published.size:,} bytes)"
    yield f"SHA-256 {published.sha256}"
    yield from published.checks
    yield from (f"left out: {name}" for name in published.stripped)
    yield f"card {published.card}; hashes {published.sums}"
    if published.pushed:
        yield f"pushed {published.pushed}"


def _check(options: argparse.Namespace) -> int:
    from converters.publication.check_folder import check_folder

    files = check_folder(options.check)
    return report(
        options,
        lambda: {"files": [file._asdict() for file in files]},
        lambda: "\n".join(printable(f"{file.name}: {file.fault or 'as published'}") for file in files),
        ok=not any(file.fault for file in files),
    )
