"""Manifests: what they may contain, where their errors are, and the conversions that they list."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import BadInput, UsageError, __version__, convert
from converters.batches.job import Job, failure
from converters.batches.manifest import load_manifest
from converters.batches.manifest_keys import OPTIONS
from converters.batches.perform import perform
from converters.batches.tasks import tasks_of
from converters.batches.toml_lines import line_of
from converters.conversion.output_names import fill, stem_of
from converters.inspection.support_table import support_table
from converters.mapping.releases import releases
from tests.helpers.budgets import examples
from tests.helpers.paths import REPOSITORY

GOOD = """\
[defaults]
to = "native"

[[convert]]
source = "vmz"
input = "a.pkl"
hash = "0123ABCD"
to = ["vmz-pt", "mmaction2"]
output = "out/{stem}.{to}.pth"
check = true
settings = { pool1 = false, stem_stride = 2 }
wrap = false

[[convert]]
input = "s3://zoo/b*.pkl"
output = "s3://zoo/{stem}.pth"
"""


def write(folder, text):
    path = folder / "zoo.toml"
    path.write_text(text)
    return path


def test_a_mark_before_the_text_is_no_part_of_it(tmp_path):
    (tmp_path / "zoo.toml").write_text(GOOD, encoding="utf-8-sig")
    assert len(load_manifest(tmp_path / "zoo.toml").rows) == 2


def test_a_manifest(tmp_path):
    manifest = load_manifest(write(tmp_path, GOOD))
    first, second = manifest.rows
    assert (first.line, first.source, first.input, first.hash) == (4, "vmz", "a.pkl", ("0123abcd",))
    assert first.to == ("vmz-pt", "mmaction2")
    assert first.options == {
        "check": True,
        "settings": {"pool1": False, "stem_stride": 2},
        "wrap": False,
    }
    assert (second.line, second.source, second.to, second.hash) == (14, "auto", ("native",), ())
    assert manifest.folder == str(tmp_path)


@pytest.mark.parametrize(
    ("change", "line", "key", "what"),
    [
        (('source = "vmz"', 'source = "wmz"'), 5, "convert[0].source", "there is no layout 'wmz'"),
        (('"mmaction2"]', '"mmacton2"]'), 8, "convert[0].to", "did you mean 'mmaction2'?"),
        (("[defaults]", "[defalts]"), 1, "defalts", "did you mean 'defaults'?"),
        (('input = "a.pkl"\n', ""), 4, "convert[0]", "has no 'input'"),
        (('input = "a.pkl"', "input = 3"), 6, "convert[0].input", "must be a string"),
        (('"0123ABCD"', '"0123"'), 7, "convert[0].hash", "must be 'sha256:', 'sha1:' or 'git:'"),
        (('"0123ABCD"', '["0123ABCD", "git:0123ABCD"]'), 7, "convert[0].hash", "for each file"),
        (('"0123ABCD"', "[]"), 7, "convert[0].hash", "must be"),
        (('hash = "0123ABCD"', 'sha256 = "0123ABCD"'), 7, "convert[0].sha256", "is given by 'hash'"),
        (('hash = "0123ABCD"', 'md5 = "0123ABCD"'), 7, "convert[0].md5", "unknown key"),
        (('"mmaction2"]', '"vmz-pt"]'), 8, "convert[0].to", "twice"),
        (('"mmaction2"]', "7]"), 8, "convert[0].to", "must be a string"),
        (('["vmz-pt", "mmaction2"]', "[]"), 8, "convert[0].to", "must be a layout"),
        (("{stem}.{to}.pth", "{stem}.{what}.pth"), 9, "convert[0].output", "{what}"),
        (("{stem}.{to}.pth", "{stem.pth"), 9, "convert[0].output", "brace"),
        (("{stem}.{to}.pth", "{stem}.pth"), 9, "convert[0].output", "needs {to}"),
        (("{stem}.{to}.pth", "{stem}.{to}.txt"), 9, "convert[0].output", "must end in"),
        (("check = true", 'check = "yes"'), 10, "convert[0].check", "true or false"),
        (("check = true", 'verify = "run"'), 10, "convert[0].verify", "true or false"),
        (("check = true", "verfy = true"), 10, "convert[0].verfy", "unknown key 'verfy'"),
        (("stem_stride = 2", "stem_stride = 0"), 11, "convert[0].settings", "from 1 to 64"),
        (("stem_stride = 2", "stem_strde = 2"), 11, "convert[0].settings", "did you mean 'stem_stride'?"),
        (("wrap = false", 'dtype = "int8"'), 12, "convert[0].dtype", "must be one of"),
        (("s3://zoo/b*.pkl", "ftp://zoo/b.pkl"), 15, "convert[1].input", "ftp:// is not supported"),
        (("s3://zoo/b*.pkl", "S3://zoo/b.pkl"), 15, "convert[1].input", "S3:// is not supported"),
        (("s3://zoo/b*.pkl", "http://zoo/b.pkl"), 15, "convert[1].input", "needs a hash"),
        (
            ("s3://zoo/{stem}.pth", "https://zoo/{stem}.pth"),
            16,
            "convert[1].output",
            "a folder or s3:// only",
        ),
        (("wrap = false", "license = 'MIT'"), 12, "convert[0].license", "the card of a published file"),
        (("wrap = false", "publish = 's3://x'"), 12, "convert[0].publish", "must be a folder"),
        (('to = "native"', 'to = "nativ"'), 2, "defaults.to", "there is no layout"),
        (('to = "native"', 'input = "x"'), 2, "defaults.input", "unknown key 'input'"),
        (("[defaults]", "[default]"), 1, "default", "unknown key 'default'"),
    ],
)
def test_errors_have_line_and_key(tmp_path, change, line, key, what):
    assert change[0] in GOOD
    path = write(tmp_path, GOOD.replace(*change, 1))
    with pytest.raises(UsageError) as caught:
        load_manifest(path)
    if what.startswith("did you mean"):
        assert caught.value.told.hint == what
    else:
        assert what in caught.value.told.what
    assert caught.value.where == f"line {line}, {key}"
    assert caught.value.path == str(path)


def test_a_row_without_a_target_gets_the_default_of_the_command_line(zoo, tmp_path):
    text = f"[[convert]]\ninput = '{zoo / 'vmz' / 'ir-csn-26-0.pkl'}'\noutput = 'batch.pth'\n"
    manifest = load_manifest(write(tmp_path, text))
    assert manifest.rows[0].to == ("",)
    (task,) = tasks_of(manifest)
    result = perform(Job(task=task, tool=__version__))
    assert result["mapping"]["target"] == "vmz-pt"
    convert(task.input, tmp_path / "alone.pth")
    assert (tmp_path / "batch.pth").read_bytes() == (tmp_path / "alone.pth").read_bytes()


@pytest.mark.parametrize(
    ("output", "further", "what"),
    [
        ("{to}.pth", "", "the row has no 'to'"),
        ("a.txt", "", "the suffix of no format"),
        ("a.safetensors", "wrap = true", "only a .pth can be wrapped"),
        ("s3://a/b.index", "", "must be written to a folder"),
    ],
)
def test_what_is_wrong_without_a_target(tmp_path, output, further, what):
    with pytest.raises(UsageError, match=what):
        load_manifest(write(tmp_path, f"[[convert]]\ninput = 'a'\noutput = '{output}'\n{further}\n"))


def test_what_cannot_be_published(tmp_path):
    text = '[defaults]\npublish = "released"\nto = "c3d"\n[[convert]]\ninput = "a"\noutput = "{}"\n'
    for output in ("a.caffemodel", "a.npz"):
        with pytest.raises(UsageError, match="can be published"):
            load_manifest(
                write(
                    tmp_path,
                    text.format(output).replace("c3d", "c3d-chainer" if output == "a.npz" else "c3d"),
                )
            )
    with pytest.raises(UsageError, match="can be published"):
        load_manifest(write(tmp_path, text.format("s3://a/b.pth").replace("c3d", "native")))


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ("say which with --variant", "say which with 'variant'"),
        ("such as --entry a.b", 'such as entry = "a.b"'),
        ("leave --wrap out", "leave 'wrap' out"),
        ("--drop 'a.*' --drop 'b'", "drop = ['a.*', 'b']"),
        ("say --no-checksum, and --strict", "say checksum = false, and strict = true"),
        ("(--set pool1=on)", '(settings = { pool1 = "on" })'),
        ("--force replaces it; `convert models --json`", "--force replaces it; `convert models --json`"),
    ],
)
def test_a_failed_row_speaks_of_keys(said, keys):
    error = failure(UsageError(said, hint=said, path="a"))["error"]
    assert error["text"] == f"a: {keys}: {keys}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[convert]\n", "not valid TOML"),
        ("convert = 3\n", "must be an array of tables"),
        ("convert = [3]\n", "must be an array of tables"),
        ("defaults = 3\n", "must be a table"),
        ("", "nothing to do"),
        ("# nothing\n", "nothing to do"),
        ("x = " + "[" * 3000, "not valid TOML"),
    ],
)
def test_what_is_no_manifest(tmp_path, text, what):
    with pytest.raises((UsageError, BadInput), match=what):
        load_manifest(write(tmp_path, text))


def test_a_syntax_error_has_its_line(tmp_path, run_process):
    path = write(tmp_path, GOOD.replace("check = true", "check = yes"))
    done = run_process("batch", path)
    assert done.returncode == 3
    assert "line 10" in done.stderr
    assert "(line 17, the end)" in run_process("batch", write(tmp_path, GOOD + "pool1 =")).stderr
    (tmp_path / "zoo.toml").write_bytes(b"\xff")
    assert "not UTF-8" in run_process("batch", path).stderr
    assert run_process("batch", tmp_path / "no.toml").returncode == 3
    assert run_process("batch", write(tmp_path, "x = 1\n")).returncode == 2


TRICKY = '''\
title = """
[[convert]]
input = "not this one"
"""

[[convert]]   # one
input = "a"
to = [
  "vmz-pt",
  # between

  "native",
]

[[ convert ]]
"input" = """
[[convert]]
"""

# before the key
output = 'x'
inline = { input = "c" }
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("title",), 1),
        (("convert", 0), 6),
        (("convert", 0, "input"), 7),
        (("convert", 0, "to"), 8),
        (("convert", 1), 15),
        (("convert", 1, "input"), 16),
        (("convert", 1, "output"), 21),
        (("convert", 1, "inline"), 22),
    ],
)
def test_lines_are_found_whatever_texts_hold(key, line):
    tomllib.loads(TRICKY)
    assert line_of(TRICKY, key) == line


@examples(60)
@given(
    st.lists(
        st.sampled_from(["", "# [[convert]]", 'x = "[[convert]]"', 'y = """\n[[convert]]\n"""']), max_size=3
    ),
    st.integers(1, 4),
    st.data(),
)
def test_every_key_is_found_at_its_line(head, rows, data):
    lines = [
        line for number, text in enumerate(head) for line in text.replace(" =", f"{number} =").splitlines()
    ]
    wanted = {}
    for row in range(rows):
        lines += data.draw(st.sampled_from([[], [""], ["# more", ""]]))
        wanted["convert", row] = len(lines) + 1
        lines.append("[[convert]]")
        for key in ("a", "b"):
            lines += data.draw(st.sampled_from([[], [""], ["# [[convert]]"]]))
            wanted["convert", row, key] = len(lines) + 1
            lines += data.draw(
                st.sampled_from(
                    [[f"{key} = 1"], [f"{key} = [", "  1,", "]"], [f'{key} = """', "[[convert]]", '"""']]
                )
            )
    text = "\n".join(lines) + "\n"
    for key, line in wanted.items():
        assert line_of(text, key) == line


def test_rows_become_tasks(tmp_path):
    for name in ("b/x.pkl", "b/y.pkl", "a [1].pkl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = """\
