"""Convert video action-recognition checkpoints to PyTorch state dicts, safely and bit-exactly.

>>> from converters import convert, load_model
>>> result = convert("vmz", "ircsn_152.pkl", "out.pth", to="mmaction2")
>>> logits = load_model("out.pth")(clip)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .batches.batch import convert_batch
    from .conversion import Result, convert
    from .difference import diff
    from .errors import BadInput, ConverterError, Refused, UsageError
    from .inspection import inspect
    from .mean import Mean, convert_mean
    from .model import load_model, load_two_stream
    from .publication import publish
    from .verification import Verification, verify

_HOMES = {
    "convert_batch": "batches.batch",
    "convert": "conversion",
    "Result": "conversion",
    "convert_mean": "mean",
    "Mean": "mean",
    "diff": "difference",
    "load_model": "model",
    "load_two_stream": "model",
    "inspect": "inspection",
    "publish": "publication",
    "verify": "verification",
    "Verification": "verification",
    "ConverterError": "errors",
    "Refused": "errors",
    "UsageError": "errors",
    "BadInput": "errors",
}

__all__ = [
    "BadInput",
    "ConverterError",
    "Mean",
    "Refused",
    "Result",
    "UsageError",
    "Verification",
    "convert",
    "convert_batch",
    "convert_mean",
    "diff",
    "inspect",
    "load_model",
    "load_two_stream",
    "publish",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name only when it is asked for: start-up counts."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
