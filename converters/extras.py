"""How to install the packages that only some work needs: the extras of this package."""

from __future__ import annotations


def installing(extras: str) -> str:
    """The command for one or more extras, such as ``torch,onnx``. It is for a checkout: no index has this package, and
    somebody else might take its name there."""
    return f"pip install '.[{extras}]'"


def install_hint(extras: str) -> str:
    """What to do where a package is missing."""
    return f"in a checkout of this project: {installing(extras)}"
