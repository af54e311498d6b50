"""The Hydra edge: from what the user has composed to checked settings, the run folder and the network."""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nonlocal_video.cli.commandline import expected_instead, with_quotes
from nonlocal_video.cli.refusals import explain
from nonlocal_video.data.transforms import testing_short_side
from nonlocal_video.reports.tables.unfinished import SETTINGS
from nonlocal_video.runs.folder import read_run
from nonlocal_video.runs.network import function_for, plain_model, plain_word
from nonlocal_video.runs.recipe import CONFIGS, shorten
from nonlocal_video.runs.videos import count_classes
from nonlocal_video.runs.weights import check_given, move, published_of, run_of_file
from nonlocal_video.settings import (
    MISSING,
    NOT_GIVEN,
    DataConfig,
    PredictConfig,
    ProtocolConfig,
    TestConfig,
    TrainConfig,
)
from nonlocal_video.settings.checks import (
    SCHEDULES,
    check_known,
    check_name,
    check_protocol,
    check_shared,
    check_training,
    scores_for,
)
from nonlocal_video.settings.identity import UNNAMED, flat, name_of, words_of

OmegaConf.register_new_resolver("scores_for", scores_for, replace=True)
ConfigStore.instance().store("train_schema", TrainConfig)
ConfigStore.instance().store("test_schema", TestConfig)
ConfigStore.instance().store("predict_schema", PredictConfig)


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
    except OverrideParseException as error:
        print(f"error: got {error.override!r}, {expected_instead(error.override)}", file=sys.stderr)
        sys.exit(1)
    except (HydraException, OmegaConfBaseException) as error:
        tool = Path(sys.argv[0]).name
        print(f"error: {explain(error, typed, _all_settings(tool), tool=tool)}", file=sys.stderr)
        sys.exit(1)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _all_settings(tool: str) -> dict[str, Any]:
    """The settings of a tool, with their values if nobody says another, and its groups."""
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            cfg = compose(Path(tool).stem, return_hydra_config=True)
    except HydraException:  # The fault is in a file of configs/, such as local.yaml.
        return {}
    groups = {name: choice for name, choice in cfg.hydra.runtime.choices.items() if not name.startswith(("hydra", "."))}
    with open_dict(cfg):
        del cfg["hydra"]
    return {**flat(OmegaConf.to_container(cfg)), **groups}


def train_config(cfg: DictConfig, hydra: HydraConf) -> TrainConfig:
    """The settings of one training job, checked, with its name and choices.

    Args:
        hydra: what Hydra says of the composed config.

    Raises:
        ValueError: a missing or impossible value.
    """
    cfg.choices = {
        group: name for group, name in hydra.runtime.choices.items() if name and not group.startswith(("hydra", "."))
    }
    if cfg.dry_run:
        _stand_in(cfg)
    if (
        not any(OmegaConf.is_missing(cfg.data, key) for key in ("num_classes", "classes"))
        and cfg.data.num_classes is None
    ):
        cfg.data.num_classes = count_classes(DataConfig(num_classes=None, classes=cfg.data.classes))
    config: TrainConfig = _to_settings(cfg)
    config.model = plain_model(config.model, where="model")
    config.name = check_name(
        config.name if config.name is not None else name_of(words_of(hydra.overrides.task)) or "default"
    )
    check_training(config)
    shorten(config.optim, SCHEDULES[config.schedule])
    return config


def _stand_in(cfg: DictConfig) -> None:
    """Lets a dry run do without videos and weights that nobody named."""
    plain = flat(OmegaConf.to_container(cfg, resolve=True))
    for group, key in (("data", "root"), ("init", "weights")):
        if plain[f"{group}.{key}"] == MISSING:
            cfg[group][key] = NOT_GIVEN


def evaluation_config(cfg: DictConfig, hydra: HydraConf) -> tuple[TestConfig, TrainConfig]:
    """The settings of one testing job, and those of its run with the testing job's changes.

    A file of weights alone stands for a run: its network, with the clips that it was trained on.

    Raises:
        ValueError: a missing or impossible value, or a folder that is not a run.
    """
    config: TestConfig = _to_settings(cfg)
    check_given(config)
    alone = config.run is None
    run = run_of_file(config) if config.run is None else read_run(Path(config.run))
    _name_function(config, run)
    config.run = config.run or str(Path(config.runtime.runs) / str(run.name))
    choice = run.choices["data"]
    move(run.data, config.data.root or config.roots.get(choice))
    run.data.val = config.lists.get(choice, {}).get("val", run.data.val)
    for item in fields(config.data):
        if getattr(config.data, item.name) is not None:
            setattr(run.data, item.name, getattr(config.data, item.name))
    if config.data.val is not None:
        run.data.val_census = config.data.val_census  # The run's own is that of its list.
    if config.data.val is not None and config.data.name is None:
        run.data.name = Path(config.data.val).stem
    run.runtime = config.runtime
    overrides = list(hydra.overrides.task)
    config.protocol = _protocol(config, run, overrides, name=hydra.runtime.choices["protocol"])
    if config.name is None:
        alone_says = ("weights", "data") if alone else ()
        words = words_of(overrides, unnamed=(*UNNAMED, "protocol", "model", *alone_says), by_folder=True)
        changes = words_of([one for one in overrides if one.startswith("protocol.")])
        config.name = name_of([*([run.data.name] if alone else []), config.protocol.name, *changes, *words])
    check_name(config.name)
    check_shared(run.data, run.clip, config.runtime)
    check_protocol(config.protocol)
    return config, run


def _name_function(config: TestConfig, run: TrainConfig) -> None:
    """Makes sure, before anything is looked for, that the user has named a function that the project does not have.

    Raises:
        ValueError: he has not, or another one; says what to type.
    """
    config.model.pairwise = plain_word(config.model.pairwise)
    given = [f"{key}={value}" for key, value in (("run", config.run), ("weights", config.weights)) if value is not None]
    where = config.weights if config.run is None else Path(config.run) / SETTINGS
    command = shlex.join(["python", "tools/test.py", *given])
    function_for(run.model.get("pairwise"), config.model.pairwise, where=str(where), command=command)


def _protocol(config: TestConfig, run: TrainConfig, overrides: list[str], *, name: str) -> ProtocolConfig:
    """The protocol: the one that was named, else that of published weights, else full_10; with its changes.

    Raises:
        ValueError: one that this network cannot be tested with.
    """
    protocol, published = config.protocol, published_of(config.weights)
    protocol.name = name
    named = {override.lstrip("+").partition("=")[0] for override in overrides}
    if published is not None and "protocol" not in named:
        for key, value in published["protocol"].items():
            if f"protocol.{key}" not in named:
                setattr(protocol, key, value)
    if protocol.short_side is None:
        protocol.short_side = testing_short_side(run.clip.crop)
    if protocol.fps is None:
        protocol.fps = run.clip.fps
    return protocol


def _to_settings(cfg: Any) -> Any:
    """The dataclasses of a composed config, resolved.

    Raises:
        ValueError: a value that nobody gave.
    """
    plain = flat(OmegaConf.to_container(cfg, resolve=True))
    missing = [key for key, value in plain.items() if value == MISSING]
    if missing:
        hint = " (null begins with random weights)" if missing[-1] == "init.weights" else ""
        raise ValueError(f"these settings need a value: {', '.join(f'{key}=...' for key in missing)}{hint}")
    settings = OmegaConf.to_object(cfg)
    check_known(settings)
    return settings
