"""Compare two networks block by block: the source's values with those of the reference network in PyTorch."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.printable import shape_text

from .outcome import BlockResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.networks.layers import Network

    from .source_network import SourceRun


def compare_blocks(
    model: Network, run: SourceRun, say: Callable[[str], None] = lambda _: None
) -> tuple[list[BlockResult], Any]:
    """Every block of either side, in the order computed, and the model's logits, None if it did not reach them. Raises
    `Refused` where the model cannot take the inputs. ``say`` is told in words which block was computed."""
    net = run.net
    results: dict[str, BlockResult] = {}
    order = list(net.blocks)
    logits, place, missing = None, 0, "the output has no such block"
    try:
        for name, value in run_blocks(model, run.inputs, run.device):
            if name not in net.blocks:
                order.insert(place, name)
                results[name] = one_sided(name, "", value.shape, "the source has no such block")
            else:
                reference = run.values[net.blocks[name]]
                if name == "logits":
                    logits, reference = value, run.mean_logits(reference)
                results[name] = compare_values(name, net.blocks[name], reference, value)
            place = order.index(name) + 1
            say(f"block {len(results)} of {len(net.blocks)}, {name}")
    except (RuntimeError, ValueError) as error:  # sizes that do not fit together
        why = str(error).splitlines()[0][:200]
        if not results:
            raise Refused(why, hint="choose another clip") from None
        missing = f"the output's network stopped: {why}"
    for name, source_name in net.blocks.items():
        if name not in results:
            results[name] = one_sided(name, source_name, run.values[source_name].shape, missing)
    return [results[name] for name in order], logits


def one_sided(name: str, source_name: str, shape: tuple[int, ...], fault: str) -> BlockResult:
    """A block that cannot be compared."""
    return BlockResult(name=name, source_name=source_name, shape=tuple(shape), fault=fault)


def run_blocks(model: Network, inputs: list[Any], device: str) -> Iterator[tuple[str, Any]]:
    """Each block of the model as it is computed: in true float32, and deterministically."""
    import torch

    tensors = [torch.from_numpy(array).to(device) for array in inputs]
    with exact_float32():
        for name, value in model.to(device).steps(*tensors):
            yield name, value.cpu().numpy()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute in true float32, deterministically and without gradients, within a ``with`` block."""
    import torch

    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with flags, torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def compare_values(name: str, source_name: str, reference: Any, value: Any) -> BlockResult:
    """A value of the output's beside the source's ``reference``, arrays of one size."""
    import numpy

    shape = tuple(value.shape)
    if without_ones(shape) != without_ones(reference.shape):
        fault = f"{shape_text(shape)} instead of {shape_text(reference.shape)}"
        return one_sided(name, source_name, shape, fault)
    output, source = value.reshape(-1), reference.reshape(-1)
    with numpy.errstate(invalid="ignore", over="ignore"):  # Inf - Inf: reported below
        largest, max_abs = float(numpy.abs(source).max()), float(numpy.abs(output - source).max())
    values = BlockResult(name=name, source_name=source_name, shape=shape, largest=largest, max_abs=max_abs)
    if not numpy.isfinite(max_abs) or not numpy.isfinite(largest):
        side = "the source's" if not numpy.isfinite(largest) else "the output's"
        return replace(values, fault=f"NaN or Inf on {side} side")
    norms = (_dot(output, output) * _dot(source, source)) ** 0.5
    return replace(
        values,
        relative=max_abs / largest if largest else (0.0 if max_abs == 0 else float("inf")),
        cosine=_dot(output, source) / norms if norms else 1.0,
    )


def _dot(left: Any, right: Any) -> float:
    """The product of two vectors, summed in float64, a piece at a time."""
    import numpy

    step = 1 << 20
    return sum(
        float(numpy.dot(left[at : at + step].astype("f8"), right[at : at + step].astype("f8")))
        for at in range(0, left.size, step)
    )


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its axes of size one: pools leave some."""
    return tuple(size for size in shape if size != 1)
