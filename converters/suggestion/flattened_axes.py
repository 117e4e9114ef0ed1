"""Find matrices and biases with an axis that may be a flattened volume, by the sizes of what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        not_square = [shape for shape in shapes if len(shape) != 2 or shape[0] != shape[1]]
        self._outputs_of_others = {self._outputs(shape) for shape in not_square}
        self._all_outputs = self._vectors | {self._outputs(shape) for shape in shapes}
        self._unfolded = self._unfolded_outputs(tensors)

    def may_be(self, tensor: TensorFingerprint) -> bool:
        """Whether an axis of a tensor may be flattened: inputs that no other tensor puts out, outputs that none takes
        and that channels of a later kernel divide."""
        shape = _plain(tensor.shape)
        if tensor.is_vector:
            return shape[0] in self._unfolded
        if len(shape) != 2:
            return False
        return self._may_be_flattened_inputs(shape) or self._outputs(shape) in self._unfolded

    def _may_be_flattened_inputs(self, shape: Shape) -> bool:
        """What is beside a square matrix may be its own bias, and the first of several square ones takes its inputs
        from elsewhere."""
        size = shape[-1 if self._first else 0]
        square = shape[0] == shape[1]
        known = self._outputs_of_others if square else self._all_outputs
        return any(size % factor == 0 for factor in range(2, int(size**0.5) + 1)) and size not in known

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
            elif any(
                1 < size < self._outputs(shape) and self._outputs(shape) % size == 0 for size in channels
            ):
                found.add(self._outputs(shape))
            taken |= {*shape} if len(shape) > 2 else {shape[-1 if self._first else 0]}
        return found - taken

    def _outputs(self, shape: Shape) -> int:
        return shape[0 if self._first else -1]


def _plain(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1) or (1,)
