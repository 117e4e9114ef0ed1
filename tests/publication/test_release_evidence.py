"""What authors say of a release is said of a file only with how it is known to be that release."""

from __future__ import annotations

import os

import pytest
import yaml

import converters.mapping.releases as table
from converters import convert, publish
from converters.checksums import sha256_of
from converters.hashes import Hash
from converters.mapping.releases import Release
from converters.reports.model_card import BY_NAME_ONLY


def release(file):
    return Release(
        zoo="zoo",
        title="The Zoo",
        file=file,
        url=f"https://example.org/{file}",
        layout="vmz",
        licence="Apache-2.0",
        network="ir-csn-26",
        on="Data",
        reported={"Top-1": 50.0},
        converted="a file, Caffe2",
    )


@pytest.fixture
def files(zoo, tmp_path, monkeypatch):
    """Convert a file under a name that is a release's; ``{hash8}`` in it is its own digest."""

    def make(name, **options):
        weights = zoo / "vmz" / "ir-csn-26-0.pkl"
        name = name.replace("{hash8}", sha256_of(str(weights))[:8])
        monkeypatch.setattr(table, "releases", lambda: [release(name)])
        source = tmp_path / name
        os.link(weights, source)
        convert(source, tmp_path / "net.pth", source="vmz", **options)
        return source, tmp_path / "net.pth"

    return make


def told(done):
    with open(done.card) as card:
        text = card.read()
    return yaml.safe_load(text.split("---\n")[1]), text


@pytest.mark.parametrize(
    ("name", "with_source", "known"),
    [
        ("zoo_net.pkl", False, BY_NAME_ONLY),
        ("zoo_net.pkl", True, BY_NAME_ONLY),
        ("zoo_net-{hash8}.pkl", False, BY_NAME_ONLY),
        ("zoo_net-{hash8}.pkl", True, "by its contents: their SHA-256 begins with"),
    ],
)
def test_how_a_release_is_known(files, name, with_source, known):
    source, output = files(name)
    done = publish(output, source=source if with_source else None)
    front, text = told(done)
    assert front["release"]["known"].startswith(known)
    assert front["accuracy"]["Top-1"] == 50
    for row in ("released by", "converted from", "known"):
        assert known in next(line for line in text.split("\n") if line.startswith(f"| {row} |"))
    assert not [line for line in done.checks if "digest" in line]


@pytest.mark.parametrize(
    ("options", "with_source", "whose"),
    [({}, True, "its"), ({"sha256": True}, True, "its"), ({"sha256": True}, False, "the recorded")],
)
def test_another_file_of_a_release_s_name(files, options, with_source, whose):
    source, output = files("zoo_net-0123abcd.pkl", **options)
    done = publish(output, source=source if with_source else None)
    front, text = told(done)
    said = f"the name `zoo_net-0123abcd.pkl` has the digest 0123abcd, but {whose} SHA-256 begins with"
    assert [line for line in done.checks if line.startswith(said)]
    assert "so nothing is said of the release `zoo_net-0123abcd.pkl` of The Zoo" in text
    assert not {"accuracy", "release"} & front.keys()
    assert "example.org" not in text


@pytest.mark.parametrize("with_source", [False, True])
def test_contents_that_do_not_fit_a_whole_hash(files, monkeypatch, with_source):
    source, output = files("zoo_net.pkl")
    other = release("zoo_net.pkl").replace(hashes={"zoo_net.pkl": Hash("git", "0" * 40)})
    monkeypatch.setattr(table, "releases", lambda: [other])
    front, text = told(publish(output, source=source if with_source else None))
    assert "the contents are not those of the release `zoo_net.pkl` of The Zoo" in text
    assert not {"accuracy", "release", "license"} & front.keys()
    assert BY_NAME_ONLY not in text
    assert "example.org" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine-0123abcd.pth", True),
        ("mine-0123ABCD.pth", True),
        ("mine_0123abcd.pth", True),
        (f"mine-{'a1' * 32}.pth", True),
        ("mine-20200614.pth", False),
        ("mine_f126851907.pth", False),
        ("mine_f12685190a.pth", True),
        ("mine-0123abc.pth", False),
        ("mine.pth", False),
    ],
)
def test_a_digest_in_any_name_that_does_not_fit(files, tmp_path, name, said):
    _, output = files("zoo_net.pkl")
    output = output.rename(tmp_path / name)
    done = publish(output)
    assert bool([line for line in done.checks if "has the digest" in line]) == said
    again = publish(done.path)
    assert not [line for line in again.checks if "has the digest" in line]
    assert sha256_of(again.path) == done.sha256
