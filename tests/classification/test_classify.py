"""Classifying videos: which frames a network is given, and what is said of them."""

from __future__ import annotations

import gc
import json
import re
import struct

import numpy as np
import pytest
import torch

from converters import BadInput, Refused, UsageError, classify, preprocess
from converters.classification.decoding import Decoding
from converters.classification.run import Work, classify_clips, classify_stream, is_streaming
from converters.classification.timeline import Timeline
from converters.classification.video import jpeg, open_video
from converters.clips.description import ClipPreprocessing
from converters.networks.layers import Network
from tests.helpers.films import write

av = pytest.importorskip("av", reason="needs av: install the extra [dev]")

WANTED = ClipPreprocessing(
    frames=4, resize=32, crop=(24, 24), order="RGB", range=(0, 255), mean=(127.5,) * 3, std=(127.5,) * 3
)
CUBE = WANTED.replace(mean=(), std=(), mean_cube="a cube")
FRAMES = 11


def picture(number):
    """A frame of 40x48 whose brightness is its number."""
    frame = np.full((40, 48, 3), 20 * number, np.uint8)
    frame[:, :24, 0] = 255 - 20 * number
    return frame


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write(tmp_path_factory.mktemp("video") / "film.mkv", [picture(number) for number in range(FRAMES)])


class Means(Network):
    """Logits are the means of the clip's frames, so that they tell which frames it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, clip):
        self.seen = clip
        return clip.mean(dim=(1, 3, 4))


class Stream(Means):
    """The same of a network that is given frames one after the other: logits are the numbers of frames and pieces."""

    @property
    def initial_state(self):
        return {"frames": 0, "pieces": 0}

    def step(self, frames, state):
        assert frames.shape[2] <= 8
        state = {"frames": state["frames"] + frames.shape[2], "pieces": state["pieces"] + 1}
        return torch.tensor([[float(state["frames"]), float(state["pieces"])]]), state


def work(video, wanted=WANTED, model=None, mean=None):
    return Work(model=model or Means(), wanted=wanted, video=open_video(video), mean=mean)


def all_frames(video):
    opened = open_video(video)
    return np.stack([frame for _, frame in Decoding(opened, opened.timeline())])


def test_frames_are_those_of_the_file(video):
    opened = open_video(video)
    assert opened.rate == 10
    assert np.array_equal(all_frames(video), [picture(number) for number in range(FRAMES)])


@pytest.mark.parametrize(
    "wanted",
    [
        WANTED,
        WANTED.replace(step=2),
        WANTED.replace(rate=5.0),
        WANTED.replace(frames=16),
        WANTED.replace(spread=True),
        WANTED.replace(frames=5, again_every=4),
    ],
)
def test_one_clip_is_what_preprocess_makes(video, wanted):
    given = work(video, wanted)
    seen = classify_clips(given, 1)
    expected = preprocess(all_frames(video), wanted, fps=10)
    assert torch.equal(given.model.seen, expected)
    assert (seen.frames, seen.size, seen.timeline.frames) == (wanted.frames, (24, 24), FRAMES)
    assert np.allclose(seen.probabilities, given.model(expected)[0].double().softmax(0).tolist())


def test_clips_are_spread_and_their_probabilities_averaged(video):
    seen = classify_clips(work(video), 3)
    assert seen.starts == (0, 4, 7)
    clips = [preprocess(all_frames(video), WANTED, start=start) for start in seen.starts]
    expected = sum(Means()(clip)[0].double().softmax(0) for clip in clips) / 3
    assert np.allclose(seen.probabilities, expected.tolist())
    assert classify_clips(work(video, WANTED.replace(frames=16)), 5).starts == (0,)  # longer than the video
    assert classify_clips(work(video, WANTED.replace(spread=True)), 3).starts == (0, 1, 2)


@pytest.mark.parametrize("shape", [(3, 32, 38), (3, 4, 32, 38)])
def test_a_mean_cube_is_subtracted_frame_by_frame(video, shape):
    cube = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    given = work(video, CUBE, mean=cube)
    classify_clips(given, 1)
    assert torch.equal(given.model.seen, preprocess(all_frames(video), CUBE, mean=cube))


@pytest.mark.parametrize(("rate", "frames"), [(None, FRAMES), (5.0, 6), (20.0, 22)])
def test_a_stream_is_given_the_whole_video(video, rate, frames):
    given = work(video, WANTED.replace(rate=rate), Stream())
    assert is_streaming(given.model)
    assert not is_streaming(Means())
    seen = classify_stream(given)
    pieces = -(-frames // 8)
    assert seen.frames == frames
    assert np.allclose(seen.probabilities, torch.tensor([frames, pieces]).double().softmax(0).tolist())


def test_frames_are_freed_without_the_garbage_collector(video):
    """The command line has it off, and a video may have any number of frames."""
    opened = open_video(video)
    gc.collect()
    gc.disable()
    try:
        for _ in Decoding(opened, opened.timeline()):
            pass
        assert gc.collect() < FRAMES
    finally:
        gc.enable()


def test_other_videos(tmp_path, video):
    """A GIF, a picture, a folder of pictures in the order of counting."""
    write(tmp_path / "film.gif", [picture(number) for number in range(5)], "gif", pixels="rgb8")
    assert all_frames(tmp_path / "film.gif").shape == (5, 40, 48, 3)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (10, 9, 2):
        (folder / f"frame{number}.jpg").write_bytes(jpeg(picture(number)))
    (folder / "notes.txt").write_text("no picture")
    found = all_frames(folder)
    assert [round(float(frame[20, 40, 1]) / 20) for frame in found] == [2, 9, 10]
    assert open_video(folder).rate is None
    assert all_frames(folder / "frame9.jpg").shape == (1, 40, 48, 3)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda frame: frame),
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda frame: np.rot90(frame, 2).transpose(1, 0, 2)),
    ],
)
def test_frames_are_upright(tmp_path, matrix, shown):
    """A track's matrix turns and mirrors its frames, as phones and front cameras write it."""
    frame = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    path = write(tmp_path / "film.mp4", [frame], "mpeg4", pixels="yuv420p")
    data = bytearray(path.read_bytes())
    plain = all_frames(path)[0]
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    assert np.array_equal(all_frames(path)[0], shown(plain))


