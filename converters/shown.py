"""Results that show themselves in a few lines, in a console and in a notebook."""

from __future__ import annotations

from .printable import printable


class Shown:
    """A base class of results: ``repr`` gives its `lines`."""

    __slots__ = ()

    def lines(self) -> tuple[str, ...]:
        """The result in at most three lines."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n".join(map(printable, self.lines()))

    def _repr_html_(self) -> str:
        """The same for a notebook: the first line is the title."""
        from html import escape

        first, *rest = (escape(printable(line)) for line in self.lines())
        return "<br>\n".join((f"<strong>{first}</strong>", *rest))
