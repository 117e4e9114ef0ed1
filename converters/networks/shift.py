"""Channels shifted between neighbouring frames (TSM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SEGMENTS = {number: number for number in range(65)}
"""How many frames may be one video; 0 stands for all of a clip."""


def videos(x: Tensor, frames: int) -> Tensor:
    """[N * T, C, H, W] as [N, T, C, H, W]."""
    return x.reshape(-1, frames, *x.shape[1:])


def shifted(x: Tensor, frames: int, size: int, *, next_first: bool) -> Tensor:
    """[N * T, C, H, W] with two groups of ``size`` channels of the frames beside them, zeros at a video's ends: the
    first of the next frame, the second of the frame before, or the other way round."""
    before = videos(x, frames)
    ahead, behind = (0, size) if next_first else (size, 0)
    out = before.clone()
    out[:, :, : 2 * size] = 0
    out[:, :-1, ahead : ahead + size] = before[:, 1:, ahead : ahead + size]
    out[:, 1:, behind : behind + size] = before[:, :-1, behind : behind + size]
    return out.flatten(0, 1)


def frames_of(frames: int, segments: int) -> int:
    """The frames of one video in a clip of ``frames``. ValueError where the clip is not a whole number of videos."""
    if segments and frames % segments:
        raise ValueError(f"{frames} frames are not a whole number of videos of {segments} segments")
    return segments or frames
