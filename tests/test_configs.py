"""Every experiment composes, builds, trains, and is what its name and the released script say."""

import dataclasses
import json
import math
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.nn import functional as F

from nonlocal_video.cli.compose import train_config
from nonlocal_video.cli.tables import composed as compose_words
from nonlocal_video.engine.optim import build_optimizer
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.layers import FrozenAffine
from nonlocal_video.models.placement import built_places
from nonlocal_video.models.resnet3d import ResNet3d
from nonlocal_video.models.zoo import build_network
from nonlocal_video.runs.network import composed_network
from nonlocal_video.runs.recipe import make_recipe
from nonlocal_video.runs.start import check_start
from nonlocal_video.runs.videos import class_names
from nonlocal_video.settings import InitConfig, ProtocolConfig, TrainConfig, settings_of
from nonlocal_video.settings.identity import words_of
from nonlocal_video.settings.network import DEPTHS, named_options
from nonlocal_video.settings.parts import check_name

CONFIGS = Path(__file__).parent.parent / "configs"
EXPERIMENTS = sorted(
    str(p.relative_to(CONFIGS / "experiment").with_suffix(""))
    for p in CONFIGS.glob("experiment/*/*.yaml")
    if not p.name.startswith("table") and p.parent.name != "coco"
)
KINETICS = [name.removeprefix("kinetics/") for name in EXPERIMENTS if name.startswith("kinetics/")]
NETWORKS = sorted({"_".join(re.findall(r"nl|c2d|i3d|r50|r101|\d+x\d+", name)) for name in KINETICS})
"""Without the schedules."""
MODELS = sorted(path.stem for path in CONFIGS.glob("model/*.yaml") if "rcnn" not in path.stem)
STARTS = "machine.starts={imagenet_r50: r50.pth, imagenet_r101: r101.pth, nl_i3d_r101_32x4: r101_32x4.pth}"


@cache
def composed(*overrides: str) -> TrainConfig:
    """The settings of a command line, as tools/train.py has them; composed once for all who ask."""
    return train_config(*compose_words("train", ["data.root=videos", *overrides]))


NETWORKS_ON_META: dict[str, Classifier] = {}


def on_meta(config: TrainConfig) -> Classifier:
    """The network of these settings without numbers; built once for all who ask."""
    options = repr(config.model)
    if options not in NETWORKS_ON_META:
        with torch.device("meta"):
            NETWORKS_ON_META[options] = composed_network(config.model)
    return NETWORKS_ON_META[options]


def check_network(config: TrainConfig, name: str) -> None:
    model = on_meta(config)
    depth = re.search(r"r50|r101|narrow", name)
    blocks = {"r50": 16, "narrow": 16, "r101": 33, "small": 6}[depth.group() if depth else "small"]
    assert isinstance(model.backbone, ResNet3d)
    assert sum(name.rpartition(".")[2].startswith("block") for name, _ in model.named_modules()) == blocks
    assert model.backbone.conv1.kernel_size[0] == (5 if "i3d" in name else 1)
    assert len(built_places(model)) == (0 if "nl_" not in name else 1 if "small" in name or "miniature" in name else 5)
    assert model.fc.out_features == config.data.num_classes


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_composes_and_builds_what_its_name_says(name: str) -> None:
    config = composed(f"experiment={name}", STARTS)
    check_network(config, name)
    if clip := re.search(r"(\d+)x(\d+)", name):
        assert (config.clip.length, config.clip.stride) == (int(clip[1]), int(clip[2]))
    num_classes, crops = {
        "kinetics": ({400}, {224}),
        "charades": ({157}, {288 if "128x1" in name else 224}),
        "miniature": ({2, 7, 8}, {48, 64}),
    }[name.partition("/")[0]]
    assert config.data.num_classes in num_classes
    assert config.clip.crop in crops


# The released scripts


class Script(NamedTuple):
    """A released script, as its file and the config that it names say."""

    script: str
    kind: str
    model: str
    """org: resnet_video_org, with strides over time in conv1 and pool1; new: resnet_video."""
    blocks: int
    length: int
    rate: int
    batch: int
    gpus: int
    lr: float
    steps: int
    """In thousands, as the two that follow."""
    first_drop: int
    second_drop: int
    dropout: float
    shortest: int
    """Of the short sides that are drawn."""
    longest: int
    start: str
    """IN: ImageNet weights; else the clips of the I3D without blocks."""
    norm: str


