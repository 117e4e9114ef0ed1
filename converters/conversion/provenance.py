"""The provenance record: what the output says of its conversion, and how that is undone.

It has no path, no time and no output name, so the same input gives the same bytes.
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

from converters._version import __version__
from converters.checksums import sha256_of_bytes
from converters.errors import BadInput
from converters.formats.provenance_record import FORM, VERSION
from converters.hashes import digests_of
from converters.locations import is_remote, name_of
from converters.mapping.file_names import OUTSIDE
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.network_tables import load_network
from converters.mapping.settings import made_up_for
from converters.mapping.storage import DIVISOR
from converters.mapping.table_files import layout_names, table_text
from converters.mapping.variants import BN_EPS
from converters.printable import printable
from converters.tensor import ITEMSIZE, filled

from .operations.values import AddUlps, Cast, Divide, Scale, ShiftVariance, ToVariance
from .original_file import OriginalFile, wrong_record
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

EPS_DIGITS = 15
"""Decimals of a batch norm's eps. Smaller differences are rounding errors of float64, not shifts."""

EPS_ERROR = 1e-12
"""How far a recorded shift may be from the difference of two eps: rounding of float64."""


def record(
    match: Match,
    plan: Plan,
    info: NetworkInfo,
    target: LayoutTable,
    source: Mapping[str, Any],
    restore: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """The record without the checksums. ``source`` describes the input file, ``restore`` is what undoing this
    conversion needs, and ``origin`` describes the file that the chain of conversions began with."""
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
    """SHA-256 (hexadecimal) of the tables that were used: network, source layout and target layout."""
    return _hash(match.variant.family, match.variant.table, (match.layout, target))


def tables_hash(family: str, source: str, target: str) -> str:
    """The `mapping_hash` of today's tables for a network and two layouts, by name. Raises `OSError` or
    `ConverterError` if a table is missing or wrong."""
    return _hash(family, load_network(family), (load_layout(source), load_layout(target)))


def _hash(family: str, network: NetworkTable, layouts: Iterable[LayoutTable]) -> str:
    families = [family, *sorted(row.network for row in network.compose.values())]
    texts = [table_text("networks", name) for name in families]
    for layout in layouts:
        texts += [table_text("layouts", name) for name in (layout.name, *layout.naming.taken_from)]
    return sha256_of_bytes(b"\0".join(text.replace(b"\r\n", b"\n") for text in texts))


def dump(provenance: Mapping[str, Any]) -> str:
    """The record as JSON, in one fixed form."""
    return json.dumps(provenance, ensure_ascii=True, separators=(",", ":"))


def describe_origin(
    match: Match,
    tensors: Mapping[str, Tensor],
    plan: Plan,
    eps: float,
    details: Mapping[str, Any],
    provenance: Mapping[str, Any] | None,
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """The first file of a chain of conversions, by canonical names.

    It is copied from the file's own record, or described from this file if it has none. ``lossy`` means that values
    were rounded since. A dry run reads no tensor, so it leaves out what rounding changes.
    """
    rounded = any(
        not is_exact(tensors[row.source].dtype, row.dtype) for row in plan.rows if row.source is not None
    )
    recorded = (provenance or {}).get("origin")
    if recorded is not None:
        return {**recorded, "lossy": recorded["lossy"] or rounded}
    stored = [(slot, tensors[match.file_name(slot)]) for slot in match.slots if slot.name]
    dtypes = [tensor.dtype for _, tensor in stored]
    common = max(sorted(set(dtypes)), key=dtypes.count)
    return {
        "layout": match.layout.name,
        "scope": match.prefix,
        "details": {key: details[key] for key in FORM if key in details},
        "names": alternative_names(match),
        "bn_eps": eps,
        "dtype": common,
        "dtypes": {slot.canonical: tensor.dtype for slot, tensor in stored if tensor.dtype != common},
        "shapes": {
            slot.canonical: list(tensor.shape)
            for slot, tensor in stored
            if tensor.shape != slot.file_shape(match.sizes)
        },
        "lossy": rounded,
        **({"inverse_std": True} if any(slot.stored.inverse for slot in match.slots) else {}),
        **({"absent": True} if match.layout.naming.absent else {}),
        **({"head": match.layout.naming.head.removeprefix(OUTSIDE)} if match.layout.naming.head else {}),
        **({"file_names": _file_names(match)} if match.names else {}),
        **({"lacks": lacks} if (lacks := _lacking_names(match)) else {}),
        **({} if dry_run else _rounding(match, tensors, eps)),
    }


def _file_names(match: Match) -> dict[str, str]:
    """The file's names that its prefix alone does not give, by the layout's."""
    return {name.removeprefix(OUTSIDE): in_file for name, in_file in match.names.items()}


def _lacking_names(match: Match) -> list[str]:
    """The names of tensors with several that the file does not have."""
    if match.layout.further_names(match.variant.name) is None:
        return []
    stored = {slot.name for slot in match.slots}
    canonical = {slot.canonical for slot in match.slots}
    return [
        slot.name
        for slot in tensor_slots(match.layout, match.variant, match.sizes, match.present)
        if slot.name not in stored and slot.canonical in canonical
    ]


def _rounding(match: Match, tensors: Mapping[str, Tensor], eps: float) -> dict[str, Any]:
    """What the tables alone cannot restore of tensors that the file stores in another form: divisors, and what
    rounding changes in quotients and inverse standard deviations."""
    names = {slot.canonical: match.file_name(slot) for slot in match.slots}
    steps: dict[str, str] = {}
    for slot in match.slots:
        ulps = b""
        tensor = tensors[names[slot.canonical]] if slot.name else None
        if tensor is None:
            continue
        if slot.leaf == DIVISOR:
            ulps = ulps_between(tensor, filled(tensor.name, tensor.dtype, tensor.shape, 1.0))
        elif slot.stored.over:
            divisor = tensors[names[slot.canonical.removesuffix(slot.leaf) + DIVISOR]]
            ulps = rounding_of(Divide(by=divisor), tensor)
        elif slot.stored.inverse:
            ulps = rounding_of(ToVariance(eps=eps), tensor)
        if any(ulps):
            steps[slot.canonical] = pack(ulps)
    return {"steps": steps} if steps else {}


def restore_data(plan: Plan, tensors: Mapping[str, Tensor], *, dry_run: bool = False) -> dict[str, Any]:
    """What must be recorded so that this conversion can be undone exactly.

    These are the dtypes before casts, and what rounding changed when a variance was shifted or a weight scaled, in
    steps of the last place. For the steps the variances are read, but not in a dry run.
    """
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
        shift = next((op for op in row.operations if isinstance(op, ShiftVariance) and not op.undoing), None)
        if shift and exact and not dry_run:
            ulps = rounding_of(shift, _input_of(row.operations, shift, source))
            if any(ulps):
                steps[row.target] = pack(ulps)
        scale = next((op for op in row.operations if isinstance(op, Scale) and not op.undoing), None)
        if scale and exact:
            ulps = rounding_of(scale, _input_of(row.operations, scale, source))
            scaled[row.target] = [scale.rows, scale.down, pack(ulps) if any(ulps) else ""]
    restore: dict[str, Any] = {}
    if dtypes:
        restore["dtypes"] = dtypes
    if lossy:
        restore["lossy"] = lossy
    if plan.eps_shift:
        restore["variance"] = {"shift": plan.eps_shift, "steps": steps}
    if plan.moved:
        restore["moved"] = {"settings": dict(plan.moved), "tensors": scaled}
    return restore


def alternative_names(match: Match) -> dict[str, str]:
    """The file's names of modules that may have several names, without those that have the first."""
    names = match.layout.modules[match.variant.family] if match.layout.modules else None
    return {
        key: names.common[key]
        for key, choices in (names.choices if names else {}).items()
        if names and names.common[key] != choices[0]
    }


def find_origin_layout(provenance: Mapping[str, Any] | None) -> LayoutTable | None:
    """The layout that a chain of conversions began with. The weights belong to its network."""
    name = ((provenance or {}).get("origin") or {}).get("layout")
    return load_layout(name) if name in layout_names() else None


def info_after_undo(
    info: NetworkInfo, provenance: Mapping[str, Any] | None, undo: Mapping[str, tuple[Operation, ...]]
) -> NetworkInfo:
    """The network that a file's tensors belong to after ``undo`` (from `undo_operations`).

    Its eps is the one before the recorded conversion shifted variances, and its settings those before it folded them
    into weights. Raises `BadInput` for a record of settings that the network does not have.
    """
    restore = (provenance or {}).get("restore") or {}
    shift = (restore.get("variance") or {}).get("shift", 0.0) if undo else 0.0
    moved = (restore.get("moved") or {}).get("settings", {})
    if moved.keys() - info.settings.keys():
        raise BadInput("its provenance record does not fit its tensors", hint="convert the source again")
    return info.replace(settings={**info.settings, **moved}).with_eps(
        round(info.bn_eps + float(shift), EPS_DIGITS)
    )


def is_true_eps(provenance: Mapping[str, Any] | None) -> bool:
    """Whether the eps of a record's origin is that of its network, before the recorded shift."""
    record = provenance or {}
    if "origin" not in record or not isinstance(record.get("network"), dict):
        return True
    shift = (record.get("restore", {}).get("variance") or {}).get("shift", 0.0)
    eps = record["network"].get("settings", {}).get(BN_EPS, 0.0)
    return bool(abs(record["origin"]["bn_eps"] - eps - shift) <= EPS_ERROR)


def read_original(provenance: Mapping[str, Any] | None, target: str) -> OriginalFile | None:
    """The file that the chain of conversions began with, if ``target`` is its layout."""
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
        file_names=origin.get("file_names", {}),
        lacks=frozenset(origin.get("lacks", ())),
    )


def undo_operations(
    provenance: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
) -> dict[str, tuple[Operation, ...]]:
    """The operations that undo the recorded conversion, by name in this file.

    They undo only shifted variances and scaled weights; `make_plan` restores shapes and dtypes. Raises `BadInput`
    for a record that does not match the tensors.
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
                    out[name] = _inverse(restore, tensor, back, variance["steps"].get(name, ""))
        for name, (rows, down, steps) in (restore.get("moved") or {}).get("tensors", {}).items():
            out[name] = _inverse(restore, tensors[name], Scale(rows=rows, down=down).inverse(), steps)
    except (KeyError, TypeError, ValueError):
        raise BadInput(
            "its provenance record does not fit its tensors", hint="convert the source again"
        ) from None
    return out


def refuse_foreign_steps(match: Match, provenance: Mapping[str, Any] | None) -> None:
    """Raise `BadInput` for a record that undoes what our own conversion never does to this network: weights scaled that
    make up for no setting, or by another number of rows, or steps of tensors that are not variances."""
    restore = (provenance or {}).get("restore") or {}
    moved = restore.get("moved") or {"settings": {}, "tensors": {}}
    lines = match.variant.table.folded_settings
    slots = {match.file_name(slot): slot for slot in match.slots if slot.name}
    keys = {key: name for name in moved["settings"] for key in lines.get(name, ())}
    expected = {name: slot for name, slot in slots.items() if slot.key in keys}
    movable = made_up_for(match.variant) | match.variant.table.given.keys()
    is_own = moved["settings"].keys() <= movable and moved["tensors"].keys() <= expected.keys()
    for name, (rows, down, _) in moved["tensors"].items() if is_own else ():
        slot = expected[name]
        size = slot.shape[0] if slot.shape else 1
        is_own &= rows == (size if isinstance(size, int) else match.sizes[size])
        is_own &= down == bool(moved["settings"][keys[slot.key]])
    variances = {name for name, slot in slots.items() if slot.leaf == "running_var"}
    is_own &= (restore.get("variance") or {"steps": {}})["steps"].keys() <= variances
    if not is_own:
        raise wrong_record()


def _inverse(
    restore: Mapping[str, Any], tensor: Tensor, back: Operation, steps: str
) -> tuple[Operation, ...]:
    """The operation ``back`` in the dtype of the recorded one, then the steps that correct its rounding."""
    dtype = restore.get("dtypes", {}).get(tensor.name, tensor.dtype)
    corrections = [AddUlps(steps=unpack(steps, prod(tensor.shape) * ITEMSIZE[dtype]))] if steps else []
    if dtype == tensor.dtype:
        return (back, *corrections)
    return (Cast(dtype=dtype), back, *corrections, Cast(dtype=tensor.dtype))


def _input_of(ops: Sequence[Operation], operation: Operation, tensor: Tensor) -> Tensor:
    """The tensor that reaches one operation of a row."""
    for op in ops:
        if op is operation:
            break
        tensor = op.apply(tensor)
    return tensor


def describe_source(checkpoint: Checkpoint, match: Match | None, *, sha256: bool) -> dict[str, Any]:
    """The input, for the output's record. It has no ``match`` if it was converted by a mapping file."""
    described: dict[str, Any] = {
        "name": printable(name_of(checkpoint.path)),
        **({"address": printable(checkpoint.path)} if is_remote(checkpoint.path) else {}),
        "size": checkpoint.size,
        "layout": match.layout.name if match else "",
        "format": checkpoint.format,
        "container": checkpoint.container,
        "scope": match.prefix if match else "",
        **{key: value for key, value in checkpoint.details.items() if key not in FORM},
    }
    if match and match.has_inverse_std:
        described["inverse_std"] = True
    if match and match.told:
        described["drop"] = list(match.told)
    previous = (checkpoint.provenance or {}).get("source")
    if previous is not None:
        described["converted_from"] = previous
    if sha256:
        described |= digests_of(checkpoint.files, ["sha256"])
    return described
