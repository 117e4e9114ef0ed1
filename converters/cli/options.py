"""What commands have in common: groups of options, and how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_entry(parser: argparse.ArgumentParser) -> None:
    """Declare what says which of a file's state dicts is meant, and which layer is its last."""
    parser.add_argument(
        "--entry", metavar="PATH", help="the state dict in a PyTorch file, such as ema_state_dict"
    )
    parser.add_argument("--head", metavar="NAME", help="what the file calls the last layer, if not as usual")


def add_hidden(parser: argparse.ArgumentParser) -> None:
    """Declare what is said of a source that no tensor shows."""
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of the source's network, such as pool1=on, stem_stride=2 or bn_eps=1e-3 (repeatable)",
    )
    parser.add_argument(
        "--inverse-std",
        action="store_true",
        help="the source has inverse standard deviations for variances (TSN, early 2016)",
    )


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """The settings that ``--set`` gives, by name. Raises `UsageError` for one without a value, or given twice."""
    found: dict[str, str] = {}
    for text in options.settings:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--set {text!r} is not NAME=VALUE", hint="such as --set pool1=on")
        if name in found:
            raise UsageError(f"--set gives {name} twice")
        found[name] = value
    return found


def add_writing(parser: argparse.ArgumentParser) -> None:
    """Declare how an input is read and an output written."""
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--dry-run", action="store_true", help="plan and report, read no tensor, write nothing"
    )
    parser.add_argument("--check", action="store_true", help="read the output back and compare every tensor")
    parser.add_argument(
        "--wrap", action="store_true", help="add the ecosystem's own wrapper around the state dict"
    )
    parser.add_argument("--sha256", action="store_true", help="hash the input into the provenance (slow)")
    parser.add_argument("--no-checksum", action="store_true", help="do not compare the input's own checksums")


def outcome(
    options: argparse.Namespace,
    data: Callable[[], dict[str, Any]],
    text: Callable[[], str] | None,
    *,
    ok: bool = True,
) -> int:
    """Print ``data`` as one JSON object with ``--json``, else ``text``, nothing with ``--quiet``. Returns 0 or 1."""
    if options.json:
        print(json.dumps({"ok": ok, **data()}))
    elif text is not None and not options.quiet:
        print(text())
    return 0 if ok else 1
