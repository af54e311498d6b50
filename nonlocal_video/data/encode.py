"""Writes video files (PyAV)."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np


def write_video(path: Path, frames: Iterable[np.ndarray], *, fps: int = 30, gop: int = 30, crf: int = 20) -> None:
    """Writes RGB frames (H, W, 3) uint8 of equal, even size as H.264; equal frames give equal bytes.

    Args:
        gop: frames from one key frame to the next.
        crf: x264's constant rate factor; lower is better.
    """
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                # One thread: x264's rate control is deterministic only then.
                stream.options = {"preset": "veryfast", "crf": str(crf), "g": str(gop), "threads": "1"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is None:
            raise ValueError(f"{path}: a video needs at least one frame")
        container.mux(stream.encode())
