"""Write the output of a conversion: choose its format, write it whole or not at all, read it back."""

from __future__ import annotations

import os
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from converters._version import __version__
from converters.errors import ConverterError, Refused, UsageError
from converters.formats.format import Content, Wrapper
from converters.formats.io.atomic import refuse_output, replacing_all, same_file
from converters.formats.io.crc32 import crc32_function
from converters.formats.io.file_crc32 import Summed, crc32_in, crc32_of
from converters.formats.open import open_checkpoint
from converters.formats.registry import format_named
from converters.record import Record
from converters.tensor import Held, Tensor, in_file, same_bytes

from .output_format import output_format
from .provenance import dump
from .result import Checksums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.files import SourceFile
    from converters.formats.checkpoint import Checkpoint
    from converters.formats.format import Format
    from converters.formats.graph import Graph
    from converters.formats.io.output_stream import Output as OutputFile

    from .options import WriteOptions
    from .output_format import Target
    from .plan import Plan


class Work(Record):
    """What is to be written: the input, the plan, the planned tensors, the provenance without its checksums
    (``draft``), and what is wrapped around the state dict."""

    checkpoint: Checkpoint
    plan: Plan
    tensors: Sequence[Tensor]
    target: Target
    draft: Mapping[str, Any]
    wrapper: Wrapper | None


class Written(NamedTuple):
    """The provenance in the output, the seconds that each step took, and the checksums if they were asked for."""

    provenance: dict[str, Any]
    timings: dict[str, float]
    checksums: Checksums | None


def wrapper_of(path: str, target: Target, *, wrap: bool) -> Wrapper | None:
    """What is wrapped around an output's state dict: its suffix says so; else, with ``wrap``, it is what the target's
    project uses. None for a bare state dict.

    Raises `UsageError` if the output's format has no wrapper.
    """
    record = format_named(output_format(path, target))
    if wrap and not record.wrappers:
        raise UsageError(
            "only PyTorch's own files have a wrapper", path=path, hint="leave --wrap out, or choose a .pth"
        )
    for suffix, wrapper in record.wrappers.items():
        if path.lower().endswith(suffix):
            return wrapper
    if wrap and target.container == "mmcv":
        converted_by = f"video-checkpoint-converters {__version__}"
        return Wrapper("state_dict", {"meta": {"converted_by": converted_by}})
    return Wrapper("model_state", {}) if wrap and target.container == "model_state" else None


def refuse_input(path: str, out_path: str) -> None:
    """Raise `UsageError` if an output would be written over an input, also through links."""
    if same_file(path, out_path):
        raise UsageError("input and output are the same file", path=out_path, hint="choose another output")


def refuse_early(out_path: str, *, force: bool) -> None:
    """Raise `Refused` before any work if the output cannot be written."""
    refuse_output(out_path, force=force)


def write_output(path: str, kind: str, work: Work, options: WriteOptions) -> Written:
    """Write the work's tensors as ``kind``, read the file back, and give it its name.

    With ``options.check`` every byte is compared with the source, else names, shapes and dtypes. Raises `Refused` if
    something differs or the file cannot be written, and `BadInput` if the input changed meanwhile; nothing is left
    then.
    """
    times = {"start": perf_counter()}
    format_ = format_named(kind)
    check, files = options.check, work.checkpoint.files
    record = _Record(work)
    input_crc = 0

    def read_back(temporary: str) -> None:
        nonlocal input_crc
        times["written"] = perf_counter()
        if options.checksums:
            input_crc = crc32_in([(file, record.summed(file)) for file in files])
        for file in files:
            file.refuse_changed()
        try:
            if check or not _is_confirmed(temporary, format_, work):
                _check(temporary, work, check=check)
        except ConverterError as error:
            raise Refused(
                f"read back, the output {error.told.what}", path=path, where=error.where, hint=error.told.hint
            ) from None
        times["checked"] = perf_counter()

    with replacing_all(format_.files(path), force=options.force, check=read_back) as outputs:
        format_.write(outputs, _content(work, record, options.progress))
    ended = perf_counter()
    written, checked = times.get("written", ended), times.get("checked", ended)
    return Written(
        record.value,
        {"write": written - times["start"], "check": checked - written, "finish": ended - checked},
        _checksums(work.checkpoint, input_crc, outputs) if options.checksums else None,
    )


def _checksums(checkpoint: Checkpoint, input_crc: int, outputs: Sequence[OutputFile]) -> Checksums:
    """The checksums. Of an output, only that is read which its writer has not summed up."""
    return Checksums(
        input=f"{input_crc:08x}",
        size=checkpoint.size,
        files=len(checkpoint.files),
        archive=checkpoint.inside is not None,
        output={os.path.basename(out.path): f"{crc32_of(out.path, out.known):08x}" for out in outputs},
    )


