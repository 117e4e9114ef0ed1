"""The order of a new file's tensors, where a layout's own code stores them in another than the network's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .globs import glob_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .names import TensorSlot


def in_order(slots: Iterable[TensorSlot], words: Sequence[str]) -> list[TensorSlot]:
    """Slots as a depth-first walk over their names' words finds them, which a dot divides.

    Beside each other numbers come in their order; words that one of the patterns ``words`` fits come first, as the
    patterns do; all others come as they were.
    """
    places: dict[str, tuple[int, int]] = {}

    def key(slot: TensorSlot) -> list[tuple[int, int]]:
        path, keys = "", []
        for word in slot.name.split("."):
            path += f".{word}"
            if path not in places:
                rank = next((at for at, glob in enumerate(words) if glob_matches(glob, word)), len(words))
                places[path] = rank, int(word) if word.isdecimal() else len(places)
            keys.append(places[path])
        return keys

    return sorted(slots, key=key)
