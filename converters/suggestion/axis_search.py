"""Find how the axes of one array became those of another with the same values, also inside flattened axes.

Whatever axes were exchanged, put together or taken apart, an element's place in the right file is a number whose digits
are those of its place in the left file in another order. The search takes the digits one by one, the innermost of the
right file first, and compares all values that they reach.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.mapping.axis_change import AxisChange

from .axes import LETTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Shape = tuple[int, ...]

MOST_DIGITS = 8
MOST_TRIES = 3000
"""Digits that are tried in all, right or wrong."""
MOST_COMPARED = 50
"""How many times all values may be compared, in all; in small arrays more often."""
GLANCE = 4096
"""Values that are compared before all are."""


class _Digit(NamedTuple):
    """A digit of ``radix`` values. On the left it is in the axis ``left``, above ``inner`` places of that axis; on the
    right it is in the axis ``right``. ``stride`` are elements on the left."""

    left: int
    inner: int
    radix: int
    right: int
    stride: int


def find_axis_change(left: Any, right: Any) -> AxisChange | None:
    """The change that makes the left numpy array exactly the right one, with as few axes as will do; None if there is
    none. Elements are compared by their bits if the arrays have integers of their size."""
    if left.size != right.size or not left.size:
        return None
    search = _Search(left, right)
    digits = search.run(1, [])
    return None if digits is None else _change(left.shape, right.shape, digits)


class _Search:
    def __init__(self, left: Any, right: Any) -> None:
        self.values, self.wanted = left.reshape(-1), right.reshape(-1)
        self.left, self.right = left.shape, right.shape
        self.tries = 0
        self.left_to_compare = MOST_COMPARED * max(left.size, GLANCE)

    def run(self, done: int, digits: list[_Digit]) -> list[_Digit] | None:
        """The digits of the whole, given those of the right side's first ``done`` elements."""
        if done == self.values.size:
            return digits
        if len(digits) == MOST_DIGITS:
            return None
        for digit in self._next(done, digits):
            self.tries += 1
            if self.tries > MOST_TRIES or self.left_to_compare < 0:
                return None
            if self._fits([*digits, digit]):
                found = self.run(done * digit.radix, [*digits, digit])
                if found is not None:
                    return found
        return None

    def _next(self, done: int, digits: Sequence[_Digit]) -> Iterator[_Digit]:
        """What the next digit may be, the largest first."""
        axis, rest = _place(self.right, done)
        options = []
        for number, size in enumerate(self.left):
            stride = prod(self.left[number + 1 :])
            for inner in divisors(size):
                for radix in divisors(size // inner):
                    digit = _Digit(number, inner, radix, axis, stride * inner)
                    if (
                        radix > 1
                        and rest % radix == 0
                        and not any(_overlap(digit, other) for other in digits)
                    ):
                        options.append(digit)
        yield from sorted(options, key=lambda digit: (-digit.radix, digit.stride))

    def _fits(self, digits: Sequence[_Digit]) -> bool:
        """Whether all elements that some digits reach are equal."""
        from numpy.lib.stride_tricks import as_strided

        outermost_first = digits[::-1]
        step = self.values.strides[0]
        reached = as_strided(
            self.values,
            shape=[digit.radix for digit in outermost_first],
            strides=[digit.stride * step for digit in outermost_first],
            writeable=False,
        )
        wanted = self.wanted[: reached.size].reshape(reached.shape)
        places = self._glance(reached.shape)
        if (reached[places] != wanted[places]).any():
            return False
        self.left_to_compare -= reached.size
        return bool((reached == wanted).all())

    @staticmethod
    def _glance(shape: Shape) -> tuple[slice, ...]:
        """The first few values of a digit's every value: enough to refuse most of what is wrong."""
        count = prod(shape[1:])
        return tuple(slice(None, None if count <= GLANCE else 8) for _ in shape)


def _place(shape: Shape, done: int) -> tuple[int, int]:
    """The axis whose digits come next, after the last ``done`` elements, and how much of its size is left."""
    for axis in range(len(shape) - 1, -1, -1):
        if done < shape[axis]:
            return axis, shape[axis] // done
        done //= shape[axis]
    raise AssertionError("the digits are more than the elements")


def divisors(number: int) -> list[int]:
    """All divisors of a number, in order."""
    small = [k for k in range(1, int(number**0.5) + 1) if number % k == 0]
    return sorted({*small, *(number // k for k in small)})


def _overlap(one: _Digit, other: _Digit) -> bool:
    return (
        one.left == other.left
        and one.inner < other.inner * other.radix
        and other.inner < one.inner * one.radix
    )


def _change(left: Shape, right: Shape, digits: Sequence[_Digit]) -> AxisChange:
    """The digits as axes with letters."""
    by_left = [
        sorted((digit for digit in digits if digit.left == axis), key=lambda digit: -digit.inner)
        for axis in range(len(left))
    ]
    by_right = [[digit for digit in reversed(digits) if digit.right == axis] for axis in range(len(right))]
    letters = dict(zip(_in_order(by_left, by_right), _letters(by_left, by_right), strict=False))
    sides = [[tuple(letters[digit] for digit in axis) for axis in side] for side in (by_left, by_right)]
    sizes = {letters[digit]: digit.radix for digit in digits}
    for number, side in enumerate(sides):
        _name_ones_between(side, sides[1 - number], sizes, f"U{'LR'[number]}")
    grouped = {letter for side in sides for axis in side if len(axis) > 1 for letter in axis}
    return AxisChange(
        left=tuple(sides[0]),
        right=tuple(sides[1]),
        sizes={letter: size for letter, size in sizes.items() if letter in grouped},
    )


def _in_order(by_left: list[list[_Digit]], by_right: list[list[_Digit]]) -> list[_Digit]:
    """All digits in the order of the side whose axes are not flattened, or of the right one."""
    side = by_left if _flattened(by_right) and not _flattened(by_left) else by_right
    return [digit for axis in side for digit in axis]


def _letters(by_left: list[list[_Digit]], by_right: list[list[_Digit]]) -> list[str]:
    """Letters for these digits: those of a kernel's axes where one side has such."""
    count = sum(map(len, by_right))
    if not (_flattened(by_left) and _flattened(by_right)) and count in LETTERS:
        return LETTERS[count].split()
    first = by_right[0] if by_right else []
    return [*("O" for _ in first if len(first) == 1), *"ABCDEFGH"]


def _flattened(side: list[list[_Digit]]) -> bool:
    return any(len(axis) > 1 for axis in side)


def _name_ones_between(
    side: list[tuple[str, ...]], other: list[tuple[str, ...]], sizes: dict[str, int], word: str
) -> None:
    """Axes of size one between others become axes of their own, which are flattened into another on the other side."""
    named = [place for place, axis in enumerate(side) if axis]
    for place in range(named[0], named[-1]) if named else ():
        if not side[place]:
            letter = word + "ABCDEF"[place % 6] * (1 + place // 6)
            side[place] = (letter,)
            sizes[letter] = 1
            target = next(at for at, axis in enumerate(other) if axis)
            other[target] = (letter, *other[target])
