"""A repository on a local server that speaks the Hub's API: what is pushed, and what is read back from it."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest
import yaml

from converters import convert, load_model, open_checkpoint
from converters.errors import BadInput
from converters.inspection.inspect import inspect
from tests.helpers import batch_files, hub_server

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of the package's own


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A converted file with its record and the names of its classes."""
    folder = tmp_path_factory.mktemp("hub")
    batch_files.write_native(folder / "native.pth", "resnet3d", "ir-csn-26", 10, 0)
    (folder / "labels.txt").write_text("".join(f"class {number}\n" for number in range(10)))
    convert(folder / "native.pth", folder / "a.pkl", to="vmz")
    convert(folder / "a.pkl", folder / "out.pth", to="vmz-pt", labels=folder / "labels.txt")
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("VIDEO_CHECKPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    with hub_server.serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def test_a_file_goes_there_and_comes_back(hub, weights, run, tmp_path):
    done = run(
        "publish", weights / "out.pth", "--folder", tmp_path, "--license", "My Own", "--push", "me/net"
    )
    assert done.returncode == 0, done.stderr
    assert f"pushed {hub.url}/me/net/commit/" in done.stdout
    files = hub.repositories["me/net"]
    [name] = [name for name in files if name.endswith(".pth")]
    assert {*files} == {name, "README.md", "config.json", "preprocessor_config.json", "SHA256SUMS"}
    assert files[name] == (tmp_path / name).read_bytes()
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, listed = line.split("  ")
        assert hashlib.sha256(files[listed]).hexdigest() == digest

    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (front["license"], front["license_name"]) == ("other", "my own")
    assert (front["pipeline_tag"], front["library_name"]) == ("video-classification", "pytorch")
    assert not {"base_model", "datasets"} & front.keys()
    config = json.loads(files["config.json"])
    assert (config["architecture"], config["weights"], config["layout"]) == ("ir-csn-26", name, "vmz-pt")
    assert config["id2label"]["7"] == "class 7"
    assert config["settings"]["bn_eps"] == 1e-3
    preprocessor = json.loads(files["preprocessor_config.json"])
    assert len(preprocessor["image_mean"]) == len(preprocessor["image_std"]) == 3
    assert preprocessor["num_frames"] == preprocessor["preprocessing"]["frames"]

    local = inspect(weights / "out.pth")
    for address in ("hf://me/net", f"hf://me/net@main/{name}", f"hf://me/net@{hub_server.COMMIT}"):
        found = inspect(address)
        assert found.path.endswith(name)
        assert (found.tensors, found.network) == (local.tensors, local.network)
    made = run("auto", "hf://me/net", tmp_path / "again.pth", "--to", "mmaction")
    assert made.returncode == 0, made.stderr
    assert inspect(tmp_path / "again.pth").provenance["source"]["address"] == f"hf://me/net/{name}"
    assert hub_server.TOKEN not in done.stdout + done.stderr + made.stdout + made.stderr


def test_what_is_pushed_again_and_what_came_from_the_hub(hub, weights, run, tmp_path):
    (tmp_path / "released").mkdir()
    for _ in range(2):
        done = run("publish", weights / "out.pth", "--folder", tmp_path / "released", "--push", "me/net")
        assert done.returncode == 0, done.stderr
    assert len(hub.repositories["me/net"]) == 5
    run("auto", "hf://me/net", tmp_path / "again.pth", "--to", "mmaction")
    done = run("publish", tmp_path / "again.pth", "--push", "me/second")
    assert done.returncode == 0, done.stderr
    front = yaml.safe_load(hub.repositories["me/second"]["README.md"].decode().split("---")[1])
    assert front["base_model"] == ["me/net"]
    assert "license" not in front


def test_what_cannot_be_pushed(hub, weights, run, monkeypatch, tmp_path):
    import torch

    (tmp_path / "a").mkdir()
    for words, what in (
        ([weights / "out.pth", "--push", "net"], "names no repository"),
        ([weights / "out.pth", weights / "out.pth", "--push", "me/net"], "--push is for one file"),
    ):
        assert what in run("publish", *words, "--folder", tmp_path / "a").stderr
    torch.save(torch.load(weights / "out.pth"), tmp_path / "bare.pth")
    assert "has no record" in run("publish", tmp_path / "bare.pth", "--push", "me/net").stderr
    assert "only a local file" in run("publish", "hf://me/net/a.pth").stderr
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    done = run("publish", weights / "out.pth", "--folder", tmp_path / "a", "--push", "me/net")
    assert done.returncode == 1
    assert "access is denied" in done.stderr
    assert "hf_wrong" not in done.stderr
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    done = run("publish", weights / "out.pth", "--folder", tmp_path / "a", "--push", "me/net")
    assert "pip install '.[hub]'" in done.stderr


def test_a_repository_of_several_files(hub):
    hub.repositories["me/two"] = {"a.pth": b"1", "b.pth": b"2", "README.md": b""}
    with pytest.raises(BadInput, match="holds 2 files that may be its weights"):
        inspect("hf://me/two")
    with pytest.raises(BadInput, match="does not exist"):
        inspect("hf://me/none/a.pth")


def test_a_repository_of_one_checkpoint_in_parts(hub):
    from safetensors.numpy import save

    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    parts = {
        name: save({f"{part}.weight": np.full(4, number, np.float32)})
        for number, (part, name) in enumerate(zip("ab", names, strict=True))
    }
    index = json.dumps(
        {"weight_map": {f"{part}.weight": name for part, name in zip("ab", names, strict=True)}}
    )
    hub.repositories["me/parts"] = {**parts, "model.safetensors.index.json": index.encode()}
    assert inspect("hf://me/parts").path == "hf://me/parts/model.safetensors.index.json"
    with open_checkpoint("hf://me/parts@main") as checkpoint:
        assert {name: tensor.numpy().tolist() for name, tensor in checkpoint.items()} == {
            "a.weight": [0.0] * 4,
            "b.weight": [1.0] * 4,
        }


@pytest.mark.full
def test_a_network_from_the_hub(hub, weights, run, run_process, tmp_path):
    """In another process, with nothing but the address."""
    import torch

    done = run_process("publish", weights / "out.pth", "--folder", tmp_path, "--push", "me/net")
    assert done.returncode == 0, done.stderr
    there, here = load_model("hf://me/net"), load_model(weights / "out.pth")
    clip = torch.rand(1, 3, 8, 56, 56)
    with torch.no_grad():
        assert torch.equal(there(clip), here(clip))
    assert there.labels == here.labels == tuple(f"class {number}" for number in range(10))
    assert there.preprocessing == here.preprocessing
