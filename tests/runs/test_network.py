"""Settings are plain data; code is what the user names."""

import re
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import Tensor, nn

from nonlocal_video.models.placement import built_places
from nonlocal_video.runs.network import function_for, network_of, own_function, plain_model
from nonlocal_video.settings import settings_of
from nonlocal_video.settings.network import NetworkOptions, Options, options_of

HERE = "tests.runs.test_network"
MODEL = {"name": "nl_c2d_small_8x2", "num_classes": 2, "crop": 48}


class Mean(nn.Module):
    """f = 1: y is the mean of g, times a factor."""

    def __init__(self, channels: int, factor: float = 1.0) -> None:
        super().__init__()
        self.channels, self.factor = channels, factor

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        return self.factor * g.mean(dim=1, keepdim=True).expand(-1, theta.shape[1], -1)


class Plain(Mean):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(0, factor)


INSTANCE = Mean(8)
NUMBER = 3

WORDS: dict[str, tuple[Any, Any]] = {
    "a project's": ("dot_product", None),
    "nothing": (None, None),
    "a class": (f"{HERE}.Mean", Mean),
    "a module of the package": (f"{HERE}.INSTANCE", INSTANCE),
}


@pytest.mark.parametrize("case", WORDS)
def test_the_users_word_is_imported(case: str) -> None:
    word, expected = WORDS[case]
    found = own_function(word)
    assert found is expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cosine", "model.pairwise: got 'cosine', expected one of gaussian, .* or the name of a class of your own"),
        ("no_such_package.Mean", "no_such_package.Mean cannot be imported: .*PYTHONPATH"),
        (f"{HERE}.Median", "cannot be imported: module .* has no attribute 'Median'"),
        (f"{HERE}.NUMBER", "is 3, expected a class or function of channels"),
        ({"_target_": "os.getcwd"}, "model.pairwise: got {'_target_': 'os.getcwd'}, expected one of gaussian"),
        ([f"{HERE}.Mean"], "expected one of gaussian"),
    ],
)
def test_a_word_that_cannot_be_is_refused(word: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own_function(word)


def test_a_network_has_the_function_that_is_given() -> None:
    options = options_of({**MODEL, "pairwise": f"{HERE}.Mean"})
    (place,) = built_places(network_of(options, where="x", pairwise=Mean))
    assert place.pairwise == f"{HERE}.Mean"


TARGETS = ["os.system", "torch.hub.load", "logging.FileHandler", "builtins.eval", "os:system", "x; rm -rf ~", "\x1b[2J"]


def read(model: dict[str, Any]) -> NetworkOptions:
    """As the settings of a run are read."""
    plain_model(model, where="run/config.yaml: model")
    return settings_of(OneModel, {"model": model}, where="run/config.yaml: ").model


@dataclass
class OneModel:
    model: Options


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("key", ["pairwise", "pairwise in words", "_target_", "stem", "nonlocal_blocks", "name"])
def test_nothing_in_plain_options_names_code(key: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkgutil.resolve_name", lambda name: pytest.fail(f"{name} is imported"))
    named = {"_target_": target, "_partial_": True}
    change = {
        "pairwise": {"pairwise": named}, "pairwise in words": {"pairwise": target}, "_target_": named,
        "stem": {"stem": named}, "nonlocal_blocks": {"nonlocal_blocks": [named]}, "name": {"name": named},
    }[key]  # fmt: skip
    with pytest.raises(ValueError, match=r"run/config\.yaml: model") as error:
        network_of(read({**MODEL, **change}), where="run/config.yaml: model")
    assert "\x1b" not in str(error.value)
    assert "; rm" not in re.sub(r"'[^']*'", "", str(error.value)), "it is printed as something to type"


JUNK: list[Any] = [None, True, -1, 10**30, 1e300, float("nan"), "", "x", "1", "\x00", [], ["x"], [[]], {}, {"a": 1}]


@pytest.mark.parametrize("name", sorted(NetworkOptions.__dataclass_fields__))
def test_any_value_of_an_option_builds_or_is_a_value_error(name: str) -> None:
    for value in JUNK:
        with torch.device("meta"), suppress(ValueError):
            network_of(options_of({**MODEL, name: value}), where="model")


COMMAND = "python tools/test.py run=runs/a"


def test_a_file_is_not_enough_and_the_line_that_is_works() -> None:
    stored = f"{HERE}.Mean"
    with pytest.raises(
        ValueError, match=r"runs/a: its pairwise function: got .*code that the project does not"
    ) as error:
        function_for(stored, None, where="runs/a", command=COMMAND)
    line = str(error.value).splitlines()[-1].strip()
    assert line.startswith(COMMAND)
    (override,) = OverridesParser.create().parse_overrides(shlex.split(line)[3:])
    assert override.key_or_group == "model.pairwise"
    assert function_for(stored, override.value(), where="runs/a", command=COMMAND) is not None


def test_another_function_than_the_files_is_refused() -> None:
    for stored, word in ((f"{HERE}.Mean", f"{HERE}.Plain"), ("dot_product", f"{HERE}.Mean"), (None, "gaussian")):
        with pytest.raises(ValueError, match=r"model\.pairwise: got .*, expected .*, that of runs/a"):
            function_for(stored, word, where="runs/a", command=COMMAND)
    assert function_for("dot_product", "dot_product", where="runs/a", command=COMMAND) is None
    assert function_for("dot_product", None, where="runs/a", command=COMMAND) is None


def test_a_class_may_be_named_by_where_it_is_imported_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of weights has the name of the class itself."""
    (tmp_path / "short.py").write_text(f"from {HERE} import Mean\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert function_for(f"{HERE}.Mean", "short.Mean", where="a.safetensors", command=COMMAND) is Mean
    monkeypatch.delitem(sys.modules, "short")


def test_plain_models_are_kept_as_they_are() -> None:
    model = {**MODEL, "nonlocal_blocks": ["res3.1"], "pairwise": "dot_product", "dropout": 0.5, "stem": None}
    assert plain_model(model, where="model") == model
