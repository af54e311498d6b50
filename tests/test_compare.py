"""tools/compare.py and tools/ensemble.py, run as a user runs them."""

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from nonlocal_video.reports.test.predictions import read_predictions
from nonlocal_video.types import Failure, Prediction
from tests.reports.tested import FACTS, predictions, write

ROOT = Path(__file__).parent.parent
NAMES = [f"class {letter}" for letter in "abcdefgh"]


def tool(name: str, *arguments: object) -> None:
    """Runs a tool in this process; raises SystemExit as it exits."""
    before = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
    finally:
        sys.argv = before


def error_of(capsys: pytest.CaptureFixture[str], name: str, *arguments: object) -> str:
    """The message of a tool that must fail; argparse prints its own."""
    with pytest.raises(SystemExit) as exit_:
        tool(name, *arguments)
    assert exit_.value.code not in (0, None)
    return str(exit_.value.code) if isinstance(exit_.value.code, str) else capsys.readouterr().err


def certain(labels: Sequence[int], best: Sequence[int]) -> list[Prediction]:
    """Videos whose best class is given."""
    return [
        Prediction(f"{i:03d}.mp4", label, torch.eye(8, dtype=torch.float64)[one] * 0.5)
        for i, (label, one) in enumerate(zip(labels, best, strict=True))
    ]