def _content(work: Work, record: _Record, progress: Callable[[int, int], None] | None) -> Content:
    """What the format's writer is given."""
    origin = work.draft.get("origin", {})
    return Content(
        tensors=work.tensors,
        original=origin.get("details", {}),
        same_layout=origin.get("layout") == work.target.name,
        wrapper=work.wrapper,
        slash_keys=work.target.slash_keys,
        provenance=record.text,
        graph=partial(_source_graph, work),
        progress=_counter(progress, sum(tensor.nbytes for tensor in work.tensors)) if progress else None,
    )


def _source_graph(work: Work) -> Graph:
    """The source framework's network over the planned tensors. Raises `Refused` if it does not read all of them."""
    from converters.mapping.network_info import model_name_in
    from converters.mapping.schema import LayoutTable
    from converters.source_graphs.caffe2_predict_net import described_net
    from converters.source_graphs.registry import source_graph, source_net

    network = work.draft.get("network") or {}
    tensors = {tensor.name: tensor for tensor in work.tensors}
    predict_net = work.checkpoint.predict_net
    if predict_net is None or any(row.source != row.target or row.operations for row in work.plan.rows):
        net = source_net(
            tensors,
            settings=network.get("settings") or {},
            inverse_std=work.plan.inverse_std,
            model=model_name_in(work.target, network) if isinstance(work.target, LayoutTable) else "",
            layout=work.target.name,
        )
    else:
        net = described_net(predict_net, work.checkpoint.tensors)
    graph = source_graph(net, tensors)
    if unread := tensors.keys() - graph.weights.keys():
        raise Refused("the source's network does not read all of its tensors", where=min(unread))
    return graph


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
        self._known = False
        self.value: dict[str, Any] = dict(work.draft)

    def text(self, crcs: Sequence[int]) -> str:
        """The record as JSON, with the CRC-32 of every source tensor's bytes (little-endian, C order).

        ``crcs`` are those of the written tensors, equal to the source's where the bytes are the same. Zeros, as
        safetensors gives them before the data to learn how long the record will be, stay zeros.
        """
        crc = crc32_function()
        known = self._known = any(crcs)
        sums: dict[str, str] = {}
        for row, written in zip(self._work.plan.rows, crcs, strict=True):
            if row.source is None:
                continue
            value = written
            if known and not all(op.keeps_bytes for op in row.operations):
                value = 0
                for chunk in self._work.checkpoint.tensors[row.source].data.chunks():
                    value = crc(chunk, value)
            sums[row.source] = f"{value:08x}"
            divisor = row.divisor
            if divisor is not None and divisor.name not in sums:
                sums[divisor.name] = f"{crc(divisor.tobytes(), 0) if known else 0:08x}"
        self.value["source"] = {**self._work.draft["source"], "crc32": sums}
        return dump(self.value)

    def summed(self, file: SourceFile) -> list[Summed]:
        """The ranges of an input file whose CRC-32 is known: those that tensors take as they are."""
        if not self._known:
            return []
        tensors = self._work.checkpoint.tensors
        found = []
        for name, crc in self.value["source"]["crc32"].items():
            data = in_file(tensors[name].data)
            if data is not None and data.file is file:
                found.append(Summed(data.offset, data.offset + data.nbytes, int(crc, 16)))
        return found


def _is_confirmed(temporary: str, format_: Format, work: Work) -> bool:
    """Whether the format can tell without opening the file that it has the plan's names, shapes and dtypes."""
    nothing = Held(b"")
    planned = [Tensor(row.target, row.dtype, row.shape, nothing) for row in work.plan.rows]
    return format_.confirms(temporary, planned, work.wrapper)


def _check(temporary: str, work: Work, *, check: bool) -> None:
    """Open what was written and compare names, shapes and dtypes with the plan; with ``check`` every byte."""
    with open_checkpoint(temporary) as written:
        expected = {row.target: (row.dtype, row.shape) for row in work.plan.rows}
        found = {name: (tensor.dtype, tensor.shape) for name, tensor in written.tensors.items()}
        if expected != found:
            raise Refused("differs from the plan", hint="please report this; nothing was kept")
        if not check:
            return
        for row in work.plan.rows:
            if not same_bytes(row.tensor(work.checkpoint.tensors), written.tensors[row.target]):
                raise Refused("differs from the source", where=row.target, hint="check disk and memory")
