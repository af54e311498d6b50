from pathlib import Path
from typing import Any

import pytest

from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables.pivot import Grid, grid, grid_records, grid_sheets, pick
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import format_sheet
from tests.reports.made_runs import PROTOCOL, made_run


def sweep(folder: Path, *, seeds: tuple[int, ...] = (0, 1), **settings: Any) -> list[Run]:
    """Two functions, two learning rates: dot product has 3 of 4 right, gaussian 2; one more at the higher rate."""
    runs = []
    for function, right in (("gaussian", 2), ("dot_product", 3)):
        for rate, more in ((0.1, 1), (0.05, 0)):
            for seed in seeds:
                ranks = [0] * (right + more) + [1] * (4 - right - more)
                used = {"model.pairwise": function, "optim.lr": rate, "seed": seed, **settings}
                runs.append(made_run(folder / f"{function}_{rate}_{seed}", ranks, settings=used))
    return runs


def table(runs: list[Run], *, rows: str, columns: str | None = None, baseline: str | None = None) -> Grid:
    costs = {run.test: Cost(1000, 2000, 3000, 4000) for run in runs}
    return grid(runs, rows=rows, columns=columns, baseline=baseline, costs=costs)


def test_any_setting_is_set_against_any_other(tmp_path: Path) -> None:
    found = table(sweep(tmp_path), rows="model.pairwise", columns="optim.lr", baseline="gaussian")
    accuracies, gains = grid_sheets(found, metrics=["top1"])
    assert list(accuracies.header) == [
        "model.pairwise", "lr 0.05: top-1", "lr 0.1: top-1", "parameters (M)", "GFLOPs", "seeds",
    ]  # fmt: skip
    assert [row[:3] for row in accuracies.rows] == [
        ["gaussian", "50.0 ± 0.0", "75.0 ± 0.0"],
        ["dot_product", "75.0 ± 0.0", "100.0 ± 0.0"],
    ]
    assert [row[-1] for row in accuracies.rows] == ["0, 1", "0, 1"]
    # One video of four is gained with every seed: (1 + 1 - 1/6) of squares, over 6 videos.
    half = 1.959964 * (1 + 1 - 1 / 6) ** 0.5 / 6
    interval = f"{100 / 6 - 100 * half:+.1f} to {100 / 6 + 100 * half:+.1f}"
    assert [list(row) for row in gains.rows] == [["dot_product", "+25.0 ± 0.0", interval, "+25.0 ± 0.0", interval]]
    assert [(one["row"], one["column"], one["top1"]) for one in grid_records(found, metrics=["top1"])] == [
        ("gaussian", "0.05", 50.0), ("gaussian", "0.1", 75.0),
        ("dot_product", "0.05", 75.0), ("dot_product", "0.1", 100.0),
    ]  # fmt: skip


def test_without_columns_there_is_one_and_cells_without_runs_say_so(tmp_path: Path) -> None:
    runs = sweep(tmp_path)
    kept = pick(runs, {"optim.lr": "0.1"})
    (accuracies,) = grid_sheets(table(kept, rows="model.pairwise"), metrics=["top1", "top5"])
    assert [row[:3] for row in accuracies.rows] == [
        ["dot_product", "100.0 ± 0.0", "100.0 ± 0.0"],
        ["gaussian", "75.0 ± 0.0", "100.0 ± 0.0"],
    ]
    holed = [run for run in runs if "dot_product_0.1" not in str(run.folder)]
    (accuracies,) = grid_sheets(table(holed, rows="optim.lr", columns="model.pairwise"), metrics=["top1"])
    assert list(accuracies.rows[1])[:3] == ["0.1", "not run", "75.0 ± 0.0"]


def placed(folder: Path) -> list[Run]:
    return [
        made_run(folder / str(number), [0] * number + [1] * (4 - number), settings={"model.nonlocal_blocks": places})
        for number, places in enumerate((None, 1, ["res3.0", "res3.1"]))
    ]


@pytest.mark.parametrize("baseline", ["[res3.0,res3.1]", '["res3.0", "res3.1"]', "res3.0 + res3.1"])
def test_rows_that_are_lists_are_readable_in_tables_latex_and_legends(tmp_path: Path, baseline: str) -> None:
    found = table(placed(tmp_path), rows="model.nonlocal_blocks", baseline=baseline)
    accuracies, gains = grid_sheets(found, metrics=["top1"])
    assert [row[0] for row in accuracies.rows] == ["res3.0 + res3.1", "1", "not set"]
    assert gains.title == "Gain over res3.0 + res3.1"
    assert [line.name for line in found.lines.values()] == ["res3.0 + res3.1", "1", "not set"]
    for form in ("markdown", "latex", "html"):
        assert "res3.0 + res3.1" in format_sheet(accuracies, form=form)
        assert "[" not in format_sheet(accuracies, form=form)
    assert len(pick(placed(tmp_path / "again"), {"model.nonlocal_blocks": baseline})) == 1


