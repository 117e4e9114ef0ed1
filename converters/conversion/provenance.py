"""The record of a conversion that travels inside the output, and what it gives back.

No path, clock or output name is in it: the same input gives the same bytes.
"""

from __future__ import annotations

import json
import os
from math import prod
from typing import TYPE_CHECKING, Any

from converters._version import __version__
from converters.errors import BadInput
from converters.formats.provenance_record import VERSION
from converters.mapping.catalog import layout_names, load_layout, load_network, table_text
from converters.mapping.storage import DIVISOR
from converters.printable import printable
from converters.tensor import ITEMSIZE, filled

from .operations.values import AddUlps, Cast, Divide, Scale, ShiftVariance, ToVariance
from .original_file import OriginalFile
from .rounding import is_exact, pack, rounding_of, ulps_between, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable, NetworkTable
    from converters.tensor import Tensor

    from .operations.base import Operation
    from .plan import Plan

FORM = ("nested", "dialect", "net", "layers")
"""What a file's details say of its form, which the way back takes up: it stands in ``origin`` alone."""

EPS_DIGITS = 15
"""Decimals of a batch norm's eps: what float64 leaves behind them in a sum of two is nothing to shift by."""

EPS_ERROR = 1e-12
"""How far a recorded shift may be from the difference of two eps, for the rounding of float64."""


