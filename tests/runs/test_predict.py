"""Predictor, and tools/predict.py run as a user runs it."""

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nonlocal_video.data import pieces
from nonlocal_video.data.lists.classes import KINETICS400
from nonlocal_video.data.lists.manifest import find_entries
from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.models import build_model, load_model
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.runs.predict import Predictor, Result
from nonlocal_video.settings import PredictConfig, ProtocolConfig, ReadConfig, RuntimeConfig
from tests.data.videos import textured_frames
from tests.small_runs import output

ROOT = Path(__file__).parents[2]
CLASSES = ["washing, drying", "waving", "swimming", "sleeping", "singing", "smiling"]
LENGTH, STRIDE, SIDE = 8, 2, 64


def lively(num_classes: int, **options: object) -> torch.nn.Module:
    """A network whose random weights give scores that differ from clip to clip."""
    torch.manual_seed(1)
    model = build_model(f"nl_c2d_small_{LENGTH}x{STRIDE}", num_classes=num_classes, crop=SIDE, **options)
    for name, parameter in model.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.ones_(parameter)
    model.fc.weight.data *= 30
    return model.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, lively(len(CLASSES)), origin="random", classes=CLASSES)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4 of 90 frames, b.mp4 of one, c.mp4 that is none, d/e.mp4 of 45."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "d").mkdir()
    frames = list(textured_frames(90, height=SIDE, width=96))
    write_video(folder / "a.mp4", frames)
    write_video(folder / "b.mp4", frames[:1])
    (folder / "c.mp4").write_text("no video")
    write_video(folder / "d/e.mp4", frames[45:])
    return folder


