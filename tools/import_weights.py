"""Brings in a checkpoint of another code base.

python tools/import_weights.py FORMAT MODEL SOURCE OUT        any checkpoint
python tools/import_weights.py --published NAME [FILE]        a published model
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import sys
from dataclasses import asdict, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from hydra.errors import HydraException
from omegaconf import OmegaConf
from tqdm import tqdm

from nonlocal_video.cli.compose import CONFIGS, composed
from nonlocal_video.data.lists.classes import KINETICS400, read_classes
from nonlocal_video.data.transforms import testing_short_side
from nonlocal_video.models.placement import format_places
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.weights.initialise import Imported, build_imported
from nonlocal_video.models.weights.published import Published, check_options, download, sha256
from nonlocal_video.models.weights.read import FORMATS, read_foreign
from nonlocal_video.reports.test.published import accuracies, published_table
from nonlocal_video.settings import ProtocolConfig, settings_of

COMMAND = "python tools/import_weights.py --published"
USAGE = """import_weights.py FORMAT MODEL SOURCE OUT [--classes FILE] [--set OPTION=VALUE ...]
       import_weights.py --published [NAME] [FILE] [--download] [--out FILE] [--classes FILE]"""
CLASSES = {"kinetics400": KINETICS400}


class Order(NamedTuple):
    """An order to bring in a checkpoint."""

    format: str
    network: str
    source: Path
    out: Path
    options: dict[str, Any]
    classes: str | None
    """File of class names."""
    published: Published | None = None
    part: str | None = None
    """Which network of a file that holds several."""


def main() -> None:
    is_published = any(word.partition("=")[0] == "--published" for word in sys.argv[1:])
    try:
        order = published_order() if is_published else plain_order()
        bring_in(order)
    except (ValueError, OSError, HydraException) as error:
        sys.exit(f"error: {error}")


def option(text: str) -> tuple[str, Any]:
    """pool2=false -> ("pool2", False): values as in the configs."""
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected OPTION=VALUE")
    ((name, value),) = OmegaConf.to_container(OmegaConf.from_dotlist([text])).items()
    return name, value


def plain_order() -> Order:
    parser = argparse.ArgumentParser(
        usage=USAGE,
        description="Turns a checkpoint of another code base into a file of this project.",
        epilog="A published model needs its name only: --published list prints all, --published NAME says where its "
        "file is, --published NAME FILE brings it in, --published NAME --download fetches it first. More on these: "
        f"{COMMAND} --help",
    )
    parser.add_argument("format", choices=FORMATS, help="the code base it was made with")
    parser.add_argument("model", help="the network: [nl_](c2d|i3d)_(r50|r101)_(32x2|128x1|8x8|32x4)")
    parser.add_argument("source", type=Path, help="the checkpoint")
    parser.add_argument("out", type=Path, help="the safetensors file to write")
    parser.add_argument("--classes", help="file of class names, one a line in the order of the labels")
    parser.add_argument(
        "--set", nargs="+", default=[], type=option, metavar="OPTION=VALUE",
        help="fields of NetworkOptions (settings/network.py) that differ from those of the name and of the format",
    )  # fmt: skip
    parser.add_argument("--part", metavar="NAME", help="which network of a file that holds several, such as model_ema")
    given = parser.parse_args()
    options = dict(given.set)
    return Order(given.format, given.model, given.source, given.out, options, given.classes, part=given.part)


def published_order() -> Order:
    """The order for a published model, whose file is there or was just fetched; `list` prints the table and ends."""
    parser = argparse.ArgumentParser(
        usage=USAGE, description="Turns the file of a published model into a file of this project."
    )
    parser.add_argument(
        "--published", nargs="?", const="list", metavar="NAME",
        help="the model: a file in configs/published; list (or nothing) prints the table of all",
    )  # fmt: skip
    parser.add_argument("file", nargs="?", type=Path, help="its file as it was released")
    parser.add_argument(
        "--download", action="store_true", help="fetch the file first, if it is not there (default: to its own name)"
    )
    parser.add_argument("--out", type=Path, help="the safetensors file to write (default: NAME.safetensors)")
    parser.add_argument("--classes", help="file of class names (default: those of the data set that it was trained on)")
    given = parser.parse_args()
    models = published_models()
    if given.published == "list":
        print(published_table(list(models.values())))
        sys.exit()
    if given.published not in models:
        near = get_close_matches(given.published, models, n=4, cutoff=0.3)
        like = f" such as {', '.join(near)}" if near else ""
        raise ValueError(f"--published: got {given.published!r}, expected a name{like}; `{COMMAND} list` prints all")
    model = models[given.published]
    if given.file is None and not given.download:
        sys.exit(
            f"{model.name}: {model.source}\nfile:    {model.file}\nfrom:    {model.url}\n"
            f"then:    {COMMAND} {model.name} FILE\nor both: {COMMAND} {model.name} --download"
        )
    source = given.file or Path(model.file)
    if given.download:
        fetch(model, source)
    out = given.out or Path(f"{model.name}.safetensors")
    return Order(model.format, model.network, source, out, model.options, given.classes, model)


def published_models() -> dict[str, Published]:
    """All of configs/published by name: code base after code base, as each lists them."""
    paths = sorted((CONFIGS / "published").glob("*.yaml"))
    return {path.stem: Published(name=path.stem, **OmegaConf.to_container(OmegaConf.load(path))) for path in paths}


def fetch(model: Published, path: Path) -> None:
    """Downloads the file of a model unless it is there.

    Raises:
        ValueError: it cannot be fetched, or is not what its name says.
    """
    if path.exists():
        print(f"{path}: is there, not downloaded again")
        return
    with tqdm(desc=model.file, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def progress(blocks: int, size: int, total: int) -> None:
            bar.total = total if total > 0 else None
            bar.update(blocks * size - bar.n)

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            download(model, path, progress=progress)
        except OSError as error:
            raise ValueError(
                f"{model.url} cannot be downloaded to {path}: {error}; get it where there is a network, "
                f"then: {COMMAND} {model.name} FILE"
            ) from error


def bring_in(order: Order) -> None:
    """Writes the file, and tells what became of the checkpoint."""
    foreign, model = read_foreign(order.format, str(order.source), order.part), order.published
    if model is not None:
        check_options(model, foreign, where=str(order.source))
    done = build_imported(order.network, foreign, changes=order.options, where=str(order.source))
    classes, published = class_names(order, done), None if model is None else resolved(model, done)
    order.out.parent.mkdir(parents=True, exist_ok=True)
    origin = f"{order.format}: {order.source.name}"
    save_model(order.out, done.model, origin=origin, classes=classes, published=published)
    options = done.model.options
    shown = {**foreign.options, **order.options}
    print(f"{order.source}: {done.num_matched} tensors, all matched ({done.num_inflated} inflated over time)")
    if len(foreign.copies) > 1:
        taken, *others = foreign.copies
        print(f"taken:   {taken}, one of the networks in the file; --part NAME takes another: {', '.join(others)}")
    print(f"ignored: {len(foreign.left_out)} entries that are no weights{examples(foreign.left_out)}")
    print(f"network: {options.name}, {options.num_classes} classes" + "".join(f", {k}={v}" for k, v in shown.items()))
    if foreign.untold:
        taken_for = " ".join(f"{name}={str(getattr(options, name)).lower()}" for name in foreign.untold)
        print(
            f"note:    the file cannot tell how its network was built: it is taken for {taken_for}; --set names others"
        )
    print(format_places(done.model))
    if model is not None:
        tell_published(model, order.source)
    print(f"written: {order.out}")
    if model is not None:
        print(f"next:    python tools/test.py weights={order.out} data={model.data} data.root=FOLDER")


def class_names(order: Order, done: Imported) -> list[str] | None:
    """The names of the file, or of the data set of a published model.

    Raises:
        ValueError: another number of names than the network has classes.
    """
    num_classes = done.model.options.num_classes
    if order.classes:
        return read_classes(order.classes, num_classes=num_classes)
    if order.published is None:
        return None
    names = CLASSES[order.published.data]
    if len(names) != num_classes:
        raise ValueError(
            f"{order.source}: has {num_classes} classes, expected the {len(names)} of {order.published.data}"
        )
    return list(names)


def resolved(model: Published, done: Imported) -> dict[str, Any]:
    """The fields of a model with all settings of its protocol."""
    name, crop = model.protocol["name"], done.model.options.crop
    changes = [f"protocol.{key}={value}" for key, value in model.protocol.items() if key != "name"]
    cfg, _ = composed("test", [f"protocol={name}", *changes])
    protocol = settings_of(ProtocolConfig, OmegaConf.to_container(cfg.protocol))
    side = protocol.short_side or testing_short_side(crop)
    return asdict(replace(model, protocol=asdict(replace(protocol, name=name, short_side=side))))


def tell_published(model: Published, source: Path) -> None:
    """Tells what is published of a model, and whether this is its file."""
    digest = sha256(source)
    known = "" if model.checksum is None else ", as published"
    if model.checksum and not digest.startswith(model.checksum):
        known = f"; note: that of the published file begins with {model.checksum}, so this is another file"
    print(f"SHA-256: {digest}{known}")
    both = " / ".join(accuracies(model.top1, model.top5))
    print(f"published: {both} on {model.data} with the protocol {model.protocol['name']}")


def examples(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""


if __name__ == "__main__":
    main()
