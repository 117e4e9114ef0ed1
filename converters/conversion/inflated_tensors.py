"""Pair the tensors of a 2D network with those of the network that it is inflated to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import Refused
from converters.mapping.agreement import Fault
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import Match
from converters.mapping.names import BATCHES, tensor_slots
from converters.mapping.variants import head_part, modules

from .operations.inflation import Inflate, Pad, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.mapping.names import TensorSlot
    from converters.mapping.variants import Variant
    from converters.tensor import Tensor

    from .operations.base import Operation
    from .row import Row


class InflatedTensor(NamedTuple):
    """How a tensor of the 2D network is inflated: ``row`` leads to its canonical form, ``operations`` from there on."""

    row: Row
    operations: tuple[Operation, ...]

    def tensor(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """The inflated tensor, still lazy, under its canonical name."""
        tensor = self.row.tensor(tensors)
        for op in self.operations:
            tensor = op.apply(tensor)
        return tensor._replace(name=name)

    def before(self, row: Row) -> Row:
        """A row that reads the inflated tensor as a row that reads the file's."""
        return row._replace(
            source=self.row.source,
            operations=(*self.row.operations, *self.operations, *row.operations),
            fill=self.row.fill,
        )


def inflate_tensors(
    match: Match, rows: Iterable[Row], variant: Variant, sizes: dict[str, int], rule: str, path: str
) -> tuple[Match, dict[str, InflatedTensor]]:
    """The inflated network as a match of native names, and how each of its tensors is made.

    ``rows`` lead to the file's tensors under their canonical names. Raises `Refused` if they do not fit.
    """
    by_name = {row.target: row for row in rows}
    counters = {name: row for name, row in by_name.items() if name.endswith(f".{BATCHES}")}
    sources = {name: row for name, row in by_name.items() if name not in counters}
    pairing = _Pairing(match, variant, sizes, rule)
    for slot in tensor_slots(load_layout("native"), variant, sizes, {}):
        pairing.add(slot, sources)
    pairing.finish(sources, path)
    prefix = pairing.prefix
    kept = {prefix + name: row for name, row in counters.items() if row.source is not None}
    pairing.tensors.update({name: InflatedTensor(row, ()) for name, row in kept.items()})
    return pairing.inflated(tuple(kept)), pairing.tensors


class _Pairing:
    """Collects the inflated tensors, slot by slot, and all faults."""

    def __init__(self, match: Match, variant: Variant, sizes: dict[str, int], rule: str) -> None:
        self.match, self.variant, self.sizes, self.rule = match, variant, sizes, rule
        self.prefix = variant.table.inflate.sources[match.variant.family]
        self.head = _of_part(variant, head_part(variant))
        self.source_head = _of_part(match.variant, head_part(match.variant))
        self.lacking = {name for part in variant.table.inflate.lacks for name in _of_part(variant, part)}
        self.tensors: dict[str, InflatedTensor] = {}
        self.slots: list[TensorSlot] = []
        self.faults: list[Fault] = []
        self.partial = False

    def add(self, slot: TensorSlot, sources: dict[str, Row]) -> None:
        """Pair one tensor of the inflated network; takes its source out of ``sources``."""
        name = slot.canonical
        module = name.rpartition(".")[0]
        if module in self.head and self.head != self.source_head:  # another head
            return
        inside = name.startswith(self.prefix)
        row = sources.pop(name.removeprefix(self.prefix), None) if inside else None
        if row is None:
            if not inside or module in self.lacking:
                self.partial = True
            elif module not in self.head:
                self.faults.append(Fault("missing", name))
            return
        shape = tuple(size if isinstance(size, int) else self.sizes[size] for size in slot.shape)
        try:
            operations = tuple(_steps(row.shape, shape, slot, self.variant, self.rule))
        except ValueError as error:
            self.faults.append(Fault("shape", row.source or row.target, str(error)))
            return
        self.tensors[name] = InflatedTensor(row, operations)
        self.slots.append(slot)

    def finish(self, unused: Mapping[str, Row], path: str) -> None:
        """Raise `Refused` with every fault, or if nothing is inflated."""
        self.faults += [
            Fault("unused", row.source or name)
            for name, row in unused.items()
            if name.rpartition(".")[0] not in self.source_head
        ]
        title = self.variant.title
        if self.faults:
            count = len(self.faults)
            raise Refused(
                f"{title} cannot be inflated from {self.match.variant.title}",
                path=path,
                where=f"{count} fault{'s' if count > 1 else ''} such as {self.faults[0]}",
                hint="choose a variant of the same depth",
                faults=tuple(map(str, self.faults)),
            )
        if not any(tensor.operations for tensor in self.tensors.values()):
            raise Refused(
                f"holds {title} already: there is nothing to inflate",
                path=path,
                hint="use `convert` for other names, --channels for other input channels",
            )

    def inflated(self, counters: tuple[str, ...]) -> Match:
        """The inflated network, as far as its tensors are known."""
        headless = not any(slot.canonical.rpartition(".")[0] in self.head for slot in self.slots)
        return Match(
            layout=load_layout("native"),
            variant=self.variant,
            sizes={**self.sizes, "classes": 0} if headless else self.sizes,
            present={head_part(self.variant): False} if headless else {},
            prefix="",
            slots=tuple(self.slots),
            dropped=(),
            counters=counters,
            partial=self.partial,
        )


def _of_part(variant: Variant, part: str) -> set[str]:
    """The canonical names of a part's modules."""
    return {module.name for module in modules(variant) if module.part == part}


def _steps(
    shape: tuple[int, ...], wanted: tuple[int, ...], slot: TensorSlot, variant: Variant, rule: str
) -> Iterator[Operation]:
    """The operations that lead from a tensor of the 2D network to the shape ``wanted``. Raises `ValueError`."""
    declared = variant.table.inflate
    deep = len(wanted) == 5
    if deep and len(shape) == 5 and shape[2] != 1:
        raise ValueError("has a time axis already")
    flat = shape[:2] + shape[3:] if deep and len(shape) == 5 else shape
    slim = wanted[:2] + wanted[3:] if deep else wanted
    if flat != slim:
        if len(flat) != 4 or flat[:1] + flat[2:] != slim[:1] + slim[2:]:
            raise ValueError(f"{_text(shape)}, wanted {_text(wanted)}")
        if slot.shape[1] == declared.spreads:
            yield Spread(channels=wanted[1])
        elif slot.key in declared.pads and flat[1] < slim[1]:
            yield Pad(channels=wanted[1])
        else:
            raise ValueError(f"{_text(shape)}, wanted {_text(wanted)}")
    if deep and (len(shape) == 4 or wanted[2] > 1):
        yield Inflate(frames=wanted[2], centre=rule == "centre")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
