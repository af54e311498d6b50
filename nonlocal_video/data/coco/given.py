"""Images however they are given: one list of pictures comes out."""

import os
from collections.abc import Callable, Sequence

from nonlocal_video.data.coco.annotations import Picture, read_pictures
from nonlocal_video.data.decoders.frames import FRAME_FORMATS
from nonlocal_video.data.lists.kinds import Ignored, extension_of
from nonlocal_video.data.lists.pathlist import read_path_list
from nonlocal_video.data.lists.text import is_text
from nonlocal_video.settings.values import expect

Images = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def find_pictures(images: Images, *, root: str | None, note: Callable[[str], object]) -> list[Picture]:
    """The images of files, of folders and of lists, without objects; whether they are there is not asked.

    A folder stands for all images below it, known by their extensions. A file is a list if it is text and does not bear
    the extension of an image: of one path a line, or in COCO's format. Images that no file in COCO's format numbers
    have their places as ids, from 1.

    Args:
        root: the folder that relative paths of lists start from; the working directory if None.
        note: is told which files of a folder are no images.

    Raises:
        ValueError: no such root, a folder without images, a bad list, or two images of one id.
    """
    expect(root is None or os.path.isdir(root), "data.root", root, "an existing folder")
    pictures = list[Picture]()
    for path in [os.fspath(path) for path in ([images] if isinstance(images, str | os.PathLike) else images)]:
        if os.path.isdir(path):
            pictures += [Picture(0, found, found, 0, 0) for found in _below(path, note)]
        elif os.path.isfile(path) and extension_of(path) not in FRAME_FORMATS and is_text(path):
            pictures += _listed(path, root or "")
        else:
            pictures.append(Picture(0, path, path, 0, 0))
    numbered = [one if one.width else one._replace(image_id=place) for place, one in enumerate(pictures, 1)]
    first = dict[int, Picture]()
    for one in numbered:
        if (other := first.setdefault(one.image_id, one)) is not one:
            raise ValueError(f"{other.path} and {one.path}: got the id {one.image_id} twice, expected different ids")
    return numbered


def _listed(path: str, root: str) -> list[Picture]:
    if extension_of(path) == "json":
        return read_pictures(path, root=root)
    entries = [entry for _, entry in read_path_list(path, root=root, num_classes=None, form="path")]
    if not entries:
        raise ValueError(f"{path}: the list is empty")
    return [Picture(0, entry.video, entry.path, 0, 0) for entry in entries]


def _below(folder: str, note: Callable[[str], object]) -> list[str]:
    """The images below a folder, sorted; hidden ones are left out, links are followed, no folder is entered twice."""
    found, ignored, entered = list[str](), Ignored(), set[tuple[int, int]]()
    for parent, inner, names in os.walk(folder, followlinks=True, onerror=lambda error: note(str(error))):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in entered:
            inner.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        inner[:] = [name for name in inner if not name.startswith(".")]
        for path in [os.path.join(parent, name) for name in names if not name.startswith(".")]:
            (found.append if extension_of(path) in FRAME_FORMATS else ignored.add)(path)
    if ignored:
        note(f"{folder}: other files, ignored: {ignored}")
    if not found:
        raise ValueError(f"{folder}: got no images, expected some ({', '.join(FRAME_FORMATS)})")
    return sorted(found)
