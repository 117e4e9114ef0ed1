"""`convert publish`: names, hashes, cards, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import yaml

from converters import BadInput, Refused, UsageError, convert, inspect, publish
from converters.mapping.releases import release_of, releases
from converters.mapping.table_files import network_names
from converters.mapping.variants import variants
from converters.publication.check_folder import check_folder
from converters.reports.model_card import CardFacts, model_card


@pytest.fixture(scope="module")
def files(r2d, tmp_path_factory):
    """R2D-18 under a name of VMZ's zoo, and what it converts to."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "r2d_d18_l8.pkl").hardlink_to(r2d)
    convert(folder / "r2d_d18_l8.pkl", folder / "r2d.pth", source="vmz")
    return folder


@pytest.fixture
def file(files, tmp_path):
    """The converted file, in a folder of its own."""
    (tmp_path / "r2d.pth").hardlink_to(files / "r2d.pth")
    return tmp_path / "r2d.pth"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def front(card):
    return yaml.safe_load(card.read_text().split("---\n")[1])


def test_the_name_is_the_hash_and_the_bytes_are_kept(file, files):
    done = publish(file, source=files / "r2d_d18_l8.pkl")
    published = file.parent / f"r2d-{digest(file)[:8]}.pth"
    assert done.path == str(published)
    assert published.read_bytes() == file.read_bytes()
    assert sorted(path.name for path in file.parent.iterdir()) == sorted(
        ["r2d.pth", "SHA256SUMS", published.name, f"{published.stem}.md"]
    )
    assert (
        subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=file.parent, check=False).returncode
        == 0
    )
    assert re.search("all 122 tensors equal, bit for bit, what `r2d_d18_l8.pkl`", done.checks[0])
    assert torch.load(published).keys() == torch.load(file).keys()


def test_the_card_says_what_is_known(file):
    published = publish(file, folder=file.parent)
    card = file.parent / published.card
    told = front(card)
    found = inspect(file)
    assert "license" not in told  # these are not released weights
    assert "if these are the released weights, which is not proved" in card.read_text()
    assert told["architecture"] == "r2d-18"
    assert told["parameters"] == found.parameters
    assert told["gflops"] == round(found.multiply_adds / 1e9, 1)
    assert told["sha256"] == digest(file)
    assert told["source"] == ["r2d_d18_l8.pkl"]
    assert told["preprocessing"]["mean"] == [110.201, 100.64, 95.9966]
    assert told["accuracy"] == {
        "reported_by": "VMZ",
        "for": "r2d_d18_l8.pkl",
        "dataset": "Kinetics-400",
        "Top-1": 60,
        "Top-5": 81.2,
    }
    text = card.read_text()
    assert "| Top-1 | 60 % on Kinetics-400 |" in text
    assert "not measured here" in text
    assert publish(file).path == published.path  # once more: the same, and no error
    assert text == card.read_text()
    said = publish(file, force=True, license="CC-BY-4.0")
    assert front(file.parent / said.card)["license"] == "cc-by-4.0"


def test_the_card_says_how_much_the_networks_differ(file, files):
    done = publish(file, source=files / "r2d_d18_l8.pkl", verify=True)
    (line,) = (line for line in done.checks if "agree in all" in line)
    assert float(re.search(r"to (\d\.\de-\d\d) of the largest value", line)[1]) < 1e-5
    assert line in (file.parent / done.card).read_text()
    with pytest.raises(UsageError, match="needs a source to compare with"):
        publish(file, verify=True)


def test_training_state_is_stripped(file):
    state = torch.load(file)
    training = {
        "meta": {"epoch": 3},
        "state_dict": state,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
    }
    torch.save(training, file.parent / "epoch_3.pth")
    done = publish(file.parent / "epoch_3.pth")
    assert done.stripped == ("optimizer",)
    assert torch.load(done.path).keys() == state.keys()
    assert digest(file.parent / done.path)[:8] in done.path
    assert front(file.parent / done.card)["architecture"] == "r2d-18"


