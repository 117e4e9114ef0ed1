"""Reference facts of PySlowFast's and video-nonlocal-net's zoos, and of the same networks in other projects."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.helpers.upstream_tables import DATA, TargetTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shapes = dict[str, tuple[int, ...]]


@cache
def _zoo() -> dict[str, dict[str, Any]]:
    return json.loads(gzip.decompress((DATA / "zoo-tables.json.gz").read_bytes()))


def models() -> Mapping[str, dict[str, Any]]:
    """What the projects' configs and builders say of each model, with the name of its table."""
    return _zoo()["models"]


@cache
def slowfast_blobs(table: str) -> Shapes:
    """Caffe2 blobs of a PySlowFast model with their shapes."""
    return {blob: tuple(shape) for blob, _, shape in _zoo()["slowfast"][table] if blob is not None}


@cache
def slowfast_keys(table: str) -> dict[str, tuple[str | None, tuple[int, ...]]]:
    """State-dict keys of a PySlowFast model, each with its blob (None: batch counters) and its shape."""
    return {key: (blob, tuple(shape)) for blob, key, shape in _zoo()["slowfast"][table]}


@cache
def nonlocal_blobs(table: str) -> Shapes:
    """Caffe2 blobs of a video-nonlocal-net network with their shapes, in execution order."""
    return {blob: tuple(shape) for blob, shape, _ in _zoo()["nonlocal"][table]}


@cache
def nonlocal_momentum(table: str) -> tuple[str, ...]:
    """The blobs that a training checkpoint has a momentum of."""
    return tuple(blob for blob, _, momentum in _zoo()["nonlocal"][table] if momentum)


def slowfast_tables() -> list[str]:
    return sorted(_zoo()["slowfast"])


def nonlocal_tables() -> list[str]:
    return sorted(_zoo()["nonlocal"])


@cache
def resnet_tables() -> dict[str, TargetTable]:
    """State dicts of PySlowFast, pytorchvideo, mmaction and mmaction2 networks by ``ecosystem/model``."""
    tables = {}
    for name, table in json.loads(
        gzip.decompress((DATA / "resnet-target-tables.json.gz").read_bytes())
    ).items():
        table["keys"] = {key: tuple(shape) for key, shape in table["keys"].items()}
        table.pop("aliases", None)
        tables[name] = TargetTable(**table)
    return tables


@cache
def aliases(name: str) -> dict[str, str]:
    """Keys of a target table whose tensor has a second name, with that name."""
    raw = json.loads(gzip.decompress((DATA / "resnet-target-tables.json.gz").read_bytes()))
    return raw.get(name, {}).get("aliases", {})
