"""Files on web servers: every habit of a server, and every verb."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from converters import convert, load_model, open_checkpoint
from converters.errors import BadInput, UsageError
from converters.formats.open import open_checkpoint as open_file
from converters.inspection.inspect import inspect
from converters.remote import download
from tests.helpers import batch_files, films
from tests.helpers.web_server import make_certificate, serving

NAME = "ir-csn-26-0.pkl"


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("www")
    batch_files.write_native(folder / "native.pth", "resnet3d", "ir-csn-26", 10, 0)
    convert(folder / "native.pth", folder / NAME, to="vmz")
    convert(folder / NAME, folder / "out.pth", to="vmz-pt")
    (folder / "page.pth").write_text("<!DOCTYPE html><html>please sign in</html>")
    (folder / "empty.pth").write_bytes(b"")
    return folder


@pytest.fixture
def web(served_folder):
    with serving(served_folder) as served:
        yield served


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDEO_CHECKPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSES", (0.0,) * 4)
    return tmp_path / "cache"


def cached(cache):
    return [path.read_bytes() for path in cache.glob("files/*/*")]


@pytest.mark.parametrize("how", ["ranges", "plain", "cut", "moved"])
def test_a_file_arrives_whole(how, web, served_folder, cache):
    with open_file(f"{web.url}/{how}/{NAME}") as checkpoint:
        assert checkpoint.path == checkpoint.files[0].path == f"{web.url}/{how}/{NAME}"
        assert checkpoint.tensors
    assert cached(cache) == [(served_folder / NAME).read_bytes()]
    assert not list(cache.glob("parts/*"))
    before = sum(web.sent)
    open_file(f"{web.url}/{how}/{NAME}").close()
    assert sum(web.sent) - before < 4_000_000  # only asked whether it has changed; a socket's buffers fill


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("file/a.pth", "is redirected to file:, which is refused"),
        (f"elsewhere/{NAME}", "is redirected to http:// on another machine, which needs a hash"),
        (f"short/{NAME}", "is incomplete: 100,000 of"),
        ("ranges/none.pth", "does not exist"),
        ("ranges/page.pth", "is a web page, not a checkpoint"),
        ("ranges/empty.pth", "is empty"),
        (f"secret/{NAME}", "access is denied"),
        (f"500/{NAME}", "cannot be reached: 500 Internal Server Error"),
        (f"other/{NAME}", "changed while it was read"),
        (f"ranges/{NAME}#sha256={'0' * 64}", "its SHA-256 begins with"),
    ],
)
def test_what_is_refused(path, what, web, cache):
    with pytest.raises(BadInput, match=what) as caught:
        open_file(f"{web.url}/{path}")
    assert caught.value.path == f"{web.url}/{path.partition('#')[0]}"
    assert not [found for found in cached(cache) if len(found) > 100]


def test_a_download_goes_on_where_it_was_cut(web, served_folder, cache, monkeypatch):
    """Also in another run: what has arrived is kept."""
    monkeypatch.setattr(download, "PAUSES", ())
    monkeypatch.setattr(download, "_attempts", lambda _: -1)
    address = f"{web.url}/cut/{NAME}"
    with pytest.raises(BadInput, match="is incomplete: 100,000 of"):
        open_file(address)
    with pytest.raises(BadInput, match="is incomplete: 200,000 of"):
        open_file(address)
    monkeypatch.setattr(download, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(download, "_attempts", lambda _: 4)
    open_file(address).close()
    assert cached(cache) == [(served_folder / NAME).read_bytes()]
    assert ("cut", NAME, "bytes=200000-") in web.log


def test_a_changed_file_is_fetched_again(web, served_folder, tmp_path, cache):
    shutil.copy(served_folder / "out.pth", served_folder / "changing.pth")
    assert inspect(f"{web.url}/ranges/changing.pth").container == "PyTorch zip file"
    shutil.copy(served_folder / NAME, served_folder / "changing.pth")
    assert "pickle" in inspect(f"{web.url}/ranges/changing.pth").container


def test_a_file_of_a_known_hash_is_not_asked_for_again(web, served_folder):
    digest = hashlib.sha256((served_folder / NAME).read_bytes()).hexdigest()
    for _ in range(2):
        open_file(f"{web.url}/ranges/{NAME}#sha256={digest}").close()
    asked = len(web.log)
    open_file(f"{web.url}/ranges/{NAME}#sha256={digest}").close()
    assert len(web.log) == asked


def test_no_credentials_are_shown(web, served_folder, run, tmp_path, cache):
    address = web.url.replace("//", "//user:pass@") + f"/secret/{NAME}?X-Amz-Signature=5ec4e7&dl=1"
    made = run("auto", address, "out.pth", "--json", "--sha256")
    assert made.returncode == 0, made.stderr
    source = inspect(tmp_path / "out.pth").provenance["source"]
    assert source["address"] == f"{web.url}/secret/{NAME}?dl=1"
    assert source["name"] == NAME
    for words in (
        ("inspect", address, "--hash", "--json"),
        ("diff", address, "out.pth"),
        ("inspect", f"{address}&x=5ec4e7", "--head", "nothing", "--json"),
        ("auto", address, "new.pth", "--to", "movinet-pytorch"),
        ("load-report", address, "--module", "torch.nn:Identity", "--json"),
        ("suggest", address, "out.pth", "-o", "map.toml", "--no-values", "--json"),
    ):
        done = run(*words)
        assert "/secret/" in done.stdout + done.stderr
        for secret in ("pass", "5ec4e7"):
            assert secret not in (done.stdout + done.stderr).replace("passed", "")
    files = [path for folder in (cache, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert {"out.pth", "map.toml"} <= {path.name for path in files}
    assert not any(b"5ec4e7" in path.read_bytes() for path in files)


def test_http_needs_a_hash_beyond_this_machine():
    with pytest.raises(UsageError, match="http:// needs a hash"):
        open_file("http://example.org/a.pth")


@pytest.mark.parametrize(
    ("location", "error", "what"),
    [
        ("ftp://example.org/a.pth", UsageError, "ftp:// is not supported"),
        ("https://example.org/", BadInput, "names no file"),
        ("https:///a.pth", BadInput, "is not an address"),
        ("s3://bucket", UsageError, "names no file"),
        ("hf://owner", UsageError, "names no repository"),
        ("https://example.org/a.pth#md5=0", UsageError, "which is not a hash"),
    ],
)
def test_what_is_no_address(location, error, what):
    with pytest.raises(error, match=what):
        open_file(location)


def sparse_safetensors(path: Path, size: int, count: int, prefix: str = "") -> None:
    """A file of a given size whose tensors are holes."""
    entries, at = {}, 0
    each = size // count // 4 * 4
    for number in range(count):
        entries[f"{prefix}layer{number}.weight"] = {
            "dtype": "F32",
            "shape": [each // 4],
            "data_offsets": [at, at + each],
        }
        at += each
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)


def test_a_directory_is_read_by_ranges(web, served_folder, run, cache):
    """Of 474 MB less than one arrives, and none of it is kept."""
    sparse_safetensors(served_folder / "big.safetensors", 474_000_000, 400)
    done = run("inspect", f"{web.url}/ranges/big.safetensors", "--json")
    (served_folder / "big.safetensors").unlink()
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["tensors"]) == 400
    assert 474_000_000 < json.loads(done.stdout)["size"] < 475_000_000
    assert sum(web.sent) < 1_000_000
    assert not cached(cache)


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".onnx"])
def test_other_directories(suffix, web, served_folder, r2d, tmp_path):
    path = served_folder / f"r2d{suffix}"
    if suffix == ".npz":
        import numpy as np

        with open_checkpoint(r2d) as checkpoint:
            np.savez(path, **{name: array.numpy() for name, array in checkpoint.items()})
    else:
        convert(r2d, path)
    local = inspect(path)
    found = inspect(f"{web.url}/ranges/{path.name}")
    size = path.stat().st_size
    path.unlink()
    assert found.tensors == local.tensors
    assert (found.network, found.provenance, found.size) == (local.network, local.provenance, size)
    assert sum(web.sent) < size / 10


@pytest.fixture
def parts(served_folder):
    """The address of an index under the server's, and its two parts, which are large enough to be read by ranges."""
    names = {}
    for number in (1, 2):
        part = f"model-0000{number}-of-00002.safetensors"
        sparse_safetensors(served_folder / part, 9_000_000, 3, f"half{number}.")
        names |= {f"half{number}.layer{row}.weight": part for row in range(3)}
    index = served_folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 18_000_000}, "weight_map": names}))
    yield index
    for path in served_folder.glob("model*"):
        path.unlink()


