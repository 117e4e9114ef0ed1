"""Gates of recurrent networks, and projections of attentions: no shape shows in which order they are."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from converters import suggest

GATED = {
    "an LSTM": {"lstm.weight_ih_l0": (40, 24), "lstm.weight_hh_l0": (40, 10), "lstm.bias_ih_l0": (40,)},
    "a GRU without names": {"a.x": (30, 24), "a.h": (30, 10), "a.b": (30,)},
    "Keras": {"k.kernel": (24, 40), "k.recurrent_kernel": (10, 40), "k.bias": (40,)},
    "one kernel": {"rnn.basic_lstm_cell.kernel": (34, 40), "rnn.basic_lstm_cell.bias": (40,)},
    "an attention": {"a.in_proj_weight": (54, 18), "a.in_proj_bias": (54,)},
    "a convolution": {"convlstm.conv.weight": (40, 14, 3, 3), "convlstm.conv.bias": (40,)},
}
CONVOLUTIONS = {
    "c1.weight": (8, 3, 5, 5),
    "c2.weight": (12, 8, 3, 3),
    "c3.weight": (20, 12, 3, 3),
    "c4.weight": (25, 20, 3, 3),
}


@pytest.mark.parametrize("kind", GATED)
@pytest.mark.parametrize("noise", [0.05, 10])
def test_gates_of_other_values_are_never_sure(tmp_path, kind, noise):
    random = np.random.default_rng(0)
    a = {
        name: random.normal(size=shape).astype("f4")
        for name, shape in {**CONVOLUTIONS, **GATED[kind]}.items()
    }
    gates = 3 if kind in ("a GRU without names", "an attention") else 4
    b = {}
    for name, value in a.items():
        moved = value
        if name in GATED[kind]:
            axis = value.shape.index(max(value.shape))
            parts = np.split(value, gates, axis)
            moved = np.concatenate([*parts[:-2], parts[-1], parts[-2]], axis)
        b[name] = (moved + noise * random.normal(size=value.shape)).astype("f4")
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    found = suggest(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "m.toml")
    sure = {row["from"] for row in found.rows if not row["doubt"]}
    assert not sure & GATED[kind].keys()
    again = suggest(tmp_path / "a.safetensors", tmp_path / "a.safetensors", tmp_path / "n.toml")
    assert not again.unsure


def test_entries_to_propose_from_can_be_named(run, tmp_path):
    import torch

    random = torch.Generator().manual_seed(0)
    plain = {name: torch.randn(shape, generator=random) for name, shape in CONVOLUTIONS.items()}
    average = {name: value + 1 for name, value in plain.items()}
    torch.save({"state_dict": plain, "ema_state_dict": average}, tmp_path / "a.pth")
    torch.save({name.replace("c", "conv"): value for name, value in average.items()}, tmp_path / "b.pth")
    done = run("suggest", "a.pth", "b.pth", "-o", "m.toml", "--entry-a", "ema_state_dict")
    assert done.returncode == 0, done.stderr
    assert "4 tensors paired: 4 by values" in done.stdout
    done = run("suggest", "b.pth", "a.pth", "-o", "n.toml", "--entry-b", "nothing")
    assert done.returncode == 2
    assert "has no state dict in the entry 'nothing'" in done.stderr
