"""What a conversion did."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from converters.mapping.network_info import NetworkInfo
from converters.record import Record
from converters.shown import Shown


class Checksums(NamedTuple):
    """The CRC-32 of what a conversion read and wrote, in 8 hexadecimal digits each. What it has summed up while it
    copied is not read again.

    ``input`` is that of the input, of several files one after the other; ``size`` are their bytes, ``files`` how many
    they are. ``output`` has that of each file of the output, by its name. ``archive`` is whether the input is a file
    inside an archive.
    """

    input: str
    size: int
    files: int
    archive: bool
    output: Mapping[str, str]


class Result(Shown, Record):
    """What a conversion did.

    ``rows`` say which tensor became which, ``dropped`` which tensors were left out, ``notes`` what a user of the output
    must know (``told`` is the same with options as the command line spells them), ``timings`` how many seconds each
    step took. ``output`` is None for a dry run. ``checked`` says that every tensor was read back and compared;
    ``verification`` is the `Verification`, where one was asked for. ``info`` is None for a conversion by a mapping
    file, which knows names but no network.

    ``checksums`` are there if they were asked for, as a batch does.
    """

    source: str
    output: str | None
    info: NetworkInfo | None
    layout: str
    target: str
    rows: tuple[Any, ...] = ()
    dropped: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = MappingProxyType({})
    nbytes: int = 0
    timings: Mapping[str, float] = MappingProxyType({})
    checked: bool = False
    verification: Any = None
    checksums: Checksums | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of the output must know, with options as keywords."""
        from converters.option_names import in_python  # few conversions ask for it

        return tuple(map(in_python, self.told))

    def lines(self) -> tuple[str, ...]:
        """Files; network and layouts; what was done."""
        network = f"{self.info.title}, {self.info.classes or 'no'} classes: " if self.info else ""
        done = f"{len(self.rows)} tensors"
        if self.output is not None:
            done += f" in {sum(self.timings.values()):.2f} s{', checked' if self.checked else ''}"
        if self.verification is not None:
            done += f", {self.verification.verdict}"
        if self.told:
            done += f"; .notes has {len(self.told)}"
        return (
            f"{self.source} -> {'nothing: a dry run' if self.output is None else self.output}",
            f"{network}{self.layout} -> {self.target}",
            done,
        )

    def as_data(self) -> dict[str, Any]:
        """The result as plain data, for ``--json``."""
        return {
            "source": self.source,
            "output": self.output,
            "layout": self.layout,
            "target": self.target,
            "network": self.info.as_data() if self.info else None,
            "tensors": len(self.rows),
            "bytes": self.nbytes,
            "rows": [
                {
                    "source": row.source,
                    "target": row.target,
                    "dtype": row.dtype,
                    "shape": list(row.shape),
                    "operations": [op.describe() for op in row.operations],
                }
                for row in self.rows
            ],
            "dropped": list(self.dropped),
            "notes": list(self.told),
            "checked": self.checked,
            **({"verification": self.verification.as_data()} if self.verification is not None else {}),
            "timings": dict(self.timings),
        }
