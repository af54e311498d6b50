import re
from pathlib import Path
from typing import Any

from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import format_sheet
from nonlocal_video.reports.tables.varying import example, varying, varying_sheet
from tests.reports.made_runs import made_run


def runs_with(folder: Path, *settings: dict[str, Any]) -> list[Run]:
    return [made_run(folder / str(number), [0], settings=used) for number, used in enumerate(settings)]


def test_settings_that_differ_are_listed_with_their_values_the_seed_last(tmp_path: Path) -> None:
    runs = runs_with(
        tmp_path,
        {"model.nonlocal_blocks": ["res3.0", "res3.1"]},
        {"model.nonlocal_blocks": ["res3.0", "res3.1"], "seed": 1},
        {"model.nonlocal_blocks": 1, "optim.lr": 0.1},
    )
    found = varying(runs)
    assert [one.key for one in found] == ["model.nonlocal_blocks", "optim.lr", "seed"]
    assert found[0].values == {"1": 1, "[res3.0,res3.1]": 2}
    assert found[1].values == {"0.1": 1, "null": 2}
    text = re.sub(" +", " ", format_sheet(varying_sheet(found, num_tests=3), form="markdown"))
    assert "| model.nonlocal_blocks | 1 (1), [res3.0,res3.1] (2) |" in text
    assert example(found, [Path("my runs")]) == (
        "python tools/report.py --rows model.nonlocal_blocks --cols optim.lr 'my runs'"
    )


def test_what_follows_from_a_choice_is_named_beside_it(tmp_path: Path) -> None:
    """As all of a network follows from model=NAME, and its classes from the data."""
    runs = runs_with(
        tmp_path,
        *(
            {
                "choices.model": model, "model.name": f"{model}_8x2", "model.pairwise": pairwise, "seed": seed,
                "choices.runtime": f"of {seed}",
            }
            for model, pairwise in (("c2d", None), ("nl_c2d", "gaussian"))
            for seed in (0, 1)
        ),
    )  # fmt: skip
    found = varying(runs)
    assert [(one.key, sorted(one.followers)) for one in found] == [
        ("choices.model", ["model.name", "model.pairwise"]),
        ("seed", []),
    ]
    assert example(found, [Path("runs")]) == "python tools/report.py --rows choices.model runs"


def test_runs_that_differ_in_nothing_are_said_to(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, {}, {})
    assert varying(runs) == []
    assert example([], [Path("runs")]) == "python tools/report.py --rows seed runs"


def test_of_many_values_some_are_named(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, *({"optim.lr": number} for number in range(11)))
    ((key, words, _),) = varying_sheet(varying(runs), num_tests=11).rows
    assert (key, words) == ("optim.lr", ", ".join([*(f"{n} (1)" for n in range(8)), "and 3 more"]))
