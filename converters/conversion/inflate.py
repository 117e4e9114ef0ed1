"""Networks over frames as the beginning of others: kernels get a time axis, or other input channels.

What is in a frame's kernel goes into every frame of a clip's, divided by their number, or into the middle one; the mean
over a kernel's input channels goes into every channel of optical flow; a pathway that sees more channels than there are
gets zeros for them. There is no way back: the tables say which families' modules are those of another network, not how
these came about.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import Refused, UsageError
from converters.formats.open import open_checkpoint
from converters.mapping.agreement import Fault
from converters.mapping.catalog import layout_names, load_layout, load_network, models, network_names
from converters.mapping.globs import is_for
from converters.mapping.match import Match, with_inverse_std
from converters.mapping.names import BATCHES, families, tensor_slots
from converters.mapping.network_info import network_info, require_unambiguous
from converters.mapping.variants import head_part, modules, variants

from .convert import UNCHECKED, Result, WriteOptions, carry_out, chosen_format, refuse_unlike, source_of
from .operations import Inflate, Pad, Spread
from .plan import Plan, make_plan
from .provenance import record
from .recognize import recognize
from .write import refuse_early, refuse_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.mapping.names import TensorSlot
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant
    from converters.tensor import Tensor

    from .operations import Op
    from .plan import Row

RULES = ("average", "centre")

_OF_PIXELS = ("order", "range", "mean", "std", "labels", "labels_notice")
"""What the weights of a frame network say of their input, and of their classes, wherever they go."""


class Way(NamedTuple):
    """What a tensor of the frame network becomes: ``row`` leads to its canonical form, ``ops`` on from there."""

    row: Row
    ops: tuple[Op, ...]

    def tensor(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """The tensor of the network that begins so, still lazy, under its canonical name."""
        tensor = self.row.tensor(tensors)
        for op in self.ops:
            tensor = op.apply(tensor)
        return tensor._replace(name=name)

    def before(self, row: Row) -> Row:
        """A row over the network's tensors as one over the file's."""
        return row._replace(
            source=self.row.source, ops=(*self.row.ops, *self.ops, *row.ops), fill=self.row.fill
        )


def inflate(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    variant: str,
    model: str | None = None,
    to: str = "native",
    rule: str = "average",
    channels: int | None = None,
    inverse_std: bool = False,
    wrap: bool = False,
    force: bool = False,
    check: bool = False,
    sha256: bool = False,
    checksum: bool = True,
    dry_run: bool = False,
) -> Result:
    """Write the network ``variant``, a network's name or a model's, with the weights of a frame network.

    ``model`` is one of the layout's models, where ``variant`` is a network of which the layout has several.
    ``rule`` says what becomes of a kernel: ``"average"``, the frame's kernel over the number of frames in every
    frame, or ``"centre"``, the kernel itself in the middle one and zeros in the others. ``channels`` are the input
    channels of the output, where these are to be others than the file's: each gets the mean over those. All else is
    copied, the classifier too. Of SlowFast the output is the slow pathway, whose kernels get zeros for the channels
    that come from the fast one; a network with another head is written without. ``to`` is the output's layout; the
    others are as in `convert`.

    Raises `Refused` for a file of no frame network, a variant that is not built from one, and tensors that do not
    fit; `UsageError` and `BadInput` as `convert` does.
    """
    path, out_path = os.fspath(input_path), os.fspath(output_path)
    if rule not in RULES:
        raise UsageError(f"a kernel is inflated by {' or '.join(RULES)}, not {rule!r}")
    if channels is not None and channels < 1:
        raise UsageError(f"{channels} input channels are none")
    if to not in layout_names():
        raise UsageError(f"there is no layout {to!r}", hint=f"there are {', '.join(layout_names())}")
    started = perf_counter()
    refuse_input(path, out_path)
    refuse_early(out_path, force=force)
    target = load_layout(to)
    write_format = chosen_format(out_path, target, wrap)
    with open_checkpoint(path, checksum=checksum) as checkpoint:
        for file in checkpoint.files:
            refuse_input(file.path, out_path)
        read = perf_counter()
        fitted = recognize(checkpoint, None, ask=False)
        one = _variant(fitted, target, variant, path)
        chosen = _model(target, one, variant, model, path)
        if inverse_std:
            fitted = with_inverse_std(fitted)
        held = network_info(fitted, checkpoint.provenance)
        flat = make_plan(fitted, checkpoint.tensors, load_layout("native"), held, eps=held.bn_eps, path=path)
        clip, ways = _begun(fitted, flat.rows, one, _bound(fitted, target, one, chosen, channels), rule, path)
        grown = {name: way.tensor(checkpoint.tensors, name) for name, way in ways.items()}
        own = require_unambiguous(
            network_info(clip._replace(layout=target), None, model=chosen), path, option="--model"
        )
        kept = {name: held.settings[name] for name in one.table.inflate.keeps if name in held.settings}
        own = own._replace(settings={**own.settings, **kept})
        eps = own.bn_eps
        plan = make_plan(clip, grown, target, own.with_eps(held.bn_eps), eps=eps, path=path)
        rows = [row if row.source is None else ways[row.source].before(row) for row in plan.rows]
        notes = [*flat.notes, *plan.notes, *_notes(rows, clip, held, one)]
        if not checksum:
            notes.append(UNCHECKED)
        if not dry_run:
            for name, value in plan.implied:
                refuse_unlike(grown[name], value, path, where=ways[name].row.source or name)
        plan = plan._replace(
            rows=tuple(rows), dropped=_dropped(fitted, rows), notes=tuple(notes), implied=flat.implied
        )
        described = own._replace(input=_input(held, own), model="")

        def describe(plan: Plan) -> dict[str, Any]:
            source = source_of(checkpoint, fitted.layout.name, fitted.prefix, sha256=sha256)
            begun = {
                "layout": fitted.layout.name,
                "scope": fitted.prefix,
                "details": {},
                "names": {},
                "bn_eps": held.bn_eps,
                "dtype": "float32",
                "dtypes": {},
                "shapes": {},
                "lossy": True,
            }
            inflated = {**source, "inflated": rule, "network": held.variant}
            return record(fitted, plan, described, target, inflated, {}, begun)

        result = Result(
            path,
            None,
            described,
            fitted.layout.name,
            target.name,
            timings={"read": read - started, "plan": perf_counter() - read},
        )
        wish = WriteOptions(out_path, write_format, wrap, force, check, False, dry_run, None)
        return carry_out(checkpoint, plan, target, describe, wish, result)


def _variant(fitted: Match, target: LayoutTable, name: str, path: str) -> Variant:
    """The variant asked for, of a family that begins with the file's."""
    given = fitted.variant.family
    into = [
        one
        for family in network_names()
        if given in load_network(family).inflate.sources and family in families(target)
        for one in variants(family)
        if not target.support_for(one.name).unsupported
    ]
    if not into:
        raise Refused(
            f"holds {fitted.variant.title}, which no network of {target.title} is inflated from",
            path=path,
            hint="ResNet-50 and -101 over frames can be, and BN-Inception, which other channels are for",
        )
    named = [one for one in into if one.name == name]
    if not named:
        blocks = fitted.variant.values.get("blocks")
        of_model = [one for one in into if name in _models(target, one)]
        named = [one for one in of_model if one.values.get("blocks") == blocks] or of_model[:1]
    if named and all(_alike(named[0], other) for other in named):
        return named[0]
    if named:
        raise Refused(
            f"{name!r} is a model of {len(named)} networks that are inflated from {fitted.variant.title}",
            path=path,
            where=", ".join(one.name for one in named),
            hint=f"say which with --variant, and --model {name}",
        )
    known = [one for family in network_names() for one in variants(family) if one.name == name]
    foreign = [one.title for one in known if given not in one.table.inflate.sources]
    raise Refused(
        f"holds {fitted.variant.title}, whose kernels are not those of {foreign[0]}"
        if foreign
        else f"{target.title} has no network {name!r} that is inflated from {fitted.variant.title}",
        path=path,
        hint=f"--variant may be {', '.join(one.name for one in into)}",
    )


