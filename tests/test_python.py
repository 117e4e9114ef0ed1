"""The Python module as people meet it: names, help, types, reprs, errors."""

import inspect as inspection
import io
import pydoc
import subprocess
import sys
import typing
from contextlib import redirect_stdout

import numpy
import pytest

import converters
from converters import ConverterError, Refused, UsageError, convert, diff, open_checkpoint, verify
from converters.errors import BadInput
from converters.option_names import in_python
from tests.helpers.vmz_files import write as write_vmz

FUNCTIONS = [name for name in converters.__all__ if inspection.isfunction(getattr(converters, name))]
"""Every function of the module."""


def test_names_are_listed() -> None:
    wanted = "convert inflate inspect diff verify suggest publish convert_batch load_model open_checkpoint preprocess"
    assert {*wanted.split()} <= {*dir(converters)} == {*converters.__all__, "__version__"}
    assert sorted(converters.__all__) == converters.__all__


@pytest.mark.parametrize("name", converters.__all__)
def test_help_and_types(name: str) -> None:
    value = getattr(converters, name)
    text = pydoc.plain(pydoc.render_doc(value))
    assert len(text.splitlines()) > 3
    hints = typing.get_type_hints(value)
    if name in FUNCTIONS:
        assert {*hints} == {*inspection.signature(value).parameters, "return"}
        if isinstance(hints["return"], type) and hints["return"].__module__.startswith("converters"):
            typing.get_type_hints(hints["return"])
        first = next(iter(inspection.signature(value).parameters.values()))
        assert first.default is first.empty


def test_help_of_the_module() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        pydoc.doc(converters)
    assert "open_checkpoint(" in out.getvalue()
    assert "preprocess(" in out.getvalue()


def test_results_are_shown_in_three_lines(r2d, tmp_path) -> None:
    result = convert(r2d, tmp_path / "out.pth", source="vmz", to="native", check=True)
    files, network, done = repr(result).splitlines()
    assert files == f"{r2d} -> {tmp_path / 'out.pth'}"
    assert network == "R2D-18, 400 classes: vmz -> native"
    assert done.startswith("122 tensors in ")
    assert "checked" in done
    assert "dry run" in repr(result.replace(output=None))
    assert result.replace(source="<b>\n")._repr_html_().startswith("<strong>&lt;b&gt;\\n")
    assert "labels" not in repr(result.info)
    for shown in (
        converters.inspect(tmp_path / "out.pth"),
        converters.inspect(r2d, stats=False),
        diff(tmp_path / "out.pth", r2d),
    ):
        assert 2 <= len(repr(shown).splitlines()) <= 3
        assert shown._repr_html_().count("<br>") == len(repr(shown).splitlines()) - 1


def test_a_comparison_is_no_truth_value(r2d) -> None:
    with pytest.raises(TypeError, match=r"use \.same"):
        bool(diff(r2d, r2d))
    assert diff(r2d, r2d).same
    with pytest.raises(TypeError, match=r"ask \.ok"):
        bool(verify.__globals__["Verification"].__new__(verify.__globals__["Verification"]))


@pytest.mark.parametrize(
    ("said", "python"),
    [
        ("say which with --variant", "say which with variant="),
        ("--force replaces it", "force=True replaces it"),
        ("leave --mean out", "leave mean out"),
        ("say which with --entry, such as --entry a.b", 'say which with entry=, such as entry="a.b"'),
        ("--drop 'a.*' --drop 'b'", "drop=['a.*', 'b']"),
        ("with --to c3d-chainer, an .npz", 'with to="c3d-chainer", an .npz'),
        ("(--set stem_stride=2)", '(settings={"stem_stride": "2"})'),
        ("say --no-checksum", "say checksum=False"),
        ("--json lists every fault", "the exception's .faults lists every fault"),
        ("run `convert IN OUT --mapping m.toml`", "run `convert IN OUT --mapping m.toml`"),
        ("python zero_to_fp32.py --tag latest", "python zero_to_fp32.py --tag latest"),
        ("a--force", "a--force"),
        ("--push OWNER/NAME", 'push="OWNER/NAME"'),
        ("it holds X: use `convert vmz-pt ...`", "it holds X: name the layout: 'vmz-pt'"),
        ("use `convert a ...` or `convert b ...`", "name the layout: 'a' or 'b'"),
    ],
)
def test_exceptions_speak_python(said: str, python: str) -> None:
    assert in_python(said) == python
    error = ConverterError(said, hint=said, path="--force", where="--variant")
    assert str(error) == f"--force: {python} (--variant): {python}"
    assert (error.what, error.hint) == (python, python)
    assert error.told == (said, said)


