"""Predictions of videos and images as text, as JSON, as CSV, and as results in COCO's format."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

COLUMNS = {
    "video": ("video", "rank", "class", "score", "error"),
    "image": ("image", "rank", "class", "score", "x", "y", "width", "height", "error"),
}
"""The columns of the CSV."""
FOUND = {"video": "top", "image": "objects"}
"""The key in JSON of what was found."""


class Predicted(NamedTuple):
    """The finding for a video or an image, or the reason why there is none."""

    name: str
    found: Sequence[Mapping[str, Any]]
    """The best first, each with `class` and `score`; objects of images are results in COCO's format besides."""
    error: str | None
    files: Mapping[str, list[str]] = {}
    """The files that were written, by what they are: `over_time` or `drawn`."""


def printed(predictions: Iterable[Predicted], *, kind: str, form: str) -> Iterator[str]:
    """The texts of predictions, each as soon as it is known.

    Args:
        kind: video or image.
        form: text, jsonl, csv or coco; see `PredictConfig.format`.
    """
    if form == "coco":
        yield from _coco(predictions)
        return
    if form == "csv":
        yield _csv([COLUMNS[kind]])
    for one in predictions:
        yield {"text": _text, "jsonl": _json, "csv": _csv_rows}[form](one, kind)


def _text(one: Predicted, _kind: str) -> str:
    lines = [f"{100 * found['score']:7.2f}%  {found['class']}{_place(found)}" for found in one.found]
    lines += [f"   error: {one.error}"] if one.error else []
    lines += [f"   {what.replace('_', ' ')}: {', '.join(paths)}" for what, paths in one.files.items()]
    return "\n".join([one.name, *lines, ""])


def _place(found: Mapping[str, Any]) -> str:
    return "  x {:.0f}, y {:.0f}, {:.0f} x {:.0f}".format(*found["bbox"]) if "bbox" in found else ""


def _json(one: Predicted, kind: str) -> str:
    said = {"error": one.error} if one.error else {FOUND[kind]: list(one.found)}
    return json.dumps({kind: one.name, **said, **one.files}) + "\n"


def _csv_rows(one: Predicted, kind: str) -> str:
    empty = [""] * (len(COLUMNS[kind]) - 2)
    rows = [
        [one.name, rank, found["class"], f"{found['score']:.6f}", *(f"{n:.2f}" for n in found.get("bbox", ())), ""]
        for rank, found in enumerate(one.found, 1)
    ]
    return _csv([[one.name, *empty, one.error], *rows] if one.error else rows)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _coco(predictions: Iterable[Predicted]) -> Iterator[str]:
    """One list of all objects, each with the `file_name` of its image."""
    before = "["
    for one in predictions:
        for found in one.found:
            yield f"{before}\n{json.dumps({'file_name': one.name, **found})}"
            before = ","
    yield "[]\n" if before == "[" else "\n]\n"
