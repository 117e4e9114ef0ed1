"""A file is a release by hashes of its contents: never by its name, and never by what its record says."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file, save_file

import converters.inspection.released as module
import converters.mapping.releases as table
from converters import __version__, convert, inspect, publish
from converters.batches.job import Job
from converters.batches.manifest import load_manifest
from converters.batches.perform import perform
from converters.batches.tasks import tasks_of
from converters.files import SourceFile
from converters.hashes import Hash, digests_of
from converters.mapping.releases import Release
from converters.reports.terminal.inspection import inspection_text
from tests.helpers.forged_records import forged

WORDS = {
    "bytes": "this is The Zoo's released net.pkl, byte for byte",
    "tensors": "its tensors, put back into the release's form, are The Zoo's released net.pkl, byte for byte",
}

COUNTER = "backbone.bn1.num_batches_tracked"


@pytest.fixture(scope="module")
def pair(zoo, tmp_path_factory):
    """A released file under another name, and what it converts to."""
    folder = tmp_path_factory.mktemp("released")
    source = shutil.copy(zoo / "vmz" / "ir-csn-26-0.pkl", folder / "mine.bin")
    convert(source, folder / "net.safetensors", source="vmz", to="mmaction")
    return source, folder / "net.safetensors"


def digests(path):
    with SourceFile(path) as file:
        return digests_of([file])


@pytest.fixture
def listed(pair, monkeypatch):
    """Make a file of the given hashes a release, by default the one at hand."""

    def make(kind="git", network="ir-csn-26", **attributes):
        known = Hash(kind, digests(pair[0])[kind])
        attributes = {"file": "net.pkl", "hashes": {"net.pkl": known}, "classes": 10} | attributes
        release = Release(
            zoo="zoo",
            title="The Zoo",
            url="https://example.org/net",
            layout="vmz",
            licence="MIT",
            network=network,
            on="Data",
            reported={"Top-1": 50.0},
            **attributes,
        )
        monkeypatch.setattr(table, "releases", lambda: [release])

    return make


def known(path):
    found = inspect(path, hash=True)
    assert inspect(path).release is None
    return found.release


@pytest.mark.parametrize(
    "kind", ["git", *(pytest.param(kind, marks=pytest.mark.full) for kind in ("sha1", "sha256"))]
)
def test_a_file_by_its_whole_hash(pair, listed, tmp_path, kind):
    listed(kind)
    source, output = pair
    found = inspect(source, hash=True)
    assert found.release.by == "bytes"
    assert found.hashes == {"mine.bin": digests(source)}
    assert found.as_data()["release"]["reported"] == {"Top-1": 50.0}
    text = inspection_text(found)
    assert f"release      {WORDS['bytes']}" in text
    assert digests(source)["git"] in text
    assert "licence      MIT, of these weights" in text
    assert "if these are the released weights, which is not proved" in inspection_text(inspect(source))
    assert known(output).words == WORDS["tensors"]
    publication = publish(output, folder=tmp_path)
    card = Path(publication.card).read_text()
    assert "license: mit" in card
    assert "byte_for_byte: true" in card
    assert "MIT, of these weights" in card
    assert "Accuracy of these weights" in card


@pytest.mark.parametrize(
    ("attributes", "whole"),
    [
        ({"hashes": {"net.pkl": Hash("sha256", "0" * 64)}}, None),
        ({"network": "ir-csn-50"}, None),
        ({"classes": 400}, None),
        ({"hashes": {"net.pkl": Hash("git", "0" * 40), "net.idx": Hash("git", "0" * 40)}}, None),
        ({"hashes": {}}, False),
    ],
)
@pytest.mark.full
def test_what_is_not_proved(pair, listed, tmp_path, attributes, whole):
    source, output = pair
    listed(**attributes | ({"file": f"net-{digests(source)['sha256'][:8]}.pkl"} if whole is False else {}))
    assert (known(source) and known(source).whole) == whole
    assert known(output) is None
    if whole is False:
        assert known(source).words.startswith("fits the eight digits in the release's name")
        assert "reported" not in known(source).as_data()
    card = Path(publish(output, source=source, folder=tmp_path).card).read_text()
    assert "byte_for_byte: true" not in card
    assert "of these weights" not in card


def other_value(path, output):
    """The same file with one bit of a batch norm's variance changed."""
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    name = next(name for name in header if name.endswith("running_var"))
    data[8 + length + header[name]["data_offsets"][0]] ^= 1
    output.write_bytes(data)
    return output


FORGED = {
    "source": lambda record: record["source"].update(name="net.pkl", sha256="0" * 64),
    "undone": lambda record: record["restore"].update(variance={"shift": 0.25, "steps": {}}),
    "settings": lambda record: record["network"]["settings"].update(stem_stride=2),
    "eps": lambda record: record["origin"].update(bn_eps=0.5),
    "licence": lambda record: record["network"].update(licence="WTFPL"),
    "mean": lambda record: record["network"]["input"].update(mean=[0, 0, 0]),
}


@pytest.mark.parametrize(
    "change",
    [pytest.param(name, marks=[] if name in ("source", "settings") else pytest.mark.full) for name in FORGED],
)
def test_a_forged_record_makes_no_release(pair, listed, tmp_path, change):
    """Nor one that says truly where other tensors came from."""
    _, output = pair
    listed()
    assert known(output)
    path = forged(output, tmp_path / "forged.safetensors", FORGED[change])
    assert (known(path) is not None) == (
        change == "source"
    )  # the tensors are the release's: its record may lie
    altered = forged(
        other_value(output, tmp_path / "other.safetensors"), tmp_path / "both.safetensors", FORGED[change]
    )
    assert known(altered) is None
    assert known(tmp_path / "other.safetensors") is None


