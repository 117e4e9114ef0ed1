"""Names a whole pickled model as one: ``torch.save(model)`` instead of ``torch.save(model.state_dict())``.

Its classes are no names that are read, so reading ends at the first of them. That it is a model shows in what every
``torch.nn.Module`` has among its attributes, since PyTorch 0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.printable import short_name

from .machine import WALK_LIMIT, unknown
from .strings import PickleError

if TYPE_CHECKING:
    from converters.files import SourceFile

_ATTRIBUTES = (b"_parameters", b"_buffers", b"_modules")
WAY_OUT = "load it with PyTorch where its code is, and save its state_dict()"


def refusal(file: SourceFile, offset: int, size: int, module: str, name: str) -> PickleError:
    """What to say of a name that is not known in the pickle at ``offset``."""
    stream = file.read_at(offset, min(size, WALK_LIMIT))
    if all(attribute in stream for attribute in _ATTRIBUTES):
        whole = f"holds a whole model, which is a program: {short_name(f'{module}.{name}')}"
        return PickleError(whole, WAY_OUT)
    return unknown(module, name)
