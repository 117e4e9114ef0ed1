"""What stands for the objects that training code saves beside the weights. Each holds what the stream gave, unread.

No class is looked up and nothing is called: a call of a known name gives an object with its name and its arguments.
Where a name could do harm with other arguments than those of real checkpoints (`getattr`, `type`), only these are
taken.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .machine import FrozenSetItems, Global, Inert, InertDict, NamedText, SetItems, code
from .strings import PickleError, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OBJECT, _DICT, _LIST = "object", "dict", "list"


class Bystander(Inert):
    """An object beside the weights: the name of its class or function, its arguments, and its attributes."""

    __slots__ = ("_arguments", "_state", "name")

    def __init__(self, name: str, arguments: tuple[object, ...] = ()) -> None:
        self.name = name
        self._arguments = arguments
        self._state: tuple[object, ...] = ()

    def set_state(self, state: object) -> None:
        """Take a dictionary of attributes, or a tuple of what the class's own code makes attributes of; once."""
        if not isinstance(state, (dict, tuple)) or self._state:
            raise PickleError("has an object of unknown form")
        self._state = (state,)

    def made_from(self) -> tuple[object, ...]:
        """The arguments, and the attributes if there are any."""
        return (*self._arguments, *self._state)


class UserDict(InertDict):
    """A ``collections.UserDict``: its items are those of the attribute ``data``."""

    __slots__ = ()

    def set_state(self, state: object) -> None:
        """Take the items, and all other attributes unread."""
        others = dict(state) if isinstance(state, dict) else {}
        items = others.pop("data", None)
        if not isinstance(items, dict) or self:
            raise PickleError("has an object of unknown form")
        self.update(items)
        self.attributes = (getattr(items, "name", None), others)


class InertList(list[object], Inert):
    """A list of a known class: the ``name`` of the class, and the ``attributes`` of the object."""

    __slots__ = ("attributes", "name")

    def __init__(self, name: str, items: Iterable[object] = ()) -> None:
        super().__init__(items)
        self.name = name
        self.attributes: object = None

    def set_state(self, state: object) -> None:
        """Take the attributes, unread."""
        self.attributes = state


def called(name: str) -> Global:
    """A name whose calls give an object with their arguments."""
    return Global(name, partial(Bystander, name))


def attribute_object(name: str) -> Global:
    """A class whose instances are made without arguments and get their attributes."""
    return Global(name, new=partial(_without_arguments, name, partial(Bystander, name)))


def user_dict(name: str) -> Global:
    """``collections.UserDict``, made without arguments; its attributes follow."""
    return Global(name, new=partial(_without_arguments, name, partial(UserDict, name)))


def dictionary(name: str) -> Global:
    """A class of dictionaries: called with none or one dictionary, or made anew; items and attributes follow.

    What it is made anew from is not looked at: addict gives the items there, and again afterwards.
    """
    return Global(name, partial(_filled_dict, name), cost_of_items, lambda _: InertDict(name))


def sequence(name: str) -> Global:
    """A class of lists: made empty, or from one list; items and attributes follow."""
    return Global(
        name,
        partial(_filled_list, name),
        cost_of_items,
        partial(_without_arguments, name, partial(InertList, name)),
    )


def text(name: str) -> Global:
    """A class of texts. An instance is its text."""
    return Global(name, partial(_text, name), new=partial(_text, name))


def set_of(arguments: tuple[object, ...]) -> SetItems:
    """``set([items])``, as protocols before 4 write it."""
    return SetItems(_items_of("set", arguments))


def frozen_set_of(arguments: tuple[object, ...]) -> FrozenSetItems:
    """``frozenset([items])``."""
    return FrozenSetItems(_items_of("frozenset", arguments))


def deque(arguments: tuple[object, ...]) -> InertList:
    """``([items][, longest])``; more items may follow."""
    longest = arguments[1] if len(arguments) == 2 else None
    if len(arguments) > 2 or not isinstance(longest, int | None):
        raise code("collections.deque(...)")
    name = "collections.deque" if longest is None else f"collections.deque of {longest} at most"
    return _filled_list(name, arguments[:1])


def default_dict(arguments: tuple[object, ...]) -> InertDict:
    """``(default factory)``; the factory is never called."""
    if len(arguments) > 1 or not (arguments == () or isinstance(arguments[0], Global | None)):
        raise PickleError("has a dictionary of unknown form")
    factory = arguments[0] if arguments else None
    return InertDict(f"collections.defaultdict({factory.name if isinstance(factory, Global) else ''})")


