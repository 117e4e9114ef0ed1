"""Run a user's own module beside the source's network, and compare every block by hooks, names and shapes.

The module's values are what its submodules take and return. A block of the source is found among them by its value: the
next blocks of a value's shape are compared with it. The submodule that holds the tensors of a block, by their names in
the file, says what the block is where no value agrees.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError, Refused
from converters.loading import require_torch, to_torch
from converters.own_module.build import built_module
from converters.own_module.load_report import report_of, shapes_text

from .blocks import compare_values, exact_float32, one_sided, without_ones

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from converters.conversion.identify import Identified

    from .outcome import BlockResult
    from .source_network import SourceRun

AHEAD = 2
"""Blocks of a value's shape that it is compared with: the next, and the one after it, where a module leaves one out."""


def loaded_module(output: Identified, module: str | torch.nn.Module) -> torch.nn.Module:
    """The user's module with the output's tensors, in eval mode. Raises `Refused` where they do not load strictly."""
    own = built_module(module)
    tensors = output.checkpoint.tensors
    report = report_of(output.checkpoint.path, tensors, own, module)
    if not report.strict:
        faults = (
            *(f"missing: {name}" for name in report.missing),
            *(f"unexpected: {name}" for name in report.unexpected),
            *map(shapes_text, report.shapes),
            *filter(None, (report.error,)),
        )
        raise Refused(
            f"does not load strictly into {report.module}",
            path=output.checkpoint.path,
            faults=faults,
            hint="`convert load-report` says more",
        )
    own.load_state_dict({name: to_torch(tensor) for name, tensor in tensors.items()})
    return own.eval()


def compare_module(
    own: torch.nn.Module, output: Identified, run: SourceRun, tolerance: float
) -> tuple[list[BlockResult], Any, str]:
    """Every block of the source's network, compared with the module's values; the module's logits, None if it has none;
    and in words where it runs blocks in another order. Raises `Refused` where the module does not take the clip."""
    torch = require_torch()
    search = _Search(run, _homes(output, list(run.net.blocks)), tolerance)
    inputs = [torch.from_numpy(array).to(run.device) for array in run.inputs]
    try:
        with exact_float32(), _hooks(own.to(run.device), search):
            result = _first_tensor(own(*inputs))
    except Exception as error:
        if isinstance(error, ConverterError):
            raise
        why = (str(error).splitlines() or [""])[0][:200]
        raise Refused(f"your module does not take the clip: {type(error).__name__}: {why}") from error
    logits = None if result is None else result.float().cpu().numpy()
    return search.results(logits), logits, search.other_order()


@contextmanager
def _hooks(own: torch.nn.Module, search: _Search) -> Iterator[None]:
    """Show the search what every submodule takes and returns. A value may be changed in place afterwards."""

    def before(name: str) -> Any:
        return lambda _, inputs: search.see(name, inputs, returned=False)

    def after(name: str) -> Any:
        return lambda _, __, value: search.see(name, value, returned=True)

    handles = []
    for name, child in own.named_modules():
        if name:
            handles += [
                child.register_forward_pre_hook(before(name)),
                child.register_forward_hook(after(name)),
            ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Search:
    """The source's blocks, and what has been found of each."""

    def __init__(self, run: SourceRun, homes: Mapping[str, str], tolerance: float) -> None:
        self._run = run
        self._tolerance = tolerance
        self._blocks = {name: run.values[key] for name, key in run.net.blocks.items() if name != "logits"}
        self._homes = homes
        self._best: dict[str, BlockResult] = {}
        self._at_home: dict[str, BlockResult] = {}
        self._order: list[str] = []

    def see(self, module: str, value: Any, *, returned: bool) -> None:
        """A submodule takes or returns a value."""
        home = next((block for block, name in self._homes.items() if name == module), None)
        if home is not None and not returned and home not in self._order:
            self._order.append(home)
        tensor = _first_tensor(value)
        if tensor is None or not tensor.is_floating_point():
            return
        shape = without_ones(tuple(tensor.shape))
        waiting = [
            name
            for name, reference in self._blocks.items()
            if not self._agrees(name) and without_ones(reference.shape) == shape
        ]
        wanted = waiting[:AHEAD] + ([home] if home in waiting[AHEAD:] else [])
        if not wanted:
            return
        array = tensor.detach().float().cpu().numpy()
        for name in wanted:
            found = compare_values(name, self._run.net.blocks[name], self._blocks[name], array)
            if name == home and returned:
                self._at_home[name] = found
            if name not in self._best or found.relative < self._best[name].relative:
                self._best[name] = found

    def _agrees(self, name: str) -> bool:
        return name in self._best and self._best[name].relative <= self._tolerance

    def results(self, logits: Any) -> list[BlockResult]:
        """Every block in the source's order, the logits last."""
        found = [self._result(name) for name in self._blocks]
        if "logits" in self._run.net.blocks:
            source_name = self._run.net.blocks["logits"]
            reference = self._run.mean_logits(self._run.values[source_name])
            found.append(
                one_sided("logits", source_name, reference.shape, "your module returns no tensor")
                if logits is None
                else compare_values("logits", source_name, reference, logits)
            )
        return found

    def _result(self, name: str) -> BlockResult:
        if self._agrees(name):
            return self._best[name]
        found = self._at_home.get(name) or self._best.get(name)
        if found is not None:
            return found
        shape = self._blocks[name].shape
        return one_sided(name, self._run.net.blocks[name], shape, "no value in your module has its shape")

    def other_order(self) -> str:
        """The first two blocks that the module runs in another order than the source, in words; "" where none are."""
        source = [name for name in self._blocks if name in self._order]
        for left, right in zip(source, self._order, strict=True):
            if left != right:
                return f"your module runs {right} before {left}"
        return ""


def _homes(output: Identified, blocks: list[str]) -> dict[str, str]:
    """The submodule that holds the tensors of each block, by the names in the output's file."""
    names: dict[str, list[str]] = {}
    for slot in output.match.slots:
        if slot.name:
            block = max(
                (name for name in blocks if slot.canonical.startswith(f"{name}.")), key=len, default=""
            )
            names.setdefault(block, []).append(output.match.file_name(slot))
    names.pop("", None)
    homes = {block: _common([name.split(".")[:-1] for name in held]) for block, held in names.items()}
    return {block: home for block, home in homes.items() if home}


def _common(paths: list[list[str]]) -> str:
    """The innermost module that all of these are in; "" for the outermost."""
    together = zip(*paths, strict=False)
    return ".".join(words[0] for words in takewhile(lambda words: len({*words}) == 1, together))


def _first_tensor(value: Any) -> Any:
    """A value, or the first tensor in a tuple, list or dictionary of values; None where there is none."""
    torch = require_torch()
    if isinstance(value, torch.Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return next((tensor for tensor in map(_first_tensor, items) if tensor is not None), None)
