"""Data of one's own are not trained as the miniature is, where nobody chose otherwise."""

import pytest

from nonlocal_video.cli.compose import train_config
from nonlocal_video.cli.jobs import with_fitting
from nonlocal_video.cli.tables import composed
from nonlocal_video.runs.recipe import describe_run, make_recipe
from nonlocal_video.settings import DetectionConfig, TrainConfig
from nonlocal_video.tasks import task_of
from tests.test_configs import on_meta

OWN = ["data=custom", "data.name=mine", "data.root=/v", "data.train=t.csv", "data.val=v.csv", "data.num_classes=3"]


def settings(*overrides: str) -> TrainConfig:
    return train_config(*with_fitting(*composed("train", overrides)))


def screen(config: TrainConfig) -> str:
    recipe = make_recipe(config, processes=8)
    return describe_run(config, on_meta(config), recipe, task=task_of(config.data), census=None)


def test_own_data_take_the_papers_network_clips_and_schedule_and_the_screen_says_so() -> None:
    config = settings(*OWN)
    assert (config.model.name, config.clip.crop, config.clip.jitter) == ("nl_i3d_r50_32x2", 224, [256, 320])
    assert (config.optim.lr, config.optim.reference_batch, config.optim.steps) == (0.01, 64, 400_000)
    assert config.by_default == ["model", "clip", "optim"]
    said = screen(config)
    assert "note: by default, the paper's: model=nl_i3d_r50 clip=32x2 optim=kinetics_400k; choose others of" in said
    assert "clips of 32 frames, 1 of 2, short side 256 to 320, crop 224" in said
    assert config.name == "mine-num_classes_3"


def test_images_with_objects_take_the_papers_detector() -> None:
    config = train_config(*with_fitting(*composed("train", ["data=coco", "data.root=/v", "init.weights=null"])))
    assert isinstance(config, DetectionConfig)
    assert (config.model.name, config.image.short_sides, config.optim.steps) == ("mask_rcnn_r50_nl", [800], 90_000)
    assert config.by_default == ["model", "clip", "optim"]


def test_what_somebody_chose_stays() -> None:
    config = settings(*OWN, "model=c2d_r50", "clip=8x8", "optim.steps=7", "optim.milestones=[5]")
    assert (config.model.name, config.clip.length, config.optim.steps) == ("c2d_r50_8x8", 8, 7)
    assert config.by_default == ["optim"]
    assert config.optim.lr == 0.01


@pytest.mark.parametrize(
    ("overrides", "crop"),
    [
        ([], 48),
        (["data=miniature_motion", "data.train=few.txt"], 48),
        (["experiment=miniature/c2d", *OWN], 48),
        (["data=kinetics400"], 224),
        (["data.train=mine.txt", "data.val=mine.txt", "data.num_classes=3"], 224),
    ],
)
def test_the_miniature_and_experiments_keep_their_own(overrides: list[str], crop: int) -> None:
    config = settings("data.root=/v", *overrides)
    assert config.clip.crop == crop
    assert bool(config.by_default) == (crop == 224)
    assert ("by default" in screen(config)) == (crop == 224)


def test_screen_tells_what_an_experiment_should_reach() -> None:
    start = ["data.root=/v", "init.weights=null"]
    said = screen(settings("experiment=kinetics/nl_i3d_r50_32x2", *start))
    expected = "top-1, top-5: 74.9, 91.6 (released model); 74.9, 91.6 (paper)"
    assert f"expected of experiment=kinetics/nl_i3d_r50_32x2 as it stands: {expected}" in said
    assert "batch 8 clips x 1 passes x 8 processes = 64" in said
    assert "expected of" not in screen(settings(*OWN))
