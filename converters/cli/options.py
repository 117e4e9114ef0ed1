"""What commands have in common: groups of options, and how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
    pool = parser.add_mutually_exclusive_group()
    pool.add_argument(
        "--pool1",
        action="store_true",
        default=None,
        help="the source's network has a max pool behind the stem",
    )
    pool.add_argument("--no-pool1", dest="pool1", action="store_false", help="it has none")
    parser.add_argument("--stem-stride", type=int, metavar="N", help="the stem's stride in time")
    parser.add_argument(
        "--inverse-std",
        action="store_true",
        help="the source has inverse standard deviations for variances (TSN, early 2016)",
    )


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