def test_a_cast_file_is_compared_with_the_cast_source(files, tmp_path):
    convert(files / "r2d_d18_l8.pkl", tmp_path / "half.safetensors", source="vmz", dtype="float16")
    done = publish(tmp_path / "half.safetensors", source=files / "r2d_d18_l8.pkl")
    assert done.path.endswith(".safetensors")
    assert any("rounds" in line for line in (tmp_path / done.card).read_text().splitlines())


def test_what_is_not_the_source_is_refused_and_nothing_is_left(file, files):
    state = torch.load(file)
    state["fc.bias"] = state["fc.bias"] + 1e-6
    torch.save(state, file.parent / "tuned.pth")
    before = set(file.parent.iterdir())
    with pytest.raises(Refused, match="1 tensor differs"):
        publish(file.parent / "tuned.pth", source=files / "r2d_d18_l8.pkl")
    assert set(file.parent.iterdir()) == before


def test_a_batch_counter_of_another_value_is_a_difference(file, files):
    state = torch.load(file)
    state[next(name for name in state if name.endswith("num_batches_tracked"))] += 77
    torch.save(state, file.parent / "trained.pth")
    with pytest.raises(Refused, match="1 tensor differs"):
        publish(file.parent / "trained.pth", source=files / "r2d_d18_l8.pkl")


def test_patterns(file):
    done = publish(file, name="{network}_{classes}_{layout}-{hash8}")
    assert done.path.endswith(f"r2d-18_400_vmz-pt-{digest(file)[:8]}.pth")
    for name in ("{stem}", "a/{stem}-{hash8}", "{hash8", "{hash8}{secret}", "{hash8}{stem.__class__}"):
        with pytest.raises(UsageError):
            publish(file, name=name)


def test_an_old_hash_is_removed_from_the_name(file):
    shutil.copy(file, file.parent / "r2d-0123abcd.pth")
    assert publish(file.parent / "r2d-0123abcd.pth").path.endswith(f"r2d-{digest(file)[:8]}.pth")


def test_what_cannot_be_published(file, files, tmp_path):
    with pytest.raises(Refused, match="only"):
        publish(files / "r2d_d18_l8.pkl")
    torch.save({"x": torch.ones(2)}, tmp_path / "x.pth")
    with pytest.raises(Refused):
        publish(tmp_path / "x.pth")
    (tmp_path / f"r2d-{digest(file)[:8]}.pth").write_bytes(b"other")
    with pytest.raises(Refused, match="exists already"):
        publish(file)
    publish(file, force=True)
    assert not [one for one in check_folder(tmp_path) if one.fault and one.name not in ("r2d.pth", "x.pth")]