TABLE = """
    c2d_r50_8x8           c2d_baseline_400k             c2d new 0   8 8 64 8 .01   400 150 300 .5 256 320 IN   bn
    c2d_r50_32x2          c2d_baseline_400k_32f         c2d org 0  32 2 64 8 .01   400 150 300 .5 256 320 IN   bn
    nl_c2d_r50_8x8        c2d_nlnet_400k                c2d new 5   8 8 64 8 .01   400 150 300 .5 256 320 IN   bn
    nl_c2d_r50_32x2       c2d_nlnet_400k_32f            c2d org 5  32 2 64 8 .01   400 150 300 .5 256 320 IN   bn
    i3d_r50_8x8_300k      i3d_baseline_300k             i3d new 0   8 8 64 8 .01   300 150 250 .5 256 320 IN   bn
    i3d_r50_8x8_300k_4gpu i3d_baseline_300k_4gpu        i3d new 0   8 8 32 4 .005  300 150 250 .0 256 256 IN   bn
    i3d_r50_8x8           i3d_baseline_400k             i3d new 0   8 8 64 8 .01   400 150 300 .5 256 320 IN   bn
    i3d_r50_32x2          i3d_baseline_400k_32f         i3d org 0  32 2 64 8 .01   400 150 300 .5 256 320 IN   bn
    i3d_r50_8x8_600k_4gpu i3d_baseline_600k_4gpu        i3d new 0   8 8 32 4 .005  600 300 500 .5 256 320 IN   bn
    i3d_r50_32x4          i3d_baseline_affine_400k      i3d new 0  32 4 16 8 .0025 400 150 300 .5 256 320 8x8  affine
    i3d_r50_128x1         i3d_baseline_affine_400k_128f i3d org 0 128 1 16 8 .0025 400 150 300 .5 256 320 32x2 affine
    nl_i3d_r50_8x8        i3d_nlnet_400k                i3d new 5   8 8 64 8 .01   400 150 300 .5 256 320 IN   bn
    nl_i3d_r50_32x2       i3d_nlnet_400k_32f            i3d org 5  32 2 64 8 .01   400 150 300 .5 256 320 IN   bn
    nl_i3d_r50_32x4       i3d_nlnet_affine_400k         i3d new 5  32 4 16 8 .0025 400 150 300 .5 256 320 8x8  affine
    nl_i3d_r50_128x1      i3d_nlnet_affine_400k_128f    i3d org 5 128 1 16 8 .0025 400 150 300 .5 256 320 32x2 affine
"""
SCRIPTS = {
    name: Script(*(kind(word) for kind, word in zip(Script.__annotations__.values(), words, strict=True)))
    for name, *words in map(str.split, TABLE.strip().splitlines())
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_experiment_has_the_recipe_of_its_script(name: str) -> None:
    config, script = composed(f"experiment=kinetics/{name}", STARTS), SCRIPTS[name]
    optim, recipe = config.optim, make_recipe(config, processes=script.gpus)
    assert f"# run_{script.script}.sh" in (CONFIGS / f"experiment/kinetics/{name}.yaml").read_text()
    assert (recipe.global_batch, optim.clips_per_device) == (script.batch, script.batch // script.gpus)
    last, first, second = (1000 * thousands for thousands in (script.steps, script.first_drop, script.second_drop))
    assert optim.steps == last
    lr = script.lr
    for step, rate in {
        0: lr, first - 1: lr, first: lr / 10, second - 1: lr / 10, second: lr / 100, last - 1: lr / 100
    }.items():  # fmt: skip
        assert recipe.schedule(step) == pytest.approx(rate, rel=1e-12)
    assert (optim.momentum, optim.nesterov, optim.weight_decay) == (0.9, True, 1e-4)
    assert (optim.clip_norm, optim.backbone_lr, optim.sync_bn) == (None, 1.0, False)
    assert optim.precise_bn == (0 if script.norm == "affine" else 200)
    assert config.clip.jitter == [script.shortest, script.longest]
    assert (config.clip.crop, config.clip.flip) == (224, True)
    assert (config.seed, config.data.num_classes) == (2, 400)
    assert (config.runtime.log_every, config.runtime.validate_every) == (10, 20_000)
    run = f"runs/kinetics_i3d_r50_{script.start}/model.safetensors"
    assert config.init.weights == ("r50.pth" if script.start == "IN" else run)


@pytest.mark.parametrize("name", SCRIPTS)
def test_experiment_has_the_network_of_its_script(name: str) -> None:
    config, script = composed(f"experiment=kinetics/{name}", STARTS), SCRIPTS[name]
    model = on_meta(config)
    backbone, affine = model.backbone, script.norm == "affine"
    assert (config.clip.length, config.clip.stride) == (script.length, script.rate)
    assert backbone.conv1.kernel_size == ({"c2d": 1, "i3d": 5}[script.kind], 7, 7)
    assert (backbone.conv1.stride[0], backbone.pool1.kernel_size[0]) == {"org": (2, 2), "new": (1, 1)}[script.model]
    assert backbone.pool1.padding == (0, 0, 0)
    kinds = [type(module) for module in backbone.modules()]
    norms = (kinds.count(torch.nn.BatchNorm3d), kinds.count(FrozenAffine))
    assert norms == ((0, 53) if affine else (53 + script.blocks, 0))
    places = built_places(model)
    assert [(place.stage, place.block) for place in places] == [
        ("res3", 1), ("res3", 3), ("res4", 1), ("res4", 3), ("res4", 5)
    ][: script.blocks]  # fmt: skip
    groups = {place.group_frames for place in places if place.stage == "res3"}
    assert groups <= {4 if affine else 0}
    assert {place.group_frames for place in places if place.stage == "res4"} <= {0}
    assert {(place.pairwise, place.axes, place.subsample) for place in places} <= {
        ("embedded_gaussian", "spacetime", "before")
    }
    assert model.dropout.p == script.dropout
    # Sec. 3.3, Table 1: 4 positions in time for 8x8 and 32x2; 16 for the long clips.
    assert backbone.final_map(config.clip.length, 224, 224) == (16 if affine else 4, 7, 7)


def test_every_experiment_on_kinetics_is_a_script_or_like_one() -> None:
    """The paper's other models of Tables 2c, 2f and 2g: all is as for the released one, but the depth or the kind."""
    others = {
        "c2d_r101_32x2": "c2d_r50_32x2",
        "nl_c2d_r101_32x2": "nl_c2d_r50_32x2",
        "i3d_r101_32x2": "i3d_r50_32x2",
        "nl_i3d_r101_32x2": "nl_i3d_r50_32x2",
        "c2d_r50_128x1": "i3d_r50_128x1",
        "c2d_r101_128x1": "i3d_r50_128x1",
        "i3d_r101_128x1": "i3d_r50_128x1",
        "nl_i3d_r101_128x1": "nl_i3d_r50_128x1",
    }
    assert sorted(KINETICS) == sorted([*SCRIPTS, *others])
    for name, like in others.items():
        own, other = (dataclasses.asdict(composed(f"experiment=kinetics/{x}", STARTS)) for x in (name, like))
        own["model"], other["model"] = own["model"]["name"], other["model"]["name"]  # Its name says the rest.
        expected = json.dumps({**other, "machine": 0})
        expected = expected.replace("i3d", "c2d") if "c2d" in name else expected
        expected = expected.replace("r50", "r101") if "r101" in name else expected
        assert json.dumps({**own, "machine": 0}) == expected
        assert "# No released script: Table 2" in (CONFIGS / f"experiment/kinetics/{name}.yaml").read_text()


PUBLISHED = {  # README of the released code, and Tables 2c, 2f and 2g of the paper
    "c2d_r50_32x2": ((72.0, 90.0), (71.8, 89.7)), "nl_c2d_r50_32x2": ((73.9, 91.0), (73.8, 91.0)),
    "i3d_r50_32x2": ((73.6, 90.8), (73.3, 90.7)), "nl_i3d_r50_32x2": ((74.9, 91.6), (74.9, 91.6)),
    "i3d_r50_128x1": ((75.2, 92.0), (74.9, 91.7)), "nl_i3d_r50_128x1": ((76.5, 92.7), (76.5, 92.6)),
    "c2d_r50_8x8": ((71.9, 90.0), None), "nl_c2d_r50_8x8": ((74.4, 91.4), None),
    "i3d_r50_8x8": ((73.4, 90.9), None), "nl_i3d_r50_8x8": ((74.7, 91.6), None),
    "i3d_r50_32x4": ((75.5, 92.0), None), "nl_i3d_r50_32x4": ((76.5, 92.6), None),
    "i3d_r50_8x8_300k": ((73.2, 90.8), None), "i3d_r50_8x8_600k_4gpu": ((73.0, 90.4), None),
    "i3d_r50_8x8_300k_4gpu": ((72.0, 90.1), None),
    "c2d_r101_32x2": (None, (73.1, 91.0)), "nl_c2d_r101_32x2": (None, (75.1, 91.7)),
    "i3d_r101_32x2": (None, (74.4, 91.1)), "nl_i3d_r101_32x2": (None, (76.0, 92.1)),
    "c2d_r50_128x1": (None, (73.8, 91.2)), "c2d_r101_128x1": (None, (75.3, 91.8)),
    "i3d_r101_128x1": (None, (76.4, 92.7)), "nl_i3d_r101_128x1": (None, (77.7, 93.3)),
}  # fmt: skip


@pytest.mark.parametrize("name", KINETICS)
def test_head_of_an_experiment_says_what_to_expect_and_a_command_that_composes(name: str) -> None:
    text = (CONFIGS / f"experiment/kinetics/{name}.yaml").read_text()
    released, paper = PUBLISHED[name]
    said = [f"{pair[0]}, {pair[1]} ({who})" for pair, who in ((released, "released model"), (paper, "paper")) if pair]
    assert f"# Expected top-1, top-5: {'; '.join(said)}." in text
    run = re.search(r"# Run: python tools/train\.py (experiment=.*)", text)
    assert run is not None
    config = composed(*run[1].replace("FOLDER", "/data").replace("FILE", "start.pth").split())
    gpus, clips = config.runtime.devices, config.optim.clips_per_device
    assert f"experiment=kinetics/{name} " in run[1]
    assert f"# {gpus} GPUs x {clips} clips, {config.optim.steps // 1000}k steps," in text
    recipe = make_recipe(config, processes=gpus)
    assert f"learning rate {recipe.schedule.base_lr:g}, /10 at " in text
    drops = [f"{milestone // 1000}k" for milestone in config.optim.milestones]
    assert f"/10 at {' and '.join(drops)}." in text
    assert recipe.schedule.base_lr == config.optim.lr
    assert words_of(run[1].split()) == [f"kinetics/{name}"]  # Where a long clip's start is looked for.
    assert config.init.weights is not None
    if config.init.weights != "start.pth":
        first = Path(config.init.weights).parent.name.removeprefix("kinetics_")
        assert first in KINETICS
        assert f"# Starts from kinetics/{first}" in text


# Weights to start from


def test_experiment_without_its_start_asks_for_it() -> None:
    for depth in ("r50", "r101"):
        start = OmegaConf.load(CONFIGS / f"init/imagenet_{depth}.yaml")
        init = OmegaConf.create({"machine": {"starts": {}}, "init": start})
        assert init.init.weights == "???"
    assert composed("experiment=kinetics/i3d_r50_8x8", "init.weights=null").init.weights is None
    assert composed("experiment=kinetics/i3d_r50_8x8", "init.weights=my.pt").init.weights == "my.pt"
    start = "machine.starts.i3d_r50_8x8=/weights/i3d.pkl"
    assert composed("experiment=kinetics/nl_i3d_r50_32x4", start).init.weights == "/weights/i3d.pkl"


def test_absent_start_is_refused_with_the_way_to_get_it(tmp_path: Path) -> None:
    config = composed("experiment=kinetics/nl_i3d_r50_128x1", f"runtime.runs={tmp_path}")
    expected = r"/kinetics_i3d_r50_32x2/model\.safetensors: no such file; experiment=kinetics/i3d_r50_32x2 writes it"
    with pytest.raises(ValueError, match=rf"init\.weights: .*{expected}.*init\.weights=FILE.*init\.weights=null"):
        check_start(config)
    with pytest.raises(ValueError, match=r"none\.pt: no such file; give another one"):
        check_start(dataclasses.replace(config, init=InitConfig("none.pt")))
    (tmp_path / "kinetics_i3d_r50_32x2").mkdir()
    (tmp_path / "kinetics_i3d_r50_32x2/model.safetensors").touch()
    check_start(config)
    check_start(dataclasses.replace(config, init=InitConfig(None)))


# Data sets of one's own


OWN = ["data=custom", "data.name=mine", "data.train=train.csv", "data.val=val.csv", "model=i3d_r50", "clip=8x8"]


def test_classes_of_ones_own_data_are_counted(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("juggling\nsinging\nwaving\n")
    names = f"data.classes={tmp_path}/classes.txt"
    assert on_meta(composed(*OWN, names)).fc.out_features == 3
    assert on_meta(composed(*OWN, "data.num_classes=4")).fc.out_features == 4
    with pytest.raises(ValueError, match=r"has 3 names, expected data\.num_classes=4"):
        class_names(composed(*OWN, names, "data.num_classes=4").data)
    with pytest.raises(ValueError, match=r"data\.num_classes: got null, expected .* data\.classes=FILE"):
        composed(*OWN)


# Training


def trained(model: Classifier, config: TrainConfig, *, clips: torch.Tensor, steps: int) -> list[float]:
    """The losses of steps with the experiment's optimiser on the same clips, with the same dropout."""
    optim = config.optim
    optimizer = build_optimizer(model.groups(), optim, lr=optim.lr)
    model.train()
    labels, losses = torch.arange(len(clips)), []
    for _ in range(steps):
        optimizer.zero_grad()
        torch.manual_seed(0)
        loss = F.cross_entropy(model(clips), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def shortest(model: Classifier) -> int:
    """Frames of the shortest clip that the strides allow, and the groups of res3."""
    group = model.options.res3_group_frames if model.options.nonlocal_blocks else 1
    for length in range(1, 129):
        try:
            if model.backbone.final_map(length, 64, 64)[0] % (group or 1) == 0:
                return length
        except ValueError:
            continue
    raise AssertionError


@pytest.mark.parametrize("name", [name for name in NETWORKS if "r101" not in name or name == "nl_i3d_r101_32x2"])
def test_network_of_an_experiment_trains_two_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an eighth of the width. In the second step each weight has a gradient: in the first, zeros stop it.

    The zeros are gamma and W_z.
    """
    config = composed(f"experiment=kinetics/{name}", STARTS)
    full = on_meta(config)
    length, depth = shortest(full), full.options.depth
    monkeypatch.setitem(DEPTHS, depth, DEPTHS[depth]._replace(width=8))
    model = build_network(dataclasses.replace(full.options, clip_length=length, crop=64))
    for key, buffer in model.named_buffers():
        if key.endswith("bn3.weight"):  # Random weights need small steps where nothing is normalised.
            buffer.fill_(0.2)
    clips = torch.randint(0, 256, (2, 3, length, 64, 64), dtype=torch.uint8)
    losses = trained(model, config, clips=clips, steps=2)
    assert losses[0] == pytest.approx(math.log(400), abs=1)
    assert losses[1] < losses[0]
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all(), key
        assert parameter.ndim == 1 or parameter.grad.abs().max() > 0, key


@pytest.mark.slow
def test_full_size_8x8_network_trains_a_step() -> None:
    config = composed("experiment=kinetics/nl_i3d_r50_8x8", STARTS)
    model = composed_network(config.model)
    clips = torch.randint(0, 256, (1, 3, 8, 224, 224), dtype=torch.uint8)
    (loss,) = trained(model, config, clips=clips, steps=1)
    assert loss == pytest.approx(math.log(400), abs=1)


# Groups and overrides


@pytest.mark.parametrize("name", MODELS)
def test_model_builds_what_its_name_says(name: str) -> None:
    check_network(composed(f"model={name}"), name)


@pytest.mark.parametrize("clip", ["32x2", "128x1", "8x8", "32x4"])
def test_clip_chooses_the_network_that_goes_with_it(clip: str) -> None:
    config = composed("model=nl_i3d_r50", f"clip={clip}", "data=kinetics400")
    model = on_meta(config)
    assert model.options == named_options(f"nl_i3d_r50_{clip}", num_classes=400)


def test_pairwise_function_of_ones_own_comes_from_its_name() -> None:
    own = "tests.models.test_nonlocal_block.Nearest"
    (place,) = built_places(composed_network(composed(f"model.pairwise={own}").model))
    assert place.pairwise == own


def test_roots_and_lists_of_a_machine_reach_the_data() -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = [
            "data=kinetics400",
            "machine.roots.kinetics400=/videos",
            "machine.lists.kinetics400={train: /lists/train.txt}",
        ]
        data = compose("train", overrides=overrides).data
    assert (data.root, data.train, data.val) == ("/videos", "/lists/train.txt", "/videos/val.csv")


def test_data_named_on_the_command_line_wins_over_the_experiment() -> None:
    assert composed("experiment=miniature/c2d", "data=miniature_motion").data.name == "motion"


@pytest.mark.parametrize("name", ["", "a b", "../a", ".hidden", "a/b", "a=b", "x" * 201])
def test_names_that_do_not_paste_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="name: got"):
        check_name(name)


PROTOCOLS = sorted(path.stem for path in CONFIGS.glob("protocol/*.yaml"))


def protocol(name: str) -> ProtocolConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("test", [f"protocol={name}"])
    return settings_of(ProtocolConfig, OmegaConf.to_container(cfg.protocol))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_composes_and_can_be_used(name: str) -> None:
    assert protocol(name).num_clips > 0


def test_the_protocols_of_the_paper_and_the_released_code_say_what_they_are() -> None:
    full, released = protocol("full_10"), protocol("10x3")
    assert full == ProtocolConfig()
    assert (full.num_clips, full.placement, full.crops, full.combine) == (10, "released", "full", "mean")
    assert (released.num_clips, released.placement, released.crops, released.flips) == (10, "released", "3", False)
    assert {"full_10", "10x3", "10x1", "1x1", "pyslowfast", "mmaction2"} <= set(PROTOCOLS)
