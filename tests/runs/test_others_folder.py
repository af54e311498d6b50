"""Run folders, checkpoints and files of weights that somebody else has prepared: nothing in them is run or fetched."""

import copy
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nonlocal_video.cli.compose import evaluation_config, train_config
from nonlocal_video.cli.tables import composed
from nonlocal_video.engine.checkpoint import read_checkpoint, save_checkpoint
from nonlocal_video.engine.evaluate import read_journals
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.weights.read import read_start
from nonlocal_video.reports.tables.runs import find_tests
from nonlocal_video.reports.test.predictions import read_predictions
from nonlocal_video.runs.folder import check_run, read_run, write_run
from nonlocal_video.runs.network import composed_network, network_of
from nonlocal_video.runs.recipe import make_recipe
from nonlocal_video.runs.start import fresh_state
from nonlocal_video.runs.weights import find_weights
from nonlocal_video.settings import TrainConfig
from nonlocal_video.system.launch import only_job
from nonlocal_video.types import Prediction
from tests.reports.made_runs import made_run
from tests.runs.test_main_job import THREE, error_of, tool, train_arguments

PATHS = ("evil", "invalid.example")
"""What the folders below would have opened, made, run or asked."""
EVENTS = ("open", "os", "subprocess", "import", "socket", "urllib", "pty")