def _alike(one: Variant, other: Variant) -> bool:
    """Whether two networks have the same kernels where both have a convolution, so that they begin alike."""
    shapes = {module.name: module.shape for module in modules(one) if module.kind.startswith("conv")}
    return all(shapes.get(module.name, module.shape) == module.shape for module in modules(other))


def _models(target: LayoutTable, one: Variant) -> list[str]:
    """The names of a layout's models of a network."""
    return [row.name for row in models(target) if is_for(row.variants, one.name)]


def _model(target: LayoutTable, one: Variant, variant: str, model: str | None, path: str) -> str:
    """The model asked for, or the network's own name, which asks for none."""
    if model is None:
        return variant
    known = _models(target, one)
    if model not in known:
        raise Refused(
            f"{target.title} has no model {model!r} of {one.title}",
            path=path,
            hint=f"--model may be {', '.join(known)}" if known else "leave --model out",
        )
    return model


def _bound(
    fitted: Match, target: LayoutTable, one: Variant, name: str, channels: int | None
) -> dict[str, int]:
    """The sizes of the network that begins: the file's, and the frames of kernels that the table or a model says."""
    sizes_of = {row.name: row.sizes for row in models(target)}
    listed = {**one.values, **sizes_of.get(name, {})}
    frames = {hole: sizes[0] for hole, sizes in listed.items() if hole.endswith("_t")}
    return {**fitted.sizes, **frames, **({} if channels is None else {"channels": channels})}


