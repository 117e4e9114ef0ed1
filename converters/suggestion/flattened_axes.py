"""Find matrices and biases with an axis that may be a flattened volume, by the sizes of what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .axis_search import divisors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .fingerprints import TensorFingerprint

    Shape = tuple[int, ...]


class FlattenedAxes:
    """One file's tensors in its order. What it says of them holds for other weights of the same network too."""

    def __init__(self, tensors: Sequence[TensorFingerprint]) -> None:
        self._vectors = {max(tensor.shape, default=1) for tensor in tensors if tensor.is_vector}
        shapes = [_plain(tensor.shape) for tensor in tensors if not tensor.is_vector]
        # Vectors are as long as outputs are many, so they show where a kernel has its outputs.
        self._first = sum(shape[0] in self._vectors for shape in shapes) >= sum(
            shape[-1] in self._vectors for shape in shapes
        )
        self._open_inputs = self._find_open_inputs(tensors)
        self._unfolded = self._unfolded_outputs(tensors)

    def may_be(self, tensor: TensorFingerprint) -> bool:
        """Whether an axis of a tensor may be flattened: inputs that no tensor before it puts out, outputs that none
        takes and that channels of a later kernel divide."""
        shape = _plain(tensor.shape)
        if tensor.is_vector:
            return shape[0] in self._unfolded
        if len(shape) != 2:
            return False
        return tensor.name in self._open_inputs or self._outputs(shape) in self._unfolded

    def _find_open_inputs(self, tensors: Sequence[TensorFingerprint]) -> set[str]:
        """The matrices whose inputs no tensor before them puts out; what follows a matrix may be as long by chance.

        What is beside a square matrix may be its own bias, and the first of several square ones takes its inputs from
        elsewhere. Channels that divide the inputs behind a kernel speak for a volume, whatever was put out before.
        """
        found: set[str] = set()
        known: set[int] = set()
        of_others: set[int] = set()
        channels = 0
        for tensor in tensors:
            shape = _plain(tensor.shape)
            if tensor.is_vector:
                known.add(shape[0])
                channels = shape[0] if channels and shape[0] % channels == 0 else channels
                continue
            square = len(shape) == 2 and shape[0] == shape[1]
            if len(shape) == 2:
                size = shape[-1 if self._first else 0]
                volume = len(tensor.shape) == 2 and 0 < channels < size and size % channels == 0
                if _is_composite(size) and (volume or size not in (of_others if square else known)):
                    found.add(tensor.name)
            known.add(self._outputs(shape))
            if not square:
                of_others.add(self._outputs(shape))
            channels = self._channels(tensor)
        return found

    def _channels(self, tensor: TensorFingerprint) -> int:
        """How many channels a convolution puts out; 0 for other tensors, and where each channel is its own group."""
        shape = _plain(tensor.shape)
        grouped = len(shape) > 2 and 1 in (*tensor.shape[:2], *tensor.shape[-2:])
        return 0 if len(tensor.shape) == 2 or grouped else self._outputs(shape)

    def _unfolded_outputs(self, tensors: Sequence[TensorFingerprint]) -> set[int]:
        """How many outputs those matrices have behind which a kernel of fewer channels follows, as in a decoder."""
        found: set[int] = set()
        channels: set[int] = set()
        taken: set[int] = set()
        for tensor in reversed(tensors):
            shape = _plain(tensor.shape)
            if tensor.is_vector:
                continue
            if len(shape) > 2:
                channels |= {*shape[:2], *shape[-2:]}
            elif not channels.isdisjoint(divisors(self._outputs(shape))[1:-1]):
                found.add(self._outputs(shape))
            taken |= {*shape} if len(shape) > 2 else {shape[-1 if self._first else 0]}
        return found - taken

    def _outputs(self, shape: Shape) -> int:
        return shape[0 if self._first else -1]


def _plain(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1) or (1,)


def _is_composite(size: int) -> bool:
    return any(size % factor == 0 for factor in range(2, int(size**0.5) + 1))
