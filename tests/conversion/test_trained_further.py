"""Files that training has changed: prefixes of all names, batch counters, other heads, and none."""

from __future__ import annotations

import json
import re
import zipfile

import pytest
import torch

from converters import convert, inspect, load_model
from converters.conversion.original_file import OriginalFile
from converters.conversion.plan import make_plan
from converters.errors import BadInput, Refused
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.network_info import network_info
from converters.reports.terminal.conversion import conversion_text
from tests.helpers.layout_weights import shells


@pytest.fixture(scope="module")
def r2d_state(r2d, tmp_path_factory) -> dict[str, torch.Tensor]:
    """R2D-18 with VMZ-pt's names, its counters no longer at 0."""
    path = tmp_path_factory.mktemp("further") / "r2d.pth"
    convert(r2d, path, source="vmz")
    state = torch.load(path, weights_only=True)
    for number, name in enumerate(name for name in state if name.endswith("num_batches_tracked")):
        state[name] = torch.tensor(1000 + number)
    return state


@pytest.fixture(scope="module")
def r3d_mmaction(r3d, tmp_path_factory) -> dict[str, torch.Tensor]:
    """R3D-18 with mmaction's names."""
    path = tmp_path_factory.mktemp("further") / "r3d.pth"
    convert(r3d, path, source="vmz", to="mmaction")
    return torch.load(path, weights_only=True)