def test_no_exception_names_a_flag(r2d, tmp_path, run) -> None:
    out = tmp_path / "out.pth"
    out.write_bytes(b"")
    with pytest.raises(Refused, match="force=True replaces it"):
        convert(r2d, out)
    assert "--force replaces it" in run("vmz", r2d, out).stderr
    with pytest.raises(UsageError, match="to= and the network"):
        convert(r2d, out, mapping="m.toml", source="vmz", force=True)


def test_a_checkpoint_is_a_mapping_of_lazy_arrays(tmp_path) -> None:
    numpy.savez(tmp_path / "x.npz", a=numpy.arange(6, dtype="f4").reshape(2, 3), b=numpy.array(True))
    with open_checkpoint(tmp_path / "x.npz") as checkpoint:
        assert list(checkpoint) == ["a", "b"]
        assert len(checkpoint) == 2
        assert "a" in checkpoint
        array = checkpoint["a"]
        assert (array.name, array.dtype, array.shape, array.nbytes) == ("a", "float32", (2, 3), 24)
        assert array.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
        array.numpy()[0] = 7  # an array of its own
        assert numpy.asarray(array).sum() == 15
        assert checkpoint["b"].numpy().shape == ()
        assert checkpoint["b"].numpy()
        assert repr(array) == "<a: float32 2x3>"
        assert repr(checkpoint).startswith(f"<{tmp_path / 'x.npz'}: NumPy file")
        with pytest.raises(TypeError):
            checkpoint["c"] = array  # type: ignore[index]
        with pytest.raises(KeyError, match="aa: did you mean a"):
            checkpoint["aa"]
        assert checkpoint.get(1) is None  # type: ignore[call-overload]
    assert array.shape == (2, 3)
    assert "closed" in repr(checkpoint)
    with pytest.raises(UsageError, match="closed"):
        array.numpy()
    with pytest.raises(UsageError, match="closed"), checkpoint:
        pass


def test_dtypes_that_numpy_lacks(tmp_path) -> None:
    import torch

    values = torch.tensor([1.0, -2.5, float("inf")])
    torch.save({"w": values.bfloat16(), "i": torch.tensor([1], dtype=torch.int64)}, tmp_path / "x.pth")
    with open_checkpoint(tmp_path / "x.pth") as checkpoint:
        assert checkpoint["w"].dtype == "bfloat16"
        assert checkpoint["w"].numpy().tolist() == values.tolist()
        assert checkpoint["i"].numpy().dtype == numpy.int64
    (tmp_path / "no.pth").write_bytes(b"nothing")
    with pytest.raises(BadInput):
        open_checkpoint(tmp_path / "no.pth")


def test_what_is_no_array_is_named(tmp_path) -> None:
    import torch

    torch.save(
        {"state_dict": {"w": torch.ones(2), "c": torch.ones(2, dtype=torch.complex64)}}, tmp_path / "x.pth"
    )
    with open_checkpoint(tmp_path / "x.pth") as checkpoint:
        assert list(checkpoint) == ["w"]
        assert any("c" in name for name in checkpoint.others)


def test_a_reader_imports_no_framework(tmp_path) -> None:
    write_vmz(tmp_path / "x.pkl", "r2d-18", seed=1)
    code = (
        "import sys; from converters import open_checkpoint\n"
        f"with open_checkpoint({str(tmp_path / 'x.pkl')!r}) as c: print(c['conv1_w'].shape)\n"
        "assert not {'torch', 'numpy', 'caffe2', 'tensorflow', 'chainer'} & {*sys.modules}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(64, 3, 8, 7, 7)", done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"to": 5}, "to must be a string, not int"),
        ({"source": b"vmz"}, "source must be a string, not bytes"),
        ({"variant": 3}, "variant must be a string, not int"),
        ({"labels": ["a", "b"]}, "labels must be a path, not list"),
        ({"settings": "pool1"}, "settings must be a mapping of names to values, not str"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named(wrong, said, tmp_path):
    with pytest.raises(TypeError, match=said):
        convert(tmp_path / "in.pkl", tmp_path / "out.pth", **wrong)
