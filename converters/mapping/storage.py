"""How a layout stores one tensor of a module: under what suffix, with which axes."""

from __future__ import annotations

from typing import Any, NamedTuple

PARAMETERS: dict[str, tuple[str, ...]] = {
    "conv": ("weight",),
    "conv+bias": ("weight", "bias"),
    "depthwise": ("weight",),
    "bn": ("weight", "bias", "running_mean", "running_var"),
    "fc": ("weight", "bias"),
    "scalar": ("scale",),
}
"""The tensors that a module of each kind owns, under PyTorch's names. The weight of a convolution or a linear layer
has the module's whole shape; a ``scalar`` has no axes, and every other tensor is a vector of the first size."""

Parameter = str
"""One of these names."""

DIVISOR = "divisor"
"""What a tensor is to be divided by, a tensor of one number that some layouts store beside it (`StoredTensor.over`)."""

PYTORCH: dict[str, dict[str, str]] = {
    kind: {name: f".{name}" for name in PARAMETERS["conv+bias" if kind == "conv" else kind]}
    for kind in ("conv", "depthwise", "bn", "fc", "scalar")
}
"""What a layout says that stores tensors as PyTorch does."""

DEFAULTS: dict[str, str] = {"depthwise": "conv"}
"""Kinds that are stored as another is, unless a layout says otherwise."""


class StorageError(Exception):
    """A text does not follow the grammar. Carries what is wrong."""


class StoredTensor(NamedTuple):
    """How a layout stores one tensor of a module.

    ``suffix`` is appended to the module's name, or stands around it if it has a ``{}``: see `of`.

    ``axes`` are the file's axes in canonical order: canonical axis i is the file's axis ``axes[i]``. None: they are the
    same. ``rank`` is their number if the table names them. In the file ``leading`` axes of size one come before them
    and ``trailing`` ones after them. If some of the leading ones are optional, ``least`` is how many there must be.
    ``more`` says on which sides there may be any number of further ones: ``"l"``, ``"t"`` or both.

    ``lacks`` are canonical axes, of size one, that the file's tensors do not have.
    ``missing`` are the axes of a tensor with one axis fewer, where the table says which it may lack.

    ``constant`` is the value of a tensor that the layout does not store.

    ``over`` is the suffix of the `DIVISOR` that the file's values are still to be divided by; ``inverse`` says that
    they are 1 / sqrt(variance + eps). ``rotated_columns`` is how many of a linear layer's last columns come first,
    ``bgr`` says that a convolution's input channels are in the opposite order.
    """

    suffix: str
    axes: tuple[int, ...] | None = None
    leading: int = 0
    trailing: int = 0
    more: str = ""
    constant: float | None = None
    over: str = ""
    inverse: bool = False
    least: int | None = None
    rotated_columns: int = 0
    bgr: bool = False
    rank: int | None = None
    lacks: tuple[int, ...] = ()
    missing: tuple[int, ...] | None = None

    def of_rank(self, rank: int) -> StoredTensor:
        """The same for a canonical shape of ``rank`` axes, which may be one fewer than the table names."""
        if self.missing is None or self.rank != rank + 1:
            return self
        return self._replace(axes=self.missing, rank=rank, missing=None)

    def of(self, module: str) -> str:
        """The tensor's name in a file, for a module that is called so there."""
        return self.suffix.replace("{}", module) if "{}" in self.suffix else module + self.suffix

    def plain(self, shape: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
        """A shape in the file without the further ones, for a canonical shape of ``rank`` axes; None where it
        has fewer axes than it must."""
        rank -= len(self.lacks)
        extra = len(shape) - rank
        most = extra - self.trailing if "l" in self.more else self.leading
        for front in range(self.leading if self.least is None else self.least, most + 1):
            after = extra - front
            if after < self.trailing or (after > self.trailing and "t" not in self.more):
                continue
            if all(size == 1 for size in (*shape[:front], *shape[front + rank :])):
                return shape[front : front + rank]
        return None

    def bare(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """A canonical shape with its axes in the file's order."""
        if self.lacks:
            return tuple(size for axis, size in enumerate(shape) if axis not in self.lacks)
        if self.axes is None:
            return shape
        return tuple(shape[self.axes.index(axis)] for axis in range(len(shape)))

    def full(self, bare: tuple[Any, ...]) -> tuple[Any, ...]:
        """A bare shape with the further ones that are written."""
        return (1,) * self.leading + bare + (1,) * self.trailing

    def canonical(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A plain shape in the file as the canonical shape."""
        if self.lacks:
            sizes = iter(shape)
            rank = len(shape) + len(self.lacks)
            return tuple(1 if axis in self.lacks else next(sizes) for axis in range(rank))
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


def parse_stored(text: str, eps: float) -> StoredTensor:
    """``SUFFIX``, ``SUFFIX AXES -> AXES`` with letters for axes, ``= CONSTANT`` or ``= 1 - eps``, or one of the first
    two and ``over SUFFIX``.

    On the left ``1`` is an axis of size one before or after the others, ``1?`` one before them that may be missing, and
    ``1*`` any number of them. ``D?`` is an axis that only some modules have. Raises `StorageError`.
    """
    stored, divided, over = text.partition(" over ")
    if bool(over) != bool(divided) or " " in over:
        raise StorageError(f"{over!r} is not a suffix")
    suffix, _, order = stored.partition(" ")
    if suffix == "=":
        return StoredTensor("", constant=_constant(order, eps))
    if not order:
        return StoredTensor(suffix, over=over)
    return _axes(order)._replace(suffix=suffix, over=over)


def _constant(text: str, eps: float) -> float:
    if text == "1 - eps":
        return 1 - eps
    if not text.replace(".", "", 1).isdigit():
        raise StorageError(f"{text!r} is not a number")
    return float(text)


def _axes(text: str) -> StoredTensor:
    """Axes on both sides of an arrow."""
    stored, _, canonical = (side.split() for side in text.partition("->"))
    lacking = [axis for axis in stored if axis.endswith("?") and axis != "1?"]
    if lacking and len(lacking) == 1 and canonical.count(lacking[0]) == 1:
        fewer = _axes(text.replace(lacking[0], ""))
        every = range(len(stored)) if fewer.axes is None else fewer.axes
        return _axes(text.replace("?", ""))._replace(missing=tuple(every[: fewer.rank]))
    letters = [axis for axis in stored if axis not in ("1", "1*", "1?")]
    start = next((place for place, axis in enumerate(stored) if axis in letters), len(stored))
    front, after = stored[:start], stored[start + len(letters) :]
    if (
        stored[start : start + len(letters)] != letters
        or front.count("1*") > 1
        or after.count("1*") > 1
        or "1?" in after
        or len(set(letters)) != len(letters)
        or sorted(letters) != sorted(canonical)
    ):
        raise StorageError(
            "must name the same axes on both sides of '->', each once, and axes of size one only before or after them"
        )
    leading, optional = front.count("1"), front.count("1?")
    return StoredTensor(
        "",
        axes=None if letters == canonical else tuple(letters.index(axis) for axis in canonical),
        leading=leading + optional,
        trailing=after.count("1"),
        more="l" * front.count("1*") + "t" * after.count("1*"),
        least=leading if optional else None,
        rank=len(letters),
    )
