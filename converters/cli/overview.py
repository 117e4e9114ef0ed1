"""What ``convert --help`` prints: the commands, and the exit codes."""

from __future__ import annotations

DESCRIPTION = """\
Convert video action-recognition checkpoints to PyTorch state dicts, safely and bit-exactly.

examples:
  convert vmz ircsn_152.pkl out.pth                 a Caffe2 pickle of VMZ to a PyTorch file
  convert vmz ircsn_152.pkl out.pth --to mmaction2  the same with the names that mmaction2 expects
  convert suggest mine.pth theirs.pth -o map.toml   propose a mapping between names that no table knows
  convert mine.pth out.pth --mapping map.toml       convert by a mapping file of your own
  convert verify ircsn_152.pkl out.pth              prove it: every byte, and every block on both sides
  convert inspect out.pth                           show what a file is and what is in it
  convert models                                    list what can be converted into what
"""

EXIT_CODES = """\
exit codes:
  0    done
  1    refused, failed or different: no mapping fits, the layout does not support the network, the output exists
  2    wrong usage
  3    the input cannot be read, is damaged, is of another kind, or is unsafe
  130  interrupted
"""

CONVERSIONS = {
    "LAYOUT": "convert a file of this layout",
    "auto": "recognise the input's layout, then convert",
    "onnx": "convert an ONNX model that has a source framework's tensor names",
}
"""The commands that convert. ``LAYOUT`` stands for the name of any layout."""

COMMANDS = {
    "inspect": "show a file's network, layout, tensors and metadata",
    "verify": "prove a conversion: the bytes come back, and both networks compute the same",
    "classify": "say what a video shows, with the network in a file",
    "diff": "compare two checkpoints of any format and layout",
    "inflate": "inflate a 2D network into a 3D one",
    "suggest": "propose a mapping between two files whose names no table knows",
    "publish": "name a file by its hash and write a model card; check a published folder",
    "batch": "run every conversion in a manifest; resumable",
    "models": "list every network, its sources and the layouts that support it",
    "demo": "convert a full-size ir-CSN-152 and prove parity with real Caffe2",
}
"""The commands that have a module of their own in this package."""


def overview() -> str:
    """The text of ``convert --help``."""
    from textwrap import wrap

    from converters.mapping.table_files import layout_names

    commands = {**CONVERSIONS, **COMMANDS}
    layouts = wrap(", ".join(layout_names()), 77, break_on_hyphens=False)
    lines = [
        "usage: convert COMMAND ... [--json] [--quiet] [--debug]",
        "       convert COMMAND --help",
        "       convert --version",
        "",
        *DESCRIPTION.splitlines(),
        "",
        "commands:",
        *(f"  {name:<9}{about}" for name, about in commands.items()),
        "",
        "layouts:",
        *(f"  {line}" for line in layouts),
        "",
        *EXIT_CODES.splitlines(),
    ]
    return "\n".join(lines)
