"""A closed table of names, with those of what training code saves beside the weights."""

from __future__ import annotations

from .machine import Global


class Known(dict[tuple[str, str], Global]):
    """The names that a format's weights need. Those of `inert_names` are there too, and are read where one occurs."""

    def get(self, key: tuple[str, str], default: object = None) -> Global | None:  # type: ignore[override]
        """What a name stands for."""
        found = super().get(key)
        if found is None:
            from .inert_names import NAMES

            found = NAMES.get(key)
        return found
