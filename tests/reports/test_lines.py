from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nonlocal_video.metrics.intervals import paired_difference
from nonlocal_video.reports.tables.lines import TableLine, by_seed, class_gains, gain_of, spread
from tests.reports.made_runs import made_run


def line(folder: Path, *ranks: list[int], baseline: TableLine | None = None) -> TableLine:
    """A run for each seed."""
    runs = [made_run(folder / str(seed), one, settings={"seed": seed}) for seed, one in enumerate(ranks)]
    return TableLine(folder.name, tuple(runs), baseline=baseline)


def test_spread_is_mean_and_sample_deviation() -> None:
    assert f"{spread([70.0, 72.0])}" == "71.0 ± 1.4"  # sqrt(2)
    assert f"{spread([70.0]):+}" == "+70.0"


def test_gain_tells_seeds_and_videos_apart(tmp_path: Path) -> None:
    """Of 8 videos the baseline has 4 and 5 right, the line 6 and 5: gains of 25 and 0 percent."""
    base = line(tmp_path / "base", [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 1])
    better = line(tmp_path / "better", [0, 0, 0, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 0, 1, 1], baseline=base)
    gain = gain_of(better, "top1")
    assert gain is not None
    assert gain.videos is not None
    assert gain.seeds == (pytest.approx(12.5), pytest.approx(17.678, abs=1e-3), 2)  # 25 / sqrt(2)
    assert gain.num_videos == 8
    # Differences, mean over the seeds: -1/2, 0, 0, 0, 1/2, 1, 0, 0; with one video more of +-1 and one of 0.
    half = 1.959964 * (0.25 + 0.25 + 1 + 1 - 1**2 / 10) ** 0.5 / 10
    assert gain.videos == pytest.approx((12.5, 10 - 100 * half, 10 + 100 * half), abs=1e-4)


def test_gain_of_one_seed_is_the_paired_difference(tmp_path: Path) -> None:
    base = line(tmp_path / "base", [0, 1, 2, 0, 6, 0])
    other = line(tmp_path / "other", [1, 0, 0, 0, 4, 0], baseline=base)
    for metric, k in (("top1", 1), ("top5", 5)):
        gain = gain_of(other, metric)
        sides = [torch.tensor(ranks) < k for ranks in ([0, 1, 2, 0, 6, 0], [1, 0, 0, 0, 4, 0])]
        assert gain is not None
        assert gain.videos == paired_difference(*sides)[:3]
        assert gain.seeds.deviation is None


def test_gain_is_of_the_seeds_and_videos_that_both_have(tmp_path: Path) -> None:
    base = TableLine("base", (made_run(tmp_path / "a", [0, 1, 1, 1], settings={"seed": 1}),))
    runs = (
        made_run(tmp_path / "b", [1, 1, 1, 1]),
        made_run(tmp_path / "c", [0, 0, 1], first=1, settings={"seed": 1}),
    )
    gain = gain_of(TableLine("line", runs, baseline=base), "top1")
    assert gain is not None
    assert (gain.seeds.seeds, gain.num_videos) == (1, 3)
    assert gain.seeds.mean == pytest.approx(200 / 3)
    assert gain_of(TableLine("line", runs[:1], baseline=base), "top1") is None
    assert gain_of(TableLine("line", runs), "top1") is None


def test_gain_of_clips_counts_clips_and_that_of_classes_has_no_interval(tmp_path: Path) -> None:
    """The second clip of a made video is always right."""
    base = line(tmp_path / "base", [1, 1, 1, 1])
    other = line(tmp_path / "other", [0, 0, 1, 1], baseline=base)
    clips, first, classes = (gain_of(other, metric) for metric in ("clip_top1", "first_clip_top1", "mean_class_top1"))
    assert clips is not None
    assert first is not None
    assert classes is not None
    assert (clips.seeds.mean, first.seeds.mean, classes.seeds.mean) == pytest.approx((25, 50, 50))
    assert classes.videos is None


def test_videos_with_other_labels_are_not_compared(tmp_path: Path) -> None:
    base = line(tmp_path / "base", [0, 0])
    run = made_run(tmp_path / "other", [0, 0])
    labels = run.scored._replace(labels=torch.tensor([0, 5]))
    run.__dict__["scored"] = labels
    with pytest.raises(ValueError, match="has other classes or labels than"):
        gain_of(TableLine("other", (run,), baseline=base), "top1")


def test_class_gains_are_means_over_seeds_and_videos_of_a_class(tmp_path: Path) -> None:
    """Nine videos: the first and the last are of class a."""
    base = line(tmp_path / "base", [1, 1, *[0] * 6, 1], [1, 1, *[0] * 6, 1])
    other = line(tmp_path / "other", [0, 0, *[0] * 6, 1], [0, 1, 1, *[0] * 5, 0], baseline=base)
    gains = class_gains(other)
    assert [gain.name for gain in gains] == [f"class {letter}" for letter in "abcdefgh"]
    assert [gain.percent for gain in gains] == pytest.approx([75, 50, -50, 0, 0, 0, 0, 0])
    assert class_gains(replace(other, baseline=None)) == []


def test_two_tests_with_one_seed_are_named(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, [0]) for name in ("one", "two")]
    with pytest.raises(ValueError, match=r"row nl, seed 0: has two tests, .*/one/test/full_10 and .*/two/test/full_10"):
        by_seed("nl", runs, what="row")


def test_a_metric_is_of_the_listed_videos_and_an_unknown_one_lists_the_others(tmp_path: Path) -> None:
    run = made_run(tmp_path, [0, 0, 1], missing=["x.mp4"])
    assert run.value("top1") == 50
    assert run.value("clip_top1") == pytest.approx(500 / 6)
    with pytest.raises(ValueError, match=r"has no top9; expected one of .*top1, .*mean_class_top1"):
        run.value("top9")
