"""Brings in a checkpoint of another code base: python tools/import_weights.py FORMAT MODEL SOURCE OUT"""

import argparse
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.models.placement import format_places
from nonlocal_video.models.weights import FORMATS
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.weights.foreign import build_imported


def option(text: str) -> tuple[str, Any]:
    """pool2=false -> ("pool2", False): values as in the configs."""
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected OPTION=VALUE")
    ((name, value),) = OmegaConf.to_container(OmegaConf.from_dotlist([text])).items()
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description="Turns a checkpoint of another code base into a file of this project.")
    parser.add_argument("format", choices=FORMATS, help="the code base it was made with")
    parser.add_argument("model", help="the network: [nl_](c2d|i3d)_(r50|r101)_(32x2|128x1|8x8|32x4)")
    parser.add_argument("source", help="the checkpoint")
    parser.add_argument("out", type=Path, help="the safetensors file to write")
    parser.add_argument("--classes", help="file of class names, one a line in the order of the labels")
    parser.add_argument(
        "--set", nargs="+", default=[], type=option, metavar="OPTION=VALUE",
        help="fields of NetworkOptions (nonlocal_video/models/options.py) that differ from the name's and the format's",
    )  # fmt: skip
    arguments = parser.parse_args()
    try:
        foreign = FORMATS[arguments.format](arguments.source)
        done = build_imported(arguments.model, foreign, changes=dict(arguments.set), where=arguments.source)
        model, options = done.model, done.model.options
        classes = read_classes(arguments.classes, num_classes=options.num_classes) if arguments.classes else None
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        save_model(arguments.out, model, classes=classes, origin=f"{arguments.format}: {Path(arguments.source).name}")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    shown = {**foreign.options, **dict(arguments.set)}
    print(f"{arguments.source}: {done.num_matched} tensors, all matched ({done.num_inflated} inflated over time)")
    print(f"ignored: {len(done.ignored)} entries that are no weights{examples(done.ignored)}")
    print(f"network: {options.name}, {options.num_classes} classes" + "".join(f", {k}={v}" for k, v in shown.items()))
    print(format_places(model))
    print(f"written: {arguments.out}")


def examples(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""


if __name__ == "__main__":
    main()
