"""Convert video action-recognition checkpoints to PyTorch state dicts, safely and bit-exactly.

>>> from converters import convert, load_model
>>> result = convert("ircsn_152.pkl", "out.pth", to="mmaction2")
>>> logits = load_model("out.pth")(clip)
"""

from __future__ import annotations

from ._version import __version__ as __version__

TYPE_CHECKING = False  # not imported from typing, which would take as long as all else here
if TYPE_CHECKING:
    from typing import Any

    from converters.batches.run import convert_batch
    from converters.classification.classify import Classification, classify
    from converters.clips.preprocess import preprocess
    from converters.conversion.convert import convert
    from converters.conversion.inflate import inflate
    from converters.conversion.mean import Mean, convert_mean
    from converters.conversion.result import Result
    from converters.deployment.export_graph import ExportedGraph, export_graph
    from converters.inspection.diff import diff
    from converters.inspection.inspect import inspect
    from converters.mapping.further_tables import use_tables
    from converters.own_module.load_report import LoadReport, load_report
    from converters.publication.publish import publish
    from converters.suggestion.suggest import suggest
    from converters.verification.outcome import Verification
    from converters.verification.verify import verify

    from .errors import BadInput, ConverterError, Refused, UsageError
    from .lazy_arrays import open_checkpoint
    from .loading import load_model, load_two_stream

_HOMES = {
    "convert_batch": "batches.run",
    "Classification": "classification.classify",
    "classify": "classification.classify",
    "convert": "conversion.convert",
    "inflate": "conversion.inflate",
    "suggest": "suggestion.suggest",
    "open_checkpoint": "lazy_arrays",
    "Result": "conversion.result",
    "convert_mean": "conversion.mean",
    "preprocess": "clips.preprocess",
    "Mean": "conversion.mean",
    "diff": "inspection.diff",
    "export_graph": "deployment.export_graph",
    "ExportedGraph": "deployment.export_graph",
    "load_model": "loading",
    "load_two_stream": "loading",
    "load_report": "own_module.load_report",
    "LoadReport": "own_module.load_report",
    "inspect": "inspection.inspect",
    "publish": "publication.publish",
    "use_tables": "mapping.further_tables",
    "verify": "verification.verify",
    "Verification": "verification.outcome",
    "ConverterError": "errors",
    "Refused": "errors",
    "UsageError": "errors",
    "BadInput": "errors",
}

__all__ = [
    "BadInput",
    "Classification",
    "ConverterError",
    "ExportedGraph",
    "LoadReport",
    "Mean",
    "Refused",
    "Result",
    "UsageError",
    "Verification",
    "classify",
    "convert",
    "convert_batch",
    "convert_mean",
    "diff",
    "export_graph",
    "inflate",
    "inspect",
    "load_model",
    "load_report",
    "load_two_stream",
    "open_checkpoint",
    "preprocess",
    "publish",
    "suggest",
    "use_tables",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name only when it is asked for: start-up counts."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names, for `dir` and completion."""
    return [*__all__, "__version__"]