def attribute_of(known: dict[tuple[str, str], Global]) -> Callable[[tuple[object, ...]], object]:
    """``getattr``: only of a class and with a name that ``known`` has, and it gives a name that is never called with
    what the file chooses."""

    def get(arguments: tuple[object, ...]) -> Global:
        owner, name = arguments if len(arguments) == 2 else (None, None)
        name = name.decode("latin-1") if isinstance(name, bytes) else name
        if isinstance(owner, Global) and isinstance(name, str) and (owner.name, name) in known:
            return known[owner.name, name]
        raise code(f"getattr({_described(owner)}, {_described(name)})")

    return get


def type_of(arguments: tuple[object, ...]) -> Bystander:
    """``type(None)`` and the like: the types that have no name of their own."""
    value = arguments[0] if len(arguments) == 1 else ()
    if value is None or (isinstance(value, Global) and value.name in ("Ellipsis", "NotImplemented")):
        return Bystander("type", (value,))
    raise code("type(...)")


def item_of(arguments: tuple[object, ...]) -> Bystander:
    """``operator.getitem(typing.Dict, (str, int))``: a type with parameters, as OmegaConf notes it of values."""
    owner = arguments[0] if len(arguments) == 2 else None
    if isinstance(owner, Global) and owner.name.startswith("typing."):
        return Bystander("operator.getitem", arguments)
    raise code(f"operator.getitem({_described(owner)}, ...)")


def reduced(arguments: tuple[object, ...]) -> Bystander:
    """``functools.reduce(operator.or_, (int, str))``: a union of types."""
    function = arguments[0] if len(arguments) == 2 else None
    if isinstance(function, Global) and function.name == "operator.or_":
        return Bystander("functools.reduce", arguments)
    raise code(f"functools.reduce({_described(function)}, ...)")


def reconstructed(arguments: tuple[object, ...]) -> object:
    """``copyreg._reconstructor(class, base, value)``: how protocols 0 and 1 make an instance of a class whose base is
    ``object``, ``dict``, ``list`` or ``str``."""
    owner, base, value = arguments if len(arguments) == 3 else (None, None, None)
    if not isinstance(owner, Global) or owner.new is None or not isinstance(base, Global):
        raise code(f"copyreg._reconstructor({_described(owner)}, ...)")
    if base.name in ("str", "unicode"):
        return owner.new((value,))
    made = owner.new(())
    if base.name == _DICT and isinstance(made, InertDict) and isinstance(value, dict):
        made.update(value)
    elif base.name == _LIST and isinstance(made, InertList) and isinstance(value, list):
        made.extend(value)
    elif base.name != _OBJECT or value is not None:
        raise code(f"copyreg._reconstructor({owner.name}, {base.name}, ...)")
    return made


def cost_of_value(arguments: tuple[object, ...]) -> int:
    """The cost of `reconstructed`."""
    return cost_of_items(arguments[2:])


def new_object(arguments: tuple[object, ...]) -> object:
    """``copyreg.__newobj__(class, ...)``: how protocols 0 and 1 make an instance of a class that says how itself."""
    owner = arguments[0] if arguments else None
    if not isinstance(owner, Global) or owner.new is None:
        raise code(f"copyreg.__newobj__({_described(owner)}, ...)")
    return owner.new(arguments[1:])


def _described(value: object) -> str:
    """A value of the stream in a message: names and short texts as they are, nothing of all others."""
    if isinstance(value, Global):
        return value.name
    return value if isinstance(value, str) else "..."


def _without_arguments(name: str, new: Callable[[], Inert], arguments: tuple[object, ...]) -> Inert:
    if arguments:
        raise code(f"an object of {name} with arguments")
    return new()


def cost_of_items(arguments: tuple[object, ...]) -> int:
    """An item takes a byte at least, an item with a key three."""
    items = arguments[0] if arguments else None
    return (
        3 * len(items) if isinstance(items, dict) else len(items) if isinstance(items, (list, tuple)) else 0
    )


def _filled_dict(name: str, arguments: tuple[object, ...]) -> InertDict:
    items = arguments[0] if len(arguments) == 1 else {}
    if len(arguments) > 1 or not isinstance(items, dict):
        raise code(f"{name}(...)")
    made = InertDict(name)
    made.update(items)
    return made


def _filled_list(name: str, arguments: tuple[object, ...]) -> InertList:
    items = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or not (isinstance(items, list) or items == ()):
        raise code(f"{name}(...)")
    return InertList(name, items)


def _items_of(name: str, arguments: tuple[object, ...]) -> list[object] | tuple[object, ...]:
    items = arguments[0] if len(arguments) == 1 else ()
    if len(arguments) > 1 or not isinstance(items, (list, tuple)):
        raise code(f"{name}(...)")
    return items


def _text(name: str, arguments: tuple[object, ...]) -> object:
    value = arguments[0] if len(arguments) == 1 else None
    if not isinstance(value, (str, bytes, Span)):
        raise code(f"{name}(...)")
    return NamedText(name, value) if isinstance(value, str) else value
