"""The format of an output: its suffix chooses among those that its layout can be written in."""

from __future__ import annotations

from typing import Protocol

from converters.errors import UsageError
from converters.formats.registry import formats, formats_for


class Target(Protocol):
    """What gives an output its names: a layout's table, or a side of a mapping file."""

    @property
    def name(self) -> str:
        """The layout's name, or a word for the mapping file's side."""
        ...

    @property
    def title(self) -> str:
        """What messages call it."""
        ...

    @property
    def format(self) -> str:
        """The kind of its files, one of `formats.registry.layout_formats`."""
        ...

    @property
    def container(self) -> str:
        """What ``--wrap`` puts around the tensors."""
        ...

    @property
    def slash_keys(self) -> tuple[str, ...]:
        """Patterns of the keys of nested dictionaries that contain slashes."""
        ...


def output_format(path: str, target: Target) -> str:
    """The name of an output's `Format`, chosen by its suffix and its layout. Raises `UsageError`."""
    possible = formats_for(target.format)
    for record in possible:
        if path.lower().endswith(record.suffixes):
            return record.name
    *most, last = [suffix for record in possible for suffix in record.suffixes]
    others = f"{', '.join(most)} or " if most else ""
    raise UsageError(
        f"the output's name must end in {others}{last}",
        path=path,
        hint="the suffix chooses the format",
    )


def formats_of(path: str) -> list[str]:
    """The names of the formats whose suffix an output has, whatever its layout. Raises `UsageError` if none has it."""
    found = [
        record.name for record in formats() if record.suffixes and path.lower().endswith(record.suffixes)
    ]
    if not found:
        raise UsageError(
            "the output's name has the suffix of no format", path=path, hint="the suffix chooses the format"
        )
    return found
