"""The Hydra edge: from what the user has composed to checked settings, the run folder and the network."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nonlocal_video.cli.commandline import expected_instead, explain, with_quotes
from nonlocal_video.cli.schema import MISSING, settings_for
from nonlocal_video.data.coco.annotations import count_categories
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.transforms import testing_short_side
from nonlocal_video.reports.tables.unfinished import SETTINGS
from nonlocal_video.runs.folder import read_run, run_folder
from nonlocal_video.runs.network import function_for, plain_model
from nonlocal_video.runs.recipe import CONFIGS, check_machine
from nonlocal_video.runs.weights import check_given, moved, published_of, run_of_file
from nonlocal_video.settings import (
    NOT_GIVEN,
    RUNS,
    DataConfig,
    DetectionConfig,
    ProtocolConfig,
    RunConfig,
    TestConfig,
    TrainConfig,
    settings_of,
)
from nonlocal_video.settings.identity import UNNAMED, flat, key_of, run_name, words_of
from nonlocal_video.settings.parts import check_name
from nonlocal_video.settings.values import expect
from nonlocal_video.tasks import task_of


def run_tool(main: Callable[[], None]) -> None:
    """The outermost entry point: paths need no quotes, and a user's error becomes one message and exit code 1.

    Inside, jobs raise, so that a sweep goes on with its next job.
    """
    typed = sys.argv[1:]
    sys.argv[1:] = with_quotes(typed)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises instead of printing its own summary.
    try:
        main()
    except BrokenPipeError:  # Who read the output has enough, as head has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # As shells name the end by SIGPIPE, which Windows does not know.
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OverrideParseException as error:
        told = f"got {error.override!r}, {expected_instead(error.override)}"
    except (HydraException, OmegaConfBaseException) as error:
        tool = Path(sys.argv[0]).name
        told = explain(error, typed, _all_settings(tool), tool=tool)
    except (ValueError, OSError) as error:
        told = str(error)
    else:
        return
    print(f"error: {told}", file=sys.stderr)
    sys.exit(1)


def composed(name: str, overrides: Sequence[str]) -> tuple[DictConfig, HydraConf]:
    """The config that Hydra makes of a command line, and Hydra's own words on it."""
    around = GlobalHydra.instance()
    outer, around.hydra = around.hydra, None  # Hydra composes one thing at a time, and a job is inside the tool's.
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            cfg = compose(name, list(overrides), return_hydra_config=True)
    finally:
        around.hydra = outer
    hydra: Any = cfg.hydra
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, hydra


def _all_settings(tool: str) -> dict[str, Any]:
    """The settings of a tool, with their values if nobody says another, and its groups."""
    try:
        cfg, hydra = composed(Path(tool).stem, [])
    except HydraException:  # The fault is in a file of configs/, such as local.yaml.
        return {}
    return {**flat(OmegaConf.to_container(cfg)), **_choices(hydra)}


def _choices(hydra: HydraConf) -> dict[str, str | None]:
    """The file that was taken of each group of configs/."""
    return {group: name for group, name in hydra.runtime.choices.items() if not group.startswith(("hydra", "."))}


def train_config(cfg: DictConfig, hydra: HydraConf) -> RunConfig:
    """The settings of one training job, with its name and choices. Raises ValueError: one is missing or impossible."""
    cfg.choices = {group: name for group, name in _choices(hydra).items() if name}
    if cfg.dry_run:
        _stand_in(cfg)
    kind = DetectionConfig if cfg.model.kind else TrainConfig
    plain = _given(settings_for(kind, _resolved(cfg)))
    name, plain["model"] = plain["name"], plain_model(plain["model"], where="model")
    plain["name"] = check_name(str(name) if name is not None else run_name(words_of(hydra.overrides.task)) or "default")
    config = (_on_images if kind is DetectionConfig else _on_clips)(plain)
    protocols = sorted(path.stem for path in CONFIGS.glob("protocol/*.yaml"))
    if config.test is not None and config.test not in protocols:
        raise ValueError(f"test: there is no protocol {config.test!r}, expected one of {', '.join(protocols)}")
    check_machine(config.runtime, config.optim, elsewhere=config.dry_run)
    _shorten(config)
    return config


def _on_clips(plain: dict[str, Any]) -> RunConfig:
    """The settings of a run on clips, whose task follows from the labels of its data."""
    data, model = plain["data"], plain["model"]
    if data["num_classes"] is None:
        expected = "the number of classes, or data.classes=FILE with their names"
        expect(data["classes"] is not None, "data.num_classes", "null", expected)
        data["num_classes"] = model["num_classes"] = len(read_classes(data["classes"]))
    task = task_of(settings_of(DataConfig, data, where="data."))
    model["activation"] = model["activation"] or task.activation
    config = settings_of(RUNS[task.name], {**plain, "task": task.name})
    expected = f"{task.activation} with data.labels={config.data.labels}"
    expect(config.model.activation == task.activation, "model.activation", config.model.activation, expected)
    return config