class Watch:
    """What Python is asked to open, run, import or connect to, while it is on."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event.startswith(EVENTS):
            said = repr(arguments)
            # A folder that is looked through for such things is no harm.
            if event not in ("os.scandir", "os.listdir") and any(path in said for path in PATHS):
                self.seen.append(f"{event} {said}")


WATCH = Watch()


@pytest.fixture
def watched() -> Iterator[list[str]]:
    """What was touched of the hostile things; a test clears what it has prepared."""
    WATCH.on, WATCH.seen = True, []
    yield WATCH.seen
    WATCH.on = False


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    """The settings of a small NL-C2D."""
    words = ["experiment=miniature/nl_c2d", "clip.length=8", "optim.steps=1", "data.root=videos", "data.classes=null"]
    return train_config(*composed("train", [*words, "data.num_classes=2", "name=run"]))


@pytest.fixture(scope="module")
def run(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder after a step that was never made."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    state = fresh_state(config, composed_network(config.model), make_recipe(config, processes=1))
    state.step = 1
    write_run(config, folder)
    save_checkpoint(folder / "checkpoints", state, facts={}, keep=1)
    save_model(folder / "model.safetensors", state.model, origin="a test")
    return folder


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(run, tmp_path / "runs/run")
    return tmp_path / "runs/run"


@pytest.fixture(scope="module")
def composed_test() -> tuple[Any, Any]:
    """What tools/test.py composes."""
    return composed("test", [THREE])


def refusal(composed_test: tuple[Any, Any], given: dict[str, object]) -> str:
    """Why tools/test.py does not begin a test of what it is given."""
    cfg, hydra = copy.deepcopy(composed_test)
    for key, value in given.items():
        OmegaConf.update(cfg, key, str(value))
    with pytest.raises(ValueError, match=r"\w") as error:
        network_of(evaluation_config(cfg, hydra)[1].model, where="model")
    return str(error.value)


def change(folder: Path, key: str, value: Any) -> None:
    """Sets a setting of a run, by its dotted name."""
    path = folder / "config.yaml"
    content = part = yaml.safe_load(path.read_text())
    *inner, last = key.split(".")
    for one in inner:
        part = part[one]
    part[last] = value
    path.write_text(yaml.safe_dump(content))


WRITES = {"_target_": "logging.FileHandler", "filename": "evil.log"}
FETCHES = {"_target_": "torch.hub.load_state_dict_from_url", "url": "http://invalid.example/evil.pth"}
RUNS = {"_target_": "os.system", "command": "touch evil"}
MAKES = {"_target_": "pathlib.Path.touch", "_args_": ["evil"]}
RESOLVES = "${oc.env:HOME}/evil"
SETTINGS: dict[str, tuple[str, Any, str]] = {
    "a network that writes": ("model", WRITES, "model._target_: got 'logging.FileHandler', which names code"),
    "a network that fetches": ("model", FETCHES, "model._target_: got 'torch.hub"),
    "a network that runs": ("model", RUNS, "model._target_: got 'os.system', which names code"),
    "an option that makes": ("model.stem", MAKES, "model.stem: got {'_args_': ['evil']"),
    "a list that makes": ("model.nonlocal_blocks", [MAKES], "model.nonlocal_blocks: got [{"),
    "a function that writes": ("model.pairwise", WRITES, "model.pairwise: got {'_target_': 'logging"),
    "a function that fetches": ("model.pairwise", FETCHES, "model.pairwise: got {'_target_': 'torch.hub"),
    "a function that runs": ("model.pairwise", "os.system", "its pairwise function: got os.system, code that the"),
    "a function that imports": ("model.pairwise", "evil.Function", "its pairwise function: got evil.Function, code"),
    "a function within one": ("model.pairwise", {"_target_": "a.B", "x": WRITES}, "model.pairwise: got {"),
    "data": ("data.root", WRITES, "config.yaml: is of another version"),
    "the recipe": ("optim", {**RUNS}, "config.yaml: is of another version"),
    "Hydra's own": (
        "hydra",
        {"callbacks": {"x": MAKES}},
        "another version: hydra: there is no such setting",
    ),
    "a list of defaults": (
        "defaults",
        ["/evil"],
        "another version: defaults: there is no such setting",
    ),
    "an interpolation": ("data.val", RESOLVES, f"got '{RESOLVES}', expected a plain value"),
    "one in the network": ("model.name", RESOLVES, f"got '{RESOLVES}', expected a plain value"),
    "one of the project's": ("data.val", "${jobs_of:${model}}", "expected a plain value"),
    "a missing value": ("data.val", "???", "config.yaml: has no value of data.val"),
    "no choices": ("choices", {}, "config.yaml: has no value of choices.model, choices.data"),
    "a number for a network": ("model", 5, "model: got 5, expected the options of a network"),
    "a list for a task": ("task", ["a"], "task: got ['a'], expected single_label or multi_label"),
    "classes that nobody counted": ("data.num_classes", None, "config.yaml: has no value of data.num_classes"),
    "no network": ("model", {}, "model.name: got None, expected str"),
    "a name for a terminal": ("model.name", "\x1b[2J", r"model.name: got '\x1b[2J', expected letters"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_of_a_folder_name_no_code(
    case: str,
    folder: Path,
    config: TrainConfig,
    composed_test: tuple[Any, Any],
    watched: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, value, message = SETTINGS[case]
    change(folder, key, value)
    (folder / "evil.py").write_text("def Function(channels): ...\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    watched.clear()
    assert message in refusal(composed_test, {"run": folder})
    with pytest.raises(ValueError, match=r"holds a run with other settings|config\.yaml"):
        check_run(config, folder)  # As training resumes.
    assert watched == []
    assert not [path for path in folder.rglob("evil*") if path.name != "evil.py"]


TYPED = {
    "a function that runs": ("model.pairwise", "os.system", "its pairwise function: got os.system, code that the"),
    "a protocol elsewhere": ("test", "../../evil/protocol", "test: got '../../evil/protocol', expected the name of a"),
    "a protocol with words": ("test", "full_10,../evil", "test: got 'full_10,../evil', expected the name of a"),
}


@pytest.mark.parametrize("case", TYPED)
def test_a_folder_of_somebody_else_is_refused_as_a_user_types_it(
    case: str, folder: Path, watched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    key, value, message = TYPED[case]
    change(folder, key, value)
    assert message in error_of(capsys, "test.py", f"run={folder}", "runtime.workers=0", THREE)
    assert watched == []


def test_a_run_whose_settings_were_replaced_is_not_resumed(
    folder: Path, watched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").write_text("data: !!python/object/apply:os.mkdir [evil]")
    words = ["name=run", f"runtime.runs={folder.parent}", "data.root=x", "test=full_10"]
    assert "got the tag tag:yaml.org,2002:python/object/apply:os" in error_of(capsys, "train.py", *words)
    assert watched == []


def to_config(folder: Path, evil: Path) -> None:
    (folder / "config.yaml").rename(evil / "config.yaml")
    (folder / "config.yaml").symlink_to(evil / "config.yaml")


def to_checkpoints(folder: Path, evil: Path) -> None:
    (folder / "checkpoints").rename(evil / "checkpoints")
    (folder / "checkpoints").symlink_to(evil / "checkpoints")


def to_reports(folder: Path, evil: Path) -> None:
    (folder / "test").symlink_to(evil)


def to_lock(folder: Path, evil: Path) -> None:
    (folder / "lock").symlink_to(evil / "mine")


def to_journal(folder: Path, evil: Path) -> None:
    (folder / "test/three").mkdir(parents=True)
    (folder / "test/three/unfinished.rank0.jsonl").symlink_to(evil / "mine")


@pytest.mark.parametrize("made", [to_config, to_checkpoints, to_reports, to_lock, to_journal])
def test_links_of_a_folder_lead_nowhere_else(
    made: Callable[[Path, Path], None], folder: Path, tmp_path: Path, watched: list[str], composed_test: tuple[Any, Any]
) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/mine").write_text("of value, without an end of its line")
    made(folder, tmp_path / "evil")
    before = sorted(path.name for path in (tmp_path / "evil").rglob("*"))
    watched.clear()
    assert "is a link to " in refusal(composed_test, {"run": folder})
    with pytest.raises(ValueError, match="is a link to "), only_job(folder):
        pass
    assert watched == []
    assert sorted(path.name for path in (tmp_path / "evil").rglob("*")) == before
    assert (tmp_path / "evil/mine").read_text() == "of value, without an end of its line"


class Evil:
    """What a pickle calls as it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("part", ["facts", "model", "the file"])
