"""The demonstration: a full-size file in VMZ's format, converted, and proved against what real Caffe2 computed."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any

from converters.conversion.convert import convert
from converters.errors import Refused
from converters.mapping.catalog import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant
from converters.tensor import Held, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "demo_ir-csn-152.npz")
"""Logits and block statistics that Caffe2 computed for these seeds (``scripts/record/record_caffe2.py``)."""

TOLERANCE = 1e-5
"""Largest relative difference allowed: float32 sums in another order reach 1e-6, the smallest mistake 2e-3."""

FAMILY, VARIANT, CLASSES = "resnet3d", "ir-csn-152", 400


def demo(folder: str, *, to: str = "vmz-pt", say: Callable[[str], None] = print) -> dict[str, Any]:
    """Write, convert and prove; returns the figures. ``parity`` tells whether the proof holds."""
    from converters.loading import load_model, require_torch

    require_torch()
    numpy = _numpy()
    golden = numpy.load(GOLDEN, allow_pickle=False)
    os.makedirs(folder, exist_ok=True)
    source = os.path.join(folder, "ircsn_152_seeded.pkl")
    output = os.path.join(folder, f"ircsn_152_seeded_{to.replace('-', '_')}.pth")

    clock = perf_counter()
    write_seeded(source, FAMILY, VARIANT, int(golden["weight_seed"]), expected=str(golden["weights_sha256"]))
    say(
        f"wrote {source}: ir-CSN-152 with seeded weights, the bytes of a VMZ release ({perf_counter() - clock:.1f} s)"
    )

    result = convert("vmz", source, output, to=to, force=True, verify=True)
    seconds = sum(result.timings.values())
    say(
        f"converted to {output}: {len(result.rows)} tensors in {seconds:.2f} s, read back and compared byte by byte"
    )

    clock = perf_counter()
    figures = compare(load_model(output), golden)
    say(
        f"ran the PyTorch network on a clip of {'x'.join(map(str, golden['input_shape'].tolist()))} "
        f"({perf_counter() - clock:.1f} s)"
    )
    say(
        f"largest |logit| in Caffe2 {figures['largest_logit']:.3f}, largest difference "
        f"{figures['logit_difference']:.1e} of it; top-5 classes {'equal' if figures['top5_equal'] else 'DIFFER'}"
    )
    say(f"worst of {figures['blocks']} blocks: {figures['worst_block']}, {figures['block_difference']:.1e}")
    parity = bool(
        figures["logit_difference"] <= TOLERANCE
        and figures["block_difference"] <= TOLERANCE
        and figures["top5_equal"]
    )
    say(f"parity with real Caffe2: {'PROVED' if parity else 'FAILED'} (tolerance {TOLERANCE:g})")
    return {"parity": parity, "tolerance": TOLERANCE, "source": source, "output": output, **figures}


def compare(model: Any, golden: Any) -> dict[str, Any]:
    """Run the golden's clip through ``model`` and compare logits and every residual block with Caffe2's."""
    import torch

    from .demo_weights import vmz_inputs

    numpy = _numpy()
    (clip,) = vmz_inputs(int(golden["input_seed"]), tuple(golden["input_shape"].tolist()))
    with torch.inference_mode():
        points = {
            name: value.double().numpy() for name, value in model.end_points(torch.from_numpy(clip)).items()
        }
    logits, wanted = points["logits"], golden["logits"].astype("float64")
    ours = [name for name in points if name.startswith("layer")]
    theirs = [row for row, name in enumerate(golden["blocks"].tolist()) if "_sum_" in name]
    errors = {}
    for name, row in zip(ours, theirs, strict=True):
        flat, stats = points[name].ravel(), golden["block_stats"][row]
        largest = max(abs(stats[2]), abs(stats[3]))
        samples = flat[golden["block_index"][row]] - golden["block_values"][row]
        norm = abs(float(numpy.linalg.norm(flat)) - stats[4]) / stats[4]
        errors[name] = max(float(numpy.abs(samples).max()) / largest, norm)
    worst = max(errors, key=lambda name: errors[name])
    return {
        "largest_logit": float(numpy.abs(wanted).max()),
        "logit_difference": float(numpy.abs(logits - wanted).max() / numpy.abs(wanted).max()),
        "top5_equal": bool((logits.argsort()[:, -5:] == wanted.argsort()[:, -5:]).all()),
        "blocks": len(errors),
        "worst_block": worst,
        "block_difference": errors[worst],
    }


def write_seeded(path: str, family: str, name: str, seed: int, *, expected: str = "") -> None:
    """Write a VMZ pickle of one network with seeded weights; ``expected`` is the weights' digest, if known."""
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
            "the seeded weights come out different on this machine",
            hint="numpy's legacy generator or the platform's log differs; the comparison would be void",
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