def test_a_line_whose_videos_all_got_one_class_says_so_below_the_table(tmp_path: Path) -> None:
    runs = placed(tmp_path)  # In the second the best class of all four videos is that of the first video.
    (accuracies,) = grid_sheets(table(runs, rows="model.nonlocal_blocks"), metrics=["top1"])
    assert accuracies.note.endswith("Every video was taken for one and the same class in these rows: 1 (seed 0).")
    (accuracies,) = grid_sheets(table([runs[0], runs[2]], rows="model.nonlocal_blocks"), metrics=["top1"])
    assert "Every video" not in accuracies.note


def test_seeds_may_be_rows(tmp_path: Path) -> None:
    runs = pick(sweep(tmp_path), {"optim.lr": "0.1"})
    (accuracies,) = grid_sheets(table(runs, rows="seed", columns="model.pairwise"), metrics=["top1"])
    assert [row[:3] for row in accuracies.rows] == [["0", "100.0", "75.0"], ["1", "100.0", "75.0"]]


def test_settings_that_differ_besides_are_an_error_that_names_them(tmp_path: Path) -> None:
    runs = sweep(tmp_path)
    with pytest.raises(ValueError, match=r"differ in more than seed, model\.pairwise.*\n  optim\.lr: 0\.05, 0\.1\n"):
        table(runs, rows="model.pairwise")
    kept = pick(runs, {"optim.lr": "0.05"})
    assert len(table(kept, rows="model.pairwise").lines) == 2
    used = {"optim.lr": 0.05, "seed": 2}
    other = made_run(tmp_path / "x", [0, 0, 0, 1], protocol={**PROTOCOL, "crops": "full"}, settings=used)
    with pytest.raises(ValueError, match=r"\n  protocol\.crops: 3, full\n"):
        table([*kept, other], rows="model.pairwise")


def test_what_follows_from_rows_and_columns_may_differ(tmp_path: Path) -> None:
    """A data set has its number of classes, a network its options; but not one network two sets of them."""
    runs = []
    for model, blocks in (("c2d", 0), ("nl_c2d", 5)):
        for data, classes in (("motion", 2), ("relation", 3)):
            used = {
                "choices.model": model, "model.nonlocal_blocks": blocks, "data.name": data,
                "model.num_classes": classes,
            }  # fmt: skip
            runs.append(made_run(tmp_path / f"{model}_{data}", [0, 1, 0], settings=used))
    found = table(runs, rows="choices.model", columns="data.name")
    assert (list(found.rows), list(found.columns)) == (["c2d", "nl_c2d"], ["motion", "relation"])
    assert table(pick(runs, {"test.data": "motion"}), rows="choices.model").columns == {"": ""}
    with pytest.raises(ValueError, match=r"\n  model\.nonlocal_blocks: 0, 5\n"):
        table(runs, rows="data.name")
    used = {**runs[0].settings, "seed": 1, "model.nonlocal_blocks": 7}
    with pytest.raises(ValueError, match=r"\n  model\.nonlocal_blocks: 0, 5, 7\n"):
        table([*runs, made_run(tmp_path / "x", [0, 1, 0], settings=used)], rows="choices.model", columns="data.name")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"rows": "model.pair"},
            r"model\.pair: not a setting of .*config\.yaml; expected one, such as .*model\.pairwise",
        ),
        ({"rows": "model.pairwise", "baseline": "none"}, "no such row; expected one of dot_product, gaussian"),
    ],
)
def test_unknown_keys_and_rows_are_answered_with_the_known(
    tmp_path: Path, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table(sweep(tmp_path), columns="optim.lr", **arguments)


def test_where_says_which_values_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"optim\.lr=0\.2: no run has it; expected one of 0\.05, 0\.1"):
        pick(sweep(tmp_path), {"optim.lr": "0.2"})


def test_unfinished_runs_other_videos_and_doubles_are_refused(tmp_path: Path) -> None:
    runs = pick(sweep(tmp_path, seeds=(0,)), {"optim.lr": "0.05"})
    same = {"optim.lr": 0.05, "seed": 1}
    for run, message in (
        (made_run(tmp_path / "u", [0] * 4, settings=same, step=7), "was tested at step 7 of 400"),
        (made_run(tmp_path / "v", [0] * 5, settings=same), "was tested on another list than"),
        (made_run(tmp_path / "w", [0] * 4, settings={**same, "seed": 0}), "cell gaussian, seed 0: has two tests"),
    ):
        with pytest.raises(ValueError, match=message):
            table([*runs, run], rows="model.pairwise")
