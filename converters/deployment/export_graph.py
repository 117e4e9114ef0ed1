"""Write the network in a file as a graph of the target: PyTorch's operators, in ONNX or as a program of torch.export.

What is written is our reference network with the file's weights, traced on one clip. The graph is run before it gets
its name: where it does not compute what the network computes, nothing is written.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.conversion.convert import convert
from converters.conversion.write import refuse_early, refuse_input
from converters.errors import ConverterError, Refused, UsageError
from converters.formats.io.atomic import staging
from converters.formats.onnx.runtime import require_onnx, require_onnxruntime
from converters.formats.pytorch.exported import RECORD
from converters.loading import load_network, reference_record, require_torch
from converters.locations import without_credentials
from converters.mapping.network_info import NetworkInfo
from converters.printable import shape_text
from converters.shown import Shown
from converters.verification.clips import make_inputs
from converters.verification.outcome import TOLERANCES

if TYPE_CHECKING:
    from converters.networks.layers import Network

OPSET = 18
LIMIT = (1 << 31) - (1 << 24)
"""Bytes of weights: an ONNX file of 2 GiB cannot be read."""

SUFFIXES = (".onnx", ".pt2")
AXES = ("N", "C", "T", "H", "W")
LARGER = (2, 32, 32)
"""What the second clip is larger by, on which a graph of any size is checked: frames, height, width."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportedGraph(Shown):
    """What was written. ``inputs`` are the shapes of the inputs by name, with letters for what may have any size, and
    ``relative`` is the largest difference of the logits from the network's, relative to the largest logit."""

    source: str
    output: str
    info: NetworkInfo
    inputs: Mapping[str, tuple[int | str, ...]]
    relative: float

    def lines(self) -> tuple[str, ...]:
        """The network; the inputs; the check."""
        inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in self.inputs.items())
        return (
            f"{self.info.title} ({self.info.variant}): wrote {self.output}",
            f"takes float32 {inputs}; gives logits [1, {self.info.classes or 'channels'}]",
            f"checked against the network in PyTorch: {self.relative:.1e} of the largest logit",
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "source": self.source,
            "output": self.output,
            "network": self.info.as_data(),
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "relative": self.relative,
        }


