"""Every experiment composes, builds and is what its name says."""

import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nonlocal_video import config as edge
from nonlocal_video.models.options import named_options
from nonlocal_video.models.placement import built_places
from nonlocal_video.models.resnet3d import ResNet3d
from nonlocal_video.settings import TrainConfig

CONFIGS = Path(__file__).parent.parent / "configs"
EXPERIMENTS = sorted(
    str(p.relative_to(CONFIGS / "experiment").with_suffix("")) for p in CONFIGS.glob("experiment/*/*.yaml")
)
MODELS = sorted(path.stem for path in CONFIGS.glob("model/*.yaml"))


def composed(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("train", overrides=["data.root=videos", *overrides])
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, TrainConfig)
    return config


def check_network(config: TrainConfig, name: str) -> None:
    with torch.device("meta"):
        model = edge.build_model(config)
    depth = re.search(r"r50|r101|small", name)
    blocks = {None: None, "r50": 16, "r101": 33, "small": 6}[depth.group() if depth else "small"]
    assert isinstance(model.backbone, ResNet3d)
    assert sum(name.rpartition(".")[2].startswith("block") for name, _ in model.named_modules()) == blocks
    assert model.backbone.conv1.kernel_size[0] == (5 if "i3d" in name else 1)
    assert len(built_places(model)) == (0 if "nl_" not in name else 1 if "small" in name or "miniature" in name else 5)
    assert model.fc.out_features == config.data.num_classes


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_composes_and_builds_what_its_name_says(name: str) -> None:
    config = composed(f"experiment={name}")
    check_network(config, name)
    if name.endswith("32x2"):
        assert (config.clip.length, config.clip.stride, config.clip.crop) == (32, 2, 224)
        assert config.data.num_classes == 400
        assert "top-1" in (CONFIGS / f"experiment/{name}.yaml").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_model_builds_what_its_name_says(name: str) -> None:
    check_network(composed(f"model={name}"), name)


@pytest.mark.parametrize("clip", ["32x2", "128x1", "8x8", "32x4"])
def test_clip_chooses_the_network_that_goes_with_it(clip: str) -> None:
    config = composed("model=nl_i3d_r50", f"clip={clip}", "data=kinetics400")
    with torch.device("meta"):
        model = edge.build_model(config)
    assert model.options == named_options(f"nl_i3d_r50_{clip}", num_classes=400)


@pytest.mark.parametrize("target", ["_target_: {0}", "_target_: {0}, _partial_: true"])
def test_pairwise_function_of_ones_own_comes_from_its_target(target: str) -> None:
    own = "tests.models.test_nonlocal_block.Nearest"
    model = edge.build_model(composed("model.pairwise={" + target.format(own) + "}"))
    (place,) = built_places(model)
    assert place.pairwise == own


def test_kinetics_recipe_is_the_papers() -> None:
    optim = composed("experiment=kinetics/nl_i3d_r50_32x2").optim
    assert (optim.lr, optim.reference_batch, optim.clips_per_device, optim.steps) == (0.01, 64, 8, 400_000)
    assert (optim.milestones, optim.momentum, optim.nesterov, optim.weight_decay) == (
        [150_000, 300_000],
        0.9,
        True,
        1e-4,
    )


def test_roots_and_lists_of_a_machine_reach_the_data() -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = ["data=kinetics400", "+roots.kinetics400=/videos", "+lists.kinetics400={train: /lists/train.txt}"]
        data = compose("train", overrides=overrides).data
    assert (data.root, data.train, data.val) == ("/videos", "/lists/train.txt", "/videos/val.csv")


def test_data_named_on_the_command_line_wins_over_the_experiment() -> None:
    assert composed("experiment=miniature/c2d", "data=miniature_motion").data.name == "motion"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["experiment=miniature/nl_c2d", "seed=1", "runtime.devices=2", "data.root=/a b"], "miniature_nl_c2d-seed_1"),
        (["model.nonlocal_blocks=[res3.1,res3.3]", "optim.lr=1e-2"], "nonlocal_blocks_res3.1_res3.3-lr_1e-2"),
        (["seed=1", "experiment=miniature/c2d", "data.train=a.txt"], "miniature_c2d-train_a.txt-seed_1"),
    ],
)
def test_run_name_tells_the_overrides_and_pastes_unquoted(overrides: list[str], name: str) -> None:
    assert ("-".join(edge._name_from(overrides)) or "default") == name
    assert edge.check_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "../a", ".hidden", "a/b", "a=b", "x" * 201])
def test_names_that_do_not_paste_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="name: got"):
        edge.check_name(name)
