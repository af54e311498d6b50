import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from nonlocal_video.reports.test import accuracy
from nonlocal_video.reports.test.predictions import read_predictions
from nonlocal_video.reports.test.report import build_report, format_report
from nonlocal_video.types import Evaluation, Failure, Prediction
from tests.reports.tested import FACTS, predictions, write
from tests.small_runs import tested

NAMES = [f"class {letter}" for letter in "abcdefgh"]


def build(scored: list[Prediction], failures: list[Failure] | None = None, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"facts": FACTS, "metrics": [], "seconds": 2.0, "num_classes": 8, "classes": None}
    return build_report(Evaluation(scored, failures or []), [], **{**options, **changes})


def test_missing_and_broken_videos_are_counted_both_ways() -> None:
    certain = torch.tensor([0.9, 0.1], dtype=torch.float64)
    scored = [Prediction(f"{i}.mp4", int(i == 3), certain, (0, int(i > 1)), (0, int(i == 3))) for i in range(4)]
    missing = [Failure("m.mp4", "m.mp4: no such file")]
    report = build_report(
        Evaluation(scored, [Failure("b.mp4", "b.mp4: broken")]),
        missing,
        facts=FACTS,
        metrics=[{"step": step, "top1": float(step)} for step in (50, 95, 100)],
        seconds=2.0,
        num_classes=2,
        classes=["yes", "no"],
    )
    assert report["videos"] == {"listed": 6, "missing": 1, "failed": 1, "decoded": 4}
    assert (report["top1"], report["top1_of_listed"]) == (75.0, 50.0)
    assert (report["clip_top1"], report["first_clip_top1"]) == (75.0, 100.0)
    assert report["after_clips"] == [{"clips": 1, "top1": 100.0}, {"clips": 2, "top1": 75.0}]
    assert report["mean_class_top1"] == 50.0
    assert report["most_confused"] == [
        {"class": 1, "predicted": 0, "names": ["no", "yes"], "videos": 1, "share": 100.0}
    ]
    assert report["worst_classes"][0] == {"class": 1, "name": "no", "videos": 1, "top1": 0.0}
    assert report["train_top1"] == 97.5
    assert not any("top5" in key for key in report)
    assert [failure["video"] for failure in report["failures"]] == ["m.mp4", "b.mp4"]
    assert "75.00 (95%: 30.06 to 95.44) of the decoded videos, 50.00 of the listed" in format_report(report)


def same_class(num_videos: int, labels: int) -> list[Prediction]:
    """Videos of so many classes in turn, all taken for class 1."""
    scores = torch.tensor([0.1, 0.5, 0.2, 0.2], dtype=torch.float64)
    ranks = {0: 3, 1: 0, 2: 1, 3: 2}
    return [
        Prediction(f"{i}.mp4", i % labels, scores, (ranks[i % labels],) * 2, (ranks[i % labels],) * 2)
        for i in range(num_videos)
    ]


def test_a_test_in_which_every_video_got_one_class_says_so_in_words(tmp_path: Path) -> None:
    report = write(tmp_path, same_class(8, 4), classes=NAMES[:4])
    said = 'every one of the 8 videos is taken for the class "class b": the network does not tell them apart'
    assert report["only_class"] == {"class": 1, "name": "class b"}
    assert said in format_report(report)
    assert f"**E{said[1:]}" in (tmp_path / "report.md").read_text()
    assert 'is taken for the class "1":' in format_report(build(same_class(8, 4), num_classes=4))


def test_videos_of_one_class_may_all_get_it_without_a_word() -> None:
    right = [one._replace(label=1, clip_ranks=(0, 0), running_ranks=(0, 0)) for one in same_class(4, 1)]
    report = build(right, num_classes=4)
    assert (report["top1"], report["only_class"]) == (100, None)
    assert "is taken for the class" not in format_report(report)
    assert build(predictions(40))["only_class"] is None


def test_accuracies_are_those_that_the_scores_give_by_torchs_topk() -> None:
    scored = predictions(100)
    report = build(scored)
    for k in (1, 5):
        right = sum(prediction.label in prediction.scores.topk(k).indices for prediction in scored)
        assert report[f"top{k}"] == pytest.approx(right)
        assert report["after_clips"][-1][f"top{k}"] == report[f"top{k}"]
        assert report["after_clips"][0][f"top{k}"] == report[f"first_clip_top{k}"]
        low, high = report[f"top{k}_interval"]
        assert low < report[f"top{k}"] < high
    assert len(report["after_clips"]) == 4