def export_graph(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    clip_size: Sequence[int] | None = None,
    dynamic: bool = False,
    source: str | None = None,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
    force: bool = False,
) -> ExportedGraph:
    """Write the network in a checkpoint as a graph from a preprocessed clip to its logits.

    ``output`` is an ``.onnx`` (opset 18) or a ``.pt2`` (`torch.export`). The graph takes one clip, float32
    ``[1, C, T, H, W]``, of ``clip_size`` (frames, height, width; default: what the network was made for), or of any
    size where ``dynamic`` is true and the network's graph does not depend on it. It is run and compared with the
    network in PyTorch: 1e-5 of the largest logit is allowed. The other keywords are those of `load_model`.

    Raises `Refused` where the graph does not compute the same, `UsageError` for a wrong call, `ConverterError` where a
    package is missing.
    """
    path, output_path = os.fspath(input), os.fspath(output)
    suffix = os.path.splitext(output_path)[1].lower()
    if suffix not in SUFFIXES:
        raise UsageError("a graph of the target is an .onnx or a .pt2", path=output_path)
    require_torch()
    if suffix == ".onnx":
        require_onnx()
        require_onnxruntime()
    refuse_input(path, output_path)
    refuse_early(output_path, force=force)
    said: dict[str, Any] = {
        "variant": variant,
        "entry": entry,
        "head": head,
        "drop": drop,
        "settings": settings,
        "inverse_std": inverse_std,
    }
    network, info = load_network(path, source, **said)
    graph = _Graph(network, info, path, clip_size, dynamic=dynamic)
    provenance = convert(path, "native.pth", source=source, to="native", dry_run=True, **said).provenance
    record = {"provenance": provenance, "inputs": {name: list(shape) for name, shape in graph.shapes.items()}}
    write, run = (_write_onnx, _run_onnx) if suffix == ".onnx" else (_write_pt2, _run_pt2)
    with staging(output_path) as files:
        name = f"graph{suffix}"
        draft = files.path(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing: what depends on the clip shows in the check
            try:
                write(graph, draft, record)
            except Exception as error:
                if isinstance(error, (ConverterError, OSError)):
                    raise
                raise _not_exported(error, path, dynamic=dynamic) from error
            relative = max(_difference(graph, inputs, run, draft, path) for inputs in graph.clips)
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        files.put(name, os.path.basename(output_path), force=force)
    return ExportedGraph(
        source=without_credentials(path),
        output=output_path,
        info=info,
        inputs=graph.shapes,
        relative=relative,
    )


class _Graph:
    """A network, its inputs by name and what they may be, and the clips that its graph is checked on."""

    def __init__(
        self, network: Network, info: NetworkInfo, path: str, size: Sequence[int] | None, *, dynamic: bool
    ) -> None:
        record = reference_record(info.family)
        small = record.test_clip
        asked = None if size is None else tuple(size)
        if dynamic and record.inputs != ("clip",):
            raise UsageError("only networks with one clip as input can take any size", path=path)
        self.network = network
        self.size = asked or tuple(info.input.get("clip") or (small[2:] if small else ())) or None
        regions = any(name.startswith("roi_head") for name in network.state_dict())
        self.names = (*record.inputs, *(("rois",) if regions else ()))
        sizes = [self.size]
        if dynamic and self.size is not None:
            sizes.append(tuple(have + more for have, more in zip(self.size, LARGER, strict=True)))
        self.clips = [make_inputs(info, None, 0, regions=regions, size=size)[0] for size in sizes]
        self.dynamic = dynamic
        self.shapes: dict[str, tuple[int | str, ...]] = {
            name: tuple(array.shape) for name, array in zip(self.names, self.clips[0], strict=True)
        }
        if dynamic:
            self.shapes["clip"] = (*self.shapes["clip"][:2], *AXES[2:])
        if asked is not None and record.inputs == ("logmels",):
            raise UsageError("this network takes no clip, so it has no clip size", path=path)

    def tensors(self, number: int = 0) -> tuple[Any, ...]:
        """A clip as tensors."""
        torch = require_torch()
        return tuple(torch.from_numpy(array) for array in self.clips[number])


def _write_onnx(graph: _Graph, path: str, record: Mapping[str, Any]) -> None:
    torch, onnx = require_torch(), require_onnx()
    if sum(value.nbytes for value in graph.network.state_dict().values()) > LIMIT:
        raise Refused("an ONNX file of 2 GiB or more could not be read", hint="write a .pt2")
    torch.onnx.export(
        graph.network,
        graph.tensors(),
        path,
        dynamo=False,
        opset_version=OPSET,
        input_names=list(graph.names),
        output_names=["logits"],
        # Without this the norms are folded into the convolutions: the weights would be others under the same names.
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamic_axes={"clip": {axis: AXES[axis] for axis in (2, 3, 4)}} if graph.dynamic else None,
    )
    model = onnx.load(path)
    for key, value in record.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    onnx.save(model, path)


def _run_onnx(graph: _Graph, path: str, inputs: Sequence[Any]) -> Any:
    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], dict(zip(graph.names, inputs, strict=True)))[0]


def _write_pt2(graph: _Graph, path: str, record: Mapping[str, Any]) -> None:
    torch = require_torch()
    sizes = dict.fromkeys((2, 3, 4), torch.export.Dim.AUTO) if graph.dynamic else None
    shapes = None if sizes is None else ((sizes,),)
    program = torch.export.export(graph.network, graph.tensors(), dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={RECORD: json.dumps(record)})


def _run_pt2(graph: _Graph, path: str, inputs: Sequence[Any]) -> Any:
    torch = require_torch()
    module = torch.export.load(path).module()
    with torch.inference_mode():
        return module(*(torch.from_numpy(array) for array in inputs)).numpy()


def _difference(graph: _Graph, inputs: Sequence[Any], run: Any, draft: str, path: str) -> float:
    """The largest difference of the graph's logits from the network's. Raises `Refused` where it is too large."""
    import numpy

    torch = require_torch()
    with torch.inference_mode():
        wanted = graph.network(*map(torch.from_numpy, inputs)).numpy()
    try:
        found = run(graph, draft, inputs)
    except Exception as error:
        raise _not_exported(error, path, dynamic=graph.dynamic) from error
    largest = float(numpy.abs(wanted).max())
    off = float(numpy.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
    relative = off / largest if largest else off
    if not relative <= TOLERANCES["cpu"]:
        sizes = shape_text(inputs[0].shape)
        raise Refused(
            f"its graph does not compute what the network does: {relative:.1e} of the largest logit on {sizes}",
            path=path,
            hint="the graph depends on the clip's size: leave --dynamic out" if graph.dynamic else "",
        )
    return relative


def _not_exported(error: Exception, path: str, *, dynamic: bool) -> Refused:
    why = (str(error).strip().splitlines() or [""])[0][:200]
    return Refused(
        f"PyTorch cannot export this network: {type(error).__name__}: {why}",
        path=path,
        hint="leave --dynamic out" if dynamic else "",
    )
