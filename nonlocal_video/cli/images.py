"""The lists of images that the words of a command line name, such as data=coco data.root=FOLDER."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nonlocal_video.cli.commandline import explain, with_quotes
from nonlocal_video.cli.compose import composed
from nonlocal_video.cli.schema import MISSING
from nonlocal_video.settings.values import expect


class ImageLists(NamedTuple):
    """The lists of a data set."""

    name: str
    with_empty: bool
    """Whether images without objects are trained on."""
    lists: dict[str, tuple[str, str]]
    """The file of train and of val, each with the folder of its images; without those that are null."""


def image_lists(words: Sequence[str]) -> ImageLists:
    """Composes the words as tools/train.py does. Raises ValueError: no such data, of videos, or no such file."""
    try:
        data: Any = OmegaConf.to_container(composed("train", with_quotes(list(words)))[0].data, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, list(words), {}, tool="train.py")) from error
    lists = {which: (data[which], data[f"{which}_images"]) for which in ("train", "val") if data[which]}
    if not any(folder for _, folder in lists.values()):
        raise ValueError(
            f"data: got {data['name']}, a data set of videos: name its list, LIST --root FOLDER --out FOLDER"
        )
    for which, (path, folder) in lists.items():
        expect(not str(path).startswith(MISSING), "data.root", "no value", "the folder of the data set")
        expect(os.path.isfile(path), f"data.{which}", path, "a JSON file in COCO's format")
        expect(folder and os.path.isdir(folder), f"data.{which}_images", folder, "the folder of the images")
    return ImageLists(data["name"], bool(data["empty"]), lists)
