"""``convert classify FILE VIDEO``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.options import NetworkOptions, ReadOptions

from .options import add_options, report, values_of

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Say what a video shows: its frames are picked, resized, cropped and
normalised as the network of the file needs them, and the likeliest classes
are printed. VIDEO is a video, a GIF or a folder of pictures."""

EXAMPLES = (
    "convert classify out.pth clip.mp4",
    "convert classify out.pth clip.mp4 --clips 10 --html shown.html",
)

OPTIONS = ("variant", "head", "drop", "settings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a checkpoint of any format and layout")
    parser.add_argument("video", metavar="VIDEO", help="a video, a GIF, or a folder of pictures")
    parser.add_argument(
        "--clips",
        type=int,
        default=1,
        metavar="N",
        help="average over N clips of the video (default: one clip, from its middle)",
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to show (default: 5)")
    parser.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help="the video's frames per second, if the file states a wrong rate (GIFs often do)",
    )
    parser.add_argument("--mean", metavar="FILE", help="the mean cube, for a network that subtracts one")
    network = parser.add_argument_group("network")
    network.add_argument("--layout", metavar="LAYOUT", help="the layout of FILE, if several fit")
    add_options(network, ReadOptions, only=("entry",))
    add_options(network, NetworkOptions, only=OPTIONS)
    output = parser.add_argument_group("output")
    output.add_argument("--html", metavar="REPORT.html", help="write one HTML page with pictures and bars")
    output.add_argument("--force", action="store_true", help="replace an existing report")


def run(options: argparse.Namespace) -> int:
    """Classify and print."""
    from converters.classification.classify import classify
    from converters.conversion.write import refuse_early, refuse_input
    from converters.reports.terminal.classification import classification_text

    if options.html is not None:
        for read in filter(None, (options.file, options.video, options.mean)):
            refuse_input(read, options.html)
        refuse_early(options.html, force=options.force)
    found = classify(
        options.file,
        options.video,
        clips=options.clips,
        top=options.top,
        fps=options.fps,
        mean=options.mean,
        pictures=options.html is not None,
        layout=options.layout,
        **values_of(options, ReadOptions, NetworkOptions, only=("entry", *OPTIONS)),
    )
    if options.html is not None:
        from converters.reports.classification_page import classification_page
        from converters.reports.html import write_page

        write_page(options.html, classification_page(found), force=options.force)
    return report(options, found.as_data, lambda: classification_text(found))
