"""Clips of streaming networks, frame by frame."""

from __future__ import annotations

import torch
from torch import nn

from converters.networks.streaming import each_frame

CLIP = torch.arange(2 * 3 * 4 * 5 * 6, dtype=torch.float32).reshape(2, 3, 4, 5, 6)


def test_frames_by_themselves_give_what_they_give_together() -> None:
    function = nn.Conv2d(3, 3, 1).eval()
    with torch.no_grad():
        whole = each_frame(function, CLIP)
        apart = [each_frame(function, frame) for frame in CLIP.split(1, dim=2)]
    assert torch.equal(whole, torch.cat(apart, dim=2))


def test_a_norm_in_training_sees_all_frames_at_once() -> None:
    norm = nn.BatchNorm2d(3).train()
    out = each_frame(norm, CLIP)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(out.mean(dim=(0, 2, 3, 4)), torch.zeros(3))
