"""Compare the digests of two runs."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

    Rows = dict[str, dict[str, Any]]


def diff(options: Namespace) -> int:
    """Print what differs between two runs; returns 1 where an output or an exit code does."""
    before, after = _rows(options.before), _rows(options.after)
    lines = list(_differences(before, after))
    if not options.common:
        lines += [f"only in {options.before}: {name}" for name in before if name not in after]
        lines += [f"only in {options.after}: {name}" for name in after if name not in before]
    print("\n".join(lines) if lines else "no output and no exit code differs")
    pairs = [(before[name], after[name]) for name in before if name in after]
    written = sum(bool(old["files"]) for old, _ in pairs)
    same = sum(old["raw"] == new["raw"] for old, new in pairs)
    print(f"{len(pairs)} cases in both, {written} with an output; all bytes are the same in {same}")
    parts = Counter(
        part
        for old, new in pairs
        for part in sorted({*old["record"], *new["record"]})
        if old["record"].get(part) != new["record"].get(part)
    )
    for part, number in parts.most_common():
        print(f"the record's {part} differs in {number}")
    texts = Counter((old["error"], new["error"]) for old, new in pairs if old["error"] != new["error"])
    print(f"{texts.total()} errors have another text")
    for (old, new), number in texts.most_common() if options.errors else ():
        print(f"  {number} times:\n    {old.strip()}\n    {new.strip()}")
    return 1 if lines else 0


def _rows(path: Path) -> Rows:
    return {row["case"]: row for row in map(json.loads, path.read_text().splitlines())}


def _differences(before: Rows, after: Rows) -> Iterator[str]:
    """A line for each case that has another output, or ends otherwise."""
    for name, old in before.items():
        new = after.get(name, old)
        if old["exit"] != new["exit"]:
            yield f"exit code {old['exit']} -> {new['exit']}: {name}"
            yield from (f"    {line}" for row in (old, new) for line in row["error"].splitlines())
        elif (old["files"], old["masked"]) != (new["files"], new["masked"]):
            yield f"another output: {name}"
