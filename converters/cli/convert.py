"""``convert LAYOUT IN OUT``, also with a mapping file of the user's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from converters.conversion.options import VERIFY_OPTIONS, NetworkOptions, ReadOptions, WriteOptions
from converters.errors import UsageError
from converters.printable import printable

from .options import add_options, report, values_of

if TYPE_CHECKING:
    import argparse

    from converters.conversion.result import Result

DESCRIPTION = ""  # the line of the layout

MEAN_SUFFIXES = (".npy", ".npz", ".binaryproto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("input", metavar="IN", help="the checkpoint file")
    parser.add_argument(
        "output",
        metavar="OUT",
        help=".pth, .safetensors, .onnx, .pt2 or the layout's own format; a .pyth is wrapped as PySlowFast's "
        "files are, a .ckpt as Lightning's (for a mean cube: .npy)",
    )
    add_options(parser.add_argument_group("input"), ReadOptions)
    add_options(parser.add_argument_group("network"), NetworkOptions)
    output = parser.add_argument_group("output")
    output.add_argument("--to", metavar="LAYOUT", help="the output's layout (default: chosen by the source)")
    add_options(output, WriteOptions)
    output.add_argument(
        "--verify",
        action="store_true",
        help="then prove it like `convert verify`: compare all bytes, run both networks",
    )
    graph = parser.add_argument_group("graph")
    graph.add_argument(
        "--graph",
        choices=("source", "target"),
        help="what an .onnx holds: the source framework's network (default), or our PyTorch network, to deploy; "
        "a .pt2 (torch.export) always holds the latter",
    )
    graph.add_argument(
        "--clip-size",
        metavar="TxHxW",
        type=_size,
        help="the clip of a target's graph (default: the network's own)",
    )
    graph.add_argument("--dynamic", action="store_true", help="a target's graph takes clips of any size")
    mapping = parser.add_argument_group("mapping file")
    mapping.add_argument("--mapping", metavar="FILE", help="convert by a mapping file of your own")
    mapping.add_argument("--reverse", action="store_true", help="apply the mapping from right to left")
    mapping.add_argument(
        "--accept-unsure",
        action="store_true",
        help="use the rows under [unsure] too, and drop the names in left_over",
    )


def run(options: argparse.Namespace) -> int:
    """Convert and print a report."""
    source = None if options.command == "auto" else options.command
    if options.graph == "target" or (options.graph is None and options.output.lower().endswith(".pt2")):
        return _export(options, source)
    for name in ("clip_size", "dynamic"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} needs --graph target")
    if _is_mean(options, source):
        return _convert_mean(options)
    if options.verify:
        _require_verifiable(options)
    from converters.reports.terminal.conversion import conversion_text

    result = _convert(options, source)
    if options.verify:
        return _verify(options, source, result)
    return report(options, result.as_data, lambda: conversion_text(result))


def _size(text: str) -> tuple[int, ...]:
    """Frames, height and width, ``16x112x112``."""
    words = text.split("x")
    if len(words) != 3 or not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(f"{text!r} is not a clip size", hint="frames, height and width, such as 16x112x112")
    return tuple(map(int, words))


def _export(options: argparse.Namespace, source: str | None) -> int:
    """Write a graph of the target."""
    from converters.deployment.export_graph import export_graph

    for name in (
        "to",
        "dtype",
        "wrap",
        "backbone",
        "mean",
        "labels",
        "mapping",
        "verify",
        "dry_run",
        "strict",
    ):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} cannot be combined with a graph of the target")
    found = export_graph(
        options.input,
        options.output,
        clip_size=options.clip_size,
        dynamic=options.dynamic,
        source=None if source == "onnx" else source,
        force=options.force,
        **values_of(options, ReadOptions, NetworkOptions, only=VERIFY_OPTIONS),
    )
    return report(options, found.as_data, lambda: "\n".join(map(printable, found.lines())))


def _convert(options: argparse.Namespace, source: str | None) -> Result:
    from converters.conversion.convert import convert

    bar = None
    if sys.stderr.isatty():
        from .progress_bar import ProgressBar, is_shown

        bar = ProgressBar() if is_shown(options) else None
    values = values_of(options, ReadOptions, NetworkOptions, WriteOptions)
    result = convert(
        options.input,
        options.output,
        source=source,
        to=options.to,
        progress=bar.show if bar else None,
        mapping=options.mapping,
        reverse=options.reverse,
        accept_unsure=options.accept_unsure,
        **values,
    )
    if bar:
        bar.clear()
    return result


def _require_verifiable(options: argparse.Namespace) -> None:
    """Raise, before any work, if the conversion cannot be verified or a package for it is missing."""
    for name, why in (
        ("dry_run", "use one of the two"),
        ("mapping", "a mapping file names no network; --check compares every tensor"),
    ):
        if getattr(options, name):
            raise UsageError(f"--verify cannot be combined with --{name.replace('_', '-')}", hint=why)
    from converters.formats.onnx.runtime import require_onnx, require_onnxruntime
    from converters.loading import require_torch

    require_torch()
    require_onnx()
    require_onnxruntime()


def _verify(options: argparse.Namespace, source: str | None, result: Result) -> int:
    """Verify what was just written and print both reports; returns 1 if verification fails."""
    from converters.reports.terminal.conversion import conversion_text
    from converters.reports.terminal.verification import verification_text
    from converters.verification.verify import verify

    from .progress_bar import StatusLine, is_shown

    with StatusLine() as line:
        verification = verify(
            options.input,
            options.output,
            source_layout=None if source == "onnx" else source,
            layout=result.target,
            progress=line.say if is_shown(options) else None,
            **values_of(options, ReadOptions, NetworkOptions, only=VERIFY_OPTIONS),
        )
    return report(
        options,
        lambda: {**result.as_data(), "verification": verification.as_data()},
        lambda: f"{conversion_text(result)}\n{verification_text(verification)}",
        ok=verification.ok,
    )


def _is_mean(options: argparse.Namespace, source: str | None) -> bool:
    """Whether IN is a mean file: without ``--to`` no checkpoint is written under such a suffix."""
    if options.to is not None or options.mapping is not None:
        return False
    if not options.output.lower().endswith(MEAN_SUFFIXES):
        return False
    from converters.mapping.layout_tables import load_layout
    from converters.mapping.table_files import layout_names

    if source is None:
        return True
    return source in layout_names() and any(
        row.mean_cube for row in load_layout(source).preprocessing.values()
    )


def _convert_mean(options: argparse.Namespace) -> int:
    from converters.conversion.mean import convert_mean
    from converters.reports.terminal.conversion import mean_conversion_text

    for name in ("dry_run", "check", "verify", "dtype", "wrap", "variant", "inverse_std", "mean"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} does not apply to a mean file")
    result = convert_mean(options.input, options.output, force=options.force)
    return report(options, result.as_data, lambda: mean_conversion_text(result))
