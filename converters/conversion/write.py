"""Write the output of a conversion: choose its format, write it whole or not at all, read it back."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from converters.errors import ConverterError, Refused, UsageError
from converters.formats.checkpoint import Checkpoint, open_checkpoint
from converters.tensor import same_bytes

from .provenance import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.tensor import Tensor

    from .plan import Plan

SUFFIXES = {
    "pth": (".pth", ".pt", ".pth.tar"),
    "safetensors": (".safetensors",),
    "pickle": (".pkl", ".pickle"),
    "tensorflow": (".ckpt", ".index"),
    "caffe": (".caffemodel",),
    "npz": (".npz",),
    "hdf5": (".h5", ".hdf5"),
    "onnx": (".onnx",),
}
"""The suffixes of each output format."""

OF_LAYOUT = {
    "pytorch": ("pth", "safetensors"),
    "caffe2-pickle": ("pickle", "onnx"),
    "tensorflow": ("tensorflow", "onnx"),
    "caffe": ("caffe", "hdf5", "onnx"),
    "chainer": ("npz", "hdf5", "onnx"),
}
"""The output formats that a layout's format can be written as."""


if TYPE_CHECKING:
    Check = Callable[[str], None]
    Moved = Callable[[int], None]


class Target(Protocol):
    """Whose names an output has: a layout's table, or a side of a mapping."""

    @property
    def name(self) -> str:
        """A word for it."""
        ...

    @property
    def title(self) -> str:
        """The project, for messages."""
        ...

    @property
    def format(self) -> str:
        """What its files come as, one of `mapping.schema.FORMATS`."""
        ...

    @property
    def container(self) -> str:
        """What ``--wrap`` puts around the tensors."""
        ...


class Work(NamedTuple):
    """What is to be written: the input, the plan, the planned tensors, the provenance but for checksums, and
    whether the ecosystem's own wrapper goes around the state dict."""

    checkpoint: Checkpoint
    plan: Plan
    tensors: Sequence[Tensor]
    target: Target
    draft: Mapping[str, Any]
    wrap: bool


class Written(NamedTuple):
    """The provenance as it is in the output, and seconds for each step."""

    provenance: dict[str, Any]
    timings: dict[str, float]


def output_format(path: str, target: Target) -> str:
    """The format of an output, a key of `SUFFIXES`, by its name and layout. Raises `UsageError`."""
    formats = OF_LAYOUT[target.format]
    for name in formats:
        if path.lower().endswith(SUFFIXES[name]):
            return name
    suffixes = [suffix for name in formats for suffix in SUFFIXES[name]]
    raise UsageError(
        f"the output's name must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}",
        path=path,
        hint="the suffix chooses the format",
    )


def refuse_input(path: str, out_path: str) -> None:
    """Raise `UsageError` if an output would be written over an input, also through links."""
    from converters.formats.io.atomic import same_file

    if same_file(path, out_path):
        raise UsageError("input and output are the same file", path=out_path, hint="choose another output")


def refuse_early(out_path: str, *, force: bool) -> None:
    """Raise `Refused` before any work if the output cannot be written."""
    from converters.formats.io.atomic import refuse_output

    refuse_output(out_path, force=force)


def write_output(
    path: str,
    kind: str,
    work: Work,
    *,
    force: bool,
    verify: bool,
    progress: Callable[[int, int], None] | None,
) -> Written:
    """Write the work's tensors as ``kind``, read the file back, and give it its name.

    With ``verify`` every byte is compared with the source, else names, shapes and dtypes. Raises `Refused` where
    something differs or the disk does not take it; nothing is left then.
    """
    times = {"start": perf_counter()}

    def check(temporary: str) -> None:
        times["written"] = perf_counter()
        try:
            _check(temporary, work, verify=verify)
        except ConverterError as error:
            raise Refused(
                f"read back, the output {error.what}", path=path, where=error.where, hint=error.hint
            ) from None
        times["checked"] = perf_counter()

    moved = _counter(progress, sum(tensor.nbytes for tensor in work.tensors)) if progress else None
    writer = {
        "pth": _pth,
        "safetensors": _safetensors,
        "pickle": _pickle,
        "tensorflow": _tensorflow,
        "caffe": _caffe,
        "npz": _npz,
        "onnx": _onnx,
        "hdf5": _hdf5,
    }[kind]
    provenance = writer(path, work, force, check, moved)
    ended = perf_counter()
    written, checked = times.get("written", ended), times.get("checked", ended)
    return Written(
        provenance,
        {"write": written - times["start"], "check": checked - written, "finish": ended - checked},
    )


