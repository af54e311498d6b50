"""Whether a file is a video, by its content."""

import os
import stat
from typing import Any

from av.format import Flags
from av.stream import Disposition

from nonlocal_video.data.decoders.container import AvError, open_container

_HEAD_BYTES = 4096
_TEXT_AS_PICTURES = ("tty", "bin", "xbin", "idf", "adf")
"""Formats in which libav draws text: it takes almost any text for one of them."""


def is_video(path: str) -> bool:
    """Whether a file is a container with moving pictures that can be decoded.

    No name and no link within the file is followed. Pictures, sound with a picture of its cover, and text are no
    videos. Neither are streams without a container (raw H.264, MPEG-1), since almost any bytes can look like one: they
    are known by their extensions. A file that cannot be read is no video either.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # Opening a fifo would wait for ever.
            return False
        with open(path, "rb") as file:
            if b"\0" not in file.read(_HEAD_BYTES):
                return False  # Text, also that of a playlist.
        with open_container(path) as container:
            return _has_moving_pictures(container)
    except (AvError, OSError, ValueError, IndexError):
        return False


def _has_moving_pictures(container: Any) -> bool:
    name, flags = container.format.name, container.format.flags
    if name.endswith("_pipe") or name in _TEXT_AS_PICTURES or flags & Flags.no_timestamps.value:
        return False
    return any(
        stream.codec_context is not None  # None where there is no decoder.
        and stream.codec_context.width > 0
        and stream.frames != 1  # A single picture, as AVIF and still GIF are.
        and not stream.disposition & Disposition.attached_pic
        for stream in container.streams.video
    )
