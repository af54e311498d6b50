"""One video, looked at from its first to its last byte, for the census."""

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from nonlocal_video.data.decoders.container import AvError, open_container, video_stream
from nonlocal_video.data.decoders.frames import FRAME_FORMATS, list_frames, open_frames
from nonlocal_video.data.decoders.index import decode_all, describe, index_frames, read_index
from nonlocal_video.data.decoders.memory import Index
from nonlocal_video.data.decoders.orientation import orientation
from nonlocal_video.data.decoders.source import MAX_ASPECT, Deadline

FOLDER = "folder of frames"
_CHUNK_BYTES = 2**22


class Finding(NamedTuple):
    """What became of a video when it was examined, in plain values; None and "" for what was not found out."""

    state: str
    """ok, opens (nothing was decoded), missing, broken or timed out."""
    cause: str = ""
    by_chance: bool = False
    """Whether the same file may be found otherwise another time: a disk that cannot be read, a process that died."""
    size_bytes: int | None = None
    content: str = ""
    """The same for files, or folders of frames, that hold the same bytes."""
    container: str = ""
    codec: str = ""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    """The mean."""
    duration_s: float | None = None
    stated_s: float | None = None
    """The duration that the container states."""
    claimed: int | None = None
    """Frames that the container states; those that the list states, of a folder."""
    frames: int | None = None
    """Frames that clips are picked from; unknown of files that tell them only when all is decoded, and were not."""
    found: int | None = None
    """Frames that can be decoded, and whole."""
    damaged: int | None = None
    """Frames that come out of the decoder, but not whole, or leaning on one that is not."""
    turned: bool | None = None
    """Whether the file says that frames are to be turned or mirrored."""
    open_gops: bool | None = None
    """Whether frames of H.264 lean on others beyond a key frame; unknown for other codecs."""

    @property
    def group(self) -> str:
        """usable, missing or broken: what a run makes of the state."""
        return {"ok": "usable", "opens": "usable", "missing": "missing"}.get(self.state, "broken")


def examine(path: str, *, limit_s: float, decode_all: bool) -> Finding:
    """Reads a video file, or a folder of frames, to its end.

    A video is "ok" if every frame that a clip may ask for can be decoded and is whole.

    Args:
        limit_s: seconds after which this gives up; a call into a library that hangs is not interrupted.
        decode_all: decode every frame; packets are only counted otherwise, and what is whole "opens".
    """
    finding = Finding("broken")
    try:
        for stage in _stages(path, Deadline(limit_s), decode_all):
            finding = stage
    except (AvError, RuntimeError, OSError, ValueError, IndexError, MemoryError) as error:
        if isinstance(error, TimeoutError):
            return finding._replace(state="timed out", cause=f"not examined within {limit_s:g} s (--limit)")
        by_chance = isinstance(error, OSError | MemoryError) and not isinstance(error, AvError)
        return finding._replace(state="broken", cause=_shown(error), by_chance=by_chance)
    return finding


