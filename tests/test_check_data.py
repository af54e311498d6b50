"""tools/check_data.py, run as a user runs it, and its census in a run."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.encode import write_video
from tests.conftest import numbered_frames
from tests.runs.test_main_job import error_of, evaluate, tool, train
from tests.small_runs import session, start, wait_until

CLASSES = ["jump", "run", "sit"]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of each class below class folders, in list.csv; then what can be wrong."""
    root = tmp_path / "videos"
    lines = []
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for k in range(2):
            write_video(root / name / f"{name}{k}.mp4", numbered_frames(66 + 2 * label + k))
            lines.append(f"{name}/{name}{k}.mp4 {label}\n")
    (root / "run/empty.mp4").touch()
    (root / "run/text.mp4").write_text("no video\n" * 99)
    shutil.copy(root / "jump/jump0.mp4", root / "sit/again.mp4")
    write_video(root / "sit/short.mp4", numbered_frames(10))
    lines += ["run/empty.mp4 1\n", "run/text.mp4 1\n", "run/gone.mp4 1\n", "sit/again.mp4 2\n", "sit/short.mp4 0\n"]
    (tmp_path / "list.csv").write_text("".join(lines))
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return tmp_path


def check(folder: Path, *arguments: str, out: str = "out") -> dict[str, Any]:
    place = [str(folder / "list.csv"), "--root", str(folder / "videos"), "--out", str(folder / out), "--jobs", "2"]
    tool("check_data.py", *place, *arguments)
    return json.loads((folder / out / "census.json").read_text())