def test_an_object_in_a_checkpoint_is_not_made(
    part: str, folder: Path, watched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = folder.glob("checkpoints/*.pt")
    content = torch.load(path, weights_only=True)
    torch.save(Evil() if part == "the file" else {**content, part: Evil()}, path)
    monkeypatch.chdir(folder)
    for read in (read_checkpoint, lambda path: read_start(str(path))):  # A test or a resumed run, and init.weights.
        with pytest.raises(ValueError, match=f"{path}: cannot be read as a file of weights"):
            read(path)
    assert watched == []


PARTS: dict[str, tuple[str, Any]] = {
    "facts": ("facts: got ['evil']", ["evil"]),
    "best": ("best: got {'step': '../evil'}", {"step": "../evil"}),
    "model": ("conv1: got 'evil'", {"conv1": "evil"}),
    "step": ("step: got '../evil'", "../evil"),
    "precise_bn": ("precise_bn: got ['evil']", ["evil"]),
}


@pytest.mark.parametrize("part", PARTS)
def test_other_values_in_a_checkpoint_are_named(part: str, folder: Path, watched: list[str]) -> None:
    message, value = PARTS[part]
    (path,) = folder.glob("checkpoints/*.pt")
    torch.save({**torch.load(path, weights_only=True), part: value}, path)
    with pytest.raises(ValueError, match=re.escape(message)):
        find_weights(folder, "best", steps=1)
    assert watched == []


def rewritten(path: Path, **changes: Any) -> Path:
    """A file of weights with other words about itself."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for key, value in changes.items():
        metadata[key] = json.dumps({**json.loads(metadata[key]), **value} if key == "options" else value)
    save_file(load_file(path), path.with_name("other.safetensors"), metadata)
    return path.with_name("other.safetensors")


METADATA = {
    "a function": ({"pairwise": "evil.Function"}, "its pairwise function: got evil.Function, code that the project"),
    "a function in words": ({"pairwise": WRITES}, "model.pairwise: got {'_target_': 'logging"),
    "a target": ({"_target_": "os.system"}, "_target_: got 'os.system', which names code"),
    "an option": ({"stem": WRITES}, "stem: got {"),
}


@pytest.mark.parametrize("case", METADATA)
def test_a_file_of_weights_names_no_code(
    case: str, folder: Path, watched: list[str], composed_test: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    changes, message = METADATA[case]
    path = rewritten(folder / "model.safetensors", options=changes)
    assert message in refusal(composed_test, {"weights": path, "data.val": "val.txt"})
    if case == "a function":
        assert message in error_of(capsys, "predict.py", f"weights={path}", "video=a.mp4")
    assert watched == []


@pytest.mark.parametrize("published", [["x"], {"protocol": {"__class__": "x"}}, {"top1": "75"}])
def test_what_a_file_says_of_its_publication_is_checked(
    published: Any, folder: Path, composed_test: tuple[Any, Any]
) -> None:
    path = rewritten(folder / "model.safetensors", published=published)
    told = refusal(composed_test, {"weights": path, "data.val": "val.txt"})
    assert f"{path}: damaged: expected options, names of classes and what is published" in told


JOURNAL = {"not of a prediction": '{"video": "evil"}', "a list": "[1, 2]", "too deep": "[" * 100_000, "none": "evil"}


@pytest.mark.parametrize("case", JOURNAL)
def test_a_line_of_a_journal_is_a_prediction(case: str, tmp_path: Path) -> None:
    (tmp_path / "unfinished.rank0.jsonl").write_text(f'{{"test": {{}}}}\n{JOURNAL[case]}\n')
    with pytest.raises(ValueError, match=r"unfinished\.rank0\.jsonl: "):
        read_journals(tmp_path, test={}, read=Prediction.from_json)


def test_reports_of_others_are_read_as_data(folder: Path, watched: list[str]) -> None:
    made_run(folder, [0, 1, 2])
    test = folder / "test/full_10"
    path, predictions = test / "report.json", test / "predictions.jsonl"
    steps = read_run(folder).optim.steps
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": steps}))
    assert find_tests([folder.parent]).tests == [test]
    kept, lines = path.read_text(), predictions.read_text()
    for text in ("[" * 100_000, "[]", "{"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"report\.json: expected "):
            find_tests([folder.parent])
    path.write_text(kept)
    predictions.write_text(lines.replace("000.mp4", "../../evil.mp4"))
    arrays = dict(np.load(test / "scores.npz"))
    names = [name.replace("000.mp4", "../../evil.mp4") for name in arrays["videos"]]
    np.savez(test / "scores.npz", **{**arrays, "videos": np.array(names)})
    assert read_predictions(test).predictions[0].video == "../../evil.mp4"  # A name, which nobody opens.
    predictions.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"predictions\.jsonl, line 1: expected a prediction"):
        read_predictions(test)
    predictions.unlink()
    predictions.symlink_to("/evil")
    watched.clear()
    with pytest.raises(ValueError, match=r"no predictions\.jsonl"):
        read_predictions(test)
    with pytest.raises(ValueError, match=r"predictions\.jsonl: is a link to /evil"):
        read_run(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"no report\.json of a tested run"):
        find_tests([folder.parent])
    assert watched == []


# What the user names


OWN = """
from torch import nn


class Mean(nn.Module):
    def __init__(self, channels, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, theta, phi, g):
        return self.factor * g.mean(dim=1, keepdim=True).expand(-1, theta.shape[1], -1)
"""


def test_a_function_of_ones_own_is_trained_resumed_tested_and_predicted_with(
    miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What errors print works. A test whose journal names other videos begins anew."""
    (tmp_path / "own_package.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    start = ["experiment=miniature/nl_c2d", "name=own", "runtime.validate_every=0", "model.pairwise=own_package.Mean"]
    for more in (["optim.steps=1"], ["optim.steps=2", "test=1x1"]):
        tool("train.py", *train_arguments(miniature, tmp_path, *start, *more))
    run = tmp_path / "own"
    assert json.loads((run / "test/1x1/report.json").read_text())["step"] == 2

    (journal := run / "test/own/unfinished.rank0.jsonl").parent.mkdir()
    journal.write_text('{"test": {"videos": "/etc/passwd"}}\n')
    told = ""
    one, video = ["runtime.workers=0", "protocol=1x1"], f"video={miniature}/videos/val_0000.mp4"
    for name, given, more in (
        ("test.py", [f"run={run}", f"weights={run}/model.safetensors"], ["name=own"]),
        ("predict.py", [f"weights={run}/model.safetensors", video], []),
    ):
        line = error_of(capsys, name, *given, *one, *more).splitlines()[1].strip()
        assert line.startswith(f"python tools/{name} {given[0]} {given[1]} ")
        assert "own_package.Mean" in line
        tool(name, *shlex.split(line)[2:], *one, *more)
        told += capsys.readouterr().out
    assert "begins anew: " in told
    assert "val_0000.mp4" in told
    assert json.loads((run / "test/own/report.json").read_text())["videos"]["decoded"] == 9
    tool("report.py", "--rows", "model.pairwise", str(run / "test/own"), "--out", str(tmp_path / "out"))
    assert "own_package.Mean" in capsys.readouterr().out
