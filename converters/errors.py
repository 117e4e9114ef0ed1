"""What can go wrong, as values with stable exit codes.

Every error prints as ``error: FILE: what is wrong (where): what to do``. Options are written as the command line spells
them; an exception's own text has Python's keywords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .locations import without_credentials
from .printable import printable

if TYPE_CHECKING:
    from typing import Self


class ConverterError(Exception):
    """A failure that a person can act on; never shown with a traceback.

    ``what`` says what is wrong, ``path`` in which file, ``where`` at which place in it (an offset, a tensor),
    ``hint`` what to do next. ``faults`` lists every single fault where there are several. Of an address ``path`` keeps
    no credentials.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        path: str = "",
        where: str = "",
        hint: str = "",
        faults: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.path = without_credentials(path)
        self.where = where
        self.hint = hint
        self.faults = faults

    def at(self, path: str) -> Self:
        """The error, with the file it is about if it does not name one."""
        self.path = self.path or without_credentials(path)
        return self

    def __str__(self) -> str:
        from .option_names import in_python

        text = f"{self.path}: " if self.path else ""
        text += in_python(self.what)
        if self.where:
            text += f" ({self.where})"
        if self.hint:
            text += f": {in_python(self.hint)}"
        return printable(text)


class Refused(ConverterError):
    """The request is understood and cannot be done: no mapping fits, a layout cannot hold the network, the
    output exists, a check missed. Exit code 1."""


class AnotherNetwork(Refused):
    """The file holds a network that is none of ours, and which it is is known."""


class UsageError(ConverterError):
    """The command or call itself is wrong. Exit code 2."""

    exit_code = 2


class BadInput(ConverterError):
    """The input cannot be read, is damaged, is of another kind, or is unsafe. Exit code 3."""

    exit_code = 3
