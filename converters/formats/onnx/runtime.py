"""Imports the optional packages onnx and onnxruntime, which come with the extra ``[onnx]``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError, Refused
from converters.extras import install_hint
from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def require_onnx() -> Any:
    """The module onnx. Raises `ConverterError`, naming the extra, where it is not installed."""
    try:
        return import_module("onnx")
    except ImportError:
        raise _missing("ONNX files are written with the package onnx") from None


def require_onnxruntime() -> Any:
    """The module onnxruntime, under the same terms."""
    try:
        return import_module("onnxruntime")
    except ImportError:
        raise _missing("ONNX graphs are run by onnxruntime") from None


def run(
    model: str | bytes, feeds: Mapping[str, Any], outputs: Sequence[str], *, named: str = ""
) -> dict[str, Any]:
    """The values ``outputs`` of a model, a file or its bytes, for numpy arrays ``feeds``; on the CPU. ``named`` is the
    file to name where the model cannot be loaded.

    Optimisations are off: they fold norms into convolutions, which rounds elsewhere than the source framework.
    Raises `Refused` for a model that it cannot load, and for inputs that do not fit.
    """
    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # the error message says what goes wrong
    try:
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own sorts, which have no common base
        raise Refused("onnxruntime cannot load the graph", path=named, where=_first_line(error)) from None
    try:
        values = session.run(list(outputs), dict(feeds))
    except Exception as error:
        raise Refused(
            "onnxruntime cannot run the source's network on this clip",
            where=_first_line(error),
            hint="choose another clip",
        ) from None
    return dict(zip(outputs, values, strict=True))


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [""])[0][:200])


def _missing(what: str) -> ConverterError:
    return ConverterError(what, hint=install_hint("onnx"))
