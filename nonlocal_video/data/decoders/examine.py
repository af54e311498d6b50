"""One video or image, looked at from its first to its last byte, for the census."""

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from nonlocal_video.data.decoders.container import READ_ERRORS, AvError, open_container, orientation, video_stream
from nonlocal_video.data.decoders.frames import FRAME_FORMATS, describe_image, list_frames, open_frames, read_image
from nonlocal_video.data.decoders.index import Index, decode_all, index_frames, read_index, stated_index
from nonlocal_video.data.decoders.source import Deadline, cause_of, is_folder, size_fault

FOLDER = "folder of frames"
_CHUNK_BYTES = 2**22


class Health(NamedTuple):
    """The outcome of an examination of a video or an image, in plain values; None and "" for what was not found out."""

    state: str
    """ok, opens (nothing was decoded), missing, broken or timed out."""
    cause: str = ""
    transient: bool = False
    """Whether the same file may be found otherwise another time: a disk that cannot be read, a process that died."""
    size_bytes: int | None = None
    content: str = ""
    """A hash that files, or folders of frames, share if they hold the same bytes."""
    container: str = ""
    codec: str = ""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
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
    quarter: bool | None = None
    """Whether that exchanges its width and its height; unknown for videos."""
    open_gops: bool | None = None
    """Whether frames of H.264 lean on others beyond a key frame; unknown for other codecs."""

    @property
    def group(self) -> str:
        """usable, missing or broken: what a run makes of the state."""
        return {"ok": "usable", "opens": "usable", "missing": "missing"}.get(self.state, "broken")


def examine(path: str, *, limit_s: float, decode_all: bool) -> Health:
    """Reads a video file, or a folder of frames, to its end.

    A video is "ok" if every frame that a clip may ask for can be decoded and is whole.

    Args:
        limit_s: seconds after which this gives up; a call into a library that hangs is not interrupted.
        decode_all: decode every frame; packets are only counted otherwise, and what is whole "opens".
    """
    return _last_of(_video_stages(path, Deadline(limit_s), decode_all), limit_s=limit_s)


def examine_image(path: str, *, limit_s: float, decode_all: bool) -> Health:
    """Reads an image; its width and height are those that are stored, before it is turned."""
    return _last_of(_image_stages(path, Deadline(limit_s), decode_all), limit_s=limit_s)


def _last_of(stages: Iterator[Health], *, limit_s: float) -> Health:
    """Facts that are known after the last stage, or after the one before it failed."""
    health = Health("broken")
    try:
        for stage in stages:
            health = stage
    except READ_ERRORS as error:
        if isinstance(error, TimeoutError):
            return health._replace(state="timed out", cause=f"not examined within {limit_s:g} s (--limit)")
        transient = isinstance(error, OSError | MemoryError) and not isinstance(error, AvError)
        return health._replace(state="broken", cause=cause_of(error), transient=transient)
    return health


def _image_stages(path: str, deadline: Deadline, every_frame: bool) -> Iterator[Health]:
    yield (health := _hashed([path], deadline, named=False))
    health = health._replace(**describe_image(path))
    yield health if every_frame else health._replace(state="opens")
    if every_frame:
        read_image(path)
        yield health._replace(state="ok")


def _video_stages(path: str, deadline: Deadline, every_frame: bool) -> Iterator[Health]:
    """Yields what is known after each stage; only the last one has the state, the others are broken until then."""
    yield from (_folder_stages if is_folder(path) else _file_stages)(path, deadline, every_frame)


def _folder_stages(path: str, deadline: Deadline, every_frame: bool) -> Iterator[Health]:
    names = list_frames(path)
    health = _hashed([os.path.join(path, name) for name in names], deadline, named=True)
    kinds = {FRAME_FORMATS[os.path.splitext(name)[1][1:].lower()].lower() for name in names}
    health = health._replace(container=FOLDER, codec=", ".join(sorted(kinds)), frames=len(names))
    yield health if every_frame else health._replace(state="opens")
    if not every_frame:
        return
    sizes, causes = list[tuple[int, int]](), list[str]()
    with open_frames(path, deadline) as source:
        for row in range(len(names)):
            try:
                (image,) = source.read([row])
            except (RuntimeError, ValueError) as error:
                causes.append(cause_of(error))
                continue
            sizes.append((image.shape[0], image.shape[1]))
            causes.append(size_fault(sizes[-1], sizes[0]))
    yield _concluded(health, sizes, causes, damaged=len(names) - len(sizes), found=len(sizes))


def _file_stages(path: str, deadline: Deadline, every_frame: bool) -> Iterator[Health]:
    health = _hashed([path], deadline, named=False)
    yield health
    with open_container(path) as container:
        stream = video_stream(container)
        promised = read_index(container, stream, deadline)
        health = _indexed(health, promised or stated_index(container, stream))
    yield health
    yield _decoded_file(health, path, promised, deadline) if every_frame else health._replace(state="opens")


def _hashed(paths: list[str], deadline: Deadline, *, named: bool) -> Health:
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
    return Health("broken", size_bytes=size, content=content.hexdigest())


def _indexed(health: Health, index: Index) -> Health:
    count, last = len(index.seconds), float(index.seconds[-1]) if len(index.seconds) else 0.0
    fps = (count - 1) / last if last > 0 else None  # False for NaN as well.
    return health._replace(
        container=index.container,
        codec=index.codec,
        fps=None if fps is None else round(fps, 3),
        duration_s=None if fps is None else round(count / fps, 3),
        stated_s=None if index.stated_s is None else round(index.stated_s, 3),
        claimed=index.claimed or None,
        frames=count or None,
        open_gops=not index.closed if index.believed and index.codec == "h264" else None,
    )


def _decoded_file(health: Health, path: str, promised: Index | None, deadline: Deadline) -> Health:
    """Decodes all frames, on one thread and without turning them to RGB; damage is judged as `open_pyav` does.

    A file that decodes to other frames than its packets promised is whole.
    """
    sizes, causes, ticks = list[tuple[int, int]](), list[str](), list[int | None]()
    is_damaged, num_damaged, lost, turned = False, 0, 0, False
    with open_container(path) as container:
        stream = video_stream(container)
        for frame in decode_all(container.demux(stream), deadline):
            if frame is None:
                is_damaged, lost = True, lost + 1
                continue
            is_damaged = bool(frame.is_corrupt) or (is_damaged and not frame.key_frame)
            ticks.append(frame.pts)
            turned = turned or any(orientation(frame))
            sizes.append((frame.height, frame.width))
            causes.append(size_fault(sizes[-1], sizes[0]))
            num_damaged += is_damaged
        if promised is None or (ticks != promised.ticks and not num_damaged and not lost):
            health = _indexed(health, index_frames(container, stream, ticks))
            promised = None
    if lost and (promised is None or ticks != promised.ticks):
        causes.append(f"{lost} packets cannot be decoded")
    health = _concluded(health, sizes, causes, damaged=num_damaged, found=len(sizes) - num_damaged)
    return health._replace(turned=turned)


def _concluded(health: Health, sizes: list[tuple[int, int]], causes: list[str], *, damaged: int, found: int) -> Health:
    """The state: "ok" unless there is a cause for `decode` to refuse frames; the first cause is told."""
    cause = next(filter(None, causes), "")
    if damaged or found != health.frames:
        cause = f"{found} of {health.frames} frames can be decoded" + (f" ({cause})" if cause else "")
    height, width = sizes[0] if sizes else (None, None)
    health = health._replace(state="broken" if cause else "ok", cause=cause, damaged=damaged, found=found)
    return health._replace(height=height, width=width, turned=False)