def test_the_parts_of_a_checkpoint_are_found_beside_its_index(parts, web, cache):
    address = f"{web.url}/ranges/{parts.name}"
    found = inspect(address)
    assert (len(found.tensors), found.container) == (6, "safetensors in 2 parts")
    assert found.tensors == inspect(parts).tensors
    assert sum(web.sent) < 1_000_000
    with open_file(address) as checkpoint:
        assert [file.path for file in checkpoint.files] == [
            address,
            *(f"{web.url}/ranges/model-0000{number}-of-00002.safetensors" for number in (1, 2)),
        ]
        assert checkpoint.tensors["half2.layer2.weight"].tobytes() == bytes(3_000_000)
    (parts.parent / "model-00002-of-00002.safetensors").unlink()
    for distant in (True, False):
        with pytest.raises(BadInput, match="the index names it, and it is not there") as caught:
            open_file(address, distant=distant)
        assert caught.value.path == f"{web.url}/ranges/model-00002-of-00002.safetensors"


def test_external_data_of_an_onnx_model(web, served_folder):
    """Also for onnx itself, which reads it from the model's own folder and through no link."""
    import onnx

    from converters.verification.own_graph import own_graph

    values = np.arange(1000, dtype=np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "sum",
        [onnx.helper.make_tensor_value_info("x", 1, [1000])],
        [onnx.helper.make_tensor_value_info("y", 1, [1000])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    folder = served_folder / "external"
    folder.mkdir()
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8),
        folder / "sum.onnx",
        save_as_external_data=True,
        location="sum.data",
        size_threshold=0,
    )
    address = f"{web.url}/ranges/external/sum.onnx"
    assert inspect(address).size == sum(path.stat().st_size for path in folder.iterdir())
    for _ in range(2):
        with open_file(address) as checkpoint:
            assert checkpoint.tensors["w"].tobytes() == values.tobytes()
            ran = own_graph(checkpoint.local).run([values], ["y"])
            assert (ran["y"] == 2 * values).all()
    shutil.rmtree(folder)


