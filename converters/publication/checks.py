"""The checks before a file is published: its values, its source, and both networks. Each check says in words what
it found, for the model card, and raises `Refused` where something differs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from converters.conversion.convert import convert
from converters.errors import Refused
from converters.formats.open import open_checkpoint
from converters.inspection.diff import diff
from converters.locations import name_of
from converters.printable import printable
from converters.reports.model_card import source_names
from converters.reports.wording import counted
from converters.tensor import FLOATS, known_crc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from converters.inspection.inspect import Inspection
    from converters.mapping.network_info import NetworkInfo


def network_of(inspection: Inspection) -> NetworkInfo:
    """The network of a file in which one was recognised."""
    assert inspection.network is not None
    return inspection.network


def read_through(path: str) -> tuple[str, ...]:
    """Read every tensor, comparing its checksum where it has one."""
    from converters.conversion.tensor_stats import not_finite

    bad = summed = 0
    with open_checkpoint(path) as checkpoint:
        tensors = checkpoint.tensors
        for tensor in tensors.values():
            summed += known_crc(tensor.data) is not None
            if tensor.dtype in FLOATS:
                bad += not_finite(tensor)
            else:
                for _ in tensor.data.chunks():
                    pass
    finite = f"{bad} values are NaN or infinite" if bad else "every value is finite"
    checksums = (
        "checksums included" if summed == len(tensors) else "without checksums, which this format lacks"
    )
    return (f"all {len(tensors)} tensors were read, {checksums}; {finite}",)


def compare_with_source(
    staged: str, source: str, reconverted: str, inspection: Inspection, settings: Mapping[str, object]
) -> str:
    """Convert the source again, with the user's ``settings``, to the file ``reconverted``, and compare every tensor."""
    options: dict[str, Any] = {
        "dtype": _cast(inspection),
        "settings": settings,
        **_recorded_options(inspection, source),
    }
    layout = options.pop("source", None)
    if not network_of(inspection).classes:
        plan = convert(
            source, reconverted, source=layout, to=inspection.layout, **options, force=True, dry_run=True
        )
        options["backbone"] = bool(plan.info and plan.info.classes)
    result = convert(
        source, reconverted, source=layout, to=inspection.layout, **options, force=True, sha256=True
    )
    difference = diff(reconverted, staged, layout_a=inspection.layout, layout_b=inspection.layout)
    unequal = [row for row in difference.rows if row.kind != "equal"]
    if unequal:
        raise Refused(
            f"is not what {name_of(source)} converts to: {counted(len(unequal), 'tensor')} "
            f"{'differs' if len(unequal) == 1 else 'differ'}",
            path=inspection.path,
            where=", ".join(row.name for row in unequal[:3]),
            hint="`convert diff` shows what differs",
        )
    return (
        f"all {len(result.rows)} tensors equal, bit for bit, what `{name_of(source)}` "
        f"(SHA-256 `{result.provenance['source']['sha256']}`) converts to"
    )


def _cast(inspection: Inspection) -> str | None:
    """The dtype that the file was cast to, None if it was not."""
    dtypes = {dtype for _, dtype, _ in inspection.tensors if dtype in FLOATS}
    restore = (inspection.provenance or {}).get("restore", {})
    return dtypes.pop() if len(dtypes) == 1 and restore.get("dtypes") else None


def _recorded_options(inspection: Inspection, source: str) -> dict[str, Any]:
    """How a source was read when the file was made from it, as keywords of `convert`, from the file's record."""
    record = inspection.provenance or {}
    records = [record for _, record in source_names(record)]
    base = printable(name_of(source))
    for number, made_from in enumerate(records, 1):
        if base == made_from["name"] or (
            os.path.isfile(source) and os.path.getsize(source) == made_from.get("size")
        ):
            options = {
                "source": made_from.get("layout"),
                "inverse_std": made_from.get("inverse_std", False),
                "entry": made_from.get("wrapper"),
                "drop": made_from.get("drop"),
                "head": (record.get("origin") or {}).get("head") if number == len(records) else None,
                "variant": network_of(inspection).model or network_of(inspection).variant,
            }
            return {key: value for key, value in options.items() if value}
    return {}


def compare_networks(
    staged: str,
    source: str,
    inspection: Inspection,
    settings: Mapping[str, object],
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """Run both networks on one clip: the largest difference of any block."""
    from converters.verification.outcome import REFERENCE
    from converters.verification.verify import verify

    recorded = _recorded_options(inspection, source)
    options = {key: value for key, value in recorded.items() if key != "source"}
    verification = verify(
        source, staged, layout=inspection.layout, settings=settings, progress=say, **options
    )
    result = verification.functional
    if not verification.ok:
        first = result.first if result else None
        raise Refused(
            f"does not compute what {name_of(source)} does",
            path=inspection.path,
            where=f"first at {first.name}" if first else "",
            hint="`convert verify` shows what differs",
        )
    if result is None:
        return (f"bytes only, the networks were not run: {verification.skipped}",)
    worst = result.worst
    source_side = (
        "both reference networks"
        if result.source_network == REFERENCE
        else "the source framework's network and the reference network"
    )
    return (
        f"on the same clip ({result.clip}; {result.device}) {source_side} "
        f"agree in all {len(result.blocks)} blocks to {worst.relative:.1e} of the largest value ({worst.name}), in the "
        f"logits to {result.blocks[-1].relative:.1e}; {result.tolerance:g} was allowed",
        *verification.declared.notes,
    )
