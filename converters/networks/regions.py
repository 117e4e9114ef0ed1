"""Regions of frames, as detectors on AVA classify them: RoIAlign (He et al., ICCV 2017) after a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from .spec import Settings

SCALE = 1 / 16
"""Pixels of the clip times this are positions in the feature map."""


class Regions:
    """Regions cut from the map after stage ``stage``, after the mean or the maximum of its frames; with ``context`` the
    whole frame too, as a map of the same size (mmaction2's ``with_global``).

    Settings: ``roi_size``, rows and columns of a region's map; ``roi_samples`` along each axis of one of its
    positions, 0 for as many as it has pixels of the map; ``roi_aligned``, whether pixels are points at half a unit;
    ``roi_frames``, what becomes of the frames.
    """

    def __init__(self, settings: Settings, *, context: bool = False) -> None:
        self.context = context
        self.stage = settings.integer("roi_stage")
        self.size = settings.integer("roi_size")
        self.samples = settings.choice("roi_samples", {number: number for number in range(17)})
        self.aligned = settings.flag("roi_aligned")
        words = {"mean": False, "max": True}
        self.maximum = settings.or_else(roi_frames="mean").choice("roi_frames", words)

    def over_frames(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, C, 1, H, W]."""
        return x.amax(dim=2, keepdim=True) if self.maximum else x.mean(dim=2, keepdim=True)

    def __call__(self, x: Tensor, rois: Tensor) -> Tensor:
        """[N, C, T, H, W] and regions [K, 5] (clip, x1, y1, x2, y2 in pixels) -> [K, C, 1, size, size], of twice the
        channels with the context."""
        if rois.dim() != 2 or rois.shape[1] != 5:
            raise ValueError(f"expected regions [K, 5] (clip, x1, y1, x2, y2), got {list(rois.shape)}")
        frames = self.over_frames(x).squeeze(2)
        none = frames.new_empty(0, frames.shape[1], self.size, self.size)
        cut = torch.cat([none, *(self._cut(frames, region.tolist())[None] for region in rois)])
        if self.context:
            whole = F.adaptive_avg_pool2d(frames, self.size)
            cut = torch.cat((cut, whole[rois[:, 0].long()]), dim=1)
        return cut.unsqueeze(2)

    def _cut(self, x: Tensor, region: list[float]) -> Tensor:
        clip, x1, y1, x2, y2 = region
        if not 0 <= clip < len(x):
            raise ValueError(f"a region of clip {clip:g}, and there are {len(x)}")
        rows = self._weights(y1, y2, x.shape[2]).to(x)
        columns = self._weights(x1, x2, x.shape[3]).to(x)
        return rows @ x[int(clip)] @ columns.T

    def _weights(self, low: float, high: float, size: int) -> Tensor:
        """The weights of the ``size`` points of one axis for each of a region's positions, [self.size, size]: means of
        samples, each interpolated between two points; samples more than one point outside count 0."""
        shift = 0.5 if self.aligned else 0.0
        start, end = low * SCALE - shift, high * SCALE - shift
        length = end - start if self.aligned else max(end - start, 1.0)
        samples = self.samples or max(-int(-length // self.size), 1)
        at = start + (torch.arange(self.size * samples, dtype=torch.float64) + 0.5) * length / (
            self.size * samples
        )
        inside = (at >= -1) & (at <= size)
        at = at.clamp(0, size - 1)
        below = at.floor().clamp(max=max(size - 2, 0))
        points = torch.arange(size, dtype=torch.float64)
        weights = (1 - (points - below[:, None] - (at - below)[:, None]).abs()).clamp(min=0)
        return (weights * inside[:, None]).reshape(self.size, samples, size).mean(dim=1)


def require_regions(rois: Tensor | None) -> Tensor:
    """The regions; ValueError where there are none."""
    if rois is None:
        raise ValueError(
            "a detector takes regions too: model(clip, rois), [K, 5] of (clip, x1, y1, x2, y2) in pixels"
        )
    return rois
