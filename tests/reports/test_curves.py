"""What the plots over the steps hold, as matplotlib's own objects say it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from nonlocal_video.reports.tables.curves import Values, curves_figure, read_curves
from nonlocal_video.reports.tables.lines import TableLine
from nonlocal_video.reports.tables.looks import looks_of, names_of
from tests.reports.made_runs import add_records, made_run

TOP1 = Values("validation.jsonl", "clip_top1", "single-clip top-1 (%)")


def line(folder: Path, *, seeds: Sequence[int], steps: Sequence[int], baseline: TableLine | None = None) -> TableLine:
    """Runs whose accuracies are those of the steps and the seed."""
    runs = []
    for seed in seeds:
        run = made_run(folder / str(seed), [0], settings={"seed": seed})
        records = [{"step": step, "clip_top1": step / 10 + seed} for step in steps]
        (run.folder / "validation.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
        runs.append(run)
    return TableLine(folder.name, tuple(runs), None, baseline)


def drawn(folder: Path, names: Sequence[str], *, seeds: Sequence[int], steps: Sequence[int]) -> Figure:
    base = line(folder / names[0], seeds=seeds, steps=steps)
    others = [line(folder / name, seeds=seeds, steps=steps, baseline=base) for name in names[1:]]
    figure = curves_figure(looks_of([base, *others]), [TOP1])
    assert figure is not None
    return figure


def note(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


@pytest.mark.parametrize("steps", [[40], [20, 40]])
def test_points_of_short_runs_stand_side_by_side(tmp_path: Path, steps: list[int]) -> None:
    """Three runs with the same values: all are seen."""
    figure = drawn(tmp_path, ["a", "b", "c"], seeds=[0], steps=steps)
    (axes,) = figure.axes
    places = np.array([one.get_xdata() for one in axes.lines])
    assert np.diff(places, axis=0).min() > 0.05 * (np.diff(axes.get_xlim())[0] if len(steps) == 1 else 20)
    assert np.abs(places - steps).max() < (np.diff(steps).min() if len(steps) > 1 else 1) / 2
    assert {one.get_markerfacecolor() for one in axes.lines} == {"none"}
    assert axes.get_xticks().tolist() == steps
    assert note(figure) == "seed 0 of each row; points of one step stand side by side"


def test_seeds_of_short_runs_are_bars_that_are_explained(tmp_path: Path) -> None:
    figure = drawn(tmp_path, ["a", "b"], seeds=[0, 2], steps=[20, 40])
    (axes,) = figure.axes
    bars = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert [[segment[:, 1].tolist() for segment in bar.get_segments()] for bar in bars] == [[[2, 4], [4, 6]]] * 2
    assert not [one for one in axes.collections if isinstance(one, PolyCollection)]
    assert note(figure).startswith("mean of seeds 0, 2; bars: from the lowest to the highest seed")


def test_few_long_curves_have_bands_in_one_panel(tmp_path: Path) -> None:
    figure = drawn(tmp_path, ["a", "b", "c"], seeds=[0, 1], steps=range(10, 110, 10))
    (axes,) = figure.axes
    assert len(axes.lines) == 3
    assert sum(isinstance(one, PolyCollection) for one in axes.collections) == 3
    assert note(figure) == "mean of seeds 0, 1; bands: from the lowest to the highest seed"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]


def test_many_bands_have_a_panel_each_and_never_cover_one_another(tmp_path: Path) -> None:
    names = ["base", "b", "c", "d", "e"]
    figure = drawn(tmp_path, names, seeds=[0, 1], steps=range(10, 110, 10))
    assert [axes.get_title() for axes in figure.axes] == names
    for axes, name in zip(figure.axes, names, strict=True):
        assert sum(isinstance(one, PolyCollection) for one in axes.collections) == 1
        assert len(axes.lines) == 5
        assert [one.get_label() for one in axes.lines if not str(one.get_label()).startswith("_")] == [name]
        assert sum(one.get_linestyle() == "--" for one in axes.lines) == (name != "base")
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert "dashed: the row that it is compared with; grey: the other rows" in note(figure)


def test_seeds_stand_beside_the_names_where_they_differ(tmp_path: Path) -> None:
    lines = [
        line(tmp_path / "a", seeds=[0, 1], steps=[10, 20]),
        line(tmp_path / "b", seeds=[0], steps=[10, 20]),
    ]
    figure = curves_figure(looks_of(lines), [TOP1])
    assert figure is not None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a (seeds 0, 1)", "b (seed 0)"]
    assert "mean of the seeds" in note(figure)
    cells = [line(tmp_path / f"x, seed {seed}", seeds=[seed], steps=[10]) for seed in (0, 1)]
    assert names_of(cells, width=40) == ["x, seed 0", "x, seed 1"], "they say it already"


def test_nothing_is_drawn_where_nothing_was_logged(tmp_path: Path) -> None:
    assert curves_figure(looks_of([line(tmp_path / "a", seeds=[0], steps=[])]), [TOP1]) is None
    assert curves_figure([], [TOP1]) is None


def test_curves_are_of_the_steps_that_all_seeds_have_and_smoothed_backwards(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, [0]) for name in "ab"]
    add_records(tmp_path / "a", steps=[10, 20, 30, 40], top1=[10, 20, 40, 80])
    add_records(tmp_path / "b", steps=[10, 20, 30], top1=[0, 0, 6])
    steps, curves = read_curves(runs, Values("metrics.jsonl", "top1", "", smoothed=0.67))  # Two records.
    assert steps.tolist() == [10, 20, 30]
    np.testing.assert_allclose(curves, [[10, 15, 30], [0, 0, 3]])
