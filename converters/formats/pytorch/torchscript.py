"""The tensors of a TorchScript archive. The archive is a program; only its values are read, as data.

``data.pkl`` holds the module as objects of classes that the archive's own code declares; here each is an inert
dictionary of its attributes. Names are attribute paths, as in the module's ``state_dict()``. The code is not read, so
a tensor that is a plain attribute counts as a buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.pickle.machine import Global, Inert, code
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.formats.pickle.strings import PickleError, encodes

from .tensors import TorchTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile

_DEPTH = 100
_LONGEST = 1000  # characters in front of an attribute's own name
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


class Module(Inert):
    """An object of a class that the archive declares, with its attributes."""

    __slots__ = ("attributes",)

    def __init__(self) -> None:
        self.attributes: dict[object, object] = {}

    def set_state(self, state: object) -> None:
        """Take the attributes, once. What a class's own ``__setstate__`` would expect is unknown here."""
        if not isinstance(state, dict) or self.attributes:
            raise PickleError(
                "has an object whose state only its own code can read", "save the state_dict() of the module"
            )
        self.attributes = state


class _Names(dict[tuple[str, str], Global]):
    """Names of TorchScript, those of the closed table ``others``, and any class of the archive, which is a `Module`."""

    def __init__(self, others: Mapping[tuple[str, str], Global]) -> None:
        super().__init__()
        self._others = others

    def get(self, key: tuple[str, str], default: object = None) -> Global | None:  # type: ignore[override]
        """What a name stands for."""
        if key[0] == "__torch__" or key[0].startswith(
            "__torch__."
        ):  # the former: declared in a script itself
            return _MODULE
        return super().get(key) or self._others.get(key)


def _module(arguments: tuple[object, ...]) -> Module:
    if arguments:
        raise code("an object of a class of the archive with arguments")
    return Module()


_MODULE = Global("a class of the archive", new=_module)


def module_names(names: Mapping[tuple[str, str], Global]) -> Mapping[tuple[str, str], Global]:
    """The names that ``data.pkl`` may use, including ``names``."""
    allowed = _Names(names)
    for name in _LISTS:
        allowed["torch.jit._pickle", name] = Global(f"torch.jit._pickle.{name}", _first)
    allowed["torch.jit._pickle", "restore_type_tag"] = Global("torch.jit._pickle.restore_type_tag", _first)
    return allowed


def _first(arguments: tuple[object, ...]) -> object:
    """A list or dictionary; its type may follow as text."""
    if not 1 <= len(arguments) <= 2:
        raise PickleError("has a list of unknown form")
    return arguments[0]


def parameters(file: SourceFile, value: object) -> dict[object, object]:
    """Every tensor of a module by name, its own before those of its submodules.

    Raises `BadInput` where the value is not a module, and where it has no tensors or too many.
    """
    if not isinstance(value, Module):
        raise BadInput("is a TorchScript file that holds no module", path=file.path)
    tensors: dict[object, object] = {}
    found = ((name, item) for name, item in _attributes(file, value) if isinstance(item, TorchTensor))
    for count, (name, tensor) in enumerate(found):
        if count >= TENSOR_LIMIT:
            raise BadInput(f"has more than {TENSOR_LIMIT:,} tensors", path=file.path)
        tensors[name] = tensor
    if not tensors:
        raise BadInput(
            "is a TorchScript file without parameters: it was frozen, so its weights are constants of its code",
            path=file.path,
            hint="use a state dict, or the file from before torch.jit.freeze",
        )
    return tensors


def attributes_of(file: SourceFile, value: object) -> dict[str, object]:
    """Every attribute of a module and its submodules that is neither a tensor nor a module, by name."""
    assert isinstance(value, Module)  # `parameters` looked
    return {name: item for name, item in _attributes(file, value) if not isinstance(item, TorchTensor)}


def _attributes(file: SourceFile, module: Module) -> Iterator[tuple[str, object]]:
    """Depth first, with an explicit stack: modules may be shared, and may contain themselves."""
    stack: list[tuple[str, Module]] = [("", module)]
    visits = 0
    while stack:
        prefix, current = stack.pop()
        visits += 1 + len(current.attributes)
        if prefix.count(".") > _DEPTH or len(prefix) > _LONGEST or visits > 8 * TENSOR_LIMIT:
            raise BadInput("has modules nested too deeply or too many", path=file.path)
        inner: list[tuple[str, Module]] = []
        for key, value in current.attributes.items():
            if type(key) is not str or not encodes(key):
                raise BadInput("has an attribute without a name", path=file.path)
            if isinstance(value, Module):
                inner.append((f"{prefix}{key}.", value))
            else:
                yield prefix + key, value
        stack += reversed(inner)
