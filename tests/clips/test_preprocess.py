"""Frames become the clip that a network was made for; the expected values are computed by other means."""

import numpy
import pytest
import torch

from converters import Refused, UsageError, load_model, load_two_stream, preprocess
from converters.clips.description import ClipPreprocessing, describe
from converters.clips.preprocess import positions
from converters.errors import BadInput
from converters.mapping.layout_tables import load_layout, models
from converters.mapping.table_files import layout_names

I3D = ClipPreprocessing(
    frames=4,
    resize=8,
    crop=(6, 6),
    order="RGB",
    range=(0.0, 255.0),
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
)


def video(frames: int = 9, height: int = 10, width: int = 16) -> numpy.ndarray:
    return numpy.random.default_rng(3).integers(0, 256, (frames, height, width, 3), dtype=numpy.uint8)


def bilinear(frame: numpy.ndarray, height: int, width: int) -> numpy.ndarray:
    """Half-pixel centres, edges repeated, no antialiasing: written out."""

    def axis(old: int, new: int):
        place = numpy.clip((numpy.arange(new) + 0.5) * old / new - 0.5, 0, None)
        low = numpy.minimum(place.astype(int), old - 1)
        return low, numpy.minimum(low + 1, old - 1), place - low

    (y0, y1, fy), (x0, x1, fx) = axis(frame.shape[0], height), axis(frame.shape[1], width)
    fy, fx, frame = fy[:, None, None], fx[None, :, None], frame.astype("f8")
    top = frame[y0][:, x0] * (1 - fx) + frame[y0][:, x1] * fx
    return top * (1 - fy) + (frame[y1][:, x0] * (1 - fx) + frame[y1][:, x1] * fx) * fy


def expected(frames: numpy.ndarray, height: int, width: int, top: int, left: int, crop: int) -> numpy.ndarray:
    cropped = [bilinear(frame, height, width)[top : top + crop, left : left + crop] for frame in frames]
    return numpy.stack(cropped).transpose(3, 0, 1, 2)[None]


def test_the_middle_of_a_video_resized_cropped_and_normalised() -> None:
    frames = video()
    clip = preprocess(frames, I3D)
    assert clip.shape == (1, 3, 4, 6, 6)
    assert clip.dtype == torch.float32
    wanted = (
        expected(frames[2:6], 8, 12, 1, 3, 6) / 127.5 - 1
    )  # the short side 10 becomes 8, the long one 12.8
    numpy.testing.assert_allclose(clip.numpy(), wanted, atol=1e-5)
    assert torch.equal(preprocess(torch.from_numpy(frames), I3D), clip)
    assert torch.equal(preprocess(list(frames), I3D), clip)
    tall = preprocess(frames.transpose(0, 2, 1, 3).copy(), I3D)
    torch.testing.assert_close(tall, clip.transpose(3, 4))


def test_steps_rates_and_starts() -> None:
    frames = numpy.broadcast_to(numpy.arange(40, dtype=numpy.uint8)[:, None, None, None], (40, 8, 8, 3))
    plain = I3D.replace(mean=(), std=(), step=2, rate=25)

    def picked(**options: object) -> list[int]:
        return preprocess(frames, plain, **options)[0, 0, :, 0, 0].int().tolist()

    assert picked(start=3) == [3, 5, 7, 9]
    assert picked() == [16, 18, 20, 22]
    assert picked(start=0, fps=50) == [0, 4, 8, 12]
    assert picked(start=0, fps=12.5) == [0, 1, 2, 3]
    assert picked(start=37) == [37, 39, 1, 3]  # from the beginning again
    assert preprocess(frames[:3], plain)[0, 0, :, 0, 0].int().tolist() == [0, 2, 1, 0]


