"""The optional package h5py."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from converters.errors import Refused
from converters.extras import install_hint


def load_h5py(path: str) -> Any:
    """The package h5py. Raises `Refused`, naming the file at ``path``, where it is not installed."""
    try:
        return import_module("h5py")
    except ImportError:
        raise lacks_h5py(path) from None


def require_h5py(path: str) -> None:
    """Raise `Refused` where h5py is not installed, without importing it."""
    missing = sys.modules["h5py"] is None if "h5py" in sys.modules else find_spec("h5py") is None
    if missing:
        raise lacks_h5py(path)


def lacks_h5py(path: str) -> Refused:
    """The error for a file at ``path`` that needs the package."""
    return Refused(
        "is an HDF5 file, which needs the package h5py",
        path=path,
        hint=install_hint("hdf5"),
    )
