"""Names a whole pickled model as one: ``torch.save(model)`` instead of ``torch.save(model.state_dict())``.

Its classes are no names that are read, so reading ends at the first of them. That it is a model shows in what every
``torch.nn.Module`` has among its attributes, since PyTorch 0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.pickle.machine import WALK_LIMIT, unknown
from converters.formats.pickle.strings import PickleError
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.files import SourceFile

_ATTRIBUTES = (b"_parameters", b"_buffers", b"_modules")
WAY_OUT = "load it with PyTorch where its code is, and save its state_dict()"


def refuser(file: SourceFile, offset: int, size: int) -> Callable[[str, str], PickleError]:
    """What to say of a name in the pickle at ``offset`` that is not known; as `walk` wants it."""

    def refuse(module: str, name: str) -> PickleError:
        stream = file.read_at(offset, min(size, WALK_LIMIT))
        if all(attribute in stream for attribute in _ATTRIBUTES):
            whole = f"holds a whole model, which is a program: {short_name(f'{module}.{name}')}"
            return PickleError(whole, WAY_OUT)
        return unknown(module, name)

    return refuse