[defaults]
source = "vmz"
[[convert]]
input = "b/*.pkl"
to = ["vmz-pt", "native"]
output = "out/{folder}/{source}/{stem}.{to}.pth"
[[convert]]
input = "a [1].pkl"
to = "native"
output = "{stem}.pth"
[[convert]]
input = "none*.pkl"
to = "native"
output = "none.pth"
"""
    tasks = tasks_of(load_manifest(write(tmp_path, text)))
    assert [task.name for task in tasks] == [
        "out/b/vmz/x.vmz-pt.pth",
        "out/b/vmz/x.native.pth",
        "out/b/vmz/y.vmz-pt.pth",
        "out/b/vmz/y.native.pth",
        "a [1].pth",
        "none.pth",
    ]
    assert tasks[4].input == str(tmp_path / "a [1].pkl")
    assert [bool(task.fault) for task in tasks] == [False] * 5 + [True]
    assert len({task.spec for task in tasks}) == 6


def test_a_task_is_the_same_in_another_folder_and_not_with_other_options(tmp_path):
    def spec(folder, text):
        (tmp_path / folder).mkdir(exist_ok=True)
        (task,) = tasks_of(load_manifest(write(tmp_path / folder, text)))
        return task.spec

    row = '[[convert]]\ninput = "a"\nto = "native"\noutput = "a.pth"\n'
    assert spec("one", row) == spec("two", row)
    assert spec("one", row + "check = true\n") != spec("two", row)


@pytest.mark.parametrize("output", ["out.pth", "{folder}/../out.pth", "./out.pth"])
def test_two_rows_for_one_output_are_refused(tmp_path, output):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.pkl").touch()
    text = (
        '[[convert]]\ninput = "x/a.pkl"\nto = "native"\noutput = "out.pth"\n'
        f'[[convert]]\ninput = "x/a.pkl"\nto = "native"\noutput = "x/../{output}"\n'
    )
    with pytest.raises(UsageError, match="two conversions write") as caught:
        tasks_of(load_manifest(write(tmp_path, text)))
    assert caught.value.where == "line 1 and line 5"


def test_names_of_a_store_cannot_lead_elsewhere(tmp_path, monkeypatch):
    names = ["s3://b/../x.pkl", "s3://b/...pkl", "s3://b/a/y.pkl"]
    text = '[[convert]]\ninput = "s3://b/*"\nto = "native"\noutput = "out/{folder}/{stem}/x.pth"\n'
    path = write(tmp_path, text)
    monkeypatch.setattr("converters.batches.tasks.matches", lambda *_: names[1:])
    bad, good = tasks_of(load_manifest(path))
    assert (bool(bad.fault), good.fault, good.name) == (True, "", "out/a/y/x.pth")
    assert bad.output == str(tmp_path / "out" / "unnamed" / "unnamed" / "x.pth")
    monkeypatch.setattr("converters.batches.tasks.matches", lambda *_: names[:1])
    assert tasks_of(load_manifest(path))[0].fault


def test_an_output_over_an_input_is_refused(tmp_path):
    text = '[[convert]]\ninput = "a.pth"\nto = "native"\noutput = "{stem}.pth"\n'
    with pytest.raises(UsageError, match="is both an output and an input"):
        tasks_of(load_manifest(write(tmp_path, text)))


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/b.pkl", "b"),
        ("b.pth.tar", "b"),
        ("b.caffemodel.h5", "b"),
        ("b.CAFFEMODEL", "b"),
        ("rgb/model.ckpt", "model"),
        ("conv3d_iter_1900000", "conv3d_iter_1900000"),
        ("v1.0.pth", "v1.0"),
        (".pth", ".pth"),
        ("saved/", "saved"),
    ],
)
def test_stems(path, stem):
    assert stem_of(path) == stem


def test_holes():
    assert fill("{a}-{b}{a}", {"a": "{b}", "b": 2}) == "{b}-2{b}"
    with pytest.raises(UsageError):
        fill("{a.b}", {"a": 1})


def test_the_complete_zoo_is_a_manifest():
    """Every file of VMZ's zoo, every starred one of mmaction's, each into layouts that support its network."""
    rows = load_manifest(REPOSITORY / "scripts" / "zoo.toml").rows
    inputs = {row.input.rpartition("/")[2]: row for row in rows}
    wanted = [
        release
        for release in releases()
        if release.zoo == "vmz" or (release.zoo == "mmaction" and release.converted)
    ]
    assert len(wanted) == 65
    layouts_of = {row.variant: set(row.layouts) for row in support_table()}
    for release in wanted:
        row = inputs[release.file]
        assert (row.source, row.hash) == (release.layout, (release.digest.digits,) if release.digest else ())
        assert set(row.to) <= layouts_of.get(release.network, {"native"})
        assert row.options == {"check": True}
    others = [row for row in rows if row.input.rpartition("/")[2] not in {release.file for release in wanted}]
    assert {row.source for row in others} == {"i3d", "c3d", "c3d-chainer"}
    assert len(tasks_of(load_manifest(REPOSITORY / "scripts" / "zoo.toml"))) == sum(
        len(row.to) for row in rows
    )


@pytest.mark.parametrize("value", ["criterion.*", ["criterion.*", "*.total_ops"], []])
def test_patterns_to_drop(value):
    assert OPTIONS["drop"](value) == ""


@pytest.mark.parametrize("value", ["", 3, [3], [""], {"a": 1}, ["a\0"]])
def test_what_is_no_pattern_to_drop(value):
    assert "must be a string" in OPTIONS["drop"](value)
