"""A word of the command line that Hydra refuses is answered in words, with what to write instead."""

import shlex
import sys
from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from nonlocal_video.cli import compose as edge
from nonlocal_video.cli.commandline import explain, with_quotes
from nonlocal_video.cli.tables import composed


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return edge._all_settings("train.py")


def refused(word: str, settings: dict[str, Any]) -> str:
    """What a tool says of a word, which must be an error."""
    with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
        edge.train_config(*composed("train", with_quotes([word])))
    message = explain(caught.value, [word], settings, tool="train.py")
    assert not any(raw in message for raw in ("+optim", "in struct", "structured://", "full_key", "\n"))
    return message


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optim.stepz=3", "optim.stepz: there is no such setting, the nearest: optim.steps (400); "),
        ("runtime.device=cpu", "runtime.device: there is no such setting, the nearest: runtime.devices; "),
        ("steps=3", "steps: there is no such setting, the nearest: optim.steps (400)"),
        ("optm=kinetics_400k", "optm: there is no such setting, the nearest: optim (miniature)"),
        ("model.nonlocal_block=1", "model.nonlocal_block: there is no such setting, the nearest: model.nonlocal_block"),
        ("~data.vall", "data.vall: there is no such setting, the nearest: data.val"),
        ("zzzz.qqqq=1", "zzzz.qqqq: there is no such setting; python tools/train.py --help lists all"),
        ("model=nl_i3d_r5", "model: there is no model=nl_i3d_r5, the nearest: nl_i3d_r50"),
        ("experiment=miniature/c3d", "experiment: there is no experiment=miniature/c3d, the nearest: miniature/"),
        ("init=qqqqqqqqqq", "expected one of c2d_r101_32x2, "),
    ],
)
def test_what_hydra_refuses_is_answered_with_the_nearest(word: str, message: str, settings: dict[str, Any]) -> None:
    assert message in refused(word, settings)


@pytest.mark.parametrize("path", ["/tmp/${a}/x", "/tmp/it is=${a}/x, y ${a}"])
def test_interpolation_in_a_path_is_answered_with_the_word_that_means_it(path: str, settings: dict[str, Any]) -> None:
    message = refused(f"data.root={path}", settings)
    assert message.startswith("data.root: got ${a}, which stands for the value of the setting a, and there is no such")
    (word,) = shlex.split(message.partition("folder: ")[2])
    assert composed("train", with_quotes([word]))[0].data.root == path


def test_setting_that_is_added_is_refused_too() -> None:
    with pytest.raises(ValueError, match=r"^optim\.stepz: there is no such setting$"):
        edge.train_config(*composed("train", ["+optim.stepz=3"]))


def test_tool_answers_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tools/test.py", "protocol.crop=3"])
    with pytest.raises(SystemExit):
        edge.run_tool(lambda: composed("test", sys.argv[1:]) and None)
    told = "protocol.crop: there is no such setting, the nearest: protocol.crops (full)"
    assert capsys.readouterr().err.startswith(f"error: {told}")


def test_broken_configs_do_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HydraException("configs/local.yaml")

    monkeypatch.setattr(edge, "compose", fail)
    assert edge._all_settings("train.py") == {}
