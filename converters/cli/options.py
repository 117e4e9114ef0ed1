"""Options that several commands share, and the way all commands print their result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_entry(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose a state dict in the file and name its classifier layer."""
    parser.add_argument(
        "--entry", metavar="PATH", help="the state dict in a PyTorch file, such as ema_state_dict"
    )
    parser.add_argument(
        "--head", metavar="NAME", help="name of the classifier layer, if it differs from the layout's"
    )


def add_settings(parser: argparse._ActionsContainer) -> None:
    """Add the options for properties that cannot be inferred from the tensors."""
    pool = parser.add_mutually_exclusive_group()
    pool.add_argument(
        "--pool1",
        action="store_true",
        default=None,
        help="the source's network has a max pool after the stem",
    )
    pool.add_argument("--no-pool1", dest="pool1", action="store_false", help="it has none")
    parser.add_argument("--stem-stride", type=int, metavar="N", help="temporal stride of the stem")
    add_inverse_std(parser)


def add_inverse_std(parser: argparse._ActionsContainer) -> None:
    """Add the option for Caffe files of TSN from early 2016."""
    parser.add_argument(
        "--inverse-std",
        action="store_true",
        help="the source stores inverse standard deviations instead of variances (TSN, early 2016)",
    )


def add_reading(parser: argparse._ActionsContainer) -> None:
    """Add the options for how an input is read."""
    parser.add_argument("--no-checksum", action="store_true", help="do not verify the input's own checksums")
    parser.add_argument(
        "--sha256", action="store_true", help="record the input's SHA-256 in the provenance (slow)"
    )


def add_writing(parser: argparse._ActionsContainer) -> None:
    """Add the options for how an output is written."""
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--dry-run", action="store_true", help="plan and report; read no tensor data, write nothing"
    )
    parser.add_argument("--check", action="store_true", help="read the output back and compare every tensor")
    parser.add_argument(
        "--wrap", action="store_true", help="wrap the state dict as the layout's project saves it"
    )


def report(
    options: argparse.Namespace,
    data: Callable[[], dict[str, Any]],
    text: Callable[[], str] | None,
    *,
    ok: bool = True,
) -> int:
    """Print ``data`` as one JSON object with ``--json``, nothing with ``--quiet``, else ``text``.

    Returns the exit code: 0 if ``ok``, otherwise 1.
    """
    if options.json:
        print(json.dumps({"ok": ok, **data()}))
    elif text is not None and not options.quiet:
        print(text())
    return 0 if ok else 1