def test_a_record_cannot_turn_other_tensors_into_the_release(pair, listed, tmp_path):
    """What a record restores is worked back: the file must be what the release converts to."""
    source, _ = pair
    listed()
    plain = tmp_path / "plain.safetensors"
    convert(source, plain, source="vmz", to="vmz-pt")
    cast = tmp_path / "cast.safetensors"
    convert(source, cast, source="vmz", to="vmz-pt", dtype="float16")
    assert known(plain)
    assert known(cast) is None


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("evil.num_batches_tracked", numpy.zeros(1000, "f4")),
        (COUNTER, numpy.float32(0)),
        *(
            pytest.param(name, tensor, marks=pytest.mark.full)
            for name, tensor in (
                ("evil.num_batches_tracked", numpy.int64(0)),
                ("conv1.num_batches_tracked", numpy.int64(0)),
                ("backbone.evil.num_batches_tracked", numpy.int64(0)),
                (COUNTER, numpy.zeros(1000, "f4")),
                (COUNTER, numpy.zeros(2, "i8")),
            )
        ),
    ],
)
def test_a_foreign_tensor_is_no_counter(pair, listed, tmp_path, name, tensor):
    _, output = pair
    listed()
    tensors = load_file(output)
    assert COUNTER in tensors
    path = tmp_path / "other.safetensors"
    save_file(tensors | {COUNTER: numpy.array(77, "i8")}, path)
    assert known(path).whole
    save_file(tensors | {name: numpy.array(tensor)}, path)
    assert known(path) is None
    done = publish(path, folder=tmp_path)
    assert name in done.stripped
    written = load_file(done.path)
    assert "evil" not in " ".join(written)
    assert written[COUNTER].dtype == "i8"


def test_a_file_is_hashed_only_if_a_release_of_its_format_has_a_hash(pair, listed, monkeypatch):
    """Of VMZ's pickles no hash is public, and a .pkl is not one of those .pth files that have digits in their names."""
    read = []
    monkeypatch.setattr(module, "file_digests", lambda path, kinds: read.append(path) or {})
    network = inspect(pair[0]).network
    assert module.released(str(pair[0]), "vmz", network) is None
    assert read == []
    listed()
    module.released(str(pair[0]), "vmz", network)
    assert read == [str(pair[0])]


def test_a_batch_says_it(pair, listed, tmp_path):
    listed("sha1")
    source, output = pair
    found = digests(source)
    rows = [f"git:{found['git']}", f"sha1:{found['sha1']}", found["sha256"][:8], f"git:{found['sha1']}"]
    text = "".join(
        f'[[convert]]\ninput = "{source}"\nto = "native"\noutput = "{number}.pth"\nhash = "{row}"\n'
        for number, row in enumerate(rows)
    )
    text += f'[[convert]]\ninput = "{output}"\nto = "native"\noutput = "back.pth"\n'
    (tmp_path / "zoo.toml").write_text(text)
    done = [
        perform(Job(task=task, tool=__version__)) for task in tasks_of(load_manifest(tmp_path / "zoo.toml"))
    ]
    assert [result["state"] for result in done] == ["converted"] * 3 + ["failed", "converted"]
    assert f"its git blob id begins with {found['git'][:8]}" in done[3]["error"]["text"]
    assert [done[number]["release"]["by"] for number in (0, 1, 2, 4)] == ["bytes"] * 3 + ["tensors"]
    assert f"the input: {WORDS['bytes']}" in done[0]["notes"]
    assert WORDS["bytes"] in done[0]["text"]


@pytest.mark.full
def test_a_checkpoint_of_several_files(zoo, tmp_path, monkeypatch):
    """Each file has its hash. A layout with another eps shifts variances, which a record says how to undo: a forged
    one cannot make others the release's."""
    prefix = zoo / "rgb_imagenet" / "model.ckpt"
    files = [Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")]
    hashes = {path.name: Hash("git", digests(path)["git"]) for path in files}
    listed = {"url": "https://example.org/rgb", "layout": "i3d", "licence": "MIT", "network": "i3d"}
    release = Release(zoo="zoo", title="The Zoo", file="rgb", hashes=hashes, **listed)
    monkeypatch.setattr(table, "releases", lambda: [release])
    assert known(prefix).by == "bytes"
    output = tmp_path / "net.safetensors"
    convert(prefix, output, source="i3d", to="video_features")
    assert known(output).by == "tensors"
    for change in (
        lambda record: record["restore"].pop("variance"),
        lambda record: record["restore"]["variance"].update(shift=0.0),
        lambda record: record["restore"]["variance"].update(steps={}),
    ):
        path = forged(output, tmp_path / "forged.safetensors", change)
        assert known(other_value(path, tmp_path / "other.safetensors")) is None
    (tmp_path / "zoo.toml").write_text(
        "".join(
            f'[[convert]]\ninput = "{prefix}"\nto = "native"\noutput = "{number}.pth"\nhash = {json.dumps(row)}\n'
            for number, row in enumerate(
                (
                    [str(one) for one in hashes.values()],
                    [str(hashes[files[0].name])] * 2,
                    [str(one) for one in hashes.values()] * 2,
                    str(hashes[files[0].name]),
                )
            )
        )
    )
    done = [
        perform(Job(task=task, tool=__version__)) for task in tasks_of(load_manifest(tmp_path / "zoo.toml"))
    ]
    assert [result["state"] for result in done] == ["converted", "failed", "failed", "failed"]
    said = (
        "has a file that matches none of the hashes",
        "has 2 files, and there are 4 hashes",
        "of its 2 files together",
    )
    assert all(words in result["error"]["text"] for words, result in zip(said, done[1:], strict=True))
