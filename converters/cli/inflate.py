"""``convert inflate IN OUT``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import add_writing, outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Begin a network over clips with the weights of one over frames: kernels get a
time axis, everything else is copied; or a network over optical flow with those
of one over RGB (--channels). A start for training; no way back."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("input", metavar="IN", help="a ResNet or BN-Inception over frames, of any layout")
    parser.add_argument("output", metavar="OUT", help=".pth, .safetensors, or what the layout comes as")
    parser.add_argument("--variant", metavar="NAME", required=True, help="the network or model to begin")
    parser.add_argument(
        "--model", metavar="NAME", help="its model, where the layout has several of the network"
    )
    parser.add_argument("--to", metavar="LAYOUT", default="native", help="the output's layout")
    parser.add_argument(
        "--inflate",
        metavar="RULE",
        default="average",
        help="average: a kernel over their number in all frames (default); centre: in the middle one",
    )
    parser.add_argument(
        "--channels",
        metavar="N",
        type=int,
        help="input channels, if others than the file's: each gets their mean (10: five frames of flow)",
    )
    parser.add_argument(
        "--inverse-std",
        action="store_true",
        help="a BN-Inception file of early 2016 has inverse standard deviations for variances",
    )
    add_writing(parser)


def run(options: argparse.Namespace) -> int:
    """Inflate and report."""
    from converters.conversion.inflate import inflate
    from converters.reports.terminal import conversion_text

    result = inflate(
        options.input,
        options.output,
        variant=options.variant,
        model=options.model,
        to=options.to,
        rule=options.inflate,
        channels=options.channels,
        inverse_std=options.inverse_std,
        wrap=options.wrap,
        force=options.force,
        verify=options.check,
        sha256=options.sha256,
        checksum=not options.no_checksum,
        dry_run=options.dry_run,
    )
    return outcome(options, result.as_data, lambda: conversion_text(result))
