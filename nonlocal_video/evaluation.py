"""What a test is of: a file of weights as if it were a run, and videos that have moved."""

from pathlib import Path

from nonlocal_video.models.weights.file import read_model_file
from nonlocal_video.settings import ClipConfig, DataConfig, TestConfig, TrainConfig


def run_of_file(config: TestConfig) -> TrainConfig:
    """What a run with the network of a .safetensors file would be."""
    if config.weights is None or not config.weights.endswith(".safetensors"):
        raise ValueError("these settings need a value: run=..., or weights=FILE.safetensors")
    data, options = config.data, read_model_file(config.weights, with_weights=False).options
    if data.val is None:
        raise ValueError(
            "weights without a run need to know the videos: data=kinetics400 data.root=FOLDER, or data.val=LIST"
        )
    name, crop = data.name or Path(data.val).stem, options["crop"]
    return TrainConfig(
        name=Path(config.weights).stem,
        model=options,
        data=DataConfig(name=name, root=None, train="", val=data.val, num_classes=options["num_classes"]),
        clip=ClipConfig(
            length=options["clip_length"],
            stride=options["clip_stride"],
            jitter=[crop, crop],
            crop=crop,
            short_side=round(crop * 256 / 224),
        ),
        choices={"model": options["name"] or options["depth"], "data": name},
    )


def move(data: DataConfig, root: str | None) -> None:
    """Moves the data set to another root; files below the old one move along, unless only the old ones exist."""
    if root is None:
        return
    for name in ("train", "val", "classes"):
        path = getattr(data, name)
        if path is not None and data.root is not None and Path(path).is_relative_to(data.root):
            moved = Path(root) / Path(path).relative_to(data.root)
            if moved.exists() or not Path(path).exists():
                setattr(data, name, str(moved))
    data.root = root
