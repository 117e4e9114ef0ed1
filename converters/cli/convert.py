"""``convert LAYOUT IN OUT``, also for mean cubes and with a mapping file of the user's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from converters.errors import UsageError

from .options import add_entry, add_hidden, add_writing, outcome

if TYPE_CHECKING:
    import argparse

    from converters.conversion.convert import Result

DESCRIPTION = ""  # that of the layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("input", metavar="IN", help="the checkpoint file")
    parser.add_argument(
        "output", metavar="OUT", help=".pth, .safetensors, .onnx, or what the layout comes as (a mean: .npy)"
    )
    parser.add_argument("--to", metavar="LAYOUT", help="the output's layout (see `convert models`)")
    add_writing(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="then prove it as `convert verify` does: bytes, and both networks run",
    )
    parser.add_argument("--dtype", metavar="DTYPE", help="cast: float32, float16, bfloat16 or float64")
    parser.add_argument("--strict", action="store_true", help="refuse NaN and Inf")
    parser.add_argument(
        "--variant", metavar="NAME", help="the network or model, where names and shapes fit several"
    )
    add_entry(parser)
    parser.add_argument("--backbone", action="store_true", help="leave the head out")
    add_hidden(parser)
    parser.add_argument(
        "--mean", metavar="FILE", help="the mean cube that goes with the weights, for the provenance"
    )
    parser.add_argument("--mapping", metavar="FILE", help="convert by a mapping file of your own")
    parser.add_argument("--reverse", action="store_true", help="read the mapping from right to left")
    parser.add_argument(
        "--accept-unsure", action="store_true", help="take what nobody has confirmed in the mapping"
    )


def run(options: argparse.Namespace) -> int:
    """Convert and report."""
    source = None if options.command == "auto" else options.command
    if _is_mean(options, source):
        return _convert_mean(options)
    if options.verify:
        _provable(options)
    from converters.conversion.convert import convert
    from converters.reports.terminal import conversion_text

    bar = _Bar() if sys.stderr.isatty() and not (options.quiet or options.json) else None
    result = convert(
        source,
        options.input,
        options.output,
        to=options.to,
        dtype=options.dtype,
        variant=options.variant,
        entry=options.entry,
        head=options.head,
        backbone=options.backbone,
        pool1=options.pool1,
        stem_stride=options.stem_stride,
        inverse_std=options.inverse_std,
        mean=options.mean,
        wrap=options.wrap,
        force=options.force,
        verify=options.check,
        strict=options.strict,
        sha256=options.sha256,
        checksum=not options.no_checksum,
        dry_run=options.dry_run,
        progress=bar.show if bar else None,
        mapping=options.mapping,
        reverse=options.reverse,
        accept_unsure=options.accept_unsure,
    )
    if bar:
        bar.clear()
    if options.verify:
        return _prove(options, source, result)
    return outcome(options, result.as_data, lambda: conversion_text(result))


def _provable(options: argparse.Namespace) -> None:
    """Refuse, before any work, what cannot be run, and to run without the packages that it takes."""
    for name, why in (
        ("dry_run", "leave one of them out"),
        ("mapping", "a mapping knows no network: --check compares every tensor"),
        ("dtype", "a cast gives no bytes back: --check compares every tensor with its cast"),
    ):
        if getattr(options, name):
            raise UsageError(f"--verify does not go with --{name.replace('_', '-')}", hint=why)
    from converters.loading import require_torch
    from converters.source_graphs.runtime import require_onnx, require_onnxruntime

    for require in (require_torch, require_onnx, require_onnxruntime):
        require()


def _prove(options: argparse.Namespace, source: str | None, result: Result) -> int:
    """`verification.verify` on what was just written; returns 1 where something is missed."""
    from converters.reports.terminal import conversion_text, verification_text
    from converters.verification.verify import verify

    found = verify(
        options.input,
        options.output,
        source_layout=None if source == "onnx" else source,
        layout=result.target,
        variant=options.variant,
        entry=options.entry,
        head=options.head,
        pool1=options.pool1,
        stem_stride=options.stem_stride,
        inverse_std=options.inverse_std,
    )
    return outcome(
        options,
        lambda: {**result.as_data(), "proof": found.as_data()},
        lambda: f"{conversion_text(result)}\n{verification_text(found)}",
        ok=found.ok,
    )


def _is_mean(options: argparse.Namespace, source: str | None) -> bool:
    """Whether a mean file is wanted: no checkpoint is written under such a name without ``--to``."""
    if (
        options.to is not None
        or options.mapping is not None
        or not options.output.lower().endswith((".npy", ".npz", ".binaryproto"))
    ):
        return False
    from converters.mapping.catalog import layout_names, load_layout

    if source is None:
        return True
    return source in layout_names() and any(
        row.mean_cube for row in load_layout(source).preprocessing.values()
    )


def _convert_mean(options: argparse.Namespace) -> int:
    from converters.conversion.mean import convert_mean
    from converters.reports.terminal import mean_conversion_text

    for name in ("dry_run", "check", "verify", "dtype", "wrap", "variant", "inverse_std", "mean"):
        if getattr(options, name):
            raise UsageError(f"a mean file is not converted with --{name.replace('_', '-')}")
    result = convert_mean(options.input, options.output, force=options.force)
    return outcome(options, result.as_data, lambda: mean_conversion_text(result))


class _Bar:
    """A progress bar by bytes on stderr, redrawn at most ten times a second; short work draws none."""

    WIDTH = 30

    def __init__(self) -> None:
        from time import monotonic

        self._clock = monotonic
        self._next = monotonic() + 0.3
        self._drawn = False

    def show(self, done: int, total: int) -> None:
        """Draw ``done`` of ``total`` bytes."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + 0.1
        self._drawn = True
        filled = self.WIDTH * done // max(total, 1)
        sys.stderr.write(
            f"\r[{'#' * filled}{'.' * (self.WIDTH - filled)}] {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