def _begun(
    fitted: Match, flat: Iterable[Row], one: Variant, sizes: dict[str, int], rule: str, path: str
) -> tuple[Match, dict[str, Way]]:
    """The network that begins with a file's tensors, as far as these go, and for each of its tensors what it is of.

    ``flat`` are the file's tensors under their canonical names.
    """
    rows = {row.target: row for row in flat}
    prefix = one.table.inflate.sources[fitted.variant.family]
    native = load_layout("native")
    counters = {name: row for name, row in rows.items() if name.endswith(f".{BATCHES}")}
    sources = {name: row for name, row in rows.items() if name not in counters}
    own, theirs = (_of_part(network, head_part(network)) for network in (one, fitted.variant))
    ways: dict[str, Way] = {}
    held: list[TensorSlot] = []
    faults: list[Fault] = []
    beside = False
    lacked = {name for part in one.table.inflate.lacks for name in _of_part(one, part)}
    for entry in tensor_slots(native, one, sizes, {}):
        name = entry.canonical
        module = name.rpartition(".")[0]
        if module in own and own != theirs:  # another head
            continue
        row = sources.pop(name.removeprefix(prefix), None) if name.startswith(prefix) else None
        if row is None:
            if not name.startswith(prefix) or module in lacked:
                beside = True
            elif module not in own:
                faults.append(Fault("missing", name))
            continue
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in entry.shape)
        try:
            ops = tuple(_steps(row.shape, shape, entry, one, rule))
        except ValueError as error:
            faults.append(Fault("shape", row.source or row.target, str(error)))
            continue
        ways[name] = Way(row, ops)
        held.append(entry)
    faults += [
        Fault("unused", row.source or name)
        for name, row in sources.items()
        if name.rpartition(".")[0] not in theirs
    ]
    if faults:
        raise Refused(
            f"{one.title} does not begin with {fitted.variant.title}",
            path=path,
            where=f"{len(faults)} fault{'s' if len(faults) > 1 else ''} such as {faults[0]}",
            hint="choose a variant of the same depth",
            faults=tuple(map(str, faults)),
        )
    if not any(way.ops for way in ways.values()):
        raise Refused(
            f"holds {one.title} as it is: nothing is to be inflated",
            path=path,
            hint="use `convert` for other names, --channels for other input channels",
        )
    headless = not any(entry.canonical.rpartition(".")[0] in own for entry in held)
    ways |= {prefix + name: Way(row, ()) for name, row in counters.items() if row.source is not None}
    clip = Match(
        native,
        one,
        {**sizes, "classes": 0} if headless else sizes,
        {head_part(one): False} if headless else {},
        "",
        tuple(held),
        (),
        tuple(prefix + name for name, row in counters.items() if row.source is not None),
        partial=beside,
    )
    return clip, ways