def clips_of(path: Path, starts: list[int]) -> Tensor:
    """Clips (V, 3, T, H, W) that start at these frames, read frame by frame; the first frame follows the last."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    rows = [[(start + STRIDE * i) % len(frames) for i in range(LENGTH)] for start in starts]
    return torch.from_numpy(frames[np.array(rows)]).permute(0, 4, 1, 2, 3)


def predictor(weights: Path, **protocol: object) -> Predictor:
    return Predictor(weights, protocol=ProtocolConfig(short_side=SIDE, **protocol))  # type: ignore[arg-type]


# The Python call


def test_scores_are_the_mean_over_the_papers_ten_clips_of_the_whole_frame(weights: Path, videos: Path) -> None:
    ((video, result),) = predictor(weights)(videos / "a.mp4")
    starts = [int(90 / 10 * j) for j in range(10)]
    with torch.inference_mode():
        expected = load_model(weights).scores(clips_of(videos / "a.mp4", starts)).double().mean(dim=0)
    assert video == f"{videos}/a.mp4"
    assert result.scores is not None
    # Decoders and resizing agree to one grey level; the scores, here between 0.01 and 0.9, to 1e-3.
    torch.testing.assert_close(result.scores, expected, atol=1e-3, rtol=0)
    assert float(expected.max() - expected.min()) > 0.05
    order = expected.argsort(descending=True).tolist()
    assert [name for name, _ in result.top(2)] == [CLASSES[label] for label in order[:2]]
    assert len(result.top(99)) == len(CLASSES)


def test_equal_scores_lead_in_the_order_of_the_classes() -> None:
    result = Result(CLASSES, torch.tensor([0.1, 0.2, 0.2, 0.2, 0.2, 0.1]))
    assert [name for name, _ in result.top(3)] == CLASSES[1:4]


def test_a_folder_gives_every_video_in_order_and_failures_as_results(weights: Path, videos: Path) -> None:
    results = dict(predictor(weights, num_clips=1)(videos))
    assert list(results) == [f"{videos}/{name}" for name in ("a.mp4", "b.mp4", "c.mp4", "d/e.mp4")]
    broken = results.pop(f"{videos}/c.mp4")
    assert broken.scores is None
    assert broken.top(5) == []
    assert "Invalid data" in str(broken.error)
    assert all(result.error is None and abs(float(result.scores.sum()) - 1) < 1e-6 for result in results.values())


def test_results_come_before_the_next_video_is_decoded(weights: Path, videos: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    results = predictor(weights, num_clips=1)([videos / "a.mp4", late])
    assert next(results)[1].error is None
    late.write_bytes((videos / "b.mp4").read_bytes())
    assert next(results)[1].error is None


def test_timeline_holds_each_windows_own_scores(weights: Path, videos: Path) -> None:
    ((_, result),) = predictor(weights)(videos / "a.mp4", every_s=1.0)
    assert result.timeline is not None
    starts = [0, 30, 60, 90 - LENGTH * STRIDE]
    with torch.inference_mode():
        expected = load_model(weights).scores(clips_of(videos / "a.mp4", starts)).double()
    np.testing.assert_allclose(result.timeline.scores, expected.numpy(), atol=1e-3)
    assert float((expected.amax(dim=0) - expected.amin(dim=0)).max()) > 0.01  # The windows differ by more than that.
    np.testing.assert_allclose(result.timeline.start_s, [start / 30 for start in starts], atol=1e-4)
    np.testing.assert_allclose(result.timeline.end_s - result.timeline.start_s, (LENGTH - 1) * STRIDE / 30, atol=1e-4)
    torch.testing.assert_close(result.scores, torch.from_numpy(result.timeline.scores).mean(dim=0), atol=1e-9, rtol=0)
    assert [still.image.shape for still in result.timeline.stills] == [(160, 240, 3)] * 8


def test_a_video_in_many_pieces_has_the_same_timeline(
    weights: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, whole),) = predictor(weights, crops="3")(videos / "a.mp4", every_s=0.2)
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 20)
    (_, cut), (_, next_one) = predictor(weights, crops="3")([videos / "a.mp4", videos / "d/e.mp4"], every_s=0.2)
    assert whole.timeline is not None
    assert cut.timeline is not None
    np.testing.assert_array_equal(cut.timeline.start_s, whole.timeline.start_s)
    np.testing.assert_allclose(cut.timeline.scores, whole.timeline.scores, atol=1e-5)  # Other chunks round otherwise.
    for one, other in zip(cut.timeline.stills, whole.timeline.stills, strict=True):
        assert one.time_s == other.time_s
        assert (one.image == other.image).all()
    assert next_one.error is None


def test_a_video_shorter_than_a_clip_has_one_window(weights: Path, videos: Path) -> None:
    ((_, result),) = predictor(weights)(videos / "b.mp4", every_s=1.0)
    assert result.timeline is not None
    assert result.timeline.scores.shape == (1, len(CLASSES))


def test_frames_without_times_have_scores_but_no_timeline(weights: Path, tmp_path: Path) -> None:
    for number, frame in enumerate(textured_frames(20, height=SIDE, width=SIDE)):
        Image.fromarray(frame).save(tmp_path / f"img_{number:05d}.jpg")
    predict = predictor(weights, num_clips=2)
    assert next(predict(tmp_path))[1].error is None
    assert "no times" in str(next(predict(tmp_path, every_s=1.0))[1].error)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.02), ("bf16", 0.05)])
def test_features_are_what_the_classifier_answers_to(
    weights: Path, videos: Path, precision: str, tolerance: float
) -> None:
    protocol, runtime = ProtocolConfig(short_side=SIDE, crops="3"), RuntimeConfig(workers=0, precision=precision)
    predict = Predictor(weights, protocol=protocol, runtime=runtime)
    entries = find_entries(videos / "a.mp4", root=None)
    ((_, found),) = predict.features(entries)
    assert found.features is not None
    assert found.features.dtype == torch.float32
    assert tuple(found.features.shape) == (10, predict.model.fc.in_features)
    np.testing.assert_allclose(found.start_s, np.arange(10) * 9 / 30, atol=1e-4)
    clips = clips_of(videos / "a.mp4", [0, 9])
    crops = [clips[..., left : left + SIDE] for left in (0, 16, 32)]
    with torch.inference_mode():
        # A crop of training size: the window of the fc covers the map.
        logits = torch.stack([predict.model(crop) for crop in crops]).mean(dim=0)
        ours = predict.model.fc(found.features[:2])
    # Relative to the largest logit; decoders agree to one grey level.
    assert float((ours - logits).abs().max() / logits.abs().max()) < tolerance


def test_features_of_a_training_clip_give_the_logits() -> None:
    model = lively(6)
    clips = torch.randint(0, 256, (2, 3, LENGTH, SIDE, SIDE), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(model.fc(model.features(clips)), model(clips), atol=1e-5, rtol=1e-5)


def test_features_of_a_larger_clip_are_the_mean_of_all_of_res5() -> None:
    model, maps = lively(6), list[Tensor]()
    model.backbone.res5.register_forward_hook(lambda _, __, output: maps.append(output))
    with torch.inference_mode():
        features = model.features(torch.randint(0, 256, (2, 3, LENGTH, 96, 160), dtype=torch.uint8))
    assert maps[0].shape[2:] == model.backbone.final_map(LENGTH, 96, 160)
    torch.testing.assert_close(features, maps[0].flatten(2).double().mean(dim=2).float(), atol=1e-5, rtol=1e-5)


def test_readme_lines_run_as_a_script(weights: Path, videos: Path, tmp_path: Path) -> None:
    lines = [
        "from nonlocal_video.runs.predict import Predictor",
        f"for video, result in Predictor({str(weights)!r})({str(videos)!r}):",
        "    print(video, result.error or result.top(5))",
    ]
    (tmp_path / "script.py").write_text("\n".join(lines))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, env=environment, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        f"{videos}/{name}" for name in ("a.mp4", "b.mp4", "c.mp4", "d/e.mp4")
    ]


# Names of classes


def names_of(path: Path, **data: object) -> tuple[list[str], str | None]:
    predict = Predictor(path, data=ReadConfig(**data))  # type: ignore[arg-type]
    return list(predict.classes), predict.note


def test_400_classes_without_names_are_taken_for_kinetics_and_that_is_said(tmp_path: Path) -> None:
    save_model(tmp_path / "k.safetensors", lively(400), origin="random")
    names, note = names_of(tmp_path / "k.safetensors")
    assert names == list(KINETICS400)
    assert "Kinetics-400" in str(note)


def test_names_come_from_a_file_or_else_are_numbers(tmp_path: Path) -> None:
    save_model(tmp_path / "n.safetensors", lively(3), origin="random")
    names, note = names_of(tmp_path / "n.safetensors")
    assert names == ["0", "1", "2"]
    assert "data.classes" in str(note)
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    assert names_of(tmp_path / "n.safetensors", classes=str(tmp_path / "names.txt")) == (["one", "two", "three"], None)
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match=r"has 2 names, expected data\.num_classes=3"):
        names_of(tmp_path / "n.safetensors", classes=str(tmp_path / "names.txt"))


# The tool


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Tool = Callable[..., Outcome]


@pytest.fixture
def tool(weights: Path, capfd: pytest.CaptureFixture[str]) -> Tool:
    """Runs the tool in this process."""

    def run(*arguments: object) -> Outcome:
        before, code = sys.argv, 0
        sys.argv = ["predict.py", "runtime.workers=0", f"protocol.short_side={SIDE}", *map(str, arguments)]
        if not any(argument.startswith("weights=") for argument in sys.argv):
            sys.argv.append(f"weights={weights}")
        try:
            capfd.readouterr()
            runpy.run_path(str(ROOT / "tools/predict.py"), run_name="__main__")
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        finally:
            sys.argv = before
        return Outcome(code, *capfd.readouterr())

    return run


def test_text_shows_each_video_with_its_classes_or_its_error(tool: Tool, videos: Path) -> None:
    code, out, err = tool(f"video={videos}", "top=2", "protocol=1x1")
    assert code == 0
    assert err.splitlines()[-1] == "3 of 4 videos predicted, 1 failed"
    lines = out.splitlines()
    starts = [row for row, line in enumerate(lines) if line.startswith(str(videos))]
    assert [lines[row] for row in starts] == [f"{videos}/{name}" for name in ("a.mp4", "b.mp4", "c.mp4", "d/e.mp4")]
    assert lines[starts[2] + 1] == "   error: Invalid data found when processing input"
    shown = [line.split("%  ") for line in lines[1:3]]
    assert float(shown[0][0]) >= float(shown[1][0])
    assert {name for _, name in shown} < set(CLASSES)


def test_json_lines_and_csv_say_the_same(tool: Tool, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{name} 1\n" for name in ("a.mp4", "gone.mp4", "c.mp4")))
    given = [f"video={tmp_path}/list.txt", f"data.root={videos}", "top=3"]
    code, out, _ = tool(*given, "format=jsonl")
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["video"] for record in records] == ["a.mp4", "gone.mp4", "c.mp4"]
    assert [record.get("error") for record in records[:2]] == [None, "No such file or directory"]
    assert len(records[0]["top"]) == 3
    code, out, err = tool(*given, "format=csv", f"out={tmp_path}/out.csv")
    assert (code, out, err.splitlines()[1:]) == (0, "", ["1 of 3 videos predicted, 2 failed"])
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["video"], row["rank"], row["error"]) for row in rows] == [
        ("a.mp4", "1", ""),
        ("a.mp4", "2", ""),
        ("a.mp4", "3", ""),
        ("gone.mp4", "", "No such file or directory"),
        ("c.mp4", "", "Invalid data found when processing input"),
    ]
    for row, best in zip(rows[:3], records[0]["top"], strict=True):
        assert (row["class"], float(row["score"])) == (best["class"], best["score"])


def test_the_screen_says_what_scores_are_the_mean_of(tool: Tool, videos: Path, tmp_path: Path) -> None:
    """With over_time of other clips, so that the same video has other scores."""
    given = (f"video={videos}/a.mp4", "top=1")
    plain, along = tool(*given), tool(*given, f"over_time={tmp_path}")
    views = (
        f"full_10: 10 clips of {LENGTH}x{STRIDE} (released) x the whole frame, short side {SIDE}; mean over the views"
    )
    assert f"scores: {views}\n" in plain.err
    assert (
        "scores: mean over clips that start every 1 s, those of the timeline, and not over the protocol's" in along.err
    )
    assert views in along.err
    assert plain.out.splitlines()[1] != along.out.splitlines()[1]


def test_every_line_is_in_the_file_as_soon_as_it_is_known(weights: Path, tmp_path: Path) -> None:
    tool = runpy.run_path(str(ROOT / "tools/predict.py"))
    out = tmp_path / "out.jsonl"
    seen = []

    class Slow:
        def predict(self, entries: list, *, every_s: float | None) -> Iterator[tuple[str, Result]]:
            for entry in entries:
                seen.append(out.read_text())
                yield entry.video, Result(CLASSES, torch.ones(6) / 6)

    config = PredictConfig(weights=str(weights), video="a.mp4", format="jsonl", out=str(out))
    predictions = tool["classes"](config, Slow(), find_entries(["a.mp4", "b.mp4", "c.mp4"], root=None))
    assert tool["write"](config, predictions, 3) == 3
    assert [text.count("\n") for text in seen] == [0, 1, 2]
    assert all(json.loads(line) for text in seen for line in text.splitlines())


def test_timelines_are_written_for_every_video_under_names_of_their_own(
    tool: Tool, videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.mp4").write_bytes((videos / "d/e.mp4").read_bytes())
    code, out, _ = tool(
        f"video=[{videos},{tmp_path}/other/a.mp4]", f"over_time={tmp_path}/time", "every_s=0.5", "top=2", "format=jsonl"
    )
    assert code == 0
    named = {record["video"]: record.get("over_time") for record in map(json.loads, out.splitlines())}
    assert named[f"{videos}/c.mp4"] is None
    assert named[f"{tmp_path}/other/a.mp4"] == [f"{tmp_path}/time/a_2.csv", f"{tmp_path}/time/a_2.png"]
    assert sorted(path.name for path in (tmp_path / "time").iterdir()) == [
        f"{name}.{kind}" for name in ("a", "a_2", "b", "e") for kind in ("csv", "png")
    ]
    with (tmp_path / "time/a.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[:2] == ["start_s", "end_s"]
    assert set(header[2:]) < set(CLASSES)
    assert [row[0] for row in rows] == ["0.000", "0.500", "1.000", "1.500", "2.000", "2.467"]


def test_features_file_has_a_row_for_each_clip(tool: Tool, videos: Path, tmp_path: Path) -> None:
    code, out, err = tool(f"video={videos}", f"features={tmp_path}/f.npz", "protocol.num_clips=3")
    assert (code, out) == (0, "")
    assert f"{videos}/c.mp4: Invalid data" in err
    assert err.splitlines()[-1] == "3 of 4 videos predicted, 1 failed"
    with np.load(tmp_path / "f.npz") as file:
        content = dict(file)
    assert content["features"].dtype == np.float32
    assert content["features"].shape[0] == 9
    assert content["video"].tolist() == [f"{videos}/{name}" for name in ("a.mp4", "b.mp4", "d/e.mp4") for _ in range(3)]
    assert content["clip"].tolist() == [0, 1, 2] * 3
    np.testing.assert_allclose(content["start_s"][:3], [0, 1, 2], atol=1e-4)
    assert tool(f"video={videos}/a.mp4", f"features={tmp_path}/w.npz", "every_s=0.5").code == 0
    with np.load(tmp_path / "w.npz") as file:
        assert len(file["start_s"]) == 6


def test_nothing_predicted_is_exit_code_1(tool: Tool, videos: Path, tmp_path: Path) -> None:
    code, out, err = tool(f"video=[{videos}/c.mp4,gone.mp4]", "format=jsonl")
    assert code == 1
    assert [json.loads(line)["error"] for line in out.splitlines()] == [
        "Invalid data found when processing input",
        "No such file or directory",
    ]
    assert err.splitlines()[-1] == "0 of 2 videos predicted, 2 failed"
    assert tool(f"video={videos}/c.mp4", f"features={tmp_path}/f.npz").code == 1
    assert not (tmp_path / "f.npz").exists()


def test_a_run_its_checkpoint_and_other_files_are_answered_with_the_file_to_give(tool: Tool, tmp_path: Path) -> None:
    run = tmp_path / "runs/x"
    (run / "checkpoints").mkdir(parents=True)
    checkpoint = run / "checkpoints/step_00000001.pt"
    checkpoint.touch()
    for given in (run, checkpoint):
        code, _, err = tool(f"weights={given}", "video=a.mp4")
        assert code == 1
        assert f"expected a .safetensors file: {run}/model.safetensors" in err
        assert "not there yet" in err
    (tmp_path / "x.pth").touch()
    assert "tools/import_weights.py" in tool(f"weights={tmp_path}/x.pth", "video=a.mp4").err
    assert "no such file" in tool(f"weights={tmp_path}/gone.safetensors", "video=a.mp4").err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["weights="], "these settings need a value: weights=..., video=... or image=..."),
        ([], "these settings need a value: video=... or image=..."),
        (["video=a.mp4", "format=xml"], "format: got xml, expected text, jsonl, csv or coco"),
        (["video=a.mp4", "top=0"], "top: got 0"),
        (["video=a.mp4", "every_s=0"], "every_s: got 0"),
        (["video=a.mp4", "features=f.npz", "over_time=x"], "features=FILE is instead of predictions"),
        (["video=a.mp4", "out=/nowhere/out.txt"], "/nowhere/out.txt: its folder is not there"),
        (["video=a.mp4", "runtime.devices=2"], "runtime.devices: got 2, expected 1"),
        (["video=a.mp4", "protocol.crops=4"], "protocol.crops: got 4"),
        (["video=a.mp4", "data.decoder=vlc"], "data.decoder: got vlc"),
        (["video=a.mp4", "vdeo=b.mp4"], "vdeo"),
    ],
)
def test_bad_input_gives_one_clear_message(tool: Tool, given: list[str], said: str) -> None:
    code, out, err = tool(*given)
    assert (code, out) == (1, "")
    assert said in err
    assert err.count("error: ") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["drinking (31).mp4", "a,b=c.mp4", "it's {1} [2].mp4", "no extension"])
def test_a_video_needs_no_quotes_but_those_of_the_shell(tool: Tool, videos: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(videos / "a.mp4", tmp_path / name)
    code, out, _ = tool(f"video={tmp_path}/{name}", "format=jsonl", f"out={tmp_path}/[{name}].txt")
    assert (code, out) == (0, "")
    (record,) = map(json.loads, (tmp_path / f"[{name}].txt").read_text().splitlines())
    assert record["video"] == f"{tmp_path}/{name}"


def test_files_of_a_folder_that_are_no_videos_are_named(tool: Tool, videos: Path, tmp_path: Path) -> None:
    shutil.copy(videos / "b.mp4", tmp_path / "b.mp4")
    (tmp_path / "notes.txt").touch()
    code, _, err = tool(f"video={tmp_path}")
    assert code == 0
    assert f"{tmp_path}: other files, ignored: 1 (1 .txt: {tmp_path}/notes.txt)\n" in err


def test_a_word_without_a_setting_is_answered_with_what_was_expected(tool: Tool) -> None:
    assert "error: got 'a (1).mp4', expected SETTING=VALUE" in tool("a (1).mp4").err


def test_an_empty_folder_is_named(tool: Tool, tmp_path: Path) -> None:
    code, _, err = tool(f"video={tmp_path}")
    assert code == 1
    assert f"error: {tmp_path}: got no videos" in err


def test_the_command_itself_works_with_loader_processes(weights: Path, videos: Path) -> None:
    settings = [f"weights={weights}", f"video={videos}", "runtime.workers=2", "format=csv", "top=1", "every_s=1"]
    done = output("tools/predict.py", *settings)
    assert done.returncode == 0, done.stderr
    assert [row["video"] for row in csv.DictReader(done.stdout.splitlines())] == [
        f"{videos}/{name}" for name in ("a.mp4", "b.mp4", "c.mp4", "d/e.mp4")
    ]
