import io
from pathlib import Path

import pytest
from matplotlib.image import imread

from nonlocal_video.reports.tables.lines import ClassGain, TableLine
from nonlocal_video.reports.tables.looks import looks_of
from nonlocal_video.reports.tables.plots import _extremes, classes_figure, cost_figure, draw, side_by_side
from tests.reports.made_runs import EXPECTED, add_records, made_run


def test_all_plots_are_drawn_of_runs_and_none_without(tmp_path: Path) -> None:
    base = TableLine("base", (made_run(tmp_path / "a", [0, 1, 1, 0]),), EXPECTED.cost)
    other = TableLine("$other", (made_run(tmp_path / "b", [0, 0, 0, 1]),), EXPECTED.cost, base)
    lines = [base, other, TableLine("not run", (), EXPECTED.cost, base)]
    assert [picture.name for picture in draw(lines, metric="top1")] == ["cost", "classes"], "nothing was logged"
    for name in "ab":
        add_records(tmp_path / name, steps=[10, 20, 30], top1=[50, 60, 70])
    pictures = draw(lines, metric="top1")
    assert [picture.name for picture in pictures] == ["validation", "training", "cost", "classes"]
    for picture in pictures:
        assert imread(io.BytesIO(picture.png)).std() > 0.05, f"{picture.name} is blank"
    assert draw([TableLine("not run")], metric="top1") == []


def test_points_of_one_cost_stand_side_by_side_and_others_at_their_own() -> None:
    assert side_by_side([1.0, 2.0]) == [1.0, 2.0]
    low, other, high = side_by_side([1.0, 2.0, 1.0])
    assert (other, low + high) == (2.0, 2.0)
    assert 0.01 < high - low < 0.1
    equal = side_by_side([5.0, 5.0, 5.0])
    assert equal[0] < equal[1] == 5.0 < equal[2]


def test_a_gain_over_several_baselines_names_none(tmp_path: Path) -> None:
    bases = [TableLine(name, (made_run(tmp_path / name, [0, 1, 1, 0]),)) for name in ("1, seed 0", "1, seed 1")]
    lines = [
        TableLine(base.name.replace("1, ", "2, "), (made_run(tmp_path / f"{number}", [0, 0, 0, 1]),), None, base)
        for number, base in enumerate(bases)
    ]
    classes = classes_figure(lines, rows="model.nonlocal_blocks, seed")
    assert classes is not None
    assert " ".join(classes.get_supxlabel().split()).startswith("gain over the baseline in top-1")
    assert [axes.get_title() for axes in classes.axes] == ["2, seed 0", "2, seed 1"]


def test_points_over_cost_and_gains_of_classes_say_which_seeds_they_are_of(tmp_path: Path) -> None:
    base = TableLine("base", (made_run(tmp_path / "a", [0, 1, 1, 0]),), EXPECTED.cost)
    other = TableLine("other", (made_run(tmp_path / "b", [0, 0, 0, 1]),), EXPECTED.cost, base)
    cost, classes = (
        cost_figure(looks_of([base, other]), "top1", rows="optim.lr"),
        classes_figure([other], rows="optim.lr"),
    )
    assert cost is not None
    assert classes is not None
    assert [one.get_title().get_text() for one in cost.legends] == ["optim.lr"]
    assert cost.get_supxlabel() == "seed 0 of each row; points of one cost stand side by side"
    words = " ".join(classes.get_supxlabel().split())
    assert words == "gain over optim.lr base in top-1 (percent of the class's videos); seed 0 of each row"


@pytest.mark.parametrize(
    ("classes", "shown"), [(20, list(range(20))), (400, [*range(399, 389, -1), *range(9, -1, -1)])]
)
def test_of_many_classes_the_best_and_the_worst_are_shown(classes: int, shown: list[int]) -> None:
    gains = [ClassGain(str(label), float(label)) for label in range(classes)]
    assert [gain.name for gain in _extremes(gains)] == [str(label) for label in shown]
