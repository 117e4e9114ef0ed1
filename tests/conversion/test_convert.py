"""The command and the API as people use them: files in, files out, messages, exit codes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from converters import BadInput, ConverterError, Refused, UsageError, convert, inspect, load_model
from converters.files import SourceFile
from converters.formats.caffe2.pickle_reader import read_caffe2_pickle
from tests.helpers import vmz_files
from tests.helpers.paths import REPOSITORY
from tests.helpers.upstream_tables import vmz_tables

if TYPE_CHECKING:
    from pathlib import Path


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a VMZ pickle, bit for bit, read by the product's reader."""
    with SourceFile(path) as file:
        found = read_caffe2_pickle(file)
        return {
            name: np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape)
            for name, tensor in found.tensors.items()
        }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


# Outputs


def test_pth_is_a_plain_state_dict(r2d, tmp_path):
    result = convert(r2d, tmp_path / "out.pth", source="vmz")
    for mapped in (False, True):
        state = torch.load(tmp_path / "out.pth", weights_only=True, mmap=mapped)
        assert type(state).__name__ == "OrderedDict"
        assert list(state) == [row.target for row in result.rows]
        assert all(tensor.is_contiguous() for tensor in state.values())
    source = arrays_of(r2d)
    for row in result.rows:
        if row.source is None:
            assert (row.target.endswith("num_batches_tracked"), state[row.target].item()) == (True, 0)
        else:
            assert state[row.target].numpy().tobytes() == source[row.source].tobytes()
    assert result.layout == "vmz"
    assert result.target == "vmz-pt"
    assert result.info.variant == "r2d-18"
    assert set(result.timings) == {"read", "plan", "write", "check", "finish"}