def record(
    match: Match,
    plan: Plan,
    info: NetworkInfo,
    target: LayoutTable,
    source: Mapping[str, Any],
    restore: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """The record but for the checksums. ``source`` describes the input file, ``restore`` what undoing this
    conversion needs, ``origin`` the file that the first one in a chain began with."""
    return {
        "provenance": VERSION,
        "tool": {"name": "video-checkpoint-converters", "version": __version__},
        "mapping": {
            "source": match.layout.name,
            "target": target.name,
            "network": match.variant.family,
            "sha256": mapping_hash(match, target),
        },
        "layout": target.name,
        "network": info.as_data(),
        "source": dict(source),
        "dropped": list(plan.dropped),
        "notes": list(plan.notes),
        "restore": dict(restore),
        "origin": dict(origin),
    }


def mapping_hash(match: Match, target: LayoutTable) -> str:
    """SHA-256 over the tables that took part: network, source layout, target layout; hexadecimal."""
    return _hash(match.variant.family, match.variant.table, (match.layout, target))


def tables_hash(family: str, source: str, target: str) -> str:
    """What `mapping_hash` is now for a network and two layouts, by name. Raises `OSError` or `ConverterError` where a
    table is not there any more, or is wrong."""
    return _hash(family, load_network(family), (load_layout(source), load_layout(target)))


def _hash(family: str, network: NetworkTable, layouts: Iterable[LayoutTable]) -> str:
    from hashlib import sha256

    families = [family, *sorted(row.network for row in network.compose.values())]
    texts = [table_text("networks", name) for name in families]
    for layout in layouts:
        texts += [table_text("layouts", name) for name in (layout.name, *layout.naming.taken_from)]
    return sha256(b"\0".join(text.replace(b"\r\n", b"\n") for text in texts)).hexdigest()


def dump(provenance: Mapping[str, Any]) -> str:
    """The record as JSON, in one fixed form."""
    return json.dumps(provenance, ensure_ascii=True, separators=(",", ":"))


def origin_of(
    match: Match,
    tensors: Mapping[str, Tensor],
    plan: Plan,
    eps: float,
    details: Mapping[str, Any],
    provenance: Mapping[str, Any] | None,
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """What the first file of a chain of conversions was like, by canonical names: taken over from a former
    record, else described from this file. ``lossy`` tells that something was rounded since. A dry run reads no
    tensor, so it does not tell what rounding takes."""
    rounded = any(
        not is_exact(tensors[row.source].dtype, row.dtype) for row in plan.rows if row.source is not None
    )
    told = (provenance or {}).get("origin")
    if told is not None:
        return {**told, "lossy": told["lossy"] or rounded}
    held = [(entry, tensors[match.prefix + entry.name]) for entry in match.slots if entry.name]
    dtypes = [tensor.dtype for _, tensor in held]
    common = max(sorted(set(dtypes)), key=dtypes.count)
    return {
        "layout": match.layout.name,
        "scope": match.prefix,
        "details": {key: details[key] for key in FORM if key in details},
        "names": chosen_names(match),
        "bn_eps": eps,
        "dtype": common,
        "dtypes": {entry.canonical: tensor.dtype for entry, tensor in held if tensor.dtype != common},
        "shapes": {
            entry.canonical: list(tensor.shape)
            for entry, tensor in held
            if tensor.shape != entry.file_shape(match.sizes)
        },
        "lossy": rounded,
        **({"inverse_std": True} if any(entry.stored.inverse for entry in match.slots) else {}),
        **({"absent": True} if match.layout.naming.absent else {}),
        **({"head": match.layout.naming.head} if match.layout.naming.head else {}),
        **({} if dry_run else _rounding(match, tensors, eps)),
    }


def _rounding(match: Match, tensors: Mapping[str, Tensor], eps: float) -> dict[str, Any]:
    """What the tables alone cannot give back of tensors that the file has in another form: divisors, and what
    rounding takes from what goes over one or is an inverse deviation."""
    names = {entry.canonical: match.prefix + entry.name for entry in match.slots}
    steps: dict[str, str] = {}
    for entry in match.slots:
        ulps = b""
        tensor = tensors[names[entry.canonical]] if entry.name else None
        if tensor is None:
            continue
        if entry.leaf == DIVISOR:
            ulps = ulps_between(tensor, filled(tensor.name, tensor.dtype, tensor.shape, 1.0))
        elif entry.stored.over:
            by = tensors[names[entry.canonical.removesuffix(entry.leaf) + DIVISOR]]
            ulps = rounding_of(Divide(by=by), tensor)
        elif entry.stored.inverse:
            ulps = rounding_of(ToVariance(eps=eps), tensor)
        if any(ulps):
            steps[entry.canonical] = pack(ulps)
    return {"steps": steps} if steps else {}


def restoration(plan: Plan, tensors: Mapping[str, Tensor], *, dry_run: bool = False) -> dict[str, Any]:
    """What must be kept so that this conversion can be undone exactly: dtypes that were cast, and what rounding
    took when a variance was shifted, as steps in the last place. To know these the variances must be read, which a
    dry run does not."""
    dtypes: dict[str, str] = {}
    steps: dict[str, str] = {}
    scaled: dict[str, list[Any]] = {}
    lossy: list[str] = []
    for row in plan.rows:
        if row.source is None:
            continue
        source = tensors[row.source]
        exact = is_exact(source.dtype, row.dtype)
        if row.dtype != source.dtype:
            dtypes[row.target] = source.dtype
        if not exact:
            lossy.append(row.target)
        shift = next((op for op in row.ops if isinstance(op, ShiftVariance) and not op.undoing), None)
        if shift and exact and not dry_run:
            ulps = rounding_of(shift, _before(row.ops, shift, source))
            if any(ulps):
                steps[row.target] = pack(ulps)
        scale = next((op for op in row.ops if isinstance(op, Scale) and not op.undoing), None)
        if scale and exact:
            ulps = rounding_of(scale, _before(row.ops, scale, source))
            scaled[row.target] = [scale.rows, scale.down, pack(ulps) if any(ulps) else ""]
    kept: dict[str, Any] = {}
    if dtypes:
        kept["dtypes"] = dtypes
    if lossy:
        kept["lossy"] = lossy
    if plan.eps_shift:
        kept["variance"] = {"shift": plan.eps_shift, "steps": steps}
    if plan.moved:
        kept["moved"] = {"settings": dict(plan.moved), "tensors": scaled}
    return kept


def chosen_names(match: Match) -> dict[str, str]:
    """The names that the file has for modules that may have several, where not the first."""
    names = match.layout.modules[match.variant.family] if match.layout.modules else None
    return {
        key: names.common[key]
        for key, choices in (names.choices if names else {}).items()
        if names and names.common[key] != choices[0]
    }


def home_of(provenance: Mapping[str, Any] | None) -> LayoutTable | None:
    """The layout that a chain of conversions began with: whose network the weights are of."""
    name = ((provenance or {}).get("origin") or {}).get("layout")
    return load_layout(name) if name in layout_names() else None


def before(
    info: NetworkInfo, provenance: Mapping[str, Any] | None, undo: Mapping[str, tuple[Operation, ...]]
) -> NetworkInfo:
    """The facts that a file's tensors go with once ``undo`` has been done (`undoing`): the batch norms' eps before the
    recorded conversion moved variances, and the settings before it moved those into weights. Raises `BadInput` for a
    record of settings that the network does not have."""
    restore = (provenance or {}).get("restore") or {}
    shift = (restore.get("variance") or {}).get("shift", 0.0) if undo else 0.0
    moved = (restore.get("moved") or {}).get("settings", {})
    if moved.keys() - info.settings.keys():
        raise BadInput("its provenance record does not go with its tensors", hint="convert the source again")
    return info.replace(settings={**info.settings, **moved}).with_eps(
        round(info.bn_eps + float(shift), EPS_DIGITS)
    )


def former(provenance: Mapping[str, Any] | None, target: str) -> OriginalFile | None:
    """What the first file of the chain had been, if ``target`` is its layout again."""
    origin = (provenance or {}).get("origin")
    if origin is None or origin["layout"] != target:
        return None
    shapes = {name: tuple(shape) for name, shape in origin["shapes"].items()}
    return OriginalFile(
        prefix=origin["scope"],
        shapes=shapes,
        dtype=origin["dtype"],
        dtypes=origin["dtypes"],
        lossy=origin["lossy"],
        names=origin["names"],
        steps=origin.get("steps", {}),
        inverse=origin.get("inverse_std", False),
        absent=origin.get("absent", False),
        head=origin.get("head", ""),
    )


def undoing(
    provenance: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
) -> dict[str, tuple[Operation, ...]]:
    """The operations that give back what the recorded conversion took in, by name in this file.

    Only what was added to variances and moved into weights is undone here; shapes and dtypes come back where they
    are wanted. Raises `BadInput` for a record that does not go with the tensors.
    """
    record = provenance or {}
    restore = record.get("restore") or {}
    out: dict[str, tuple[Operation, ...]] = {}
    try:
        if variance := restore.get("variance"):
            eps = record["network"]["settings"]["bn_eps"]
            if abs(record["origin"]["bn_eps"] - eps - variance["shift"]) > EPS_ERROR:
                raise ValueError("shift")
            back = ShiftVariance(amount=float(variance["shift"])).inverse()
            for name, tensor in tensors.items():
                if name.endswith("running_var"):
                    out[name] = _undone(restore, tensor, back, variance["steps"].get(name, ""))
        for name, (rows, down, steps) in (restore.get("moved") or {}).get("tensors", {}).items():
            out[name] = _undone(restore, tensors[name], Scale(rows=rows, down=down).inverse(), steps)
    except (KeyError, TypeError, ValueError):
        raise BadInput(
            "its provenance record does not go with its tensors", hint="convert the source again"
        ) from None
    return out


def _undone(restore: Mapping[str, Any], tensor: Tensor, back: Operation, steps: str) -> tuple[Operation, ...]:
    """An operation undone in the dtype that it was done in, with the steps that rounding took."""
    dtype = restore.get("dtypes", {}).get(tensor.name, tensor.dtype)
    mended = [AddUlps(steps=unpack(steps, prod(tensor.shape) * ITEMSIZE[dtype]))] if steps else []
    if dtype == tensor.dtype:
        return (back, *mended)
    return (Cast(dtype=dtype), back, *mended, Cast(dtype=tensor.dtype))


def _before(ops: Sequence[Operation], until: Operation, tensor: Tensor) -> Tensor:
    for op in ops:
        if op is until:
            break
        tensor = op.apply(tensor)
    return tensor


def source_of(checkpoint: Checkpoint, match: Match | None, *, sha256: bool) -> dict[str, Any]:
    """An input as its output's record describes it. Without a ``match`` it was converted by a mapping file."""
    described: dict[str, Any] = {
        "name": printable(os.path.basename(checkpoint.path)),
        "size": checkpoint.size,
        "layout": match.layout.name if match else "",
        "format": checkpoint.format,
        "container": checkpoint.container,
        "scope": match.prefix if match else "",
        **{key: value for key, value in checkpoint.details.items() if key not in FORM},
    }
    if match and match.has_inverse_std:
        described["inverse_std"] = True
    earlier = (checkpoint.provenance or {}).get("source")
    if earlier is not None:
        described["converted_from"] = earlier
    if sha256:
        described["sha256"] = _sha256(checkpoint)
    return described


def _sha256(checkpoint: Checkpoint) -> str:
    from hashlib import sha256

    digest = sha256()
    for file in checkpoint.files:
        for chunk in file.chunks(0, file.size):
            digest.update(chunk)
    return digest.hexdigest()
