"""Lists of one path a line, as PySlowFast, mmaction2 and the released code write them."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from nonlocal_video.data.lists.text import numbered_lines
from nonlocal_video.types import Entry

FORMS = ("path", "path_label", "path_frames_label", "path_labels")
VIDEO_EXTENSIONS = (
    "mp4", "mkv", "webm", "avi", "mov", "mpg", "mpeg", "wmv", "flv", "m4v", "3gp", "ts", "gif", "mts", "m2ts", "m2t",
    "tp", "trp", "vob", "evo", "mpe", "mpv", "m1v", "m2v", "mp4v", "ogv", "ogm", "asf", "wtv", "dvr-ms", "dv", "dif",
    "mxf", "gxf", "3g2", "3gpp", "f4v", "qt", "mk3d", "rm", "rmvb", "rv", "divx", "xvid", "amv", "nut", "nsv", "ivf",
    "y4m", "h261", "h263", "h264", "h265", "hevc", "avc", "vc1", "vvc", "obu", "mjpg", "mjpeg", "mjp", "fli", "flc",
    "bik", "smk", "roq", "viv", "insv", "lrv",
)  # fmt: skip
"""Extensions of files that are videos without a look. None has digits alone: that would be a label behind a point."""

_ENDINGS = "|".join(map(re.escape, VIDEO_EXTENSIONS))
_VIDEO = re.compile(rf".*\.(?:{_ENDINGS})(?=[\s,]|$)", re.IGNORECASE)  # Up to the last extension.
_QUOTED = re.compile(r'"((?:[^"]|"")+)"(?=[\s,]|$)')
_NUMBER = r"-?\d+(?:\.0*)?"
"""A whole number; pandas writes 3 as 3.0 where another row has none."""
_NUMBERS = re.compile(rf"(?:(?:\s*,\s*|\s+){_NUMBER})*\s*")
# What separates the last number separates all of them: in 'video 12,3' the label of 'video 12' is 3.
_BETWEEN = (r" *\t\s*", r"\s*,\s*", r"(?:\s*,\s*|\s+)")
_TRAILING = tuple(re.compile(rf"(.*?)((?:{between}{_NUMBER})+)") for between in _BETWEEN)
_DECIMAL = re.compile(r"[\s,]-?\d*\.\d+$")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


class SplitLine(NamedTuple):
    """A line of a list, taken apart."""

    number: int
    text: str
    path: str
    """Empty if what follows the path is no number."""
    ends: bool
    """Whether the end of the path is certain: it was quoted, or has the extension of a video."""
    numbers: tuple[int, ...]


def read_path_list(path: str, *, root: str | None, num_classes: int | None, form: str) -> list[tuple[int, Entry]]:
    """The entries with the numbers of their lines; the form is one of `FORMS`, or "auto"."""
    lines = [split_line(text, number) for number, text in numbered_lines(path)]
    form = _detect(path, lines, num_classes) if form == "auto" else form
    return [(line.number, _entry(path, line, root, form)) for line in lines]


def split_line(text: str, number: int) -> SplitLine:
    """A path and the whole numbers after it.

    A quoted path ends with its quote, one with the extension of a video ends with that, and any other ends before the
    last numbers.
    """
    found = _QUOTED.match(text) or _VIDEO.match(text)
    if found and "/" not in (rest := text[found.end() :]):  # Else it was the name of a folder.
        rest = rest.replace('"', "")
        quoted = found.re is _QUOTED
        path = found.group(1).replace('""', '"') if quoted else found.group()
        return SplitLine(number, text, path if _NUMBERS.fullmatch(rest) else "", True, _numbers(rest))
    for pattern in _TRAILING:
        if found := pattern.fullmatch(text):
            return SplitLine(number, text, found.group(1), False, _numbers(found.group(2)))
    return SplitLine(number, text, text, False, ())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word.partition(".")[0]) for word in re.findall(_NUMBER, text))


def _detect(path: str, lines: Sequence[SplitLine], num_classes: int | None) -> str:
    """The form that all lines together have."""
    if not any(line.numbers or not line.path for line in lines):
        return "path"
    for line in lines:
        if not line.numbers:
            _refuse(path, line)
    counts = {len(line.numbers) for line in lines}
    if counts == {1}:
        return "path_label"
    folder = next((line for line in lines if not line.ends and len(line.numbers) > 1), None)
    if counts == {2}:
        folders = folder is not None and not any(_SUFFIX.search(line.path) for line in lines if not line.ends)
        if folders or (num_classes is not None and any(line.numbers[0] >= num_classes for line in lines)):
            return "path_frames_label"
        _refuse_ambiguous(path, lines[0], ("path_frames_label", "path_labels"))
    if folder:  # A folder's name may end in numbers, too.
        _refuse_ambiguous(path, folder, ("path_label", "path_frames_label", "path_labels"))
    return "path_labels"


def _entry(path: str, line: SplitLine, root: str | None, form: str) -> Entry:
    video, numbers = line.path, line.numbers
    if form == "path" and numbers:
        video, numbers = line.text, ()
    elif form == "path_label" and len(numbers) > 1 and not line.ends:
        last = re.split(r"[\s,]", line.text)[-1]
        video, numbers = line.text.removesuffix(last).rstrip(" \t,"), numbers[-1:]
    low, high = {"path": (0, 0), "path_label": (1, 1), "path_frames_label": (2, None), "path_labels": (1, None)}[form]
    if not video or len(numbers) < low or (high is not None and len(numbers) > high):
        _refuse(path, line, form)
    frames = None
    if form == "path_frames_label":
        frames, numbers = numbers[0], numbers[1:]
        if frames < 0:
            raise ValueError(f"{path}:{line.number}: got {frames} frames, expected 0 or more")
    label = numbers[0] if len(numbers) == 1 and form != "path_labels" else numbers or None
    return Entry(video, os.path.join(root or "", video), label, frames)


def _refuse(path: str, line: SplitLine, form: str = "path_label") -> NoReturn:
    expected = {
        "path": "a path alone",
        "path_label": "a path and a label, such as 'videos/a.mp4 3'",
        "path_frames_label": "a path, a number of frames and a label, such as 'frames/a 120 3'",
        "path_labels": "a path and its labels, such as 'videos/a.mp4 3 17'",
    }[form]
    hint = "; labels are whole numbers" if _DECIMAL.search(line.text.replace('"', "")) else ""
    raise ValueError(f"{path}:{line.number}: got {line.text!r}, expected {expected}{hint}")


def _refuse_ambiguous(path: str, line: SplitLine, forms: Sequence[str]) -> NoReturn:
    meanings = {
        "path_label": "the last number is the label, those before it belong to the path",
        "path_frames_label": "a number of frames, then the label",
        "path_labels": "several labels",
    }
    choices = ", or ".join(f"data.format={form} ({meanings[form]})" for form in forms)
    raise ValueError(f"{path}:{line.number}: {line.text!r} can be read in more than one way, say which: {choices}")
