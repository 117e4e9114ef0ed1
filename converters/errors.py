"""What can go wrong, as values with stable exit codes.

Every error prints as ``error: FILE: what is wrong (where): what to do``. Options are written as the command line spells
them; what a caller sees of an exception has Python's keywords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .locations import without_credentials
from .printable import printable

if TYPE_CHECKING:
    from typing import Self


class Told(NamedTuple):
    """What is wrong and what to do next, with options as the command line spells them."""

    what: str
    hint: str


class ConverterError(Exception):
    """A failure that a person can act on; never shown with a traceback.

    ``what`` says what is wrong, ``path`` in which file, ``where`` at which place in it (an offset, a tensor),
    ``hint`` what to do next. ``faults`` lists every single fault where there are several. Options in them are spelled
    as in Python; ``told`` has what the command line says. Of an address ``path`` keeps no credentials.
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
        self.told = Told(what, hint)
        self.path = without_credentials(path)
        self.where = where
        self.faults = faults

    @property
    def what(self) -> str:
        """What is wrong."""
        from .option_names import in_python

        return in_python(self.told.what)

    @what.setter
    def what(self, what: str) -> None:
        self.told = self.told._replace(what=what)

    @property
    def hint(self) -> str:
        """What to do next."""
        from .option_names import in_python

        return in_python(self.told.hint)

    @hint.setter
    def hint(self, hint: str) -> None:
        self.told = self.told._replace(hint=hint)

    def at(self, path: str) -> Self:
        """The error, with the file it is about if it does not name one."""
        self.path = self.path or without_credentials(path)
        return self

    def __str__(self) -> str:
        return self.text(self.what, self.hint)

    def text(self, what: str, hint: str) -> str:
        """The whole message in one line, with ``what`` and ``hint`` in some spelling."""
        text = f"{self.path}: " if self.path else ""
        text += what
        if self.where:
            text += f" ({self.where})"
        if hint:
            text += f": {hint}"
        return printable(text)


class Refused(ConverterError):
    """The request is understood and cannot be done: no mapping fits, a layout cannot hold the network, the
    output exists, a check missed. Exit code 1."""


class AnotherNetwork(Refused):
    """The file holds a known network that is not one of ours."""


class UsageError(ConverterError):
    """The command or call itself is wrong. Exit code 2."""

    exit_code = 2


class BadInput(ConverterError):
    """The input cannot be read, is damaged, is of another kind, or is unsafe. Exit code 3."""

    exit_code = 3