def test_safetensors_holds_the_same(r2d, tmp_path):
    convert(r2d, tmp_path / "out.pth", source="vmz")
    convert(r2d, tmp_path / "out.safetensors", source="vmz")
    one, other = torch.load(tmp_path / "out.pth", weights_only=True), load_file(tmp_path / "out.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    with zipfile.ZipFile(tmp_path / "out.pth") as file:
        assert json.loads(file.read("archive/provenance.json")) == provenance
        assert file.testzip() is None


def test_provenance_says_what_a_state_dict_cannot(r2d, tmp_path):
    import zlib

    convert(r2d, tmp_path / "out.pth", source="vmz", sha256=True)
    with zipfile.ZipFile(tmp_path / "out.pth") as file:
        record = json.loads(file.read("archive/provenance.json"))
    source = arrays_of(r2d)
    assert record["source"]["crc32"] == {
        name: f"{zlib.crc32(array.tobytes()):08x}" for name, array in source.items()
    }
    assert record["source"]["name"] == r2d.name
    assert record["source"]["size"] == r2d.stat().st_size
    import hashlib

    assert record["source"]["sha256"] == hashlib.sha256(r2d.read_bytes()).hexdigest()
    network = record["network"]
    assert (network["variant"], network["classes"], network["channels"]) == ("r2d-18", 400, 3)
    assert network["settings"] == {"bn_eps": 1e-3, "pool1": False, "stem_stride": 1}
    assert network["input"]["clip"] == [8, 112, 112]
    assert network["input"]["mean"] == [110.201, 100.64, 95.9966]
    assert network["input"]["std"] == [58.1489, 56.4701, 55.3324]
    assert network["input"]["order"] == "RGB"
    assert record["layout"] == record["mapping"]["target"] == "vmz-pt"
    assert len(record["mapping"]["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_same_input_same_bytes(r2d, tmp_path, suffix):
    """Neither paths nor clocks nor the output's name are in the output."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(r2d, folder / r2d.name)
    convert(r2d, tmp_path / f"a.{suffix}", source="vmz")
    time.sleep(0.01)
    convert(folder / r2d.name, folder / f"b.{suffix}", source="vmz")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (folder / f"b.{suffix}").read_bytes()


def test_wrap_and_dtype(r2d, tmp_path):
    vmz_files.write(tmp_path / "csn.pkl", "ir-csn-26", seed=1)
    table = vmz_tables()["ir-csn-50"]
    vmz_files.write(tmp_path / "csn50.pkl", "ir-csn-50", seed=1)
    convert(tmp_path / "csn50.pkl", tmp_path / "w.pth", source="vmz", to="mmaction2", wrap=True)
    held = torch.load(tmp_path / "w.pth", weights_only=True)
    assert set(held) == {"meta", "state_dict"}
    assert len(held["state_dict"]) > len(table.blobs)
    assert load_model(tmp_path / "w.pth") is not None

    for dtype in ("float16", "bfloat16", "float64"):
        result = convert(r2d, tmp_path / f"{dtype}.pth", source="vmz", dtype=dtype)
        state = torch.load(tmp_path / f"{dtype}.pth", weights_only=True)
        whole = arrays_of(r2d)
        for row in result.rows:
            if row.source is not None:
                wanted = torch.from_numpy(whole[row.source].copy()).to(getattr(torch, dtype))
                assert torch.equal(state[row.target], wanted), row.target
        record = inspect(tmp_path / f"{dtype}.pth").provenance
        assert (len(record["restore"].get("lossy", [])) > 0) == (dtype != "float64")


# The way back


def test_the_way_back_is_bit_exact(tmp_path, r3d):
    """vmz -> layout -> vmz, through files: folded eps, scope, trailing ones, mixed dtypes."""
    table = vmz_tables()["r3d-18"].variant("use_convolutional_pred=1")
    from tests.helpers import seeded_weights

    arrays = seeded_weights.vmz_weights(table.blobs, 8)
    arrays["comp_2_spatbn_1_riv"] = (arrays["comp_2_spatbn_1_riv"] * 1e-4).astype(
        np.float32
    )  # bits lost to the fold
    arrays["comp_3_spatbn_1_riv"][:3] = [0, 1e-30, 1e-3]
    arrays["comp_4_conv_1_w"] = arrays["comp_4_conv_1_w"].astype(np.float16)
    arrays["comp_5_spatbn_2_riv"] = arrays["comp_5_spatbn_2_riv"].astype(np.float64)
    scoped = {f"gpu_0/{name}": array for name, array in arrays.items()}
    solver = {f"{name}_momentum": np.zeros_like(array) for name, array in list(scoped.items())[:4]}
    vmz_files.write_arrays(tmp_path / "x.pkl", {**scoped, **solver, "gpu_0/lr": np.float32([0.1])})
    for to, suffix in (
        ("torchvision", "pth"),
        ("vmz-pt", "pth"),
        ("native", "safetensors"),
        ("mmaction", "safetensors"),
    ):
        middle = tmp_path / f"{to}.{suffix}"
        result = convert(tmp_path / "x.pkl", middle, source="vmz", to=to, check=True)
        assert set(result.dropped) == {*solver, "gpu_0/lr"}
        convert(middle, tmp_path / "back.pkl", source=to, to="vmz", force=True)
        assert same(arrays_of(tmp_path / "back.pkl"), scoped), (to, suffix)
    convert(tmp_path / "torchvision.pth", tmp_path / "chain.pth", source="torchvision", to="vmz-pt")
    one = torch.load(tmp_path / "chain.pth", weights_only=True)
    other = torch.load(tmp_path / "vmz-pt.pth", weights_only=True)
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_cast_and_an_eps_fold_come_back_together(r3d, tmp_path, dtype):
    convert(r3d, tmp_path / "tv.safetensors", source="vmz", to="torchvision", dtype=dtype)
    convert(tmp_path / "tv.safetensors", tmp_path / "pt.safetensors", to="vmz-pt")
    convert(tmp_path / "pt.safetensors", tmp_path / "tv2.safetensors", to="torchvision")
    convert(tmp_path / "tv.safetensors", tmp_path / "back.pkl", to="vmz")
    one, other = load_file(tmp_path / "tv.safetensors"), load_file(tmp_path / "tv2.safetensors")
    back, source = arrays_of(tmp_path / "back.pkl"), arrays_of(r3d)
    if dtype == "float64":
        assert same(back, source)
        assert all(torch.equal(one[name], other[name]) for name in one if "running_var" not in name)
    for name, array in source.items():
        assert back[name].dtype == array.dtype
        assert np.allclose(back[name], array, rtol=2e-3, atol=1e-4), name
    for name, tensor in one.items():
        assert torch.allclose(tensor.double(), other[name].double(), rtol=2e-3, atol=1e-4), name


def test_widened_dtypes_come_back(r2d, tmp_path):
    convert(r2d, tmp_path / "wide.pth", source="vmz", dtype="float64")
    convert(tmp_path / "wide.pth", tmp_path / "back.pkl", to="vmz")
    assert same(arrays_of(tmp_path / "back.pkl"), arrays_of(r2d))


def test_pickle_load_reads_what_comes_back(r2d, tmp_path):
    """The way back writes a pickle that pickle.load takes as VMZ's loader does: latin1, under 'blobs'."""
    import pickle

    convert(r2d, tmp_path / "out.pth", source="vmz")
    convert(tmp_path / "out.pth", tmp_path / "back.pkl", source="vmz-pt", to="vmz")
    with open(tmp_path / "back.pkl", "rb") as file:
        blobs = pickle.load(file, encoding="latin1")["blobs"]
    assert same(blobs, arrays_of(r2d))


# Refusals


def test_wrong_kinds_of_file_are_named(run, tmp_path, r2d):
    whole = r2d.read_bytes()
    kinds = {
        "model.caffemodel": (b"\x0a\x07VGG_net\x12\x05\x0a\x03abc" + bytes(500), "protocol buffer"),
        "page.pkl": (b"<!DOCTYPE html><html><head><title>Dropbox</title></head></html>" * 20, "web page"),
        "cut.pkl": (whole[: len(whole) // 2], "ends"),
        "early.pkl": (whole[:1000], "ends"),
        "code.pkl": (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),
        "empty.pkl": (b"", "empty"),
        "old.tar": (b"x" * 257 + b"ustar" + bytes(300), "tar"),
        "gone.pkl": (None, "no such file"),
    }
    for name, (content, word) in kinds.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = run("vmz", name, "out.pth")
        assert done.returncode == 3, (name, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: {name}: ")
        assert word in done.stderr
        assert len(done.stderr.splitlines()) <= 4
        assert "Traceback" not in done.stderr
        told = run("vmz", name, "out.pth", "--json")
        assert told.returncode == 3
        assert json.loads(told.stdout)["exit_code"] == 3
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.glob("*out*"))


def test_refusals_have_exit_code_1(run, tmp_path, r2d):
    done = run("vmz", r2d, "out.pth", "--to", "torchvision")
    assert done.returncode == 1
    assert "torchvision has r3d_18 and mc3_18 only" in done.stderr
    (tmp_path / "out.pth").write_bytes(b"mine")
    done = run("vmz", r2d, "out.pth")
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert (tmp_path / "out.pth").read_bytes() == b"mine"
    assert run("vmz", r2d, "out.pth", "--force", "--quiet").returncode == 0
    arrays = vmz_files.write(tmp_path / "y.pkl", "r2d-18", seed=5)
    arrays.pop("comp_0_spatbn_1_rm")
    vmz_files.write_arrays(tmp_path / "y.pkl", arrays)
    done = run("vmz", "y.pkl", "y.pth")
    assert done.returncode == 1
    assert "missing: comp_0_spatbn_1_rm" in done.stderr
    assert json.loads(run("vmz", "y.pkl", "y.pth", "--json").stdout)["faults"] == [
        "missing: comp_0_spatbn_1_rm"
    ]
    assert not (tmp_path / "y.pth").exists()


def test_wrong_usage_has_exit_code_2(run, r2d, tmp_path):
    shutil.copy(r2d, tmp_path / "in.pkl")
    (tmp_path / "link.pth").symlink_to(tmp_path / "in.pkl")
    for words in (
        ("vmz",),
        ("vmz", "in.pkl"),
        ("nonsense", "a", "b"),
        ("vmz", "in.pkl", "out.onnxx"),
        ("vmz", "in.pkl", "out.pth", "--to", "mmaction3"),
        ("vmz", "in.pkl", "out.pth", "--dtype", "float8"),
        ("vmz", "in.pkl", "in.pkl", "--force"),
        ("vmz", "in.pkl", "link.pth", "--force"),
        ("vmz", "in.pkl", "out.pth", "--set", "pool1"),
        ("vmz", "in.pkl", "out.pth", "--set", "pool1=on", "--set", "pool1=off"),
        ("vmz", "in.pkl", "out.pkl"),
        ("vmz", "in.pkl", "out.safetensors", "--wrap"),
    ):
        done = run(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
    wrong = run("vmz", "in.pkl", "out.pth", "--to", "torchvison").stderr
    assert wrong == "error: there is no layout 'torchvison'\nhint: did you mean 'torchvision'?\n"
    wrong = run("vmz", "in.pkl", "out.pth", "--variant", "r2d-19").stderr
    assert "hint: did you mean 'r2d-18'?\n" in wrong
    wrong = run("vmz", "in.pkl", "out.pth", "--variant", "r2d-34").stderr  # which there is
    assert "hint: --variant may be r2d-18\n" in wrong
    wrong = run("vmz", "in.pkl", "out.pth", "--dtype", "bloat16").stderr
    assert "hint: did you mean 'bfloat16'?\n" in wrong
    assert (tmp_path / "in.pkl").read_bytes() == r2d.read_bytes()


def test_strict_refuses_nan(tmp_path):
    arrays = vmz_files.write(tmp_path / "x.pkl", "r2d-18", seed=5)
    arrays["comp_1_conv_1_w"].flat[7] = np.nan
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    convert(tmp_path / "x.pkl", tmp_path / "copied.pth", source="vmz")
    with pytest.raises(BadInput, match="NaN"):
        convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="vmz", strict=True)
    assert not (tmp_path / "out.pth").exists()
    found = inspect(tmp_path / "x.pkl", stats=True)
    assert found.statistics["comp_1_conv_1_w"].nan == 1


def test_dry_run_writes_nothing(run, r2d, tmp_path):
    done = run("vmz", r2d, "out.pth", "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert (told["ok"], told["output"], told["network"]["variant"]) == (True, None, "r2d-18")
    assert os.listdir(tmp_path) == []
    assert "dry run" in run("vmz", r2d, "out.pth", "--dry-run").stdout
    assert run("vmz", r2d, "absent/out.pth", "--dry-run").returncode == 1
    assert run("vmz", r2d, "out.safetensors", "--wrap", "--dry-run").returncode == 2


def test_dry_run_and_inspect_read_no_tensor(r2d, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(SourceFile, "chunks", refuse)
    assert convert(r2d, tmp_path / "out.pth", source="vmz", dry_run=True).info.variant == "r2d-18"
    assert inspect(r2d).network is not None
    with pytest.raises(AssertionError, match="was read"):
        convert(r2d, tmp_path / "out.pth", source="vmz")


# Whole or not at all


def size_of(path: Path) -> int:
    """A file's size, -1 once it has been renamed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.full
def test_kill_9_leaves_no_output(r2d, tmp_path):
    """Killed at ten moments of the conversion: the name is absent or whole, and the next run cleans up."""
    command = [sys.executable, "-m", "converters", "vmz", str(r2d), "out.pth", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = 0
    for moment in range(10):
        child = subprocess.Popen(command, cwd=tmp_path, env=environment)
        limit = time.monotonic() + 20
        while child.poll() is None and time.monotonic() < limit:
            if any(size_of(path) > moment * 4_000_000 for path in tmp_path.glob(".out.pth.*.partial")):
                child.send_signal(signal.SIGKILL)
                break
        child.wait()
        killed += child.returncode == -signal.SIGKILL
        if (tmp_path / "out.pth").exists():
            torch.load(tmp_path / "out.pth", weights_only=True)
            (tmp_path / "out.pth").unlink()
    assert killed
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert os.listdir(tmp_path) == ["out.pth"]


def test_a_file_cut_while_it_is_read_is_an_error(r2d, tmp_path, monkeypatch):
    path = tmp_path / "x.pkl"
    shutil.copy(r2d, path)
    seen = []

    def cut(done: int, total: int) -> None:
        if not seen and done > total // 4:
            seen.append(done)
            os.truncate(path, total // 2)

    with pytest.raises(BadInput, match="ends early"):
        convert(path, tmp_path / "out.pth", source="vmz", progress=cut)
    assert seen
    assert os.listdir(tmp_path) == ["x.pkl"]


# Networks from files


def test_load_model_takes_the_source_itself(r2d, tmp_path):
    convert(r2d, tmp_path / "out.pth", source="vmz")
    clip = torch.randn(2, 3, 8, 64, 64)
    with torch.inference_mode():
        one, other = load_model(r2d)(clip), load_model(tmp_path / "out.pth")(clip)
    assert not load_model(r2d).training
    assert one.shape == (2, 400)
    assert torch.equal(one, other)


def test_load_model_of_a_bare_r3d_18(r3d, tmp_path):
    """Names and shapes fit VMZ's port and torchvision: torchvision's eps is the documented default."""
    convert(r3d, tmp_path / "out.pth", source="vmz")
    torch.save(torch.load(tmp_path / "out.pth", weights_only=True), tmp_path / "bare.pth")

    def eps(model) -> float:
        return model.stem.bn.eps

    assert eps(load_model(tmp_path / "out.pth")) == 1e-3
    assert eps(load_model(tmp_path / "bare.pth")) == 1e-5
    assert eps(load_model(tmp_path / "bare.pth", layout="vmz-pt")) == 1e-3
    assert eps(load_model(tmp_path / "bare.pth", settings={"bn_eps": 1e-4})) == 1e-4
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    torch.save(
        {
            f"module.{name}": tensor
            for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")
        },
        tmp_path / "plain.pth",
    )
    assert eps(load_model(tmp_path / "plain.pth")) == 1e-5


def test_load_model_refuses_what_it_cannot(tmp_path, r2d):
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(Refused, match="not a known network"):
        load_model(tmp_path / "a.pth")
    with pytest.raises(UsageError, match="no layout"):
        load_model(tmp_path / "a.pth", layout="nonsense")
    with pytest.raises(BadInput, match="comes as"):
        load_model(r2d, layout="torchvision")
    with pytest.raises(ConverterError):
        load_model(tmp_path / "absent.pth")
    vmz_files.write(tmp_path / "c3d.pkl", "a_resnet-18", seed=2)
    with pytest.raises(UsageError, match="pool1"):
        load_model(tmp_path / "c3d.pkl", settings={"pool1": True})
    with pytest.raises(UsageError, match="eps"):
        load_model(r2d, settings={"bn_eps": -1.0})


# Inspection


def test_inspect_source_and_output(run, tmp_path):
    vmz_files.write(tmp_path / "irCSN_50_ft_kinetics.pkl", "ir-csn-50", seed=3)
    short = run("inspect", "irCSN_50_ft_kinetics.pkl")
    assert short.returncode == 0
    assert len(short.stdout.splitlines()) <= 15
    assert "converts to  vmz-pt, " in short.stdout
    assert "and back to  vmz\n" in short.stdout
    done = run("inspect", "irCSN_50_ft_kinetics.pkl", "--tensors", "--layouts")
    assert done.stdout.count("not to ") > 5
    for words in (
        "ir-CSN-50",
        "400 classes",
        "layout       vmz",
        "bn_eps = 0.001, pool1 = on, stem_stride = 1",
        "RGB",
        "110.201",
        "32x224x224",
        "Apache-2.0",
        "comp_{3-6}_spatbn_1_s",
        "GFLOPs",
        "mmaction2",
    ):
        assert words in done.stdout, words
    run("vmz", "irCSN_50_ft_kinetics.pkl", "out.safetensors", "--to", "mmaction2")
    told = json.loads(run("inspect", "out.safetensors", "--json").stdout)
    assert told["layout"] == "mmaction2"
    assert told["network"]["input"]["mean"] == [110.201, 100.64, 95.9966]
    assert told["provenance"]["source"]["name"] == "irCSN_50_ft_kinetics.pkl"
    assert "made from    irCSN_50_ft_kinetics.pkl" in run("inspect", "out.safetensors").stdout


def test_inspect_of_something_else(run, tmp_path):
    torch.save({"weight": torch.zeros(3, 4)}, tmp_path / "other.pth")
    done = run("inspect", "other.pth")
    assert done.returncode == 0
    assert "not recognised" in done.stdout
    assert "weight  3x4 float32" in done.stdout


def test_models_lists_every_network(run):
    done = run("models")
    assert done.returncode == 0
    for name in vmz_tables():
        assert f" {name} " in done.stdout, name
    table = {row["variant"]: row for row in json.loads(run("models", "--json").stdout)["models"]}
    assert "torchvision" in table["r3d-18"]["layouts"]
    assert "middle channels" in table["r2plus1d-18"]["refusing"]["torchvision"]


def test_help_and_version(run):
    for words in (
        ("--help",),
        ("vmz", "--help"),
        ("inspect", "--help"),
        ("models", "--help"),
        ("demo", "--help"),
    ):
        done = run(*words)
        assert done.returncode == 0
        assert "usage: convert" in done.stdout
    assert run("--version").stdout.startswith("video-checkpoint-converters ")


@pytest.mark.parametrize("change", ["longer", "touched", "a byte"])
def test_an_input_that_changes_meanwhile_is_refused(r2d, tmp_path, change):
    shutil.copy(r2d, tmp_path / "in.pkl")

    def progress(done, total):
        if done == total:
            with open(tmp_path / "in.pkl", "r+b") as file:
                file.seek(
                    1_000_000 if change == "a byte" else 0, os.SEEK_SET if change == "a byte" else os.SEEK_END
                )
                file.write(b"" if change == "touched" else b"x")
            os.utime(tmp_path / "in.pkl")

    with pytest.raises(BadInput, match="changed while it was read"):
        convert(tmp_path / "in.pkl", tmp_path / "out.pth", source="vmz", progress=progress)
    assert os.listdir(tmp_path) == ["in.pkl"]


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(r2d, tmp_path, closed):
    def shell(*words: object) -> subprocess.CompletedProcess[bytes]:
        command = shlex.join([sys.executable, "-m", "converters", *map(str, words)])
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(
            ["sh", "-c", f"{command} {closed}"],
            cwd=tmp_path,
            capture_output=True,
            env=environment,
            check=False,
        )

    assert shell("vmz", r2d, "out.pth").returncode == 0
    assert inspect(tmp_path / "out.pth").layout == "vmz-pt"
    done = shell("vmz", "gone.pkl", "other.pth")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")


def test_a_closed_pipe_is_no_error(r2d, tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m converters models | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        check=False,
    )
    assert done.stderr == ""


# What a review found


def test_a_chain_comes_back_too(tmp_path):
    table = vmz_tables()["ir-csn-50"].variant("crop_size=256,use_convolutional_pred=1")
    from tests.helpers import seeded_weights

    arrays = {f"gpu_0/{name}": array for name, array in seeded_weights.vmz_weights(table.blobs, 8).items()}
    arrays["gpu_0/comp_4_conv_1_w"] = arrays["gpu_0/comp_4_conv_1_w"].astype(np.float16)
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    convert(tmp_path / "x.pkl", tmp_path / "a.pth", source="vmz")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", source="vmz-pt", to="mmaction", dtype="float64")
    convert(tmp_path / "b.pth", tmp_path / "c.safetensors", source="mmaction", to="mmaction2")
    result = convert(tmp_path / "c.safetensors", tmp_path / "back.pkl", source="mmaction2", to="vmz")
    assert same(arrays_of(tmp_path / "back.pkl"), arrays)
    assert not result.notes
    convert(tmp_path / "x.pkl", tmp_path / "half.pth", source="vmz", dtype="float16")
    convert(tmp_path / "half.pth", tmp_path / "d.pth", source="vmz-pt", to="native")
    result = convert(tmp_path / "d.pth", tmp_path / "back2.pkl", source="native", to="vmz")
    assert "cannot be restored" in result.notes[0]


def test_control_characters_in_a_file_are_not_printed(run, tmp_path):
    torch.save({"a\x1b[31m\nerror: fake": torch.zeros(3)}, tmp_path / "odd\nname.pth")
    done = run("inspect", "odd\nname.pth")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\nerror" not in done.stdout
    done = run("vmz-pt", "odd\nname.pth", "out.pth")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 2  # the error, and a hint


@pytest.mark.parametrize("words", [("models",), ("models", "--json"), ("--help",)])
def test_a_full_disk_behind_stdout(words, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "converters", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            cwd=tmp_path,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_names_that_the_terminal_cannot_show(tmp_path, r2d):
    name = os.fsdecode(b"bad\xff.pkl")
    shutil.copy(r2d, tmp_path / name)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii"}
    for words in (("inspect", name), ("inspect", name, "--json"), ("vmz", name, "o.pth")):
        done = subprocess.run(
            [sys.executable, "-m", "converters", *words],
            capture_output=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_interrupted(r2d, tmp_path):
    """Ctrl-C in the middle: exit code 130, one JSON object, no output."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run in the background
        "from converters.cli import main as cli\nfrom converters.conversion import write as output\n"
        "real = output._counter\n"
        "def counter(progress, total):\n"
        "    return real(lambda done, all: os.kill(os.getpid(), signal.SIGINT), total)\n"
        "output._counter = counter\n"
        "import converters.conversion.convert as c\n"
        "real_convert = c.convert\n"
        "c.convert = lambda *a, **k: real_convert(*a, **{**k, 'progress': print})\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "vmz", str(r2d), "out.pth", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 130
    assert json.loads(done.stdout) == {
        "ok": False,
        "exit_code": 130,
        "error": "interrupted",
        "path": "",
        "where": "",
        "hint": "",
        "faults": [],
    }
    assert os.listdir(tmp_path) == []


def test_debug_keeps_the_exit_code(run, tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"")
    done = run("vmz", "x.pkl", "o.pth", "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_verify_reports_nan(run, tmp_path):
    arrays = vmz_files.write(tmp_path / "x.pkl", "r2d-18", seed=5)
    arrays["comp_1_conv_1_w"].flat[7] = np.inf
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    done = run("vmz", "x.pkl", "out.pth", "--check")
    assert done.returncode == 0
    assert "1 tensor holds NaN or Inf: comp_1_conv_1_w" in done.stdout


def test_what_cannot_be_told_is_said(tmp_path, r2d):
    vmz_files.write(
        tmp_path / "x.pkl",
        "r3d-18",
        seed=5,
        change="clip_length=32,conv1_temporal_kernel=5,conv1_temporal_stride=2",
    )
    result = convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="vmz")
    assert "--set stem_stride=" in result.told[0]
    assert 'settings={"stem_stride": ' in result.notes[0]
    told = convert(tmp_path / "x.pkl", tmp_path / "two.pth", source="vmz", settings={"stem_stride": 2})
    assert "own network has stem_stride = 1, but these weights need stem_stride = 2" in told.notes[0]
    assert any("assumed to be 2" in note for note in told.notes)
    assert "no wrapper" in convert(r2d, tmp_path / "bare.pth", source="vmz", wrap=True).notes[0]
    with pytest.raises(UsageError, match="stem_stride must be a whole number from 1 to 64"):
        convert(r2d, tmp_path / "bad.pth", source="vmz", settings={"stem_stride": 0})
    vmz_files.write(tmp_path / "c3d.pkl", "a_resnet-18", seed=5)
    with pytest.raises(UsageError, match="has no setting 'pool1'"):
        convert(tmp_path / "c3d.pkl", tmp_path / "bad.pth", source="vmz", settings={"pool1": True})


def test_models_shows_the_sources_defaults_first(run):
    for row in json.loads(run("models", "--json").stdout)["models"]:
        wanted = {
            "resnet3d": "vmz-pt",
            "i3d": "pytorch-i3d",
            "c3d": "mmaction",
            "bn_inception": "mmaction",
            "resnet_i3d": "native" if "nonlocal" in row["sources"] else "pyslowfast",
            "slowfast": "pyslowfast",
            "x3d": "pyslowfast",
            **dict.fromkeys(("audiovisual", "resnet2d_audio", "c3d_bn", "c3d_resnet"), "native"),
            "resnet2d": "mmaction2" if row["sources"] == ["gluoncv"] else "native",
        }.get(row["family"])
        if wanted is None:  # a family that is newer than this test
            continue
        if row["sources"] and "torchvision" not in row["variant"] and row["variant"] != "c3d-small":
            assert wanted in [*row["layouts"]][: len(row["sources"])], row["variant"]