def test_channels_ranges_and_sizes() -> None:
    frames = video(1)
    caffe = ClipPreprocessing(
        frames=1, resize=(8, 9), crop=(6, 6), crop_at=(2, 3), order="BGR", range=(0.0, 255.0)
    )
    numpy.testing.assert_allclose(
        preprocess(frames, caffe).numpy(), expected(frames, 8, 9, 2, 3, 6)[:, ::-1], atol=1e-4
    )
    unit = caffe.replace(order="RGB", range=(0.0, 1.0), mean=(0.45,) * 3, std=(0.225,) * 3)
    numpy.testing.assert_allclose(
        preprocess(frames, unit).numpy(),
        (expected(frames, 8, 9, 2, 3, 6) / 255 - 0.45) / 0.225,
        atol=1e-5,
    )
    uncropped = ClipPreprocessing(frames=1, crop=(10, 16), order="RGB")
    assert torch.equal(
        preprocess(frames, uncropped)[0, :, 0], torch.from_numpy(frames[0]).permute(2, 0, 1).float()
    )


def test_a_mean_cube_is_subtracted_before_the_crop() -> None:
    frames = video(2)
    c3d = ClipPreprocessing(
        frames=2,
        resize=(8, 9),
        crop=(6, 6),
        crop_at=(1, 2),
        order="BGR",
        mean_cube="the mean cube beside the model",
    )
    cube = numpy.random.default_rng(4).random((3, 2, 8, 9), dtype="f4") * 255
    whole = expected(frames, 8, 9, 0, 0, 9)[:, ::-1] - cube
    numpy.testing.assert_allclose(preprocess(frames, c3d, mean=cube).numpy(), whole[..., 1:7, 2:8], atol=1e-4)
    assert preprocess(frames, c3d, mean=cube[:, 0]).shape == (1, 3, 2, 6, 6)
    with pytest.raises(UsageError, match=r"mean cube beside the model: give it as mean="):
        preprocess(frames, c3d)
    with pytest.raises(UsageError, match=r"\[3, 3, 8, 9\] does not fit"):
        preprocess(frames, c3d, mean=numpy.zeros((3, 3, 8, 9)))
    with pytest.raises(UsageError, match="subtracts no mean cube"):
        preprocess(frames, I3D, mean=cube)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (numpy.zeros((2, 8, 8, 3)), "uint8 values from 0 to 255, not float64"),
        (torch.zeros(2, 8, 8, 3), "not float32"),
        (numpy.zeros((2, 3, 8, 8), numpy.uint8), r"\[T, H, W, 3\], not \[2, 3, 8, 8\]"),
        (numpy.zeros((8, 8, 3), numpy.uint8), r"not \[8, 8, 3\]"),
        (numpy.zeros((0, 8, 8, 3), numpy.uint8), r"not \[0, 8, 8, 3\]"),
        ("clip.mp4", "uint8 values"),
    ],
)
def test_other_frames_are_refused(frames: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        preprocess(frames, I3D)


@pytest.mark.parametrize("shape", [(1, 70000), (70000, 1), (2, 1 << 20)])
def test_narrow_frames_are_refused_before_they_are_resized(shape: tuple[int, int]) -> None:
    frames = numpy.zeros((1, *shape, 3), numpy.uint8)
    with pytest.raises(BadInput, match=f"frames of {shape[0]}x{shape[1]} pixels are too narrow: resized"):
        preprocess(frames, I3D.replace(frames=1, resize=256))


def test_other_models_are_refused() -> None:
    frames = video(4)
    for model, error, message in (
        ("out.pth", UsageError, "takes a model, not str: load it with load_model"),
        (torch.nn.Linear(1, 1), UsageError, "not Linear"),
        (I3D.replace(frames=None), Refused, "no table says how frames become"),
        (I3D.replace(order="horizontal, vertical"), Refused, "takes no RGB frames"),
        (I3D.replace(resize=None, crop=(11, 11)), Refused, "10x16 pixels are smaller than .* 11x11"),
        (I3D.replace(crop_at=(0, 7)), Refused, "smaller than"),
    ):
        with pytest.raises(error, match=message):
            preprocess(frames, model)
    rates = (0, float("nan"), float("inf"), -1, 1e308, 1e-9)
    for options in (*({"fps": rate} for rate in rates), {"start": 4}, {"start": -1}):
        with pytest.raises(UsageError):
            preprocess(frames, I3D, **options)


def test_every_table_says_how_frames_become_a_clip() -> None:
    """Where a table gives a clip of frames, its words say a size, or the crop is the only step."""
    seen = 0
    for name in layout_names():
        for row in models(load_layout(name)):
            if len(row.clip) != 3:
                continue
            clip = [size if isinstance(size, int) else 8 for size in row.clip]
            described = describe({"clip": clip, "resize": row.resize, "order": "RGB"})
            assert described is not None
            assert described.resize is not None or row.resize == f"centre crop {clip[1]}x{clip[2]}", (
                row.resize
            )
            if f"crop {clip[1]}x{clip[2]}" not in row.resize:
                assert described.resize == (clip[1], clip[2]), row.resize
            seen += 1
    assert seen > 60


@pytest.mark.parametrize(
    "damage",
    [
        {"clip": [16, 112, "112"]},
        {"clip": [10**9, 112, 112]},
        {"clip": 3},
        {"frame_step": 0},
        {"frame_step": 1.5},
        {"resize": "short side 99999999"},
        {"mean": [1, None, 2]},
        {"mean": 5},
        {"std": [float("nan")] * 3},
        {"range": ["0", "1"]},
        {"rate": "fast"},
    ],
    ids=str,
)
def test_a_forged_record_is_damaged(damage: dict[str, object]) -> None:
    sound = {"clip": [16, 112, 112], "order": "RGB", "resize": "short side 128, crop 112x112"}
    assert describe(sound) is not None
    with pytest.raises(BadInput, match="provenance record is damaged"):
        describe({**sound, **damage})


def test_what_takes_no_frames_has_no_preprocessing() -> None:
    assert describe({}) is None
    assert describe({"clip": [100, 40], "resize": "16 kHz"}) is None


def test_a_loaded_model_describes_its_clip(r2d) -> None:
    model = load_model(r2d)
    assert model.labels == ()
    assert model.preprocessing.as_data() == {
        "frames": 8,
        "step": 1,
        "rate": 30.0,
        "resize": (128, 171),
        "crop": (112, 112),
        "order": "RGB",
        "range": (0, 255),
        "mean": (110.201, 100.64, 95.9966),
        "std": (58.1489, 56.4701, 55.3324),
    }
    clip = preprocess(video(12, 120, 160), model)
    with torch.inference_mode():
        assert model(clip).shape == (1, 400)
        for wrong, message in (
            (clip.byte(), "expected a clip of float32, got uint8: converters.preprocess makes one"),
            (clip.half(), "expected a clip of float32, as the weights are, got float16"),
            (clip.double(), "got float64: convert it with clip.to"),
            (clip.numpy(), "expected a tensor of float32, got ndarray"),
        ):
            with pytest.raises(ValueError, match=message):
                model(wrong)
            with pytest.raises(ValueError, match=message):
                model.end_points(wrong)


def test_two_streams_take_frames_and_flow(r2d) -> None:
    with pytest.raises(Refused, match="takes 3 channels, not those of optical flow"):
        load_two_stream(r2d, r2d)


def test_frames_that_are_spread_are_the_middles_of_equal_parts() -> None:
    wanted = ClipPreprocessing(frames=4, spread=True)
    assert positions(100, wanted, None, None) == [12, 37, 62, 87]
    assert positions(100, wanted, 25, None, part=0.0) == [0, 25, 50, 75]
    assert positions(3, wanted, None, None) == [0, 1, 1, 2]
    assert positions(1, wanted, None, None) == [0, 0, 0, 0]
    with pytest.raises(UsageError, match="spread over the whole video"):
        positions(100, wanted, None, 3)
    words = {
        "clip": [8, 224, 224],
        "resize": "short side 256; the frames are spread over the video",
        "order": "RGB",
    }
    assert describe(words).spread
