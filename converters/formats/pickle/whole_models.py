"""Names a whole pickled model as one: ``torch.save(model)`` instead of ``torch.save(model.state_dict())``.

Its classes are no names that are read, so reading ends at the first of them. That it is a model shows in what every
``torch.nn.Module`` has among its attributes, since PyTorch 0.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.printable import short_name

from .machine import WALK_LIMIT, unknown
from .strings import PickleError

if TYPE_CHECKING:
    from converters.files import SourceFile

_ATTRIBUTES = (b"_parameters", b"_buffers", b"_modules")
WAY_OUT = "load it with PyTorch where its code is, and save its state_dict()"
_STATE_DICT_KEY = re.compile(rb"(?:X(.)\0\0\0|[\x8cU](.))((?:[A-Za-z0-9]\w*_)?state_dict)", re.DOTALL)
"""A text of a pickle that ends in ``state_dict``, with its length in front."""


def refusal(file: SourceFile, offset: int, size: int, module: str, name: str) -> PickleError:
    """What to say of a name that is not known in the pickle at ``offset``."""
    stream = file.read_at(offset, min(size, WALK_LIMIT))
    if all(attribute in stream for attribute in _ATTRIBUTES):
        whole = f"holds a whole model, which is a program: {short_name(f'{module}.{name}')}"
        key = _key_of_state_dict(stream)
        alone = f"{WAY_OUT}; or save the file's own '{key}' alone" if key else WAY_OUT
        return PickleError(whole, alone)
    return unknown(module, name)


def _key_of_state_dict(stream: bytes) -> str:
    """The name of a state dict that stands beside the model; empty where there is none."""
    for match in _STATE_DICT_KEY.finditer(stream):
        if ord(match[1] or match[2]) == len(match[3]):
            return match[3].decode("ascii")
    return ""
