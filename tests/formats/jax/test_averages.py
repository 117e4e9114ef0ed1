"""Averages of the weights in Flax's training states, taken in place of ``params`` by ``--entry``."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters.errors import UsageError
from converters.formats.open import open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


def weights(value: float) -> dict[str, Any]:
    return {"Dense_0": {"kernel": np.full(2, value, "f4")}}


PLAIN = {"params": weights(1), "batch_stats": weights(2), "step": np.array(7)}


def pickled(folder: Path, state: dict[str, Any]) -> str:
    path = folder / "state.pkl"
    path.write_bytes(pickle.dumps(state))
    return str(path)


def npz(folder: Path, state: dict[str, Any]) -> str:
    def flat(value: dict[str, Any], start: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{start}{key}/") if isinstance(inner, dict) else {start + key: inner}
        return found

    np.savez(folder / "state.npz", **flat(state, ""))
    return str(folder / "state.npz")


def values(path: str, entry: str | None) -> tuple[dict[str, float], list[str]]:
    with open_checkpoint(path, entry=entry) as found:
        assert found.details.get("wrapper") == (entry or "")
        values = {
            name: float(np.frombuffer(tensor.tobytes(), "f4")[0])
            for name, tensor in found.tensors.items()
            if tensor.dtype == "float32"
        }
        return values, found.details["beside"]


@pytest.mark.parametrize("write", [pickled, npz])
@pytest.mark.parametrize(
    ("averages", "entry", "expected"),
    [
        ({"ema_params": weights(3)}, "ema_params", (3, 2)),
        ({"params_ema": weights(3)}, "params_ema", (3, 2)),
        ({"ema_params": weights(3), "ema_batch_stats": weights(4)}, "ema_params", (3, 4)),
        ({"ema": weights(3)}, "ema", (3, 2)),
        ({"ema": {"params": weights(3)}}, "ema", (3, 2)),
        ({"ema": {"params": weights(3), "batch_stats": weights(4)}}, "ema", (3, 4)),
    ],
)
@pytest.mark.parametrize("within", ["", "model/"])
def test_averages_take_the_place_of_the_weights(tmp_path, write, averages, entry, expected, within) -> None:
    state = PLAIN | averages
    path = write(tmp_path, {"model": state} if within else state)
    names = [f"{within}{name}/Dense_0/kernel" for name in ("params", "batch_stats")]
    assert values(path, within + entry) == (dict(zip(names, expected, strict=True)), [f"{within}params"])
    found, beside = values(path, None)
    assert [found[name] for name in names] == [1, 2]
    assert beside == [within + entry]
    found, beside = values(path, f"{within}params")
    assert [found[name] for name in names] == [1, 2]
    assert beside == [within + entry]


def test_averages_of_an_optimizer_are_its_own(tmp_path) -> None:
    with open_checkpoint(pickled(tmp_path, PLAIN | {"opt_state": {"0": {"ema": weights(5)}}})) as found:
        assert "beside" not in found.details


@pytest.mark.parametrize(
    ("averages", "hint"),
    [({}, "leave --entry out"), ({"ema_params": weights(3)}, "--entry may be params or ema_params")],
)
def test_what_is_no_entry(tmp_path, averages, hint) -> None:
    path = pickled(tmp_path, PLAIN | averages)
    for entry in ("ema", "step", ""):
        with pytest.raises(UsageError, match="has no entry") as caught:
            open_checkpoint(path, entry=entry)
        assert caught.value.told.hint == hint