def test_what_needs_more_than_a_directory_is_fetched(web, served_folder, r2d, cache):
    shutil.copy(r2d, served_folder / "r2d.pkl")
    found = inspect(f"{web.url}/ranges/r2d.pkl", stats=True)
    (served_folder / "r2d.pkl").unlink()
    assert found.statistics
    assert len(cached(cache)) == 1


def test_every_verb_over_tls(served_folder, run, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path)
    with serving(served_folder, certificate) as served:
        address = f"{served.url}/ranges/{NAME}"
        assert run("inspect", address).returncode == 3  # nobody vouches for it
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        for words in (
            ("inspect", address, "--stats"),
            ("auto", address, "out.pth", "--check"),
            (address, "again.pth", "--to", "native"),
            ("diff", address, f"{served.url}/ranges/out.pth"),
        ):
            done = run(*words)
            assert done.returncode == 0, done.stderr
        with open_checkpoint(address) as checkpoint:
            assert checkpoint.path == address
            name = next(iter(checkpoint))
            assert checkpoint[name].numpy().shape == checkpoint[name].shape


@pytest.mark.full
def test_networks_run_over_tls(served_folder, run, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    film = films.write(tmp_path / "film.mkv", list(np.zeros((40, 32, 32, 3), np.uint8)))
    with serving(served_folder, certificate) as served:
        address = f"{served.url}/ranges/out.pth"
        source = served.url.replace("//", "//user:5ec4e7@") + f"/ranges/{NAME}?token=5ec4e7"
        for words in (
            ("verify", source, address, "--html", "seen.html", "--junit", "seen.xml"),
            ("classify", address, str(film)),
        ):
            done = run(*words)
            assert done.returncode == 0, done.stdout + done.stderr
        assert f"convert verify {served.url}/ranges/{NAME} {address}" in (tmp_path / "seen.html").read_text()
        assert not [path.name for path in tmp_path.glob("seen.*") if "5ec4e7" in path.read_text()]
        assert not load_model(address).training


def test_the_cache_is_bounded(cache, monkeypatch):
    from converters.remote import cache as module
    from converters.remote.address import parse_address

    made = module.user_cache()
    for number in range(3):
        part = made.part(parse_address(f"https://example.org/{number}.pth"), "1")
        Path(part).write_bytes(bytes(100))
        path = made.keep(part, parse_address(f"https://example.org/{number}.pth"), "1", f"{number}" * 64)
        old = time.time() - 10 * 24 * 3600 + number
        os.utime(Path(path).parent, (old, old))
    abandoned = Path(made.parts(), "abandoned.part")
    abandoned.write_bytes(b"")
    os.utime(abandoned, (0, 0))
    address = parse_address("https://example.org/model.ckpt")
    folders = [Path(made.folder_of_set(address)), Path(made.folder_of_set(address.with_suffix(".new")))]
    os.utime(folders[0], (0, 0))
    monkeypatch.setattr(module, "LIMIT", 150)
    made.trim()
    assert [folder.exists() for folder in folders] == [False, True]
    assert [path.name for path in cache.glob("files/*/*")] == ["2.pth"]
    assert not abandoned.exists()
    assert cache.stat().st_mode & 0o77 == 0


def test_a_bar_is_drawn(web, served_folder, run, monkeypatch):
    """Where progress is seen, and only while a file arrives."""
    from converters.cli import progress_bar

    drawn = []
    monkeypatch.setattr(progress_bar.ProgressBar, "show", lambda _, *moved: drawn.append(moved))
    assert run("inspect", f"{web.url}/ranges/{NAME}", "--stats").returncode == 0
    assert not drawn
    monkeypatch.setattr(progress_bar, "is_shown", lambda options: not options.quiet)
    assert run("inspect", f"{web.url}/plain/{NAME}", "--stats", "--quiet").returncode == 0
    assert not drawn
    assert run("inspect", f"{web.url}/moved/{NAME}", "--stats").returncode == 0
    size = (served_folder / NAME).stat().st_size
    assert drawn[-1] == (size, size)
    assert download.WATCHER.get() is None
