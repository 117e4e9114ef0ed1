"""``convert inflate IN OUT``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.options import NetworkOptions, ReadOptions, WriteOptions

from .options import add_options, report, values_of

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Inflate a 2D (image) network into a 3D (video) one: convolution kernels gain a
time axis, everything else is copied. Or, with --channels, turn an RGB network
into one for optical flow. The output initialises training; it cannot be
converted back."""

EXAMPLES = (
    "convert inflate resnet50.pth i3d.pth --variant i3d-r50 --to mmaction2",
    "convert inflate rgb.pth flow.pth --variant tsn-bn-inception --channels 10",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("input", metavar="IN", help="a 2D ResNet or BN-Inception, in any layout")
    parser.add_argument("output", metavar="OUT", help=".pth, .safetensors or the layout's own format")
    reading = parser.add_argument_group("input")
    add_options(reading, NetworkOptions, only=("head", "drop", "inverse_std"))
    add_options(reading, ReadOptions, only=("entry", "checksum", "sha256"))
    network = parser.add_argument_group("network")
    network.add_argument("--variant", metavar="NAME", required=True, help="the 3D network, or a model of it")
    network.add_argument(
        "--model", metavar="NAME", help="which model, if the layout has several of this network"
    )
    network.add_argument(
        "--inflate",
        metavar="RULE",
        default="average",
        help="average: repeat each kernel along time and divide by its length (default); "
        "centre: put it in the middle frame",
    )
    network.add_argument(
        "--channels",
        metavar="N",
        type=int,
        help="number of input channels, if not the file's; each gets the mean of the file's (10: five frames of flow)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--to", metavar="LAYOUT", default="native", help="the output's layout (default: native)"
    )
    add_options(output, WriteOptions, only=("force", "dry_run", "check", "wrap"))


def run(options: argparse.Namespace) -> int:
    """Inflate and print a report."""
    from converters.conversion.inflate import inflate
    from converters.reports.terminal.conversion import conversion_text

    values = values_of(options, ReadOptions, NetworkOptions, WriteOptions)
    values.pop("variant")
    result = inflate(
        options.input,
        options.output,
        variant=options.variant,
        model=options.model,
        to=options.to,
        rule=options.inflate,
        channels=options.channels,
        **values,
    )
    return report(options, result.as_data, lambda: conversion_text(result))
