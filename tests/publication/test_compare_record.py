"""With a source, the record of a published file is the one that our conversion of the source writes."""

from __future__ import annotations

import pytest
import torch

from converters import BadInput, Refused, convert, publish
from tests.helpers.forged_records import forged


@pytest.fixture(scope="module")
def pair(zoo, tmp_path_factory):
    source = zoo / "vmz" / "ir-csn-26-0.pkl"
    output = tmp_path_factory.mktemp("pair") / "net.safetensors"
    convert(source, output, source="vmz", sha256=True)
    return source, output


def put(*keys, value):
    def change(record):
        for key in keys[:-1]:
            record = record[key]
        if value is None:
            del record[keys[-1]]
        else:
            record[keys[-1]] = value

    return change


FORGED = {
    "stride": (put("network", "settings", "stem_stride", value=2), "stem_stride is 2, should be 1"),
    "pool": (put("network", "settings", "pool1", value=False), "pool1 is False"),
    "order": (put("network", "input", "order", value="BGR"), "order is BGR, should be RGB"),
    "mean": (put("network", "input", "mean", value=[1, 2, 3]), "mean is 1 2 3"),
    "std": (put("network", "input", "std", value=[1, 1, 1]), "std is 1 1 1"),
    "range": (put("network", "input", "range", value=[0, 1]), "range is 0 1"),
    "no frame step": (
        lambda record: [
            record["network"]["input"].pop(key)
            for key in ("clip", "counted_at", "counted_positions", "frame_step", "resize")
        ],
        "clip is missing",
    ),
    "cube": (put("network", "input", "mean_cube", value="a cube"), "mean_cube is a cube, should be missing"),
    "labels": (
        put("network", "input", "labels", value=["cat"] * 10),
        "labels is cat cat cat cat, should be missing",
    ),
    "unknown key": (put("network", "input", "accuracy", value=99.9), "accuracy is 99.9, should be missing"),
    "licence": (put("network", "licence", value="MIT"), "licence is MIT, should be Apache-2.0"),
    "hash": (put("source", "sha256", value="0" * 64), "of another size, checksum or SHA-256"),
    "size": (put("source", "size", value=5), "of another size, checksum or SHA-256"),
    "checksum": (put("source", "crc32", "conv1_w", value="00000000"), "of another size, checksum or SHA-256"),
    "notes": (put("notes", value=["verified by the authors"]), "its notes differ"),
    "no network": (put("network", value=None), "licence is , should be Apache-2.0"),
    "no origin": (put("origin", value=None), "what the conversion did (origin)"),
    "dropped": (put("dropped", value=["a"]), "what the conversion did (dropped)"),
    "origin": (put("origin", "bn_eps", value=0.5), "what the conversion did (origin)"),
    "dtype": (put("origin", "dtype", value="float64"), "what the conversion did (origin)"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_record_is_refused(pair, tmp_path, case):
    source, output = pair
    change, said = FORGED[case]
    path = forged(output, tmp_path / "net.safetensors", change)
    with pytest.raises(Refused) as caught:
        publish(path, source=source)
    assert said in caught.value.where
    assert caught.value.path == str(path)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_another_eps_than_the_layouts_is_refused(pair, tmp_path):
    """Also without a source: nothing that is published says another eps than its network has."""

    def change(record):
        record["network"]["settings"].update(bn_eps=0.1)
        record["origin"].update(bn_eps=0.1)

    path = forged(pair[1], tmp_path / "net.safetensors", change)
    with pytest.raises(BadInput, match=r"says another bn_eps than 0\.001"):
        publish(path)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_an_honest_record_is_not(pair, tmp_path):
    source, output = pair
    plain = forged(output, tmp_path / "net.safetensors", lambda record: None)
    checks = publish(plain, source=source).checks
    assert "its record is that of a conversion of `ir-csn-26-0.pkl`" in checks[1]
    renamed = forged(output, tmp_path / "net.safetensors", put("source", "name", value="other.pkl"))
    assert publish(renamed, source=source).checks[1] == checks[1]
    unhashed = forged(output, tmp_path / "net.safetensors", put("source", "sha256", value=None))
    assert publish(unhashed, source=source).checks[1] == checks[1]


def test_a_chain_of_conversions(pair, tmp_path):
    source, output = pair
    convert(output, tmp_path / "second.safetensors", to="mmaction")
    for made_from in (source, output):
        assert "its record is that" in publish(tmp_path / "second.safetensors", source=made_from).checks[1]
    other = forged(
        tmp_path / "second.safetensors",
        tmp_path / "forged.safetensors",
        put("source", "converted_from", "size", value=1),
    )
    with pytest.raises(Refused, match="are not those that converting"):
        publish(other, source=source)


def test_settings_of_the_user_are_said_again(pair, tmp_path, run):
    source, _ = pair
    convert(source, tmp_path / "net.pth", source="vmz", settings={"pool1": False})
    with pytest.raises(Refused, match="are not those that converting") as caught:
        publish(tmp_path / "net.pth", source=source)
    assert "--set" in caught.value.told.hint
    assert run("publish", tmp_path / "net.pth", "--source", source, "--set", "pool1=off").returncode == 0


def test_a_file_without_a_record_has_the_settings_of_its_source(pair, tmp_path):
    source, output = pair
    convert(output, tmp_path / "net.pth")
    torch.save(torch.load(tmp_path / "net.pth"), tmp_path / "bare.pth")
    assert "it has no record" in publish(tmp_path / "bare.pth", source=source).checks[1]
    convert(source, tmp_path / "strided.pth", source="vmz", settings={"stem_stride": 2})
    torch.save(torch.load(tmp_path / "strided.pth"), tmp_path / "bare.pth")
    with pytest.raises(Refused, match="are not those that converting") as caught:
        publish(tmp_path / "bare.pth", source=source, settings={"stem_stride": 2})
    assert "stem_stride is 1, should be 2" in caught.value.where
