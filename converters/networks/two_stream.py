"""Two networks on two views of one clip, their logits added (Simonyan and Zisserman, NeurIPS 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from .layers import Network


class TwoStream(nn.Module):
    """``rgb`` sees frames, ``flow`` optical flow; the sum of their logits is the network's.

    ``labels`` are its classes' names, where they are known."""

    def __init__(self, rgb: Network, flow: Network) -> None:
        super().__init__()
        self.rgb = rgb
        self.flow = flow
        self.labels = rgb.labels or flow.labels

    def forward(self, frames: Tensor, flow: Tensor) -> Tensor:
        """[N, 3, T, H, W] and [N, 2, T, H, W] -> logits [N, classes]."""
        total: Tensor = self.rgb(frames) + self.flow(flow)
        return total
