"""Build a module with the user's own code. Only here does this project run code that is not its own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError, UsageError
from converters.loading import require_torch

if TYPE_CHECKING:
    import torch


def built_module(module: str | torch.nn.Module) -> torch.nn.Module:
    """The module itself, or what ``"package.module:build"`` makes: a name in a Python module, called without arguments
    unless it is an ``nn.Module`` already. The current folder is searched too, as with ``python -m``.

    Raises `UsageError` for a text that names nothing, `ConverterError` for code that fails.
    """
    nn = require_torch().nn
    if not isinstance(module, str):
        return module
    name, _, attribute = module.partition(":")
    if not name or not attribute:
        raise UsageError(
            f"{module!r} names no module", hint="package.module:build, where build() returns your nn.Module"
        )
    found = _find(name, attribute)
    made: Any = found
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise UsageError(f"{module} is neither a module nor a function that makes one")
        try:
            made = found()
        except Exception as error:
            raise _failed(f"{module} failed", error) from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{module} made a {type(made).__name__}, not an nn.Module")
    own: torch.nn.Module = made
    return own


def module_name(module: str | torch.nn.Module) -> str:
    """What a module is called in a report."""
    return module if isinstance(module, str) else type(module).__name__


def _find(name: str, attribute: str) -> Any:
    """What is called ``attribute`` in a Python module."""
    from importlib import import_module

    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        value: Any = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no Python module {name!r}",
                hint="Python's path and the current folder are searched",
            ) from None
        raise _failed(f"importing {name} failed", error) from error
    except Exception as error:
        raise _failed(f"importing {name} failed", error) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UsageError(f"{name} has no {attribute!r}")
        value = getattr(value, part)
    return value


def _failed(what: str, error: Exception) -> ConverterError:
    """The error for the user's code."""
    lines = str(error).splitlines() or [""]
    return ConverterError(
        f"{what}: {type(error).__name__}: {lines[0][:200]}", hint="--debug shows where in your code"
    )