def _pth(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.io.atomic import replacing
    from converters.formats.io.crc32 import crc32_function
    from converters.formats.pytorch.writer import write_pth

    crc, final = crc32_function(), _Record(work)
    with replacing(path, force=force, check=check) as out:
        write_pth(
            out,
            work.tensors,
            crc=crc,
            progress=moved,
            records=lambda crcs: {"provenance.json": final.text(crcs, crc).encode()},
            wrap=_wrapper(work),
            key="model_state" if work.target.container == "model_state" else "state_dict",
        )
    return final.value


def _safetensors(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.io.atomic import replacing
    from converters.formats.io.crc32 import crc32_function
    from converters.formats.safetensors.writer import write_safetensors

    crc, final = crc32_function(), _Record(work)
    with replacing(path, force=force, check=check) as out:
        write_safetensors(
            out,
            work.tensors,
            crc=crc,
            progress=moved,
            metadata=lambda crcs: {"format": "pt", "provenance": final.text(crcs, crc)},
        )
    return final.value


def _pickle(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.caffe2.pickle_writer import write_caffe2_pickle
    from converters.formats.io.atomic import replacing

    with replacing(path, force=force, check=check) as out:
        write_caffe2_pickle(out, work.tensors, nested=_details(work).get("nested", True))
    return dict(work.draft)


def _tensorflow(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.io.atomic import replacing
    from converters.formats.tensorflow.writer import checkpoint_names, write_tensorflow

    prefix = path.removesuffix(".index")
    data, index = checkpoint_names(prefix)
    # The data get their name first: without the index there is no checkpoint.
    with replacing(index, force=force) as index_out, replacing(data, force=force) as data_out:
        write_tensorflow(data_out, index_out, work.tensors, progress=moved)
    try:
        check(prefix)  # a reader finds the two by their final names only
    except ConverterError:
        os.unlink(index)
        os.unlink(data)
        raise
    return dict(work.draft)


def _caffe(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.caffe.reader import BVLC, NUMBERS, Layer
    from converters.formats.caffe.writer import write_caffemodel
    from converters.formats.io.atomic import replacing

    former = _details(work)
    if work.draft.get("origin", {}).get("layout") != work.target.name or former.get("dialect") not in NUMBERS:
        former = {"dialect": BVLC, "net": former.get("net", ""), "layers": []}
    layers = [Layer(row["name"], row["kind"], row["blobs"]) for row in former.get("layers", ())]
    with replacing(path, force=force, check=check) as out:
        write_caffemodel(
            out,
            work.tensors,
            dialect=former["dialect"],
            net=former.get("net", ""),
            layers=layers,
            progress=moved,
        )
    return dict(work.draft)


def _npz(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.io.atomic import replacing
    from converters.formats.npz.writer import write_npz

    with replacing(path, force=force, check=check) as out:
        write_npz(out, work.tensors, progress=moved)
    return dict(work.draft)


def _hdf5(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.hdf5.writer import write_hdf5
    from converters.formats.io.atomic import replacing

    tensors, groups = list(work.tensors), []
    if work.target.format == "caffe":  # every layer is a group, with or without weights
        tensors = [tensor._replace(name=f"data/{tensor.name}") for tensor in tensors]
        origin = work.draft.get("origin", {})
        layers = _details(work).get("layers", ()) if origin.get("layout") == work.target.name else ()
        groups = [f"data/{layer['name']}" for layer in layers if layer["name"]]
    with replacing(path, force=force, check=check) as out:
        write_hdf5(out, tensors, groups=groups, progress=moved)
    return dict(work.draft)


def _details(work: Work) -> Mapping[str, Any]:
    """What the file that a chain of conversions began with said beside its tensors, if that is known."""
    details: Mapping[str, Any] = work.draft.get("origin", {}).get("details", {})
    return details


def _onnx(path: str, work: Work, force: bool, check: Check, moved: Moved | None) -> dict[str, Any]:
    from converters.formats.io.atomic import replacing
    from converters.formats.io.crc32 import crc32_function
    from converters.formats.onnx.writer import write_onnx
    from converters.mapping.network_info import model_name_in
    from converters.mapping.schema import LayoutTable
    from converters.source_graphs.registry import source_graph, source_net

    network = work.draft.get("network") or {}
    tensors = {tensor.name: tensor for tensor in work.tensors}
    net = work.checkpoint.net
    if net is None or any(row.source != row.target or row.ops for row in work.plan.rows):
        net = source_net(
            tensors,
            settings={name: network[name] for name in ("pool1", "stem_stride") if name in network},
            inverse_std=work.plan.inverse_std,
            model=model_name_in(work.target, network) if isinstance(work.target, LayoutTable) else "",
        )
    graph = source_graph(net, tensors)
    places = {name: place for place, name in enumerate(graph.weights)}
    if unread := tensors.keys() - places.keys():
        raise Refused("the source's network does not read all of its tensors", where=min(unread))
    crc, final = crc32_function(), _Record(work)

    with replacing(path, force=force, check=check) as out:
        write_onnx(
            out,
            graph,
            crc=crc,
            progress=moved,
            metadata=lambda crcs: {"provenance": final.text([crcs[places[name]] for name in tensors], crc)},
        )
    return final.value


def _counter(progress: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    done = 0

    def moved(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return moved


class _Record:
    """The provenance record, completed with the source tensors' checksums once they are known."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.value: dict[str, Any] = dict(work.draft)

    def text(self, crcs: Sequence[int], crc: Callable[[Any, int], int]) -> str:
        """The record as JSON, with the CRC-32 of every source tensor's bytes (little-endian, C order).

        ``crcs`` are those of the written tensors, equal to the source's where the bytes are the same. Zeros, as
        safetensors gives them before the data to learn how long the record will be, stay zeros.
        """
        known = any(crcs)
        sums: dict[str, str] = {}
        for row, written in zip(self._work.plan.rows, crcs, strict=True):
            if row.source is None:
                continue
            value = written
            if known and not all(op.keeps_bytes for op in row.ops):
                value = 0
                for chunk in self._work.checkpoint.tensors[row.source].data.chunks():
                    value = crc(chunk, value)
            sums[row.source] = f"{value:08x}"
            divisor = row.divisor
            if divisor is not None and divisor.name not in sums:
                sums[divisor.name] = f"{crc(divisor.tobytes(), 0) if known else 0:08x}"
        self.value["source"] = {**self._work.draft["source"], "crc32": sums}
        return dump(self.value)


def _wrapper(work: Work) -> Mapping[str, Any] | None:
    """What an ecosystem expects beside the state dict, as plain data; None where no wrapper is wanted, or its
    files are bare."""
    tool = work.draft["tool"]
    if work.wrap and work.target.container == "mmcv":
        return {"meta": {"converted_by": f"{tool['name']} {tool['version']}"}}
    return {} if work.wrap and work.target.container == "model_state" else None


def _check(temporary: str, work: Work, *, verify: bool) -> None:
    """Open what was written and compare names, shapes and dtypes with the plan; with ``verify`` every byte."""
    with open_checkpoint(temporary) as written:
        expected = {row.target: (row.dtype, row.shape) for row in work.plan.rows}
        found = {name: (tensor.dtype, tensor.shape) for name, tensor in written.tensors.items()}
        if expected != found:
            raise Refused("differs from the plan", hint="please report this; nothing was kept")
        if not verify:
            return
        for row in work.plan.rows:
            if not same_bytes(row.tensor(work.checkpoint.tensors), written.tensors[row.target]):
                raise Refused("differs from the source", where=row.target, hint="check disk and memory")
