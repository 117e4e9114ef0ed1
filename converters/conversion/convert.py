"""Convert a checkpoint, by the tables or by a mapping file of the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

from converters.errors import UsageError
from converters.spelling import did_you_mean_or_list
from converters.tensor import FLOATS

from .convert_by_layout import convert_by_layout
from .execute import refuse_paths
from .options import (
    VERIFY_OPTIONS,
    MappingFile,
    NetworkOptions,
    ReadOptions,
    Request,
    WriteOptions,
    require_types,
)
from .result import Result


def convert(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    to: str | None = None,
    source: str | None = None,
    entry: str | None = None,
    checksum: bool = True,
    sha256: bool = False,
    variant: str | None = None,
    head: str | None = None,
    backbone: bool = False,
    drop: Sequence[str] = (),
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
    mean: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    force: bool = False,
    dry_run: bool = False,
    check: bool = False,
    verify: bool = False,
    wrap: bool = False,
    dtype: str | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
    mapping: str | os.PathLike[str] | None = None,
    reverse: bool = False,
    accept_unsure: bool = False,
) -> Result:
    """Convert a checkpoint file.

    The output's suffix chooses its format: ``.pth``, ``.pt``, ``.safetensors`` or the layout's own; ``.onnx`` for the
    source framework's own network with its weights; ``.pyth`` and ``.ckpt`` for the wrapper that PySlowFast's and
    Lightning's files have around the state dict. It appears whole or not at all.

    Layouts:

    * ``to``: the output's (default: the source's own default), such as ``"mmaction2"``.
    * ``source``: the input's, such as ``"vmz"``, or ``"onnx"`` for that of an ONNX model. It is recognised by default.

    How the input is read:

    * ``entry``: the path of a state dict in a PyTorch file (``"ema_state_dict"``), or the averages in a TensorFlow or
      Flax file (``"ema_params"``), where not the plain weights are wanted.
    * ``checksum``: compare the checksums in the input.
    * ``sha256``: put the input's hash into the output's record.

    What names and shapes do not tell of the network:

    * ``variant``: its name, if several fit; ``settings``: properties such as ``{"pool1": True}``.
    * ``head``: what the file calls the last layer, where that is not the layout's name.
    * ``backbone``: leave the head out; ``drop``: leave out every tensor that one of these patterns matches
      (``["criterion.*"]``).
    * ``inverse_std``: the file has inverse standard deviations for variances, as TSN's may.
    * ``mean``: the mean file that goes with the weights: its shape, checksum and channels' means are recorded.
    * ``labels``: a file of the classes' names, one a line or JSON, which go into the output.

    How the output is written:

    * ``force``: replace an existing one; ``dry_run``: only plan; ``wrap``: put the project's own wrapper around the
      state dict; ``dtype``: cast to ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``; ``strict``: refuse
      NaN and Inf.
    * ``check``: read the output back and compare every tensor with the source.
    * ``verify``: then prove it as the function `verify` does; the result's ``verification`` says whether it agrees.
    * ``progress``: called with (bytes done, bytes in all).

    Instead of layouts and networks:

    * ``mapping``: a mapping file of your own; ``reverse``: read it from right to left; ``accept_unsure``: take rows in
      it that nobody has confirmed.

    Raises `ConverterError`: `Refused` where the conversion cannot be done, `BadInput` where the input cannot
    be read, `UsageError` where the call is wrong.
    """
    request = Request(
        input=_path("input", input),
        output=_path("output", output),
        source=source,
        to=to,
        read=ReadOptions(entry=entry, checksum=checksum, sha256=sha256),
        network=NetworkOptions(
            variant=variant,
            head=head,
            backbone=backbone,
            drop=(drop,) if isinstance(drop, str) else tuple(drop),
            settings=settings,
            inverse_std=inverse_std,
            mean=None if mean is None else _path("mean", mean),
            labels=None if labels is None else _path("labels", labels),
        ),
        write=WriteOptions(
            force=force,
            dry_run=dry_run,
            check=check,
            wrap=wrap,
            dtype=dtype,
            strict=strict,
            progress=progress,
        ),
        mapping=None if mapping is None else MappingFile(_path("mapping", mapping), reverse, accept_unsure),
    )
    require_types(request)
    if mapping is None and (reverse or accept_unsure):
        raise UsageError("--reverse and --accept-unsure need a mapping file", hint="name it with --mapping")
    if verify:
        _require_verifiable(request)
    result = carry_out(request)
    return _verified(result, request) if verify else result


def _path(name: str, value: str | os.PathLike[str]) -> str:
    """A path as text. Raises `TypeError`, with the argument's name, for anything else."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(value).__name__}")
    return os.fspath(value)


def carry_out(request: Request) -> Result:
    """Do what is asked. Raises as `convert` does."""
    dtype = request.write.dtype
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"dtype {dtype!r} is unknown", hint=did_you_mean_or_list(dtype, FLOATS))
    refuse_paths(request.input, request.output, force=request.write.force)
    if request.mapping is None:
        return convert_by_layout(request)
    if request.source is not None or request.to is not None or request.network != NetworkOptions():
        raise UsageError(
            "a mapping file only renames tensors",
            hint="leave out the layout, --to and the network's options",
        )
    from .convert_by_mapping import convert_by_mapping

    return convert_by_mapping(request.mapping, request)


def _verified(result: Result, request: Request) -> Result:
    """The result with its verification. What verifies lies above what converts, and is known by its name only."""
    verify = import_module("converters.verification.verify").verify
    given = {**request.read.as_dict(), **request.network.as_dict()}
    options = {name: given[name] for name in VERIFY_OPTIONS}
    layout = None if request.source == "onnx" else request.source
    found = verify(request.input, result.output, source_layout=layout, layout=result.target, **options)
    return result.replace(verification=found)


def _require_verifiable(request: Request) -> None:
    """Raise `UsageError`, before any work, if the conversion cannot be verified."""
    if request.write.dry_run:
        raise UsageError("--verify cannot be combined with --dry-run", hint="use one of the two")
    if request.mapping is not None:
        raise UsageError(
            "--verify cannot be combined with --mapping",
            hint="a mapping file names no network; --check compares every tensor",
        )
