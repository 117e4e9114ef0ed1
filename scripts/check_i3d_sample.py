"""DeepMind's sample clip through converted checkpoints, against the numbers that DeepMind published.

Needs files that are not here, from github.com/deepmind/kinetics-i3d: the folders ``rgb_imagenet`` and
``flow_imagenet`` of ``data/checkpoints``, and ``v_CricketShot_g04_c01_rgb.npy`` and ``..._flow.npy`` of ``data``.

    python scripts/check_i3d_sample.py FOLDER_OF_kinetics-i3d/data
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from converters import convert, inspect, load_model

if TYPE_CHECKING:
    from collections.abc import Callable

CLIP = "v_CricketShot_g04_c01"
STREAMS = ("rgb", "flow")

# The norm of the averaged logits and the first classes, as kinetics-i3d's readme and output files give them
# (evaluate_sample.py, 79 frames, ImageNet-pretrained checkpoints).
PUBLISHED = {
    "rgb": (87.108871, {"playing cricket": 25.856646, "playing kickball": 12.330335}),
    "flow": (63.252754, {"playing cricket": 15.957031, "hurling (sport)": 12.808723}),
    "joint": (138.468658, {"playing cricket": 41.813675, "hurling (sport)": 21.493977}),
}
TOLERANCE = 1e-4
"""Of the largest logit: DeepMind's figures come from another machine's float32 sums."""


def main(folder: Path, say: Callable[[str], None] = print) -> bool:
    """Convert both checkpoints, run the clip, compare; returns whether all agrees."""
    logits: dict[str, np.ndarray] = {}
    names: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for stream in STREAMS:
            out = Path(scratch) / f"{stream}.pth"
            convert(folder / "checkpoints" / f"{stream}_imagenet", out, source="i3d")
            provenance = inspect(out).provenance
            assert provenance is not None
            names = provenance["network"]["input"]["labels"]
            clip = np.load(folder / f"{CLIP}_{stream}.npy", allow_pickle=False)
            with torch.inference_mode():
                made = load_model(out)(torch.from_numpy(clip).permute(0, 4, 1, 2, 3).contiguous())
            logits[stream] = made[0].double().numpy()
    logits["joint"] = logits["rgb"] + logits["flow"]
    good = True
    for stream, (norm, classes) in PUBLISHED.items():
        ours = logits[stream]
        largest = float(np.abs(ours).max())
        worst = abs(float(np.linalg.norm(ours)) - norm) / norm
        for name, value in classes.items():
            worst = max(worst, abs(float(ours[names.index(name)]) - value) / largest)
        good &= worst <= TOLERANCE
        say(f"{stream}: norm {np.linalg.norm(ours):.6f} (published {norm}), largest difference {worst:.1e}")
    say("agrees with the published numbers" if good else "DIFFERS from the published numbers")
    return good


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(0 if main(Path(sys.argv[1])) else 1)