def test_compare_finds_a_real_difference_and_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A is right on 20 videos, B on 35 of 40; they share 15."""
    labels = [i % 8 for i in range(40)]
    wrong = [(label + 1) % 8 for label in labels]
    write(tmp_path / "a", certain(labels, [*labels[:20], *wrong[20:]]), classes=NAMES)
    protocol = {**FACTS["protocol"], "crops": "full"}
    write(
        tmp_path / "b", certain(labels, [*wrong[:5], *labels[5:]]), classes=NAMES, precision="bf16", protocol=protocol
    )
    tool("compare.py", tmp_path / "a", tmp_path / "b", "--top", "2")
    out = capsys.readouterr().out
    (top1,) = [line.split() for line in out.splitlines() if line.startswith("top1")]
    assert top1[1:4] == ["50.00", "87.50", "+37.50"]
    assert top1[7:9] == ["5", "20"]
    assert float(top1[9]) == pytest.approx(2 * sum([1, 25, 300, 2300, 12650, 53130]) / 2**25, rel=0.01)
    assert "Is +37.50 real? Yes" in out
    assert "B is better than A" in out
    assert "another one in 25 of 40 videos" in out
    assert "scores: differ by 0.5 at most" in out
    assert "precision: fp32 | bf16" in out
    assert "protocol.crops: 3 | full" in out
    gained = out[out.index("gained most") : out.index("lost most")] if "lost most" in out else out
    assert gained.count(" videos  class ") == 2


def test_compare_says_that_a_small_difference_cannot_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [i % 8 for i in range(40)]
    wrong = [(label + 1) % 8 for label in labels]
    write(tmp_path / "a", certain(labels, [*labels[:20], *wrong[20:]]))
    write(tmp_path / "b", certain(labels, [*labels[:21], *wrong[21:]]))
    tool("compare.py", tmp_path / "a", tmp_path / "b")
    out = capsys.readouterr().out
    assert "Is +2.50 real? These videos cannot tell" in out
    assert "the reports name the same weights, videos and protocol" in out
    tool("compare.py", tmp_path / "a", tmp_path / "a")
    out = capsys.readouterr().out
    assert "There is no difference" in out
    assert "scores: differ by 0 at most" in out


def test_compare_takes_the_videos_of_both_and_names_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored = predictions(40)
    write(tmp_path / "a", scored[1:])
    write(tmp_path / "b", scored[:-2])
    tool("compare.py", tmp_path / "a", tmp_path / "b")
    out = capsys.readouterr().out
    assert "37 videos in both" in out
    assert "2 only in A, left out here: 0038.mp4, 0039.mp4\n" in out
    assert "1 only in B, left out here: 0000.mp4\n" in out


def test_compare_without_labels_compares_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a", predictions(9, labelled=False))
    tool("compare.py", tmp_path / "a", tmp_path / "a")
    out = capsys.readouterr().out
    assert "no labels in both" in out
    assert "scores: differ by 0 at most" in out


def test_tests_of_other_classes_labels_or_videos_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored = predictions(16)
    write(tmp_path / "a", scored, classes=NAMES)
    write(tmp_path / "few", predictions(16, num_classes=7))
    write(tmp_path / "named", scored, classes=[*NAMES[:7], "other"])
    write(tmp_path / "labels", [*scored[:-1], scored[-1]._replace(label=3)])
    write(tmp_path / "videos", [one._replace(video=f"x{one.video}") for one in scored])
    for other, message in (
        ("few", "has 7 classes, expected 8"),
        ("named", "class 7 is 'other', expected 'class h'"),
        ("labels", "1 videos have other labels than in"),
        ("videos", "have no video in common"),
        ("nothing", "no report.json"),
    ):
        assert message in error_of(capsys, "compare.py", tmp_path / "a", tmp_path / other)
        arguments = (tmp_path / "a", tmp_path / other, "--out", tmp_path / "out")
        assert message in error_of(capsys, "ensemble.py", *arguments)
    assert not (tmp_path / "out").exists()


def test_ensemble_is_the_weighted_mean_of_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = [predictions(60, seed=seed) for seed in (1, 2, 3)]
    failures = [Failure("z.mp4", "z.mp4: broken")]
    for number, scored in enumerate(members):
        write(tmp_path / str(number), scored, failures=failures, classes=NAMES, seed=number)
    folders = [tmp_path / str(number) for number in range(3)]
    tool("ensemble.py", *folders, "--out", tmp_path / "out", "--weights", 1, 2, 5)
    out = capsys.readouterr().out
    tested = read_predictions(tmp_path / "out")
    for one, a, b, c in zip(tested.predictions, *members, strict=True):
        expected = (a.scores + 2 * b.scores + 5 * c.scores) / 8
        assert torch.allclose(one.scores, expected, rtol=0, atol=1e-15)
        assert (one.video, one.label, one.clip_ranks) == (a.video, a.label, ())
    report = tested.report
    assert report["videos"] == {"listed": 61, "missing": 0, "failed": 1, "decoded": 60}
    assert [member["weight"] for member in report["ensemble"]] == [0.125, 0.25, 0.625]
    assert [member["seed"] for member in report["ensemble"]] == [0, 1, 2]
    assert (report["network"], report["precision"]) == ("nl_c2d", "fp32")
    assert not {"clip_top1", "first_clip_top1", "after_clips", "seed"} & report.keys()
    right = sum(int(one.scores.argmax()) == one.label for one in tested.predictions)
    assert report["top1"] == pytest.approx(100 * right / 60)
    assert f"top1 {report['top1']:6.2f}  the ensemble" in out
    best = max(folders, key=lambda folder: json.loads((folder / "report.json").read_text())["top1"])
    assert f"against the best member, {best}: " in out
    assert "ensemble of 3 tests of nl_c2d on made" in (tmp_path / "out/report.md").read_text()
    told = error_of(capsys, "report.py", "--rows", "choices.model", tmp_path / "out")
    assert "1 of ensembles, not of runs" in told
    tool("compare.py", folders[0], tmp_path / "out")
    assert "ensemble.3.weight: not said | 0.625" in capsys.readouterr().out


def test_ensemble_needs_the_same_videos_or_leaves_others_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored = predictions(40)
    write(tmp_path / "a", scored)
    write(tmp_path / "b", scored[:-2], failures=[Failure("0038.mp4", "0038.mp4: broken")])
    arguments = (tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    assert "a: has 2 videos that not all others have, such as 0038.mp4" in error_of(capsys, "ensemble.py", *arguments)
    tool("ensemble.py", *arguments, "--common")
    assert "2 videos are left out" in capsys.readouterr().out
    report = read_predictions(tmp_path / "out").report
    assert report["videos"] == {"listed": 40, "missing": 0, "failed": 2, "decoded": 38}
    assert [one["cause"] for one in report["failures"]] == ["0038.mp4: broken", "0039.mp4: not in all tests"]


def test_ensemble_refuses_arguments_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for arguments, message in (
        ((a, "--out", b), "expected two tests or more"),
        ((a, b, "--out", tmp_path, "--weights", 1), "--weights: got 1, expected 2"),
        ((a, b, "--out", tmp_path, "--weights", 1, 0), "expected finite numbers above 0"),
        ((a, b, a, "--out", tmp_path), "named more than once"),
        ((a, b, "--out", a), "would be overwritten"),
    ):
        assert message in error_of(capsys, "ensemble.py", *arguments)
