"""Small videos, written with PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np


def write(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "ffv1",
    rate: int = 10,
    pixels: str = "bgr0",
    **options: str,
) -> Path:
    """Write a video of ``pictures``, each uint8 [H, W, 3] in RGB, ``rate`` a second; returns its path."""
    av = pytest.importorskip("av", reason="needs av: install the extra [dev]")
    with av.open(
        str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}
    ) as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        for one in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        container.mux(stream.encode(None))
    return path
