"""What a network says of a video: the likeliest classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.reports.wording import counted, printable_lines

if TYPE_CHECKING:
    from converters.classification.classify import Classification


def classification_text(found: Classification) -> str:
    """The classes, the likeliest first, with their probabilities."""
    return printable_lines(
        [
            f"{found.video}: {video_words(found)}",
            f"{found.network}, {counted(found.classes, 'class')}: {clips_words(found)}",
            *(f"  {likely.probability:.3f}  {likely.label}" for likely in found.likely),
            *found.notes,
            *(
                []
                if found.named
                else [
                    "the checkpoint does not name its classes: `convert IN OUT --labels FILE` adds their names"
                ]
            ),
        ]
    )


def video_words(found: Classification) -> str:
    """How long a video is."""
    rate = f", {found.rate:g} a second" if found.rate else ""
    return f"{counted(found.video_frames, 'frame')}{rate}"


def clips_words(found: Classification) -> str:
    """What the network saw."""
    height, width = found.size
    frames = f"{counted(found.frames, 'frame')} of {height}x{width}"
    if len(found.clips) == 1:
        return f"{frames}, from frame {found.clips[0]}"
    return f"the mean of {len(found.clips)} clips of {frames}"
