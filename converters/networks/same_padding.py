"""TensorFlow's rule ``SAME`` over height and width: as much padding as ``ceil(size / stride)`` outputs need for the
size at hand, the smaller half before the first row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from .layers import Unit

if TYPE_CHECKING:
    from torch import Tensor

    from .spec import ModuleShapes


class SameUnit(Unit):
    """A `Unit` of odd kernels with the stride ``step`` in height and width, padded by the rule ``SAME``."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float, step: int = 1) -> None:
        *time, rows, columns = shapes["conv.weight"][2:]
        # At stride 1 the rule is half of the kernel at every size.
        padding = None if step == 1 else [*(side // 2 for side in time), 0, 0]
        super().__init__(shapes, channels, eps, [*(1 for _ in time), step, step], padding=padding)
        self.step, self.window = step, (rows, columns)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, ..., H, W] -> [N, out_channels, ..., ceil(H / step), ceil(W / step)]."""
        return super().forward(x if self.step == 1 else self._padded(x))

    def _padded(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, side in zip(reversed(x.shape[-2:]), reversed(self.window), strict=True):
            total = max((size - 1) // self.step * self.step + side - size, 0)
            pads += (total // 2, total - total // 2)
        return F.pad(x, pads)


def average_pool(x: Tensor) -> Tensor:
    """The means over windows of 3x3 at every second row and column, [..., C, T, H, W]; padding does not count."""
    odd = [int(size % 2) for size in x.shape[-2:]]  # numbers, also where the network is traced
    return F.avg_pool3d(x, (1, 3, 3), (1, 2, 2), (0, *odd), ceil_mode=True, count_include_pad=False)
