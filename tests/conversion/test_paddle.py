"""From PaddleVideo's file to logits: converted, loaded, and compared with what real PaddleVideo computed; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert, load_model, verify
from converters.conversion.plan import make_plan
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.network_info import network_info
from tests.helpers import layout_weights, paddle_files, paths, seeded_weights, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity

if TYPE_CHECKING:
    from pathlib import Path

GOLDENS = paths.GOLDENS / "paddle"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.npz"))


@pytest.mark.parametrize(
    "name",
    selection.longest(
        selection.all_but(NAMES, *(name for name in NAMES if name != "tsn-r50_3x65x82")),
        lambda name: "-r101" in name,
    ),
)
def test_a_converted_file_computes_what_paddlevideo_computed(name: str, device: str, tmp_path: Path) -> None:
    """And it becomes the file that Paddle wrote again, byte for byte."""
    golden = np.load(GOLDENS / f"{name}.npz")
    variant = name.rsplit("_", 1)[0]
    arrays = paddle_files.write_golden(tmp_path / "x.pdparams", golden)
    clip = paddle_files.golden_clip(golden)
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    assert seeded_weights.digest_one(clip) == golden["input_sha256"]
    told = {} if variant.startswith("slowfast") else {"variant": variant}
    convert(tmp_path / "x.pdparams", tmp_path / "out.pth", source="paddlevideo", **told)
    model = load_model(tmp_path / "out.pth").to(device)
    points = {block: paddle_files.end_point(block) for block in golden["blocks"].tolist()}
    with torch.inference_mode():
        steps = model.steps(torch.from_numpy(clip).to(device))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device])
    convert(tmp_path / "out.pth", tmp_path / "back.pdparams", source="native", to="paddlevideo")
    assert (tmp_path / "back.pdparams").read_bytes() == (tmp_path / "x.pdparams").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_new_file_has_the_order_of_paddles_own(name: str) -> None:
    layout = load_layout("paddlevideo")
    stored = paddle_files.golden_names(np.load(GOLDENS / f"{name}.npz"))
    shells = {key: layout_weights.shell(key, tuple(shape)) for key, (shape, _) in stored.items()}
    match = match_file(layout, shells)
    plan = make_plan(match, shells, layout, network_info(match, None), eps=1e-5)
    assert [row.target for row in plan.rows] == [*stored]


@pytest.mark.full
def test_round_the_projects_with_the_same_logits(tmp_path: Path) -> None:
    """PaddleVideo to mmaction2 to mit-han-lab and back: the two shift the other way, so channels are exchanged."""
    golden = np.load(GOLDENS / "tsm-r50-8seg_8x64x64.npz")
    paddle_files.write_golden(tmp_path / "a.pdparams", golden)
    clip = torch.from_numpy(paddle_files.golden_clip(golden))
    convert(
        tmp_path / "a.pdparams",
        tmp_path / "b.pth",
        source="paddlevideo",
        variant="tsm-r50-8seg",
        to="mmaction2",
    )
    convert(tmp_path / "b.pth", tmp_path / "c.pth", source="mmaction2", to="tsm")
    convert(tmp_path / "c.pth", tmp_path / "d.pdparams", source="tsm", to="paddlevideo")
    for name in ("b.pth", "c.pth", "d.pdparams"):
        told = {} if name.endswith("pth") else {"variant": "tsm-r50-8seg"}
        model = load_model(tmp_path / name, **told)
        with torch.inference_mode():
            logits = model(clip).numpy()
        assert np.abs(logits - golden["logits"]).max() <= 1e-5 * np.abs(golden["logits"]).max(), name
    assert (tmp_path / "d.pdparams").read_bytes() == (tmp_path / "a.pdparams").read_bytes()


@pytest.mark.full
def test_another_number_of_segments_there_and_back(tmp_path: Path) -> None:
    """A fourth of the channels moves between four frames: in Paddle's operators as in the converted file."""
    golden = np.load(GOLDENS / "tsm-r50-8seg_8x64x64.npz")
    source, output, back = (tmp_path / name for name in ("a.pdparams", "b.pth", "c.pdparams"))
    paddle_files.write_golden(source, golden)
    np.save(tmp_path / "clip.npy", paddle_files.golden_clip(golden))
    told = {"variant": "tsm-r50", "settings": {"segments": 4}}
    convert(source, output, source="paddlevideo", **told)
    result = verify(source, output, clip=tmp_path / "clip.npy", **told)
    assert result.ok
    assert result.functional is not None
    convert(output, back, source="native", to="paddlevideo")
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.full
def test_a_wrong_direction_is_found(tmp_path: Path) -> None:
    """The weights under mmaction2's names, but with the channels where PaddleVideo has them."""
    golden = np.load(GOLDENS / "tsm-r50-8seg_8x64x64.npz")
    source, output, native = (tmp_path / name for name in ("a.pdparams", "b.pth", "c.pth"))
    paddle_files.write_golden(source, golden)
    np.save(tmp_path / "clip.npy", paddle_files.golden_clip(golden))
    told = {"source": "paddlevideo", "variant": "tsm-r50-8seg"}
    convert(source, output, to="mmaction2", **told)
    assert verify(source, output, variant="tsm-r50-8seg", clip=tmp_path / "clip.npy").ok
    convert(source, native, **told)
    state, wrong = (torch.load(path, weights_only=True) for path in (output, native))
    torch.save(dict(zip(state, wrong.values(), strict=True)), tmp_path / "wrong.pth")
    result = verify(source, tmp_path / "wrong.pth", variant="tsm-r50-8seg", clip=tmp_path / "clip.npy")
    assert not result.exact.ok
    assert result.functional is not None
    assert not result.functional.ok


@pytest.mark.full
@pytest.mark.parametrize("form", ["backbone alone", "data parallel"])
def test_other_prefixes_there_and_back(form: str, tmp_path: Path) -> None:
    """Training starts from the backbone alone; `paddle.DataParallel` puts `_layers.` before all names."""
    golden = np.load(GOLDENS / "tsn-r50_3x65x82.npz")
    arrays = paddle_files.golden_arrays(golden)
    if form == "data parallel":
        arrays = {f"_layers.{name}": array for name, array in arrays.items()}
    else:
        start = "backbone."
        arrays = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    source, output, back = (tmp_path / name for name in ("a.pdparams", "b.pth", "c.pdparams"))
    paddle_files.write(source, arrays, {name: f"p_{name}" for name in arrays})
    convert(source, output, source="paddlevideo", variant="tsn-r50")
    np.save(tmp_path / "clip.npy", paddle_files.golden_clip(golden))
    assert verify(source, output, variant="tsn-r50", clip=tmp_path / "clip.npy").ok
    convert(output, back, source="native", to="paddlevideo")
    assert back.read_bytes() == source.read_bytes()