def test_a_list_without_labels_has_predictions_only(tmp_path: Path) -> None:
    report = write(tmp_path, predictions(6, labelled=False), published={"name": "x"})
    assert report["labels"] is False
    assert not any("top1" in key for key in report if key != "train_top1")
    assert "predictions only" in format_report(report)
    assert "redictions only" in (tmp_path / "report.md").read_text()
    assert sorted(os.listdir(tmp_path)) == [
        "classes.csv",
        "predictions.jsonl",
        "report.json",
        "report.md",
        "scores.npz",
    ]
    assert read_predictions(tmp_path).predictions[0].label is None


def test_a_folder_of_a_report_holds_every_file_and_nothing_of_an_earlier_test(tmp_path: Path) -> None:
    write(tmp_path, predictions(40), classes=NAMES)
    assert sorted(os.listdir(tmp_path)) == [
        "classes.csv", "clips.png", "confusion.png", "predictions.jsonl", "report.json", "report.md", "scores.npz"
    ]  # fmt: skip
    for name in ("clips.png", "confusion.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in (tmp_path / "report.md").read_text()
    write(tmp_path, predictions(40, num_clips=1))
    assert "clips.png" not in os.listdir(tmp_path)
    assert "clips.png" not in (tmp_path / "report.md").read_text()


def test_predictions_and_classes_have_names_and_all_numbers(tmp_path: Path) -> None:
    scored = predictions(40)
    write(tmp_path, scored, classes=NAMES)
    lines = tested(tmp_path)
    assert [line["scores"] for line in lines] == [prediction.scores.tolist() for prediction in scored]
    assert [line["predicted"] for line in lines] == [NAMES[int(one.scores.argmax())] for one in scored]
    keys = {"video", "label", "predicted", "score", "clip_ranks", "running_ranks", "scores"}
    assert all(line.keys() == keys and line["score"] == max(line["scores"]) for line in lines)
    with (tmp_path / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == NAMES
    assert sum(int(row["videos"]) for row in rows) == 40
    right = [100 * sum(one.label == label == int(one.scores.argmax()) for one in scored) / 5 for label in range(8)]
    assert [float(row["top1"]) for row in rows] == pytest.approx(right, abs=0.005)


def test_views_are_written_if_they_were_kept(tmp_path: Path) -> None:
    views = torch.rand(12, 8)
    write(tmp_path, [one._replace(views=views) for one in predictions(3)])
    (one, *_) = read_predictions(tmp_path).predictions
    assert one.views is not None
    assert torch.equal(one.views, views)


def test_report_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (written.append(Path(b).name), replace(a, b)))
    write(tmp_path, predictions(9))
    assert written[-1] == "report.json"
    assert len(written) == 7


def test_page_shows_few_classes_of_many_and_no_line_is_broken(tmp_path: Path) -> None:
    failures = [Failure(f"b{i}.mp4", f"b{i}.mp4: broken\nbadly") for i in range(30)]
    write(tmp_path, predictions(900, num_classes=300, num_clips=2), failures=failures)
    text = (tmp_path / "report.md").read_text()
    assert len(text.splitlines()) < 110
    assert "the 30 lost ones are wrong" in text
    assert "b19.mp4: broken badly" in text
    assert "... and 10 more in report.json" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_published_figures_stand_on_the_page_and_the_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "compare_published", lambda report: [f"published 74.9, measured {report['top1']}"])
    report = write(tmp_path, predictions(8), published={"name": "x"})
    line = f"published 74.9, measured {report['top1']}"
    assert line in format_report(report)
    assert line in (tmp_path / "report.md").read_text()


def test_names_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="got names of 7 classes, expected 8"):
        build(predictions(8), classes=NAMES[:7])


def test_speed_counts_only_what_this_job_tested() -> None:
    assert build(predictions(8), seconds=2.0, resumed=6)["time"]["videos_per_s"] == 1.0


def test_no_video_at_all_is_an_error_that_names_the_causes() -> None:
    with pytest.raises(ValueError, match=r"none of 2 videos could be tested: a\.mp4: broken; b\.mp4: empty"):
        build([], [Failure("a.mp4", "a.mp4: broken"), Failure("b.mp4", "b.mp4: empty")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, r"1 of 9 videos have no label, such as 0004\.mp4"),
        ({"label": 8}, r"0004\.mp4: label 8 is not one of 8 classes"),
        ({"scores": torch.zeros(7)}, r"0004\.mp4: got 7 scores, expected 8"),
        ({"scores": torch.full((8,), torch.nan)}, r"0004\.mp4: a score is not finite"),
        ({"clip_ranks": (0, 0)}, r"0004\.mp4: ranks of 2 clips, expected 4"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_video(change: dict[str, Any], message: str) -> None:
    scored = predictions(9)
    scored[4] = scored[4]._replace(**change)
    with pytest.raises(ValueError, match=message):
        build(scored)
