"""Parameters and multiply-adds of our networks against every figure VMZ publishes in its model tables.

Its conventions, found by trying them on all rows:

- parameters are the weights of convolutions and linear layers, no biases and no batch norm (counting batch
  norm scales and offsets misses 29.6 M, 118.0 M, 63.6 M, 33.3 M, 16.8 M);
- "GFLOPs" are multiply-adds of convolutions and linear layers, over 1e9;
- the 18-layer networks and C3D were counted at the crop they were trained at, 112; the later ones at the crop
  they were tested at, 128 or 256, as fully convolutional networks, whose 7x7 average leaves the head 2x2
  positions. Without these positions the audio-visual network would be 110.0.
"""

from __future__ import annotations

from math import prod

import pytest

from tests.helpers import canonical_names
from tests.helpers.multiply_adds import count_macs
from tests.helpers.upstream_tables import vmz_tables

TRAINED = [
    # network, variant, frames, GFLOPs, parameters in millions
    ("r2plus1d-18", "", 8, 20.7, 33.3),
    ("r3d-18", "", 8, 20.3, 33.4),
    ("r2d-18", "", 8, 1.9, 11.4),
    ("r2df-18", "", 8, 13.8, 11.4),
    ("mc2-18", "", 8, 14.3, 11.4),
    ("mc3-18", "", 8, 21.7, 11.7),
    ("mc4-18", "", 8, 20.0, 12.7),
    ("mc5-18", "", 8, 20.0, 16.8),
    ("rmc2-18", "", 8, 19.9, 33.3),
    ("rmc3-18", "", 8, 12.5, 33.0),
    ("rmc4-18", "", 8, 14.5, 32.0),
    ("rmc5-18", "", 8, 15.4, 27.9),
    ("r2plus1d-18", "", 16, 41.5, 33.3),
    ("r3d-18", "", 16, 40.7, 33.4),
    ("r2d-18", "clip_length=16", 16, 2.2, 11.5),
    ("r2df-18", "", 16, 27.6, 11.4),
    ("mc2-18", "", 16, 28.5, 11.4),
    ("mc3-18", "", 16, 43.3, 11.7),
    ("mc4-18", "", 16, 40.0, 12.7),
    ("mc5-18", "", 16, 39.9, 16.8),
    ("rmc2-18", "", 16, 39.8, 33.3),
    ("rmc3-18", "", 16, 25.0, 33.0),
    ("rmc4-18", "", 16, 29.1, 32.0),
    ("rmc5-18", "", 16, 30.8, 27.9),
    ("c3d", "", 16, 38.5, 64.9),
]
TESTED = [
    # network, crop, frames, GFLOPs, parameters in millions (None: not published)
    ("r2plus1d-34", 128, 32, 199.0, 63.6),
    ("r2plus1d-152", 128, 32, 329.1, 118.0),
    ("ir-csn-152", 256, 32, 96.7, 29.6),
    ("ip-csn-152", 256, 32, 108.8, 32.8),
    ("av_resnet-ip-csn-152", 256, 32, 110.1, None),
]


def network(name: str, variant: str = ""):
    table = vmz_tables()[name]
    if variant:
        table = table.variant(variant)
    return canonical_names.built(
        canonical_names.vmz_spec(name, table), 1e-3, **canonical_names.settings_of_flags(table.flags)
    )


def parameters(model) -> int:
    return sum(prod(p.shape) for p in model.parameters() if p.dim() > 1)


def macs_as_tested(model, frames: int, crop: int) -> int:
    """Multiply-adds of the fully convolutional network: what follows the pool runs at 2x2 positions."""
    shapes = [(1, 3, frames, crop, crop)]
    if hasattr(model, "audio"):
        shapes.append((1, 1, 100, 40))
    head = sum(
        getattr(model, name).weight.numel() for name in ("fuse1", "fuse2", "head") if hasattr(model, name)
    )
    return count_macs(model, *shapes) + 3 * head


@pytest.mark.parametrize(("name", "variant", "frames", "gflops", "millions"), TRAINED)
def test_figures_at_the_training_crop(name, variant, frames, gflops, millions) -> None:
    model = network(name, variant)
    assert round(parameters(model) / 1e6, 1) == millions
    assert round(count_macs(model, (1, 3, frames, 112, 112)) / 1e9, 1) == gflops


@pytest.mark.parametrize(("name", "crop", "frames", "gflops", "millions"), TESTED)
def test_figures_at_the_test_crop(name, crop, frames, gflops, millions) -> None:
    model = network(name)
    if millions is not None:
        assert round(parameters(model) / 1e6, 1) == millions
    assert round(macs_as_tested(model, frames, crop) / 1e9, 1) == gflops


def test_r2plus1d_34_of_8_frames() -> None:
    """Published as 49.8: a quarter of the 199.0 of 32 frames, 49.75, rounded again. Counted: 49.7496."""
    macs = macs_as_tested(network("r2plus1d-34"), 8, 128)
    assert macs == 49_749_557_248
    assert round(macs / 1e9, 2) == 199.0 / 4


def test_ir_csn_152_to_the_last_digit() -> None:
    """VMZ prints both numbers in full for the network it released."""
    model = network("ir-csn-152")
    assert parameters(model) == 29_551_744
    assert macs_as_tested(model, 32, 256) == 96_715_669_504