def _on_images(plain: dict[str, Any]) -> RunConfig:
    data, model = plain["data"], plain["model"]
    if data["num_classes"] is None:
        expect(os.path.isfile(data["train"]), "data.train", data["train"], "a JSON file in COCO's format")
        data["num_classes"] = model["num_classes"] = count_categories(data["train"])
    return settings_of(RUNS.get(model["kind"], DetectionConfig), {**plain, "task": model["kind"]})


def _shorten(config: RunConfig) -> None:
    """Divides the length of a schedule and all that happens in it."""
    optim, divisor = config.optim, {"full": 1, "half": 2, "quarter": 4}[config.schedule]
    optim.steps //= divisor
    optim.milestones = [step // divisor for step in optim.milestones]
    optim.warmup_steps //= divisor


def _stand_in(cfg: DictConfig) -> None:
    """Lets a dry run do without videos and weights that nobody named."""
    plain = flat(OmegaConf.to_container(cfg, resolve=True))
    for key in ("data.root", "init.weights"):
        if plain[key] == MISSING:
            OmegaConf.update(cfg, key, NOT_GIVEN)


def evaluation_config(cfg: DictConfig, hydra: HydraConf) -> tuple[TestConfig, RunConfig]:
    """The settings of one testing job, and those of its run with the testing job's changes.

    A file of weights alone stands for a run: its network, with the clips that it was trained on.

    Raises:
        ValueError: a missing or impossible value, or a folder that is not a run.
    """
    config = settings_of(TestConfig, _given(_resolved(cfg)))
    check_given(config)
    alone = config.run is None
    run = run_of_file(config) if config.run is None else read_run(Path(config.run))
    _name_function(config, run)
    run.runtime, overrides, protocol = config.runtime, list(hydra.overrides.task), hydra.runtime.choices["protocol"]
    run.data, config.run = _data(config, run), config.run or str(run_folder(run))
    if isinstance(run, TrainConfig):
        config.protocol = _protocol(config, run, overrides, name=protocol)
    else:
        config.protocol = replace(config.protocol, name=run.usual_test)
    if config.name is None:
        alone_says = ("weights", "data") if alone else ()
        words = words_of(overrides, unnamed=(*UNNAMED, "protocol", "model", *alone_says), by_folder=True)
        changes = words_of([word for word in overrides if word.startswith("protocol.")])
        config.name = run_name([*([run.data.name] if alone else []), config.protocol.name, *changes, *words])
    check_name(config.name)
    check_machine(config.runtime)
    return config, run


def _data(config: TestConfig, run: RunConfig) -> Any:
    """The run's videos or images, where they are on this machine, with what the testing job says of them."""
    given, choice = {key: value for key, value in config.data.items() if value is not None}, run.choices["data"]
    plain = moved(run.data, given.get("root") or config.machine.roots.get(choice))
    plain["val"] = config.machine.lists.get(choice, {}).get("val", plain["val"])
    if "val" in given:  # The run's own census and name are those of its list.
        plain |= {"name": Path(str(given["val"])).stem}
        plain.pop("val_census", None)
    return settings_of(type(run.data), {**plain, **given}, where="data.")


def _name_function(config: TestConfig, run: RunConfig) -> None:
    """Raises ValueError, before anything is looked for, where the user has not named a function that is not ours."""
    given = [f"{key}={value}" for key, value in (("run", config.run), ("weights", config.weights)) if value is not None]
    where = config.weights if config.run is None else Path(config.run) / SETTINGS
    command = shlex.join(["python", "tools/test.py", *given])
    function_for(run.model.pairwise, config.model.pairwise, where=str(where), command=command)


def _protocol(config: TestConfig, run: TrainConfig, overrides: list[str], *, name: str) -> ProtocolConfig:
    """The protocol: the one that was named, else that of published weights, else full_10; with its changes."""
    published = published_of(config.weights)
    named = set(map(key_of, overrides))
    told = published["protocol"] if published is not None and "protocol" not in named else {}
    told = {key: value for key, value in told.items() if f"protocol.{key}" not in named}
    protocol = replace(config.protocol, **{"name": name, **told})
    side, fps = protocol.short_side or testing_short_side(run.clip.crop), protocol.fps or run.clip.fps
    return replace(protocol, short_side=side, fps=fps)


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    return plain


def _given(plain: dict[str, Any]) -> dict[str, Any]:
    """Passes composed values on. Raises ValueError: a setting without a default was not given."""
    missing = [key for key, value in flat(plain).items() if value == MISSING]
    if missing:
        hint = " (null begins with random weights)" if missing[-1] == "init.weights" else ""
        raise ValueError(f"these settings need a value: {', '.join(f'{key}=...' for key in missing)}{hint}")
    return plain
