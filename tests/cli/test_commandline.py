"""Paths on the command line need no quotes, and what Hydra means otherwise stays."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nonlocal_video.cli import compose as edge
from nonlocal_video.cli.commandline import PATHS, expected_instead, with_quotes
from nonlocal_video.settings import PredictConfig, settings_of

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = [
    "drinking (31).mp4", "epoch=3.ckpt", "/d/a,b", "runs/a b", "it's.mp4", 'the "best".mp4', "a{b}.mp4", "{a}",
    "[x].mp4", "[2020] clip [1].mp4", "a$b", "a${b", "$HOME", "cam1:12.mp4", "a : b", "~/a.mp4", "a#b&c;d!e<f>^g`h",
    "vidéo 日本.mp4", "1_000", "1e3", "007", "12.mp4", "true", "nan", "1.", " a", "a ", "a\tb", "a\nb", "a(b,c).mp4",
    "x(1)", "a,", ",", "a'", "'a' b", "a=b=c,d (e) [f] {g} 'h' $i", "tag(x, a,b)", "-a", "a*?.mp4", "range(1,3).mp4",
    "a@b%c", "C:\\x y\\a.mp4",
]  # fmt: skip
"""Of files, each a trap of the grammar."""


def composed(*words: str) -> PredictConfig:
    """The settings of predict after these words."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("predict", overrides=with_quotes(words))
    return settings_of(PredictConfig, OmegaConf.to_container(config, resolve=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_what_was_written(name: str) -> None:
    config = composed(*(f"{key}={name}" for key in ("video", "weights", "data.root", "machine.roots.mine")))
    assert [str(config.video), config.weights, config.data.root, config.machine.roots["mine"]] == [name] * 4


@pytest.mark.parametrize("name", [name for name in NAMES if "," not in name and not name.startswith(("[", "{"))])
def test_paths_in_a_list_and_in_a_sweep_are_what_was_written(name: str) -> None:
    if not set("[]{}") & set(name):
        listed = composed("weights=x", f"video=[a (0).mp4,{name},b.mp4]").video
        assert [str(one) for one in listed] == ["a (0).mp4", name.strip(), "b.mp4"]
    _, word = with_quotes(["-m", f"weights=a (0).ckpt,{name},b.ckpt"])
    sweep = OverridesParser.create().parse_override(word)
    assert sweep.is_sweep_override()
    jobs = [OverridesParser.create().parse_override(f"x={one}").value() for one in sweep.sweep_string_iterator()]
    assert [str(OmegaConf.create({"x": job}).x) for job in jobs] == ["a (0).ckpt", name.strip(), "b.ckpt"]


@pytest.mark.parametrize(
    "word",
    [
        "model=a,b", "seed=0,1", "seed=range(1,3)", "optim.lr=choice(0.1,0.2)", "experiment=glob(*)", "video=glob(*)",
        "video=[a.mp4,b.mp4]", "video=[]", "machine.roots={a: /x, b: /y}", "machine.starts={imagenet_r50: r50.pth}",
        "data.root=${x}/y", "video=12", "seed=1_0",
        "data.classes=null", "data.root=", "data.root='a b'", 'data.root="a,b"', "data.root=a\\ b",
        "model.nonlocal_blocks=[res3.1,res4.5]", "data=kinetics400", "~data.val", "~x=y z", "-m", "--config-name",
        "a (1).mp4", "data@x=y", "hydra.run.dir=/a b", "row=a,b", "schedule=half,quarter", "++data.val=a.csv",
        "data.root=../x_1-2/%y",
    ],
)  # fmt: skip
def test_what_hydra_reads_as_it_is_meant_is_left_alone(word: str) -> None:
    assert with_quotes([word]) == [word]


@pytest.mark.parametrize("multirun", ["-m", "--multirun", "hydra.mode=MULTIRUN"])
def test_a_comma_is_a_sweep_where_one_is_asked_for(multirun: str) -> None:
    words = ["weights=a.ckpt,b.ckpt", multirun, "data.root=/a,/b"]
    assert with_quotes(words) == words
    assert with_quotes(words[::2]) == ["weights='a.ckpt,b.ckpt'", "data.root='/a,/b'"]


def test_an_interpolation_within_quotes_stays_one() -> None:
    words = "weights=x", "video=x", "out=/here", "data.root=${out}/a (1)"
    assert composed(*words).data.root == "/here/a (1)"


def test_paths_are_the_settings_whose_kind_is_a_file() -> None:
    data = {f"data.{key}" for key in ("root", "train", "val", "train_census", "val_census", "classes", "subset")}
    data |= {"data.train_images", "data.val_images"}
    named = {"detections", "run", "weights", "video", "out", "over_time", "features", "init.weights", "runtime.runs"}
    assert data | named | {"image", "draw"} == PATHS


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("drinking (31).mp4", "expected SETTING=VALUE"),
        ("da ta=3", "expected SETTING=VALUE"),
        ("data.root='a'b", r"expected a value in quotes: data.root='\'a\'b'"),
    ],
)
def test_a_word_that_cannot_be_read_is_answered_with_one_that_can(word: str, said: str) -> None:
    assert expected_instead(word).startswith(said)


def test_the_tool_takes_the_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[str]()
    monkeypatch.setattr("sys.argv", ["predict.py", "video=drinking (31).mp4"])
    edge.run_tool(lambda: seen.extend(__import__("sys").argv))
    assert seen == ["predict.py", "video='drinking (31).mp4'"]
