"""Files in an object store: every verb, a checkpoint of several files, and what is not there."""

from __future__ import annotations

import numpy as np
import pytest

from converters import convert, load_model, open_checkpoint
from converters.errors import BadInput
from converters.inspection.inspect import inspect
from tests.helpers import batch_files, films, object_store

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket with a pickle, a converted file, a TensorFlow checkpoint and a sharded one."""
    folder = tmp_path_factory.mktemp("s3")
    batch_files.write_native(folder / "native.pth", "resnet3d", "ir-csn-26", 10, 0)
    convert(folder / "native.pth", folder / "a.pkl", to="vmz")
    convert(folder / "a.pkl", folder / "out.pth", to="vmz-pt")
    batch_files.write_native(folder / "i3d.pth", "i3d", "i3d", 10, 0)
    convert(folder / "i3d.pth", folder / "model.ckpt", to="i3d")
    with object_store.serving(folder, "weights") as (reach, ask):
        names = ("a.pkl", "out.pth", "model.ckpt.index", "model.ckpt.data-00000-of-00001")
        ask(*(["put_file", folder / name, f"weights/{name}"] for name in names))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in reach.items():
                patch.setenv(name, value)
            yield folder


def test_every_verb(bucket, run, tmp_path):
    source, output = "s3://weights/a.pkl", "s3://weights/out.pth"
    film = films.write(tmp_path / "film.mkv", list(np.zeros((40, 32, 32, 3), np.uint8)))
    for words in (
        ("inspect", source),
        (source, "made.pth", "--to", "vmz-pt", "--check"),
        ("diff", source, output),
        ("verify", source, output),
        ("classify", output, str(film)),
    ):
        done = run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not load_model(output).training
    with open_checkpoint(source) as checkpoint, open_checkpoint(bucket / "a.pkl") as local:
        assert checkpoint.path == source
        assert all((array.numpy() == local[name].numpy()).all() for name, array in checkpoint.items())


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_a_checkpoint_of_several_files(name, bucket):
    found = inspect(f"s3://weights/{name}")
    local = inspect(bucket / name)
    assert found.tensors == local.tensors
    assert found.size == local.size
    assert found.path.startswith("s3://weights/model.ckpt")


@pytest.mark.parametrize("address", ["s3://weights/none.pth", "s3://no-such-bucket/a.pth"])
def test_what_is_not_there(address, bucket):
    with pytest.raises(BadInput, match="does not exist") as caught:
        inspect(address)
    assert caught.value.path == address


def test_a_store_without_what_reaches_it(run, monkeypatch):
    """The extra is named."""
    import sys

    for name in ("fsspec", "s3fs", "gcsfs", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)
    for scheme, extra in (("s3", "remote"), ("gs", "gcs"), ("hf", "hub")):
        done = run("inspect", f"{scheme}://owner/file/a.pth")
        assert f"pip install '.[{extra}]'" in done.stderr
        assert done.returncode == 1
