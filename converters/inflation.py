"""Two-dimensional networks as the beginning of three-dimensional ones: kernels get a time axis.

What is in a frame's kernel goes into every frame of a clip's, divided by their number, or into the middle one. There is
no way back: the tables say which families' modules are those of a frame network, not how these came about.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .checkpoint import open_checkpoint
from .conversion import UNCHECKED, Result, Wish, carry_out, chosen_format, source_of
from .errors import Refused, UsageError
from .facts import decided, facts_of
from .mapping.fit import Fault, fit
from .mapping.layout import entries, families
from .mapping.network import variants
from .mapping.tables import layout_names, load_layout, load_network, models, network_names
from .ops import Inflate, Reshape
from .output import refuse_early, refuse_input
from .plan import make_plan
from .provenance import record
from .recognition import recognise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .mapping.fit import Fit
    from .mapping.network import Variant
    from .mapping.tables import LayoutTable
    from .ops import Op
    from .plan import Plan
    from .tensor import Tensor

RULES = ("average", "centre")


def inflate(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    variant: str,
    to: str = "native",
    rule: str = "average",
    wrap: bool = False,
    force: bool = False,
    verify: bool = False,
    sha256: bool = False,
    checksum: bool = True,
    dry_run: bool = False,
) -> Result:
    """Write the clip network ``variant``, a network's name or a model's, with the weights of a frame network.

    ``rule`` says what becomes of a kernel: ``"average"``, the frame's kernel over the number of frames in every
    frame, or ``"centre"``, the kernel itself in the middle one and zeros in the others. All else is copied, the
    classifier too. ``to`` is the output's layout; the others are as in `convert`.

    Raises `Refused` for a file of no frame network, a variant that is not built from one, and tensors that do not
    fit; `UsageError` and `BadInput` as `convert` does.
    """
    path, out_path = os.fspath(input_path), os.fspath(output_path)
    if rule not in RULES:
        raise UsageError(f"a kernel is inflated by {' or '.join(RULES)}, not {rule!r}")
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
        fitted = recognise(checkpoint, None, ask=False)
        one = _variant(fitted, target, variant, path)
        ways = dict(_ways(fitted, checkpoint.tensors, one, rule, path))
        grown = {
            name: _applied(checkpoint.tensors[source], ops)._replace(name=name)
            for name, (source, ops) in ways.items()
        }
        clip = fit(load_layout("native"), grown, variant=one.name, path=path)
        own = decided(facts_of(clip._replace(layout=target), None, model=variant), path)
        eps = own.bn_eps
        held = facts_of(fitted, checkpoint.provenance)
        plan = make_plan(clip, grown, target, own._replace(bn_eps=held.bn_eps), eps=eps, path=path)
        plan = _from_file(plan, ways, fitted)
        frames = sum(any(isinstance(op, Inflate) for op in row.ops) for row in plan.rows)
        said = "over all frames" if rule == "average" else "in the middle frame"
        notes = [
            f"{frames} kernels of {held.title} inflated, {said}: a start for training, without a way back"
        ]
        if not checksum:
            notes.append(UNCHECKED)
        plan = plan._replace(notes=(*plan.notes, *notes))
        described = own._replace(bn_eps=eps, input=held.input, model="")

        def describe(plan: Plan) -> dict[str, Any]:
            source = source_of(checkpoint, fitted.layout.name, fitted.scope, sha256=sha256)
            begun = {
                "layout": fitted.layout.name,
                "scope": fitted.scope,
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
        wish = Wish(out_path, write_format, wrap, force, verify, False, dry_run, None)
        return carry_out(checkpoint, plan, target, describe, wish, result)


def _variant(fitted: Fit, target: LayoutTable, name: str, path: str) -> Variant:
    """The variant asked for, of a family that the file's is inflated to."""
    globs = [name, *(glob for row in models(target) if row["name"] == name for glob in row["variants"])]
    given = fitted.variant.family
    into = [
        one
        for family in network_names()
        if given in load_network(family).inflates and family in families(target)
        for one in variants(family)
        if not target.holding(one.name).refuse
    ]
    if not into:
        raise Refused(
            f"holds {fitted.variant.title}, which no network of {target.title} is inflated from",
            path=path,
            hint="ResNet-50 and -101 of torchvision, mmaction and mmaction2 can be",
        )
    for one in into:
        if any(fnmatchcase(one.name, glob) for glob in globs):
            return one
    raise Refused(
        f"{target.title} has no network {name!r} that is inflated from {fitted.variant.title}",
        path=path,
        hint=f"--variant may be {', '.join(one.name for one in into)}",
    )


def _ways(
    fitted: Fit, tensors: Mapping[str, Tensor], one: Variant, rule: str, path: str
) -> Iterator[tuple[str, tuple[str, tuple[Op, ...]]]]:
    """For every tensor of the clip network under its canonical name the file's tensor and what happens to it."""
    sources = {entry.canonical: entry for entry in fitted.entries}
    bound = {**fitted.bound, **{hole: sizes[0] for hole, sizes in one.values.items() if hole.endswith("_t")}}
    faults: list[Fault] = []
    for entry in entries(load_layout("native"), one, bound, fitted.present):
        source = sources.pop(entry.canonical, None)
        if source is None:
            faults.append(Fault("missing", entry.canonical))
            continue
        tensor = tensors[fitted.scope + source.name]
        shape = tuple(size if isinstance(size, int) else bound[size] for size in entry.shape)
        plain = source.stored.plain(tensor.shape, len(source.shape))
        flat = plain[:2] + plain[-2:] if plain and len(plain) in (4, 5) and len(shape) == 5 else plain
        if flat is None or (len(plain or ()) == 5 and (plain or ())[2] != 1):
            faults.append(Fault("shape", tensor.name, "has a time axis already"))
        elif len(shape) == 5 and flat == shape[:2] + shape[3:]:
            yield entry.canonical, (tensor.name, (Inflate(shape[2], rule == "centre"),))
        elif flat == shape:
            yield entry.canonical, (tensor.name, () if tensor.shape == shape else (Reshape(shape),))
        else:
            wanted = "x".join(map(str, shape))
            faults.append(Fault("shape", tensor.name, f"{'x'.join(map(str, tensor.shape))}, wanted {wanted}"))
    faults += [Fault("unused", name) for name in sources]
    if faults:
        raise Refused(
            f"{one.title} is not {fitted.variant.title} with a time axis",
            path=path,
            where=f"{len(faults)} faults such as {faults[0]}",
            hint="choose a variant of the same depth, without non-local blocks",
            faults=tuple(map(str, faults)),
        )


def _applied(tensor: Tensor, ops: tuple[Op, ...]) -> Tensor:
    for op in ops:
        tensor = op.apply(tensor)
    return tensor


def _from_file(plan: Plan, ways: Mapping[str, tuple[str, tuple[Op, ...]]], fitted: Fit) -> Plan:
    """A plan over the inflated tensors as one over the file's own."""
    rows = []
    for row in plan.rows:
        if row.source is not None:
            source, ops = ways[row.source]
            row = row._replace(source=source, ops=(*ops, *row.ops))
        rows.append(row)
    return plan._replace(rows=tuple(rows), dropped=fitted.dropped)
