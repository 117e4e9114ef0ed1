"""Suffixes of outputs: the layout decides the format, the suffix what is around the state dict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from converters import convert, inspect
from converters.conversion.output_format import output_format
from converters.conversion.output_names import stem_of
from converters.conversion.write import wrapper_of
from converters.errors import UsageError
from converters.formats.format import Wrapper
from converters.mapping.layout_tables import load_layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("suffix", "key"), [(".pyth", "model_state"), (".ckpt", "state_dict")])
def test_the_suffix_of_a_project_wraps_the_state_dict(
    r2d: Path, tmp_path: Path, suffix: str, key: str
) -> None:
    bare = convert(r2d, tmp_path / "out.pth", source="vmz")
    done = convert(r2d, tmp_path / f"out{suffix}", source="vmz", check=True)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    held = torch.load(tmp_path / f"out{suffix}", weights_only=True)
    assert next(iter(held)) == key
    assert all(torch.equal(tensor, held[key][name]) for name, tensor in state.items())
    assert all(not isinstance(value, (dict, torch.Tensor)) for name, value in held.items() if name != key)
    assert any(repr(key) in note for note in done.notes)
    asked_for = convert(r2d, tmp_path / f"other{suffix}", source="vmz", wrap=True, dry_run=True)
    assert not any("state" in note for note in asked_for.notes)
    assert inspect(tmp_path / f"out{suffix}").network == bare.info


@pytest.mark.parametrize(
    ("layout", "name", "format_name"),
    [
        ("i3d", "model.ckpt", "tensorflow"),
        ("i3d", "MODEL.CKPT", "tensorflow"),
        ("pytorch-i3d", "model.ckpt", "pth"),
        ("mmaction2", "run.Ckpt", "pth"),
        ("pyslowfast", "checkpoint_epoch_00196.pyth", "pth"),
        ("torchvision", "checkpoint.pth.tar", "pth"),
    ],
)
def test_the_layout_decides_the_format(layout: str, name: str, format_name: str) -> None:
    assert output_format(name, load_layout(layout)) == format_name


@pytest.mark.parametrize("layout", ["i3d", "vmz", "tsn"])
def test_other_layouts_have_no_pyth(layout: str) -> None:
    with pytest.raises(UsageError, match="must end in"):
        output_format("out.pyth", load_layout(layout))


@pytest.mark.parametrize(
    ("layout", "name", "key"),
    [
        ("mmaction2", "out.pth", "state_dict"),
        ("mmaction2", "out.pyth", "model_state"),
        ("mmaction2", "out.ckpt", "state_dict"),
        ("pyslowfast", "out.pth", "model_state"),
        ("pyslowfast", "out.pt", "model_state"),
        ("pyslowfast", "out.ckpt", "state_dict"),
        ("torchvision", "out.ckpt", "state_dict"),
        ("torchvision", "out.pth", ""),
    ],
)
def test_the_suffix_before_the_layout_decides_the_wrapper(layout: str, name: str, key: str) -> None:
    found = wrapper_of(name, load_layout(layout), wrap=True) or Wrapper("", {})
    assert found.key == key


def test_only_pytorch_files_are_wrapped() -> None:
    for layout, name in (("i3d", "out.ckpt"), ("vmz", "out.pkl"), ("mmaction2", "out.safetensors")):
        assert wrapper_of(name, load_layout(layout), wrap=False) is None
        with pytest.raises(UsageError, match="wrapper"):
            wrapper_of(name, load_layout(layout), wrap=True)


def test_an_output_is_named_after_the_input_without_such_a_suffix() -> None:
    assert [stem_of(name) for name in ("a/b.pyth", "b.ckpt", "b.CKPT", "b.pth.tar")] == ["b"] * 4