def moving(count):
    """Frames of 64x64 whose blocks move to the right."""
    blocks = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(blocks, 3 * number, 1) for number in range(count)]


KINDS = {
    "film.mkv": ("ffv1", "bgr0"),
    "film.mp4": ("mpeg4", "yuv420p"),
    "film.avi": ("mpeg4", "yuv420p"),
    "film.gif": ("gif", "rgb8"),
}


@pytest.fixture(scope="module", params=KINDS)
def noise(request, tmp_path_factory):
    """A video of 40 frames, every fifth of which is a key frame."""
    frames = moving(40)
    codec, pixels = KINDS[request.param]
    return write(
        tmp_path_factory.mktemp("noise") / request.param,
        frames,
        codec,
        pixels=pixels,
        g="5",
        bf="0",
        qmax="4",
    )


def test_a_file_that_ends_early_is_said_to(tmp_path, noise):
    whole = classify_clips(work(noise), 2)
    assert (whole.timeline.frames, whole.notes) == (40, ())
    data = noise.read_bytes()
    cut = tmp_path / noise.name
    cut.write_bytes(data[: len(data) * 6 // 10])
    seen = classify_clips(work(cut), 2)
    frames = seen.timeline.frames
    assert 15 < frames < 30
    said = {
        ".mkv": f"the file ends early: {frames} of about 40 frames",
        ".gif": f"the file ends early, after {frames} frames",
    }
    assert seen.notes[0] == said.get(noise.suffix, f"the file ends early: {frames} of 40 frames")
    stream = classify_stream(work(cut, model=Stream()))
    assert stream.notes[0] == seen.notes[0]


def test_only_what_the_wanted_frames_need_is_decoded(noise):
    """In Matroska and MP4 from the key frame before them; elsewhere from the beginning, and nothing behind them."""
    everything = all_frames(noise)
    opened = open_video(noise)
    decoding = Decoding(opened, opened.timeline(), {2, 17, 36})
    found = dict(decoding)
    assert sorted(found) == [2, 17, 36]
    assert all(np.array_equal(frame, everything[place]) for place, frame in found.items())
    assert decoding.decoded == (8 if noise.suffix in (".mkv", ".mp4") else 37)  # 0 to 2, 15 to 17, 35 and 36


@pytest.mark.parametrize(
    ("damage", "said"),
    [(20, "1 of 20 decoded frames is damaged"), (1000, "its frame [0-9]+ cannot be decoded")],
)
def test_damage_is_said(tmp_path, damage, said):
    """A damaged frame is decoded as well as can be, all up to it so that each is counted; or it cannot be."""
    frames = moving(20)
    path = write(tmp_path / "film.mp4", frames, "mpeg4", pixels="yuv420p", g="5", sc_threshold="1000000000")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + damage] = bytes(value ^ 0x5A for value in data[middle : middle + damage])
    path.write_bytes(data)
    try:
        found = "; ".join(classify_clips(work(path), 5).notes)
    except BadInput as error:
        found = str(error)
    assert re.search(said, found)


def test_fewer_frames_than_packets_are_said(video, monkeypatch):
    """The clips are then those of the frames that there are."""
    monkeypatch.setattr(type(open_video(video)), "timeline", lambda _: Timeline(frames=FRAMES + 5))
    for kept in (np.zeros((3, 4, 32, 38), np.float32), None):
        seen = classify_clips(work(video, mean=kept) if kept is None else work(video, CUBE, mean=kept), 3)
        assert seen.starts == (0, 4, 7)
        assert seen.notes == ("11 of the file's 16 frames can be decoded",)


@pytest.mark.parametrize(
    ("limit", "value", "error", "message"),
    [
        ("timeline.MOST_FRAMES", FRAMES - 1, Refused, "has more than 10 frames"),
        ("decoding.MOST_PIXELS", 7 * 40 * 48, Refused, "million pixels up to the last frame that is needed"),
        ("decoding.LARGEST", 40 * 48 - 1, BadInput, "damaged, or have more than 1,919 pixels"),
    ],
)
def test_work_is_limited(video, monkeypatch, limit, value, error, message):
    assert classify_clips(work(video, WANTED.replace(frames=2)), 3)
    monkeypatch.setattr(f"converters.classification.{limit}", value)
    with pytest.raises(error, match=message):
        classify_clips(work(video, WANTED.replace(frames=2)), 3)


def bad_files(folder, video):
    """What is not a video, and what would have other files read."""
    (folder / "text.mp4").write_text("not a video")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{video}'\n")
    (folder / "list.sdp").write_text("v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\n")
    (folder / "cut.mkv").write_bytes(video.read_bytes()[:300])
    (folder / "%03d.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "none").mkdir()
    return (
        "text.mp4",
        "empty.mp4",
        "list.m3u8",
        "list.ffconcat",
        "list.sdp",
        "cut.mkv",
        "%03d.png",
        "none",
        "gone.mp4",
    )


def test_what_is_no_video_is_refused(tmp_path, video):
    for name in bad_files(tmp_path, video):
        with pytest.raises(BadInput):
            classify_clips(work(tmp_path / name), 1)


def test_wrong_calls(tmp_path, video, zoo):
    source = zoo / "vmz" / "ir-csn-26-0.pkl"
    with pytest.raises(UsageError, match="0 clips"):
        classify(source, video, clips=0)
    with pytest.raises(UsageError, match="must be at least 1"):
        classify(source, video, top=0)
    for rate in (0, -25, 1e308, 1e-9, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="must be from"):
            classify(source, video, fps=rate)
    with pytest.raises(BadInput):
        classify(video, video)


def test_the_command(tmp_path, video, zoo, run, monkeypatch):
    """A real network of a small file; its clip is made small, which none of its tensors minds."""
    import converters.loading as loading

    monkeypatch.setattr(loading, "describe", lambda _: WANTED)
    source = zoo / "vmz" / "ir-csn-26-0.pkl"
    done = run("classify", source, video, "--json", "--clips", 2, "--top", 3, "--html", "<b>.html")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    assert found["clips"] == [0, 7]
    assert [likely["label"] for likely in found["likely"]] == [
        f"class {one['number']}" for one in found["likely"]
    ]
    assert len(found["likely"]) == 3
    page = (tmp_path / "<b>.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 8
    assert "<script" not in page
    assert "The checkpoint does not name its classes" in page
    assert (
        run("classify", source, video, "--html", "<b>.html").returncode == 1
    )  # exists: refused before any work
    assert "2 clips of 4 frames of 24x24" in page


def test_what_does_not_classify_frames(tmp_path, video, zoo):
    from converters import convert

    backbone = tmp_path / "backbone.pth"
    convert(zoo / "vmz" / "ir-csn-26-0.pkl", backbone, source="vmz", backbone=True)
    with pytest.raises(Refused, match="has no classifier"):
        classify(backbone, video)