def written(path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def origin(path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("archive/provenance.json"))["origin"]


@pytest.mark.parametrize("prefix", ["module.", "module.module.", "model.", "encoder.", "net.backbone.trunk."])
def test_a_prefix_in_front_of_all_names_is_a_scope(r2d_state, tmp_path, prefix):
    state = {prefix + name: tensor for name, tensor in r2d_state.items()}
    torch.save(state, tmp_path / "in.pth")
    result = convert(tmp_path / "in.pth", tmp_path / "clean.pth")
    assert (result.layout, result.target) == ("vmz-pt", "vmz-pt")
    assert f"every name in the input starts with {prefix}" in result.notes
    assert same(written(tmp_path / "clean.pth"), r2d_state)
    convert(tmp_path / "in.pth", tmp_path / "there.pth", source="vmz-pt", to="native")
    assert origin(tmp_path / "there.pth")["scope"] == prefix
    convert(tmp_path / "there.pth", tmp_path / "back.pth", to="vmz-pt")
    assert same(written(tmp_path / "back.pth"), state)


def test_an_averaged_model_has_a_counter_beside_the_prefix(r2d_state, tmp_path):
    for counter in ("n_averaged", "steps"):
        state = {"module." + name: tensor for name, tensor in r2d_state.items()} | {counter: torch.tensor(7)}
        torch.save(state, tmp_path / "in.pth")
        convert(tmp_path / "in.pth", tmp_path / "out.pth", source="vmz-pt", force=True)
        assert same(written(tmp_path / "out.pth"), r2d_state)


def test_averages_among_the_weights_are_left_out(r2d_state, tmp_path):
    """As mmcv's EMAHook keeps them: buffers of the module itself."""
    averages = {f"ema_{name.replace('.', '_')}": tensor + 1 for name, tensor in r2d_state.items()}
    torch.save({**r2d_state, **averages}, tmp_path / "in.pth")
    result = convert(tmp_path / "in.pth", tmp_path / "out.pth")
    assert same(written(tmp_path / "out.pth"), r2d_state)
    assert set(result.dropped) == set(averages)
    assert any("averages of the weights" in note for note in result.notes)
    line = next(line for line in conversion_text(result).splitlines() if line.startswith("dropped by name"))
    assert re.search(r" and \d+ more$", line)
    torch.save({**r2d_state, "ema_of_another_layer": torch.ones(1)}, tmp_path / "in.pth")
    with pytest.raises(Refused, match="1 fault"):
        convert(tmp_path / "in.pth", tmp_path / "other.pth", source="vmz-pt")


def test_a_prefix_of_some_names_is_none(r2d_state, tmp_path):
    state = {("" if name == "fc.bias" else "module.") + name: tensor for name, tensor in r2d_state.items()}
    torch.save(state, tmp_path / "in.pth")
    with pytest.raises(Refused):
        convert(tmp_path / "in.pth", tmp_path / "out.pth", source="vmz-pt")


def test_batch_counters_are_kept_where_they_are_and_filled_in_where_not(r2d_state, tmp_path):
    torch.save(r2d_state, tmp_path / "new.pth")
    old = {name: tensor for name, tensor in r2d_state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    some = {name: tensor for name, tensor in r2d_state.items() if name != "stem.1.num_batches_tracked"}
    torch.save(some, tmp_path / "some.pth")
    zeros = {
        name: torch.zeros_like(tensor) if name.endswith("num_batches_tracked") else tensor
        for name, tensor in r2d_state.items()
    }
    for name, wanted in (
        ("new", r2d_state),
        ("old", zeros),
        ("some", {**r2d_state, "stem.1.num_batches_tracked": torch.tensor(0)}),
    ):
        convert(tmp_path / f"{name}.pth", tmp_path / f"{name}2.pth", source="vmz-pt", to="native", check=True)
        convert(
            tmp_path / f"{name}2.pth", tmp_path / f"{name}3.pth", source="native", to="vmz-pt", check=True
        )
        assert same(written(tmp_path / f"{name}3.pth"), wanted)
        assert (
            load_model(tmp_path / f"{name}.pth").stem.bn.num_batches_tracked
            == wanted["stem.1.num_batches_tracked"]
        )
    result = convert(tmp_path / "new.pth", tmp_path / "new.pkl", source="vmz-pt", to="vmz")
    counters = len(r2d_state) - len(old)
    assert any(note.startswith(f"{counters} batch counters") for note in result.notes)
    result = convert(tmp_path / "new.pth", tmp_path / "half.pth", source="vmz-pt", dtype="float16")
    assert written(tmp_path / "half.pth")["stem.1.num_batches_tracked"] == 1000
    convert(tmp_path / "new.pth", tmp_path / "wide.pth", source="vmz-pt", dtype="float64")
    assert not any("rounds" in note for note in inspect(tmp_path / "wide.pth").provenance["notes"])


def test_counters_of_another_kind_are_filled_in(r2d_state, tmp_path):
    name = "stem.1.num_batches_tracked"
    for odd in (torch.tensor(3.0), torch.tensor([3])):
        torch.save({**r2d_state, name: odd}, tmp_path / "in.pth")
        convert(tmp_path / "in.pth", tmp_path / "out.pth", source="vmz-pt", force=True)
        assert same({name: written(tmp_path / "out.pth")[name]}, {name: torch.tensor(0)})


def test_another_class_count_is_an_ordinary_file(r2d_state, tmp_path):
    state = {**r2d_state, "fc.weight": torch.rand(7, 512), "fc.bias": torch.rand(7)}
    torch.save(state, tmp_path / "in.pth")
    result = convert(tmp_path / "in.pth", tmp_path / "out.pkl", to="vmz")
    assert result.info.classes == 7
    assert {row.target for row in result.rows} >= {"last_out_L7_w", "last_out_L7_b"}


def test_a_file_without_a_head(r2d, r2d_state, tmp_path, run):
    state = {name: tensor for name, tensor in r2d_state.items() if not name.startswith("fc.")}
    torch.save(state, tmp_path / "in.pth")
    done = run("auto", "in.pth", "out.pth")
    assert done.returncode == 0, done.stderr
    assert "R2D-18 (r2d-18), no head" in done.stdout
    assert "there is no head: the output ends with features" in done.stdout
    assert same(written(tmp_path / "out.pth"), state)
    found = inspect(tmp_path / "out.pth")
    assert (found.network.classes, "labels" in found.network.input) == (0, False)
    assert found.parameters == sum(
        tensor.numel() for name, tensor in state.items() if name.endswith(("weight", "bias"))
    )
    clip = torch.rand(1, 3, 8, 32, 32)
    with torch.inference_mode():
        whole, features = load_model(r2d).end_points(clip), load_model(tmp_path / "out.pth")(clip)
    assert torch.equal(features, whole["pool"])
    with pytest.raises(Refused, match="has no head"):
        convert(tmp_path / "in.pth", tmp_path / "out.pkl", to="vmz")


def test_the_head_is_left_out_when_asked_for(r2d, r2d_state, tmp_path):
    result = convert(r2d, tmp_path / "out.pth", source="vmz", backbone=True)
    assert result.info.classes == 0
    assert result.dropped[:2] == ("last_out_L400_w", "last_out_L400_b")
    assert set(written(tmp_path / "out.pth")) == {name for name in r2d_state if not name.startswith("fc.")}
    again = convert(tmp_path / "out.pth", tmp_path / "again.pth", backbone=True)
    assert again.dropped == ()


def test_a_file_of_mmactions_backbone_alone(r3d, r3d_mmaction, tmp_path):
    bare = {
        name.removeprefix("backbone."): tensor
        for name, tensor in r3d_mmaction.items()
        if name.startswith("backbone.")
    }
    convert(r3d, tmp_path / "backbone.pth", source="vmz", to="mmaction", backbone=True)
    assert same(written(tmp_path / "backbone.pth"), bare)
    torch.save({"module." + name: tensor for name, tensor in bare.items()}, tmp_path / "in.pth")
    result = convert(tmp_path / "in.pth", tmp_path / "out.pth", to="vmz-pt")
    assert result.layout == "mmaction"
    assert any("backbone alone" in note for note in result.notes)
    assert origin(tmp_path / "out.pth")["absent"] is True
    convert(tmp_path / "out.pth", tmp_path / "back.pth", to="mmaction")
    assert same(written(tmp_path / "back.pth"), {"module." + name: tensor for name, tensor in bare.items()})
    convert(tmp_path / "in.pth", tmp_path / "full.pth", source="mmaction")
    assert same(written(tmp_path / "full.pth"), {"backbone." + name: tensor for name, tensor in bare.items()})


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_head_of_another_name_is_taken_when_named(r2d_state, tmp_path, run, prefix):
    state = {prefix + name.replace("fc.", "classifier.1."): tensor for name, tensor in r2d_state.items()}
    torch.save(state, tmp_path / "in.pth")
    done = run("vmz-pt", "in.pth", "out.pth")
    assert done.returncode == 1
    head = f"{prefix}classifier.1"
    assert f"if {head} is its head, say so: --head {head}" in done.stderr
    done = run("auto", "in.pth", "out.pth", "--head", head)
    assert done.returncode == 0, done.stderr
    assert "the input's head is called classifier.1 (--head)" in done.stdout
    assert same(written(tmp_path / "out.pth"), r2d_state)
    convert(tmp_path / "in.pth", tmp_path / "there.pth", source="vmz-pt", to="native", head=head)
    convert(tmp_path / "there.pth", tmp_path / "back.pth", to="vmz-pt")
    assert same(written(tmp_path / "back.pth"), state)
    assert load_model(tmp_path / "in.pth", head=head).head.out_features == 400
    assert inspect(tmp_path / "in.pth", head=head).network.classes == 400


def test_no_other_layer_is_proposed_as_a_head(r2d_state, tmp_path):
    plain = {name: tensor for name, tensor in r2d_state.items() if not name.startswith("fc.")}
    for further in (
        {"new.weight": torch.rand(5, 511), "new.bias": torch.rand(5)},
        {"new.weight": torch.rand(5, 512)},
        {"new.weight": torch.rand(5, 512), "new.bias": torch.rand(5), "more": torch.rand(5)},
    ):
        torch.save(plain | further, tmp_path / "in.pth")
        with pytest.raises(Refused) as caught:
            convert(tmp_path / "in.pth", tmp_path / "out.pth", source="vmz-pt")
        assert "--head" not in caught.value.told.hint


def test_a_head_that_is_not_there(r2d, tmp_path):
    with pytest.raises(Refused) as caught:
        convert(r2d, tmp_path / "out.pth", source="vmz", head="fc")
    assert any(fault.startswith("missing: fc_w") for fault in caught.value.faults)


def test_a_training_run_comes_back_name_by_name(r2d_state, tmp_path, run):
    """A compiled part, a head outside the prefix, a loss, a metric, a profiler, and something that nobody knows."""
    names = {name: f"module.net.{name}".replace("net.layer1.", "net.layer1._orig_mod.") for name in r2d_state}
    names |= {f"fc.{leaf}": f"module.new_fc.{leaf}" for leaf in ("weight", "bias")}
    network = {names[name]: tensor for name, tensor in r2d_state.items()}
    beside = {
        "module.criterion.weight": torch.rand(400),
        "val_acc.tp": torch.tensor(3),
        "module.net.layer1.total_ops": torch.zeros(1, dtype=torch.float64),
        "module.queue": torch.rand(8, 16),
    }
    torch.save(network | beside, tmp_path / "in.pth")
    words = ("auto", "in.pth", "there.pth", "--to", "native", "--head", "new_fc", "--drop", "module.queue")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    for text in (
        "the names of the network start with net.",
        "names in the input contain module and _orig_mod, which wrappers put there",
        "the input's head is called new_fc (--head)",
        "left aside, since they are buffers of losses, not weights of the network: module.criterion.weight",
        "left aside, since they are buffers of metrics, not weights of the network: val_acc.tp",
        "left aside, since they are buffers of profilers, not weights of the network: module.net.layer1.total_ops",
        "dropped as asked for: module.queue",
    ):
        assert f"note: {text}\n" in done.stdout
    source = inspect(tmp_path / "there.pth").provenance["source"]
    assert source["drop"] == ["module.queue"]
    convert(tmp_path / "there.pth", tmp_path / "back.pth", to="vmz-pt", check=True)
    assert same(written(tmp_path / "back.pth"), network)
    assert inspect(tmp_path / "in.pth", head="new_fc", drop=["*queue"]).network.classes == 400
    model = load_model(tmp_path / "in.pth", head="new_fc", drop=["*queue"])
    assert torch.equal(model.head.weight, r2d_state["fc.weight"])


def test_a_record_that_gives_two_tensors_one_name_is_refused():
    tensors = shells("native", "r3d-18")
    match = match_file(load_layout("native"), tensors)
    info = network_info(match, None)
    names = {"stem.0.weight": "module.stem._orig_mod.0.weight"}
    for more in ({}, {"fc.weight": "fc.bias"}):
        original = OriginalFile(
            prefix="", shapes={}, dtype="float32", dtypes={}, lossy=False, file_names=names | more
        )
        words = {"eps": info.bn_eps, "original": original}
        if more:
            with pytest.raises(BadInput, match="record"):
                make_plan(match, tensors, load_layout("torchvision"), info, **words)
        else:
            plan = make_plan(match, tensors, load_layout("torchvision"), info, **words)
            assert plan.rows[0].target == "module.stem._orig_mod.0.weight"