def _of_part(one: Variant, part: str) -> set[str]:
    """The canonical names of a part's modules."""
    return {module.name for module in modules(one) if module.part == part}


def _steps(
    shape: tuple[int, ...], wanted: tuple[int, ...], entry: TensorSlot, one: Variant, rule: str
) -> Iterator[Op]:
    """What leads from a tensor of the frame network to one of ``wanted``. Raises `ValueError` in words."""
    declared = one.table.inflate
    deep = len(wanted) == 5
    if deep and len(shape) == 5 and shape[2] != 1:
        raise ValueError("has a time axis already")
    flat = shape[:2] + shape[3:] if deep and len(shape) == 5 else shape
    slim = wanted[:2] + wanted[3:] if deep else wanted
    if flat != slim:
        if len(flat) != 4 or flat[:1] + flat[2:] != slim[:1] + slim[2:]:
            raise ValueError(f"{_text(shape)}, wanted {_text(wanted)}")
        if entry.shape[1] == declared.spreads:
            yield Spread(wanted[1])
        elif entry.key in declared.pads and flat[1] < slim[1]:
            yield Pad(wanted[1])
        else:
            raise ValueError(f"{_text(shape)}, wanted {_text(wanted)}")
    if deep and (len(shape) == 4 or wanted[2] > 1):
        yield Inflate(wanted[2], rule == "centre")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _notes(rows: Iterable[Row], clip: Match, held: NetworkInfo, one: Variant) -> Iterator[str]:
    """What became of the tensors, by number, and what the output lacks."""
    rows = list(rows)
    ops = [op for row in rows for op in row.ops if isinstance(op, (Inflate, Spread, Pad))]
    counts: dict[str, int] = {}
    for op in ops:
        said = op.describe() if not isinstance(op, Inflate) or op.frames > 1 else "given a time axis of one"
        counts[said] = counts.get(said, 0) + 1
    told = ", ".join(f"{number} {said}" for said, number in counts.items())
    yield f"of {held.title}'s kernels {told}, all else copied: a start for training, without a way back"
    if clip.partial:
        yield (
            f"this is a part of {one.title}: no frame network tells what its other tensors begin with, so load it "
            "with strict=False"
        )
    elif not clip.sizes["classes"] and held.classes:
        yield f"{one.title}'s head is another, so there is none in the output"


def _dropped(fitted: Match, rows: Iterable[Row]) -> tuple[str, ...]:
    """The file's tensors that the output has nothing of, as far as they are no counters."""
    used = {row.source for row in rows}
    names = (fitted.prefix + entry.name for entry in fitted.slots if entry.name)
    return (*(name for name in names if name not in used), *fitted.dropped)


def _input(held: NetworkInfo, own: NetworkInfo) -> dict[str, Any]:
    """Clip and crop are the network's that begins; so is all of what it sees other channels of, else the file's."""
    if held.channels != own.channels:
        return dict(own.input)
    kept = {key: value for key, value in own.input.items() if key not in _OF_PIXELS}
    return {**kept, **{key: value for key, value in held.input.items() if key in _OF_PIXELS}}
