"""The demonstration: write a full-size file in VMZ's format, convert it, and compare with what real Caffe2 computed."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any

from converters.conversion.convert import convert
from converters.errors import Refused
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant
from converters.tensor import Held, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "demo_ir-csn-152.npz")
"""Logits and statistics of every block, computed by Caffe2 (``scripts/record/record_caffe2.py``)."""

TOLERANCE = 1e-5
"""Largest relative difference allowed: summing float32 in another order gives 1e-6, the smallest mistake 2e-3."""

FAMILY, VARIANT, CLASSES = "resnet3d", "ir-csn-152", 400


def demonstrate(folder: str, *, to: str = "vmz-pt", say: Callable[[str], None] = print) -> dict[str, Any]:
    """Write, convert and compare, announcing each step with ``say``.

    Returns the figures; ``parity`` is whether all are within `TOLERANCE`.
    """
    from converters.loading import load_model, require_torch

    require_torch()
    numpy = _numpy()
    golden = numpy.load(GOLDEN, allow_pickle=False)
    os.makedirs(folder, exist_ok=True)
    source = os.path.join(folder, "ircsn_152_seeded.pkl")
    output = os.path.join(folder, f"ircsn_152_seeded_{to.replace('-', '_')}.pth")

    clock = perf_counter()
    write_seeded(source, FAMILY, VARIANT, int(golden["weight_seed"]), expected=str(golden["weights_sha256"]))
    seconds = perf_counter() - clock
    say(f"wrote {source}: ir-CSN-152 with seeded weights, byte for byte as VMZ writes it ({seconds:.1f} s)")

    result = convert(source, output, source="vmz", to=to, force=True, check=True)
    seconds = sum(result.timings.values())
    say(f"converted to {output}: {len(result.rows)} tensors in {seconds:.2f} s, read back and compared")

    clock = perf_counter()
    figures = compare(load_model(output), golden)
    shape = "x".join(map(str, golden["input_shape"].tolist()))
    say(f"ran the PyTorch network on a clip of {shape} ({perf_counter() - clock:.1f} s)")
    parity = _announce(figures, say)
    return {"parity": parity, "tolerance": TOLERANCE, "source": source, "output": output, **figures}


def _announce(figures: dict[str, Any], say: Callable[[str], None]) -> bool:
    """Say how far the figures differ from Caffe2's; returns whether they are within the tolerance."""
    say(
        f"largest |logit| in Caffe2 {figures['largest_logit']:.3f}, largest relative difference "
        f"{figures['logit_difference']:.1e}; top-5 classes {'equal' if figures['top5_equal'] else 'DIFFER'}"
    )
    say(f"worst of {figures['blocks']} blocks: {figures['worst_block']}, {figures['block_difference']:.1e}")
    parity = bool(
        figures["logit_difference"] <= TOLERANCE
        and figures["block_difference"] <= TOLERANCE
        and figures["top5_equal"]
    )
    say(f"parity with real Caffe2: {'PROVED' if parity else 'FAILED'} (tolerance {TOLERANCE:g})")
    return parity


def compare(model: Any, golden: Any) -> dict[str, Any]:
    """Run the golden's clip through ``model`` and compare logits and every residual block with Caffe2's."""
    import torch

    from .demo_weights import vmz_inputs

    numpy = _numpy()
    (clip,) = vmz_inputs(int(golden["input_seed"]), tuple(golden["input_shape"].tolist()))
    with torch.inference_mode():
        outputs = {
            name: value.double().numpy() for name, value in model.end_points(torch.from_numpy(clip)).items()
        }
    logits, expected = outputs["logits"], golden["logits"].astype("float64")
    blocks = [name for name in outputs if name.startswith("layer")]
    rows = [row for row, name in enumerate(golden["blocks"].tolist()) if "_sum_" in name]
    differences = {}
    for name, row in zip(blocks, rows, strict=True):
        values, statistics = outputs[name].ravel(), golden["block_stats"][row]
        largest = max(abs(statistics[2]), abs(statistics[3]))
        samples = values[golden["block_index"][row]] - golden["block_values"][row]
        norm = abs(float(numpy.linalg.norm(values)) - statistics[4]) / statistics[4]
        differences[name] = max(float(numpy.abs(samples).max()) / largest, norm)
    worst = max(differences, key=lambda name: differences[name])
    return {
        "largest_logit": float(numpy.abs(expected).max()),
        "logit_difference": float(numpy.abs(logits - expected).max() / numpy.abs(expected).max()),
        "top5_equal": bool((logits.argsort()[:, -5:] == expected.argsort()[:, -5:]).all()),
        "blocks": len(differences),
        "worst_block": worst,
        "block_difference": differences[worst],
    }


def write_seeded(path: str, family: str, name: str, seed: int, *, expected: str = "") -> None:
    """Write a VMZ pickle of one network with seeded weights.

    Raises `Refused` if the weights do not have the digest ``expected``, where one is given.
    """
    from converters.formats.caffe2.pickle_writer import write_caffe2_pickle
    from converters.formats.io.atomic import replacing

    from .demo_weights import digest, vmz_weights

    sizes = {"classes": CLASSES, "channels": 3, "stem_t": 3}
    rows = tensor_slots(load_layout("vmz"), find_variant(family, name), sizes, {})
    shapes = {
        row.name: tuple(size if isinstance(size, int) else sizes[size] for size in row.shape) for row in rows
    }
    arrays = vmz_weights(shapes, seed)
    if expected and digest(arrays) != expected:
        raise Refused(
            "the seeded weights differ on this machine, so the comparison would mean nothing",
            hint="numpy's legacy generator or the platform's log function gives other values",
        )
    tensors = [
        Tensor(blob, "float32", shapes[blob], Held(memoryview(array).cast("B")))
        for blob, array in arrays.items()
    ]
    with replacing(path, force=True) as out:
        write_caffe2_pickle(out, tensors)


def _numpy() -> Any:
    import numpy

    return numpy