def test_the_command(file, files, run):
    done = run("publish", file, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (0, True)
    assert found["path"] == str(file.parent / f"r2d-{digest(file)[:8]}.pth")
    assert "blocks" not in str(found["checks"])  # nothing was run: nobody asked
    done = run("publish", file, "--verify")
    assert (done.returncode, "--source" in done.stderr) == (2, True)
    done = run("publish", file, "--force", "--source", files / "r2d_d18_l8.pkl", "--verify")
    assert (done.returncode, "blocks" in done.stdout) == (0, True), done.stderr


def test_several_files_at_once(file, run, tmp_path):
    convert(file, tmp_path / "two.safetensors", to="native")
    done = run("publish", file, tmp_path / "two.safetensors", "--folder", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert [one["size"] > 0 for one in found["published"]] == [True, True]
    assert run("publish", "--check", tmp_path).stdout.count("as published") == 4
    done = run("publish", file, tmp_path / "two.safetensors", "--source", "x.pkl")
    assert (done.returncode, "one by one" in done.stderr) == (2, True)


def test_a_folder_is_checked(file, run):
    done = publish(file)
    name = done.path.rpartition("/")[2]
    file.unlink()
    assert run("publish", "--check", file.parent).returncode == 0
    good = (file.parent / name).read_bytes()
    damaged = bytearray(good)
    damaged[len(damaged) // 2] ^= 1
    sums = file.parent / "SHA256SUMS"
    listed = sums.read_text()

    def faults():
        return {one.name: one.fault for one in check_folder(file.parent) if one.fault}

    (file.parent / name).write_bytes(damaged)
    assert faults() == {name: "does not have its hash in SHA256SUMS"}
    sums.write_text(listed.replace(hashlib.sha256(good).hexdigest(), hashlib.sha256(damaged).hexdigest()))
    assert faults() == {name: "does not have the hash in its name"}
    sums.write_text(listed)
    (file.parent / name).rename(file.parent / "other.pth")
    assert set(faults()) == {name, "other.pth"}
    found = json.loads(run("publish", "--check", file.parent, "--json").stdout)
    assert not found["ok"]
    sums.write_text(f"{'0' * 64}  ../up.pth\n")
    assert faults()["../up.pth"] == "is not a name in this folder"
    sums.write_text("nonsense\n")
    with pytest.raises(BadInput, match="not a list"):
        check_folder(file.parent)
    assert run("publish", "--check", file.parent).returncode == 3
    assert run("publish").returncode == 2


@pytest.fixture(scope="module")
def sources(zoo, tmp_path_factory):
    """Sources that need options of the user, or that are several files."""
    folder = tmp_path_factory.mktemp("sources")
    csn, tsn = zoo / "vmz" / "ir-csn-26-0.pkl", zoo / "tsn" / "tsn_rgb.caffemodel"
    convert(csn, folder / "plain.pth", source="vmz")
    state = torch.load(folder / "plain.pth")
    double = {name: value * 2 if value.is_floating_point() else value for name, value in state.items()}
    torch.save({"state_dict": state, "ema_state_dict": double}, folder / "ema.pth")
    torch.save(
        {name.replace("fc.", "classifier.1."): value for name, value in state.items()}, folder / "tuned.pth"
    )
    return {
        "tensorflow": (zoo / "rgb_imagenet" / "model.ckpt", {}),
        "inverse_std": (tsn, {"inverse_std": True}),
        "backbone": (csn, {"backbone": True, "to": "mmaction"}),
        "entry": (folder / "ema.pth", {"entry": "ema_state_dict"}),
        "head": (folder / "tuned.pth", {"source": "vmz-pt", "head": "classifier.1", "to": "mmaction"}),
    }


@pytest.mark.parametrize("case", ["tensorflow", "inverse_std", "backbone", "entry", "head"])
def test_a_source_is_read_with_the_recorded_options(sources, tmp_path, case):
    """The options with which the file was converted are in its record."""
    source, said = sources[case]
    convert(source, tmp_path / "out.pth", **said)
    done = publish(tmp_path / "out.pth", source=source)
    assert "bit for bit" in done.checks[0]
    if source.is_file():
        assert digest(source) in done.checks[0]


def test_errors_name_the_files_that_the_user_named(file, tmp_path):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.pth").write_bytes(data)
    before = set(tmp_path.iterdir())
    with pytest.raises(BadInput) as caught:
        publish(tmp_path / "damaged.pth")
    assert caught.value.path == str(tmp_path / "damaged.pth")
    with pytest.raises(Refused, match="there is no folder") as refused:
        publish(file, folder=tmp_path / "nowhere")
    assert refused.value.path == str(file)
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(BadInput, match="not a list"):
        publish(file)
    assert set(tmp_path.iterdir()) == before | {tmp_path / "SHA256SUMS"}
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(UsageError, match="a character"):
        publish(file, name="two\nlines-{hash8}")
    assert set(tmp_path.iterdir()) == before


def test_a_format_without_checksums_is_reported_as_such(file, tmp_path):
    torch.save(torch.load(file), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert "without checksums, which this format lacks" in publish(tmp_path / "old.pth").checks[-1]
    assert "checksums included" in publish(file).checks[-1]


def test_a_date_is_not_taken_for_a_hash(file):
    shutil.copy(file, file.parent / "r2d-20200614.pth")
    done = publish(file.parent / "r2d-20200614.pth")
    assert done.path.endswith(f"r2d-20200614-{digest(file)[:8]}.pth")
    assert not [
        one for one in check_folder(file.parent) if one.name == done.path.rpartition("/")[2] and one.fault
    ]


def test_unlisted_checkpoints_of_any_format_are_found(file):
    publish(file)
    file.unlink()
    for name in ("a.pkl", "a.onnx", "README.md"):
        (file.parent / name).touch()
    assert {one.name for one in check_folder(file.parent) if one.fault} == {"a.pkl", "a.onnx"}
    (file.parent / "SHA256SUMS").write_text("")
    with pytest.raises(BadInput, match="lists no file"):
        check_folder(file.parent)


def test_several_publish_to_one_folder(zoo, tmp_path, monkeypatch):
    """Each reads the list, adds to it and writes it: no line is lost."""
    import converters.publication.hash_list as hash_list

    for number in range(3):
        convert(
            zoo / "vmz" / f"{'ir' if number < 2 else 'ip'}-csn-26-{number}.pkl",
            tmp_path / f"{number}.pth",
            source="vmz",
        )
    real = hash_list.read_hashes

    def slow(folder):
        found = real(folder)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(hash_list, "read_hashes", slow)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "SHA256SUMS").write_text(f"{'0' * 64}  other\n")
    with ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(lambda number: publish(tmp_path / f"{number}.pth", folder=tmp_path / "to"), range(3))
        )
    listed = real(str(tmp_path / "to"))
    assert {"other", *(one.path.rpartition("/")[2] for one in done)} <= set(listed)
    assert len(listed) == 7


def test_a_hostile_name_stays_text(file):
    found = inspect(file)
    name = 'a`|\n<script>\u2028\U0001f600 "q" \\ \udcff.pkl'
    provenance = {**found.provenance, "source": {"name": name, "size": 1}}
    text = model_card(
        replace(found, provenance=provenance),
        CardFacts(file="x.pth", sha256="0" * 64, size=1, release=None, checks=("fine",), stripped=()),
    )
    assert "<script>" not in text.split("---")[2]
    assert yaml.safe_load(text.split("---\n")[1])["source"] == [name]


def test_releases_name_networks_that_exist():
    known = {one.name for family in network_names() for one in variants(family)}
    found = releases()
    assert len(found) == len({release.file for release in found}) == 319
    assert sum(1 for release in found if release.zoo == "vmz") == 59
    assert {release.network for release in found} - {""} <= known
    assert {release.digest.digits for release in found if release.converted and release.digest} == {
        "3f42382a",
        "623825a0",
        "68f5aa04",
        "82f36ebc",
        "9b8e02b3",
        "92059771",
        "9d6ed879",
        "ef39b9e3",
    }
    for release in found:
        assert "{" not in release.url
        packed = f"{release.file.rpartition('.')[0]}.zip"
        assert release.url.partition("?")[0].endswith((release.file, packed))
        without = release.zoo in ("vmz", "tsm", "movinet", "paddlevideo")  # nobody says a hash of these
        assert without == (not release.digest and not release.hashes)
        assert all(known.whole for known in release.hashes.values())
        assert all(0 < value < 100 for value in release.reported.values())
        assert bool(release.on) == bool(release.reported)


def test_a_release_counts_only_for_its_network():
    name = "irCSN_152_ft_kinetics_from_ig65m_f126851907.pkl"
    assert release_of([name], "ir-csn-152", 400).reported == {"Top-1": 82.6, "Top-5": 95.3}
    assert release_of([name], "ir-csn-152", 101) is None
    assert release_of([name], "r2d-18", 400) is None
    assert release_of(["other.pkl", name], "ir-csn-152", 400).file == name
