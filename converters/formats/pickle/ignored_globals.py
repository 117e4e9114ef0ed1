"""Globals that training code saves beside the weights (sets, dates, paths, namespaces): known by name, and ignored.

The names are those in checkpoints of published training scripts; none of these callables does more than hold its
arguments. Here each call gives an object that keeps arguments and state unread. Forms as CPython 2.7 to 3.13 write
them.
"""

from __future__ import annotations

from functools import partial

from .machine import Global, Inert, InertDict
from .numpy_arrays import ordered_dict
from .strings import PickleError

_BUILTINS = ("set", "frozenset", "complex", "slice", "range", "xrange")
_FACTORIES = ("list", "dict", "int", "float", "str", "bool", "tuple", "object")
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_OTHERS = (
    ("collections", "Counter"),
    ("types", "SimpleNamespace"),
    ("decimal", "Decimal"),
    *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *((module, name) for module in ("pathlib", "pathlib._local") for name in _PATHS),
)
_CLASSES = (("argparse", "Namespace"), ("mmengine.logging.history_buffer", "HistoryBuffer"))


class Bystander(Inert):
    """An object beside the weights: the name of its class, and what it was made from."""

    __slots__ = ("_arguments", "_state", "name")

    def __init__(self, name: str, arguments: tuple[object, ...] = ()) -> None:
        self.name = name
        self._arguments = arguments
        self._state: tuple[object, ...] = ()

    def set_state(self, state: object) -> None:
        """Take a dictionary of attributes, once."""
        if not isinstance(state, dict) or self._state:
            raise PickleError("has an object of unknown form")
        self._state = (state,)

    def made_from(self) -> tuple[object, ...]:
        """The arguments of its call, and its attributes."""
        return (*self._arguments, *self._state)


def _default_dict(arguments: tuple[object, ...]) -> InertDict:
    """``(default factory)``; the factory is never called."""
    if len(arguments) > 1 or not (arguments == () or isinstance(arguments[0], Global | None)):
        raise PickleError("has a dictionary of unknown form")
    return ordered_dict(())


def _deque(_: tuple[object, ...]) -> list[object]:
    return []  # its items are appended


def _names() -> dict[tuple[str, str], Global]:
    called = [*((module, name) for module in ("builtins", "__builtin__") for name in _BUILTINS), *_OTHERS]
    names = {key: Global(".".join(key), partial(Bystander, ".".join(key))) for key in called}
    for module in ("builtins", "__builtin__"):
        names |= {(module, name): Global(f"{module}.{name}") for name in _FACTORIES}
    names |= {key: Global(".".join(key), new=partial(Bystander, ".".join(key))) for key in _CLASSES}
    names["collections", "defaultdict"] = Global("collections.defaultdict", _default_dict)
    names["collections", "deque"] = Global("collections.deque", _deque)
    return names


NAMES = _names()
"""The closed table of these names. Read only."""