def _shown(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def _stages(path: str, deadline: Deadline, every_frame: bool) -> Iterator[Finding]:
    """What is known after each stage; the last one has the state, the others would be broken if they were the last."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError("neither a regular file nor a folder of frames")  # Opening a fifo would wait for ever.
    if stat.S_ISDIR(mode):
        names = list_frames(path)
        finding = _hashed([os.path.join(path, name) for name in names], deadline, named=True)
        kinds = {FRAME_FORMATS[os.path.splitext(name)[1][1:].lower()].lower() for name in names}
        finding = finding._replace(container=FOLDER, codec=", ".join(sorted(kinds)), frames=len(names))
        yield finding
        yield _decoded_folder(finding, path, deadline) if every_frame else finding._replace(state="opens")
        return
    finding = _hashed([path], deadline, named=False)
    yield finding
    if not finding.size_bytes:
        raise ValueError("the file is empty")
    with open_container(path) as container:
        stream = video_stream(container)
        index = read_index(container, stream, deadline)
        finding = _indexed(finding, index or describe(container, stream))
    yield finding
    yield _decoded_file(finding, path, index, deadline) if every_frame else finding._replace(state="opens")


def _hashed(paths: list[str], deadline: Deadline, *, named: bool) -> Finding:
    """The size and the content's hash of files together."""
    content, size = hashlib.blake2b(digest_size=16), 0
    for path in paths:
        if named:
            content.update(f"{os.path.basename(path)}\0{os.path.getsize(path)}\0".encode(errors="surrogateescape"))
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                deadline.check()
                content.update(chunk)
                size += len(chunk)
    return Finding("broken", size_bytes=size, content=content.hexdigest())


def _indexed(finding: Finding, index: Index) -> Finding:
    count, last = len(index.seconds), float(index.seconds[-1]) if len(index.seconds) else 0.0
    fps = (count - 1) / last if last > 0 else None  # False for NaN as well.
    return finding._replace(
        container=index.container,
        codec=index.codec,
        fps=None if fps is None else round(fps, 3),
        duration_s=None if fps is None else round(count / fps, 3),
        stated_s=None if index.stated_s is None else round(index.stated_s, 3),
        claimed=index.claimed or None,
        frames=count or None,
        open_gops=not index.closed if index.believed and index.codec == "h264" else None,
    )


class _Tally:
    """Counts decoded frames, and what would make `decode` refuse them."""

    def __init__(self) -> None:
        self.found, self.damaged, self.turned = 0, 0, False
        self.size: tuple[int, int] | None = None
        self.cause = ""

    def blame(self, cause: str) -> None:
        """The first one stays."""
        self.cause = self.cause or cause

    def measure(self, width: int, height: int) -> None:
        if self.size is None:
            self.size = width, height
            if max(self.size) > MAX_ASPECT * min(self.size):
                self.blame(f"frames of {width} x {height} pixels are longer than {MAX_ASPECT} : 1")
        elif self.size != (width, height):
            self.blame(f"the size changes from {self.size[0]} x {self.size[1]} to {width} x {height}")

    def conclude(self, finding: Finding) -> Finding:
        if self.damaged or self.found != finding.frames:
            why = f" ({self.cause})" if self.cause else ""
            self.cause = f"{self.found} of {finding.frames} frames can be decoded{why}"
        width, height = self.size or (None, None)
        return finding._replace(
            state="broken" if self.cause else "ok",
            cause=self.cause,
            width=width,
            height=height,
            found=self.found,
            damaged=self.damaged,
            turned=self.turned,
        )


def _decoded_file(finding: Finding, path: str, promised: Index | None, deadline: Deadline) -> Finding:
    """Decodes all frames, on one thread and without turning them to RGB; damage is judged as `open_pyav` does.

    Args:
        promised: what the packets say, where they can be believed. A file that decodes to other frames is whole.
    """
    tally, damaged, lost, ticks = _Tally(), False, 0, list[int | None]()
    with open_container(path) as container:
        stream = video_stream(container)
        for frame in decode_all(container, stream, deadline):
            if frame is None:
                damaged, lost = True, lost + 1
                continue
            damaged = bool(frame.is_corrupt) or (damaged and not frame.key_frame)
            ticks.append(frame.pts)
            tally.turned = tally.turned or any(orientation(frame))
            tally.measure(frame.width, frame.height)
            tally.damaged += damaged
            tally.found += not damaged
        if promised is None or (ticks != promised.ticks and not tally.damaged and not lost):
            finding = _indexed(finding, index_frames(container, stream, ticks))
            promised = None
    if lost and (promised is None or ticks != promised.ticks):
        tally.blame(f"{lost} packets cannot be decoded")
    return tally.conclude(finding)


def _decoded_folder(finding: Finding, path: str, deadline: Deadline) -> Finding:
    """Decodes every image."""
    tally = _Tally()
    with open_frames(path, deadline) as source:
        for index in range(finding.frames or 0):
            try:
                (image,) = source.read([index])
            except (RuntimeError, ValueError) as error:
                tally.blame(_shown(error))
                tally.damaged += 1
                continue
            tally.measure(image.shape[1], image.shape[0])
            tally.found += 1
    return tally.conclude(finding)