def names(folder: Path, problem: str) -> list[str]:
    """The first word of each line of a problem's file."""
    path = folder / "out" / f"{problem}.txt"
    return [line.split("\t")[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_every_problem_is_counted_named_and_explained(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = check(videos, "--classes", str(videos / "classes.txt"))
    assert content["census"] == {**content["census"], "listed": 11, "missing": 1, "broken": 2, "checked": "frames"}
    assert content["states"] == {"broken": 2, "missing": 1, "ok": 8}
    assert names(videos, "missing") == ["run/gone.mp4"]
    assert names(videos, "broken") == ["run/empty.mp4", "run/text.mp4"]
    assert names(videos, "duplicates") == ["sit/again.mp4"]
    assert names(videos, "short") == ["sit/short.mp4"]
    assert names(videos, "labels") == ["sit/short.mp4"]
    assert not (videos / "out/timed_out.txt").exists()
    assert [one["usable"] for one in content["classes"]] == [3, 2, 3]
    assert content["broken"]["run/empty.mp4"] == {"bytes": 0, "cause": "the file is empty"}
    page = (videos / "out/report.md").read_text()
    assert "sit/again.mp4  |  jump/jump0.mp4  |  labels 2 and 0" in page
    assert "A run would refuse this list: 1 of 11 videos below a folder with the name of a class" in page
    out = capsys.readouterr().out
    assert f"census {content['census']['hash']}: 11 listed, 1 missing, 2 broken (every video was decoded)" in out
    assert f"report: {videos}/out/report.md" in out
    good = read_list(str(videos / "out/good.csv"), root=str(videos / "videos"), num_classes=3)
    assert len(good) == 8
    assert all(os.path.isfile(entry.path) for entry in good)


def test_census_again_is_the_same_and_forgets_what_was_put_right(videos: Path) -> None:
    first = check(videos)
    second = check(videos)
    assert {**first, "date": ""} == {**second, "date": ""}
    shutil.copy(videos / "videos/run/run0.mp4", videos / "videos/run/gone.mp4")
    third = check(videos)
    assert third["states"] == {"broken": 2, "ok": 9}
    assert not (videos / "out/missing.txt").exists()
    assert third["census"]["hash"] != first["census"]["hash"]


def test_quick_census_says_that_nothing_was_decoded(videos: Path) -> None:
    content = check(videos, "--quick")
    assert content["states"] == {"broken": 2, "missing": 1, "opens": 8}
    assert content["census"]["checked"] == "packets"
    assert "**Nothing was decoded (--quick)**" in (videos / "out/report.md").read_text()


def test_official_list_and_the_other_split_are_compared(videos: Path) -> None:
    (videos / "official.csv").write_text("/x/jump0.mp4 0\n/x/jump1.mp4 2\n/x/new.mp4 1\n")
    (videos / "val.csv").write_text("run/run0.mp4 1\nval/copy.mp4 0\n")
    check(videos, "--official", str(videos / "official.csv"), "--other", str(videos / "val.csv"))
    assert names(videos, "not_listed") == ["/x/new.mp4"]
    assert names(videos, "relabelled") == ["jump/jump1.mp4"]
    assert len(names(videos, "unofficial")) == 9
    assert names(videos, "leaks") == ["run/run0.mp4"]
    (videos / "videos/val").mkdir()
    shutil.copy(videos / "videos/sit/sit1.mp4", videos / "videos/val/copy.mp4")
    val = [str(videos / "val.csv"), "--root", str(videos / "videos"), "--out", str(videos / "val")]
    tool("check_data.py", *val)
    check(videos, "--other", str(videos / "val"))
    assert names(videos, "leaks") == ["run/run0.mp4", "sit/sit1.mp4"]


def test_official_csv_and_folders_of_frames_are_examined(videos: Path) -> None:
    root = videos / "videos"
    (videos / "list.csv").write_text(
        "label,youtube_id,time_start,time_end\nrun,AAAAAAAAAAA,1,11\nrun,BBBBBBBBBBB,1,11\n"
    )
    shutil.move(root / "run/run0.mp4", root / "run/AAAAAAAAAAA_000001_000011.mp4")
    content = check(videos, "--classes", str(videos / "classes.txt"))
    assert content["states"] == {"missing": 1, "ok": 1}
    assert (videos / "out/good.csv").read_text() == "run/AAAAAAAAAAA_000001_000011.mp4 1\n"


def test_actions_behind_the_end_of_the_file_are_told(videos: Path) -> None:
    """The list believes that the video lasts for 9 s; the file ends after 66 frames, 2.2 s at 30 a second."""
    (videos / "list.csv").write_text("id,actions,length\njump/jump0,c001 1 2.25;c000 0.5 8.2,9\njump/jump1,,9\n")
    content = check(videos, "--classes", str(videos / "classes.txt"))
    assert content["states"] == {"ok": 2}
    line = (videos / "out/behind_end.txt").read_text().strip()
    assert line.split("\t") == ["jump/jump0", "0", "0.5 to 8.2 s", "ends at 2.20 s"]
    assert "Labels that are shown behind the end of the video" in (videos / "out/report.md").read_text()


def test_user_errors_are_one_message(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_, out = str(videos / "list.csv"), ["--out", str(videos / "out")]
    for arguments, message in (
        (["nowhere.csv", *out], "nowhere.csv: no such list of videos"),
        ([list_, "--root", "nowhere", *out], "data.root: got nowhere"),
        ([list_, "--out", str(videos)], "got a folder with other files"),
        ([list_, *out, "--other", str(videos)], "not the folder of a census"),
        ([list_, *out, "--official", "none.csv"], "none.csv: no such list of videos"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            tool("check_data.py", *arguments)
        assert message in str(exit_.value.code)
        assert str(exit_.value.code).startswith("error: ")


@pytest.mark.slow
def test_killed_census_leaves_no_processes_and_resumes_to_the_same(videos: Path) -> None:
    source, lines = videos / "videos/jump/jump0.mp4", []
    for k in range(1000):
        os.link(source, videos / f"videos/jump/link{k}.mp4")
        lines.append(f"jump/link{k}.mp4 0\n")
    (videos / "list.csv").write_text("".join(lines))
    command = [sys.executable, "tools/check_data.py", str(videos / "list.csv"), "--root", str(videos / "videos")]
    killed = start([*command, "--out", str(videos / "out")], videos / "log")
    records, deadline = videos / "out/videos.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and not (records.exists() and records.read_bytes().count(b"\n") > 100):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 100 < records.read_bytes().count(b"\n") < 1000, "the kill must come in the middle"
    wait_until(lambda: not session(killed.pid), limit_s=60)
    with records.open("a") as file:
        file.write('{"video": "jump/li')
    check(videos)
    whole = check(videos, out="whole")
    assert records.read_text() == (videos / "whole/videos.jsonl").read_text()
    resumed = json.loads((videos / "out/census.json").read_text())
    unlike = {"date", "command"}
    assert {k: v for k, v in resumed.items() if k not in unlike} == {k: v for k, v in whole.items() if k not in unlike}


def test_census_stands_in_checkpoints_and_reports_and_its_broken_videos_are_left_out(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    (tmp_path / "broken.mp4").write_text("no video")
    for which in ("train", "val"):
        lines = (miniature / f"relation_{which}.txt").read_text().replace("videos/", f"{miniature}/videos/")
        (tmp_path / f"{which}.txt").write_text(f"{lines}broken.mp4 0\nmissing.mp4 1\n")
        tool(
            "check_data.py", str(tmp_path / f"{which}.txt"), "--root", str(tmp_path), "--out", str(tmp_path / which),
            "--classes", str(miniature / "relation_classes.txt"),
        )  # fmt: skip
    changes = [f"data.root={tmp_path}", "data.max_missing=0.2", f"data.train={tmp_path}/train.txt",
               f"data.val={tmp_path}/val.txt", f"data.classes={miniature}/relation_classes.txt"]  # fmt: skip
    censuses = [f"data.train_census={tmp_path}/train", f"data.val_census={tmp_path}/val"]
    capsys.readouterr()
    train(miniature, tmp_path, "data=miniature_relation", *changes, *censuses, "name=run", "optim.steps=2")
    known = json.loads((tmp_path / "train/census.json").read_text())["census"]
    assert (
        f"census {known['hash']}: 26 listed, 1 missing, 1 broken (every video was decoded)" in capsys.readouterr().out
    )
    assert (tmp_path / "run/failed_videos.jsonl").read_text() == ""
    (path,) = (tmp_path / "run/checkpoints").glob("*.pt")
    assert torch.load(path, weights_only=True)["facts"]["census"] == known

    report = evaluate(tmp_path / "run", "name=with")
    assert (report["census"], report["train_census"]) == (
        json.loads((tmp_path / "val/census.json").read_text())["census"], known
    )  # fmt: skip
    assert report["videos"] == {"listed": 11, "missing": 1, "failed": 1, "decoded": 9}
    assert "the file is" not in report["failures"][1]["cause"]
    assert report["top1_of_listed"] == pytest.approx(report["top1"] * 9 / 11)
    without = evaluate(tmp_path / "run", "name=without", f"data.val={tmp_path}/val.txt")
    assert without["census"]["checked"] == "presence"
    assert (without["videos"], without["top1"]) == (report["videos"], report["top1"])

    refused = train_error(capsys, tmp_path, *changes, f"data.train_census={tmp_path}/val")
    assert "is the census of another list" in refused
    refused = train_error(capsys, tmp_path, *changes, *censuses, "data.max_missing=0.05")
    assert "1 missing and 1 broken of 26 videos are more than data.max_missing=0.05 allows" in refused


def train_error(capsys: pytest.CaptureFixture[str], runs: Path, *overrides: str) -> str:
    return error_of(capsys, "train.py", f"runtime.runs={runs}", "name=refused", *overrides)
