"""Names of classes from a file of the user's own go into the output, its reports and its card."""

import json

import pytest

from converters import BadInput, Refused, convert, inspect, load_model, publish
from converters.conversion.labels import read_labels
from tests.helpers import vmz_files

NAMES = [f"class {number}" for number in range(400)]


@pytest.mark.parametrize(
    "text",
    [
        "archery\njuggling\n",
        "\ufeffarchery\r\njuggling",
        "# two classes\narchery\n\njuggling\n",
        '["archery", "juggling"]',
        '{"1": "juggling", "0": "archery"}',
        '{"juggling": 1, "archery": 0}',
    ],
)
def test_lists_of_names(text, tmp_path):
    (tmp_path / "names").write_text(text, encoding="utf-8")
    assert read_labels(str(tmp_path / "names")) == ["archery", "juggling"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"[1, 2]", "class without a name"),
        (b'["a", " "]', "class without a name"),
        (b"[", "not a list of names in JSON"),
        (b"[" * 100000, "not a list of names in JSON"),
        (b'{"a": 0, "b": 2}', "leaves gaps"),
        (b'{"a": "b"}', "not a list of names in JSON"),
        (b"\n\n", "class without a name"),
    ],
)
def test_other_files(data, message, tmp_path):
    (tmp_path / "names").write_bytes(data)
    with pytest.raises(BadInput, match=message):
        read_labels(str(tmp_path / "names"))


def test_names_travel_with_the_output(tmp_path, run):
    vmz_files.write(tmp_path / "a.pkl", "a_resnet-18", seed=3)
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    done = run("a.pkl", "out.pth", "--labels", "names.json", "--check", "--verify")
    assert done.returncode == 0, done.stdout
    assert "the names of its classes are those of names.json, on the record's word" in done.stdout
    assert "source's top 5: class " in done.stdout
    assert "classes      class 0, class 1, class 2, ..." in run("inspect", "out.pth").stdout
    assert load_model(tmp_path / "out.pth").labels[399] == "class 399"
    convert(tmp_path / "out.pth", tmp_path / "again.safetensors", to="native")
    assert inspect(tmp_path / "again.safetensors").network.input["labels"] == NAMES
    published = publish(tmp_path / "out.pth", source=tmp_path / "a.pkl")
    assert "the classes' names are those of `names.json`, on the record's word" in published.checks
    with open(published.card) as card:
        assert "| classes | class 0, class 1, class 2, class 3, class 4 and 395 more |" in card.read()
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    with pytest.raises(Refused, match=r"few.txt: has 2 names, and the network 400 classes"):
        convert(tmp_path / "a.pkl", tmp_path / "no.pth", labels=tmp_path / "few.txt")
