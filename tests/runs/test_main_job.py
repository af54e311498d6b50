"""The tools, run as a user runs them, on a small miniature."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.data import bad_videos
from tests.small_runs import tested, tool

ROOT = Path(__file__).parents[2]
FAST = [
    "optim.clips_per_device=4", "optim.reference_batch=4", "optim.steps=4", "optim.milestones=[3]", "clip.length=8",
    "runtime.workers=0", "runtime.threads=1", "runtime.log_every=2",
]  # fmt: skip
THREE = "protocol.num_clips=3"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR",)}


def train_arguments(miniature: Path, runs: Path, *overrides: str) -> list[str]:
    return [f"data.root={miniature}", f"runtime.runs={runs}", *FAST, *overrides]


def train(miniature: Path, runs: Path, *overrides: str) -> None:
    tool("train.py", *train_arguments(miniature, runs, *overrides))


def evaluate(run: Path, *overrides: str) -> dict:
    """The report of a run, with three clips a video; overrides may name it."""
    name = next((override.removeprefix("name=") for override in overrides if override.startswith("name=")), "three")
    given = [override for override in overrides if not override.startswith("name=")]
    tool("test.py", f"run={run}", f"name={name}", "runtime.workers=0", "runtime.threads=1", THREE, *given)
    return json.loads((run / "test" / name / "report.json").read_text())


def error_of(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> str:
    """The one message of a tool that must fail."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        tool(name, *arguments)
    assert exit_.value.code not in (0, None)
    captured = capsys.readouterr()
    lines = f"\n{captured.err}"
    assert "Traceback" not in captured.err
    (message,) = lines.split("\nerror: ")[1:]
    assert "step 2/" not in captured.out, "training began before the error"
    return message


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = sorted(run.glob("checkpoints/step_*.pt"))[-1]
    return torch.load(checkpoint, weights_only=True)["model"]


def losses(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"]) for record in records]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = final_weights(one), final_weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def run(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained NL-I3D."""
    runs = tmp_path_factory.mktemp("runs")
    train(miniature, runs, "experiment=miniature/nl_i3d", "name=run")
    return runs / "run"


def test_training_writes_checkpoint_metrics_config_and_tensorboard(run: Path) -> None:
    assert [path.name for path in run.glob("checkpoints/*")] == ["step_00000004.pt"]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    assert records[-1].keys() == {"step", "loss", "top1", "lr", "clips_per_s", "data_wait", "failed_videos",
                                  "skipped_steps", "nonlocal/res3.1"}  # fmt: skip
    assert records[-1]["lr"] == pytest.approx(0.005)
    assert "nonlocal_blocks" in (run / "config.yaml").read_text()
    assert list(run.glob("tensorboard/events*"))


def test_report_counts_every_listed_video(run: Path) -> None:
    report = evaluate(run)
    assert report["videos"] == {"listed": 9, "missing": 0, "failed": 0, "decoded": 9}
    assert report["network"] == "nl_i3d_small"
    assert report["protocol"]["num_clips"] == 3
    lines = tested(run / "test/three")
    assert [line["video"] for line in lines] == [f"videos/val_{i:04d}.mp4" for i in range(9)]
    assert all(sum(line["scores"]) == pytest.approx(1) for line in lines)
    correct = sum(line["scores"][line["label"]] == max(line["scores"]) for line in lines)
    assert report["top1"] == pytest.approx(100 * correct / 9)


def test_the_same_command_again_finds_the_run_finished(
    run: Path, miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "metrics.jsonl").read_text()
    train(miniature, run.parent, "experiment=miniature/nl_i3d", "name=run")
    assert "resumed from" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_half_the_processes_with_twice_the_passes_train_on_the_same_clips_and_go_on(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dropout and the clips that batch normalisation sees together are the same, too: float32 sums differ."""
    arguments = ["experiment=miniature/c2d", "optim.clips_per_device=2", "optim.milestones=[]", "optim.lr=0.001"]
    train(miniature, tmp_path, *arguments, "name=two", "runtime.devices=2")
    train(miniature, tmp_path, *arguments, "name=one", "runtime.accumulate=2")
    two, one = (losses(tmp_path / name) for name in ("two", "one"))
    assert [step for step, _ in two] == [step for step, _ in one]
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], rel=1e-4)
    a, b = final_weights(tmp_path / "two"), final_weights(tmp_path / "one")
    assert all(
        torch.allclose(a[name], b[name], atol=1e-5) for name in a if "running" not in name and "num_" not in name
    )
    capsys.readouterr()
    train(miniature, tmp_path, *arguments, "name=two", "runtime.devices=1", "optim.steps=6")
    assert "batch 2 clips x 2 passes x 1 processes = 4" in capsys.readouterr().out
    assert [step for step, _ in losses(tmp_path / "two")] == [2, 4, 6]


@pytest.mark.slow
def test_options_for_speed_and_memory_change_only_the_rounding(miniature: Path, tmp_path: Path) -> None:
    """Float32 losses of three steps at a small rate, within 1e-4 of themselves."""
    arguments = ["experiment=miniature/nl_i3d", "optim.lr=0.001", "optim.steps=3", "runtime.validate_every=0"]
    options = ["compile=true", "recompute=true", "channels_last=false", "fused=false"]
    for number, option in enumerate(["fused=true", *options]):
        train(miniature, tmp_path, *arguments, "runtime.log_every=1", f"name={number}", f"runtime.{option}")
    plain, *others = ([loss for _, loss in losses(tmp_path / str(number))] for number in range(5))
    assert len(plain) == 3
    for option, other in zip(options, others, strict=True):
        assert other == pytest.approx(plain, rel=1e-4), option


@pytest.mark.slow
def test_a_sweep_trains_every_job_though_one_fails(
    miniature: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = train_arguments(miniature, tmp_path, "model=c2d_small,nl_c2d_small", "seed=-1,0", "optim.steps=1")
    with pytest.raises(SystemExit) as exit_:
        tool("train.py", "-m", *arguments)
    assert exit_.value.code == 1
    said = capfd.readouterr().err
    assert said.count("failed: ") == 2
    assert "seed: got -1, expected 0 or more" in said
    runs = [path.parent.parent.name for path in tmp_path.glob("*/checkpoints/step_00000001.pt")]
    assert len(runs) == 2
    assert {"nl_c2d" in name for name in runs} == {True, False}
    assert all("seed_0" in name for name in runs)


def test_missing_and_broken_videos_are_counted_named_and_do_not_stop_a_run(
    run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    for which in ("train", "val"):
        lines = (miniature / f"relation_{which}.txt").read_text().replace("videos/", f"{miniature}/videos/")
        (tmp_path / f"{which}.txt").write_text(f"{lines}broken.mp4 0\nmissing.mp4 1\n")
    changes = [f"data.root={tmp_path}", "data.max_missing=0.2"]
    own = ["data=miniature_relation"]
    classes = [f"data.train={tmp_path}/train.txt", f"data.classes={miniature}/relation_classes.txt"]
    train(miniature, tmp_path, *own, *changes, *classes, "name=holes", "optim.steps=7")
    assert "26 videos listed, 1 missing" in capsys.readouterr().out
    assert (tmp_path / "holes/missing_videos.txt").read_text() == "missing.mp4\n"
    assert json.loads((tmp_path / "holes/failed_videos.jsonl").read_text().splitlines()[0])["video"] == "broken.mp4"

    report = evaluate(run, "name=holes", *changes, f"data.val={tmp_path}/val.txt")
    assert report["videos"] == {"listed": 11, "missing": 1, "failed": 1, "decoded": 9}
    assert [failure["video"] for failure in report["failures"]] == ["missing.mp4", "broken.mp4"]
    assert report["top1_of_listed"] == pytest.approx(report["top1"] * 9 / 11)


@pytest.mark.slow
def test_a_run_survives_every_kind_of_broken_file(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In loader processes; a fifo and a link to itself count as missing, the others as failed."""
    lines = (miniature / "relation_train.txt").read_text().splitlines()[:4]
    for spoil in bad_videos.BROKEN:
        place = tmp_path / spoil.__name__ / "video.mp4"
        place.parent.mkdir()
        spoil(place)
        lines.append(f"{place} 0")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    limits = ["data.max_missing=1", "data.max_failed=1", "data.decode_limit_s=20"]
    videos = [f"data.train={tmp_path / 'list.txt'}", *limits]
    train(miniature, tmp_path, "experiment=miniature/c2d", "name=run", "runtime.workers=2", *videos)
    out = capsys.readouterr().out
    failed = {json.loads(line)["video"] for line in (tmp_path / "run/failed_videos.jsonl").read_text().splitlines()}
    missing = set((tmp_path / "run/missing_videos.txt").read_text().splitlines())
    unreadable = {str(tmp_path / spoil.__name__ / "video.mp4") for spoil in bad_videos.BROKEN}
    if os.geteuid() == 0:
        unreadable.discard(str(tmp_path / "no_permission/video.mp4"))
    assert {str(tmp_path / name / "video.mp4") for name in ("fifo", "link_to_itself", "absent")} == missing
    assert failed
    assert failed <= unreadable - missing
    assert f"4 steps, {len(json_lines(tmp_path / 'run/failed_videos.jsonl'))} videos could not be decoded" in out
    report = evaluate(
        tmp_path / "run", f"data.val={tmp_path / 'list.txt'}", "name=all", *limits[:1], "runtime.workers=2"
    )
    in_part = {str(tmp_path / name / "video.mp4") for name in ("hole_in_the_middle", "size_that_changes")}
    tested = {failure["video"] for failure in report["failures"]}
    assert unreadable - in_part <= tested <= unreadable
    assert report["videos"]["missing"] == len(missing)
    assert report["top1_of_listed"] == pytest.approx(report["top1"] * report["videos"]["decoded"] / len(lines))


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_real_videos_are_decoded_classified_and_reported(run: Path, tmp_path: Path) -> None:
    videos = ROOT.parent / "shared/videos"
    if not videos.is_dir():
        pytest.skip("needs the real videos")
    names = ["dog.mp4", "flipping_a_pancake.mkv", "nasa_13013.mp4", "video_90.mov", "corrupted.mp4"]
    (tmp_path / "val.txt").write_text("".join(f"{name},1\n" for name in names))
    report = evaluate(run, "name=real", f"data.root={videos}", f"data.val={tmp_path}/val.txt", "protocol=10x3")
    assert report["videos"] == {"listed": 5, "missing": 0, "failed": 1, "decoded": 4}
    assert report["failures"][0]["video"] == "corrupted.mp4"


def test_mixed_precision_trains_and_tests(miniature: Path, tmp_path: Path) -> None:
    train(miniature, tmp_path, "name=amp", "optim.steps=2", "runtime.precision=bf16")
    assert final_weights(tmp_path / "amp")["backbone.conv1.weight"].dtype == torch.float32
    assert evaluate(tmp_path / "amp", "runtime.precision=bf16")["videos"]["decoded"] == 9


def test_fine_tuning_makes_a_fresh_classifier_and_says_so(
    run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = run / "checkpoints/step_00000004.pt"
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    new = ["data.num_classes=null", f"data.classes={tmp_path}/classes.txt", "model=nl_i3d_small", "optim.lr=0"]
    train(miniature, tmp_path, *new, f"init.weights={weights}", "name=tuned")
    out = capsys.readouterr().out
    assert "fresh classifier: 3 classes" in out
    assert f"3 classes of {tmp_path}/classes.txt" in out
    tuned, before = final_weights(tmp_path / "tuned"), final_weights(run)
    assert tuned["fc.weight"].shape[0] == 3
    assert torch.equal(tuned["backbone.conv1.weight"], before["backbone.conv1.weight"])


@pytest.mark.parametrize(("factor", "moves"), [(0, False), (0.5, True)])
def test_fine_tuning_trains_the_classifier_alone_or_the_backbone_more_slowly(
    factor: float, moves: bool, run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = f"init.weights={run}/model.safetensors"
    train(miniature, tmp_path, "model=nl_i3d_small", weights, f"optim.backbone_lr={factor}", "name=tuned")
    out = capsys.readouterr().out
    assert ("backbone at 0.5 of the rate" if moves else "classifier only") in out
    tuned, before = final_weights(tmp_path / "tuned"), final_weights(run)
    changed = {name for name in before if not torch.equal(tuned[name], before[name])}
    assert {"fc.weight", "fc.bias"} <= changed
    assert any(name.startswith("backbone.") for name in changed) == moves


BAD_TRAINING = {
    "unknown option": (["optim.learning_rate=1"], "learning_rate"),
    "unknown model option": (["model.nonlocal_block=1"], "nonlocal_block"),
    "unknown experiment": (["experiment=miniature/c3d"], "miniature/c3d"),
    "missing list": (["data.train=nowhere.txt"], "data.train: nowhere.txt: no such list of videos"),
    "missing root": (["data.root=nowhere", "data.train={root}/relation_train.txt"], "data.root: got nowhere"),
    "empty list": (["data.train={tmp}/empty.txt"], "empty.txt: the list is empty"),
    "label out of range": (["data.train={tmp}/label.txt"], "label.txt:2: got label 2, expected 0 to 1"),
    "line without label": (["data.train={tmp}/nolabel.txt"], "nolabel.txt:1: got 'videos/a.mp4', expected a path"),
    "too many missing": (["data.train={tmp}/missing.txt"], "1 of 1 listed videos are missing"),
    "wrong class file": (["data.num_classes=3"], "has 2 names, expected data.num_classes=3"),
    "unwritable folder": (["runtime.runs={tmp}/file"], "cannot be written"),
    "bad name": (["name='a b'"], "name: got 'a b'"),
    "bad decoder": (["data.decoder=cv2"], "data.decoder: got cv2"),
    "bad type": (["optim.lr=fast"], "optim.lr: got fast, expected a number"),
    "endless rate": (["clip.fps=inf"], "clip.fps: got inf, expected a finite number"),
    "a claim for a number": (["optim.lr=true"], "optim.lr: got True, expected a number"),
    "more steps than ever": (["optim.steps=1000000000"], "optim.steps: got 1000000000, expected 1e+07 or less"),
    "a seed too large": (["seed=99999999999999999999999"], "seed: got 99999999999999999999999, expected less than"),
    "no folder of runs": (["runtime.runs=''"], "runtime.runs: got '', expected a name"),
    "no such protocol": (["test=nope"], "test: there is no protocol 'nope', expected one of 10x1"),
    "a task": (["task=multi_label"], "task: there is no such setting"),
    "bad jitter": (["clip.jitter=[55]"], "clip.jitter: got [55], expected two short sides"),
    "no logging": (["runtime.log_every=0"], "runtime.log_every: got 0, expected 1 or more"),
    "bad threads": (["runtime.threads=-1"], "runtime.threads: got -1"),
    "bad precision": (["runtime.precision=fp8"], "runtime.precision: got fp8"),
    "crop larger than the video": (["clip.crop=64"], "clip.jitter: got [55, 69]"),
    "clip too short": (["clip.length=4"], "too small"),
    "blocks that do not exist": (["model.nonlocal_blocks=5"], "nonlocal_blocks: got 5"),
    "bad pairwise": (["model.pairwise=cosine"], "pairwise: got 'cosine'"),
    "absent weights": (["init.weights=none.pt"], "init.weights: none.pt: no such file"),
    "foreign weights": (["init.weights={tmp}/label.txt"], "label.txt: "),
    "batch normalisation over all GPUs": (["optim.sync_bn=true"], "optim.sync_bn: got True, expected false: it needs"),
    "unknown schedule": (["optim.schedule=linear"], "optim.schedule: got linear, expected steps or cosine"),
    "milestones out of order": (["optim.milestones=[3,2]"], "optim.milestones: got [3, 2], expected steps that rise"),
    "unknown answer to infinity": (["optim.nonfinite=hope"], "optim.nonfinite: got hope, expected stop or skip"),
    "no gradient at all": (["optim.clip_norm=0"], "optim.clip_norm: got 0, expected more than 0"),
    "negative rate": (["optim.backbone_lr=-1"], "optim.backbone_lr: got -1, expected 0 or more"),
    "classes unknown": (["data.num_classes=null", "data.classes=null"], "data.num_classes: got null"),
    "half precision without a GPU": (["runtime.precision=fp16"], "expected fp32 or bf16 to train without a GPU"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TRAINING)
def test_bad_input_to_training_gives_one_clear_message(
    case: str, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "label.txt").write_text("videos/train_0000.mp4 0\nvideos/train_0001.mp4 2\n")
    (tmp_path / "nolabel.txt").write_text("videos/a.mp4\n")
    (tmp_path / "missing.txt").write_text("videos/a.mp4 0\n")
    overrides, message = BAD_TRAINING[case]
    filled = [override.replace("{tmp}", str(tmp_path)).replace("{root}", str(miniature)) for override in overrides]
    assert message in error_of(capsys, "train.py", *train_arguments(miniature, tmp_path / "runs", *filled))
    kept = (
        [file.read_text() for file in (tmp_path / "runs").glob("*/failed.txt")] if case != "unwritable folder" else []
    )
    assert all(message in text for text in kept)
    assert kept or case not in ("missing list", "absent weights", "blocks that do not exist", "bad pairwise")


def test_a_finished_run_goes_on_to_the_same_weights_as_one_of_that_length(miniature: Path, tmp_path: Path) -> None:
    """20 + 20 steps are 40."""
    short = ["optim.milestones=[30]", "optim.clips_per_device=2", "runtime.checkpoint_every=15"]
    train(miniature, tmp_path, "name=whole", "optim.steps=40", *short)
    train(miniature, tmp_path, "name=parts", "optim.steps=20", *short)
    train(miniature, tmp_path, "name=parts", "optim.steps=40", *short)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["runtime.checkpoint_every=2", "name=run"]
    train(miniature, tmp_path, *arguments)
    whole = final_weights(tmp_path / "run")
    newest = tmp_path / "run/checkpoints/step_00000004.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    (tmp_path / "run/failed.txt").write_text("an earlier job's")
    capsys.readouterr()
    train(miniature, tmp_path, *arguments)
    assert not (tmp_path / "run/failed.txt").exists()
    out = capsys.readouterr().out
    assert "warning:" in out
    assert "step_00000004.pt: cannot be read" in out
    assert "resumed from" in out
    again = final_weights(tmp_path / "run")
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_videos(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        train(miniature, tmp_path, "name=run", "optim.lr=1e30", "optim.milestones=[]", "runtime.log_every=100")
    message = capsys.readouterr().err
    assert "the loss is nan at step 2" in message
    assert "the loss is nan at step 2" in (tmp_path / "run/failed.txt").read_text()
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    facts = json.loads((tmp_path / "run/nonfinite.json").read_text())
    assert [fact["step"] for fact in facts][:2] == [1, 2]
    assert all(len(fact["videos"]) == 4 and fact["lr"] == 1e30 for fact in facts)
    assert {Path(video).suffix for fact in facts for video in fact["videos"]} == {".mp4"}


def test_precise_statistics_are_exported_and_tested_but_never_trained_with(miniature: Path, tmp_path: Path) -> None:
    arguments = ["optim.milestones=[]", "runtime.checkpoint_every=2"]
    train(miniature, tmp_path, *arguments, "name=plain")
    train(miniature, tmp_path, *arguments, "name=precise", "optim.precise_bn=3", "runtime.validate_every=4")
    assert_same_weights(tmp_path / "plain", tmp_path / "precise")
    assert losses(tmp_path / "plain") == losses(tmp_path / "precise")
    checkpoints = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob("precise/checkpoints/*.pt")}
    precise = {name: content["precise_bn"] for name, content in checkpoints.items()}
    assert precise["step_00000004"].keys() == {k for k in final_weights(tmp_path / "plain") if "running_" in k}
    exported = load_file(tmp_path / "precise/model.safetensors")
    name = "backbone.bn1.running_var"
    assert torch.equal(exported[name], precise["step_00000004"][name])
    assert not torch.equal(exported[name], final_weights(tmp_path / "precise")[name])
    assert evaluate(tmp_path / "precise")["batch_norm"] == "precise"
    assert evaluate(tmp_path / "plain")["batch_norm"] == "running averages"


def test_the_best_checkpoint_is_kept_and_tested_by_its_name(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validated = [
        "runtime.validate_every=1",
        "runtime.keep_checkpoints=1",
        "optim.lr=0",
    ]  # So that the first is the best.
    train(miniature, tmp_path, "name=run", *validated)
    assert [path.stem for path in sorted(tmp_path.glob("run/checkpoints/*.pt"))] == ["step_00000001", "step_00000004"]
    records = json_lines(tmp_path / "run/validation.jsonl")
    assert [(record["step"], record["videos"], record["failed"]) for record in records] == [
        (i, 9, 0) for i in range(1, 5)
    ]
    assert evaluate(tmp_path / "run", "weights=best", "name=best")["step"] == 1
    train(miniature, tmp_path, "name=other")
    arguments = [f"run={tmp_path}/other", "weights=best"]
    assert "weights=best: it was not validated while it trained" in error_of(capsys, "test.py", *arguments)


def test_a_cosine_of_another_length_is_another_run(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cosine = ["name=run", "optim.schedule=cosine", "optim.warmup_steps=2"]
    train(miniature, tmp_path, *cosine)
    rates = [record["lr"] for record in json_lines(tmp_path / "run/metrics.jsonl")]
    assert rates == pytest.approx([0.05 * 0.5 * (1 + 0.5**0.5) * 2 / 3, 0.05 * 0.5 * (1 - 0.5**0.5)])
    arguments = train_arguments(miniature, tmp_path, *cosine, "optim.steps=9")
    assert "optim.steps: was 4, now 9" in error_of(capsys, "train.py", *arguments)


def test_a_moved_data_set_is_tested_at_its_new_root(run: Path, miniature: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").symlink_to(miniature)
    evaluate(run, "name=moved", f"data.root={tmp_path}/moved")
    (tmp_path / "run").mkdir()
    config = (run / "config.yaml").read_text().replace(str(miniature), "/gone/miniature")
    (tmp_path / "run/config.yaml").write_text(config)
    weights = f"weights={run}/checkpoints/step_00000004.pt"
    report = evaluate(tmp_path / "run", "name=moved", f"data.root={tmp_path}/moved", weights)
    assert report["videos"]["decoded"] == 9
    assert report["train_top1"] is None


def test_a_report_of_other_videos_has_another_name(run: Path, miniature: Path, tmp_path: Path) -> None:
    lines = (miniature / "relation_val.txt").read_text().splitlines()[:3]
    (tmp_path / "three.txt").write_text("\n".join(lines))
    evaluate(run)
    before = (run / "test/three/report.json").read_text()
    tool("test.py", f"run={run}", "runtime.workers=0", THREE, f"data.val={tmp_path}/three.txt")
    assert (run / "test/three/report.json").read_text() == before
    (other,) = (run / "test").glob("full_10-num_clips_3-val_three_*/report.json")
    assert json.loads(other.read_text())["data"] == "three"


@pytest.mark.skipif((ROOT / "configs/local.yaml").exists(), reason="configs/local.yaml may name a root")
def test_kinetics_without_a_root_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "train.py", "experiment=kinetics/nl_i3d_r50_32x2")
    assert message == "these settings need a value: data.root=..., init.weights=... (null begins with random weights)\n"


def test_another_setting_in_the_same_folder_is_refused_with_the_difference(
    run: Path, miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = train_arguments(miniature, run.parent, "experiment=miniature/nl_i3d", "name=run")
    message = error_of(capsys, "train.py", *arguments, "optim.lr=0.1", "seed=3")
    assert "optim.lr: was 0.05, now 0.1" in message
    assert "seed: was 0, now 3" in message
    assert "name=" in message
    before = (run / "config.yaml").read_text()
    given = ("optim.clips_per_device=2", "runtime.accumulate=1")
    assert "global batch of 4, got 2" in error_of(capsys, "train.py", *arguments, *given)
    said = error_of(capsys, "train.py", *arguments, "optim.clips_per_device=3")
    assert "global batch of 4, got 1 processes of 3 clips: set runtime.devices, or optim.clips_per_device" in said
    assert "has 4 steps, got optim.steps=3" in error_of(capsys, "train.py", *arguments, "optim.steps=3")
    classes = ["data.num_classes=3", "data.classes=null"]
    assert "data.num_classes: was 2, now 3" in error_of(capsys, "train.py", *arguments, *classes)
    assert (run / "config.yaml").read_text() == before


def test_a_run_with_the_checkpoint_of_another_network_or_class_count_is_refused(
    run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(miniature, tmp_path, "model=c2d_small", "name=other", "optim.steps=1")
    path = tmp_path / "other/checkpoints/step_00000001.pt"
    content = torch.load(path, weights_only=True)
    again = train_arguments(miniature, tmp_path, "model=c2d_small", "name=other")
    fc = {"fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}
    torch.save({**content, "model": {**content["model"], **fc}}, path)
    assert "got weights for 5 classes, expected 2" in error_of(capsys, "train.py", *again)
    torch.save({**content, "model": final_weights(run)}, path)
    assert "weights of another network" in error_of(capsys, "train.py", *again)


def test_a_run_that_failed_before_its_first_checkpoint_does_not_block_its_name(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error_of(capsys, "train.py", *train_arguments(miniature, tmp_path, "name=again", "init.weights=none.pt"))
    train(miniature, tmp_path, "name=again", "optim.steps=1")
    assert (tmp_path / "again/checkpoints/step_00000001.pt").exists()


BAD_TESTING = {
    "no run": (["run=nowhere"], "nowhere: not the folder of a training run"),
    "run not given": ([], "run=runs/NAME, or weights=FILE.safetensors; weights come from"),
    "weights without videos": (["weights={run}/model.safetensors"], "need to know the videos: data=kinetics400"),
    "other classes than the data": (
        ["weights={run}/model.safetensors", "data=kinetics400", "data.root={root}", "data.val={val}"],
        "got weights for 2 classes, expected 400, those of kinetics400",
    ),
    "other classes than the run": (
        ["run={run}", "data=kinetics400", "data.root={root}", "data.val={val}", "data.classes={tmp}/names.txt"],
        "got weights for 2 classes, expected 400, those of",
    ),
    "no such weights": (
        ["weights=nowhere.safetensors", "data.val=a.txt"],
        "weights: got nowhere.safetensors, no such file",
    ),
    "no such checkpoint": (
        ["run={run}", "weights=nowhere.pt"],
        "weights: got nowhere.pt, no such file; weights come from",
    ),
    "unfinished run": (["run={tmp}/unfinished"], "no checkpoint yet"),
    "other network": (["run={run}", "weights={tmp}/other.pt"], "other.pt: weights of another network"),
    "other class count": (["run={run}", "weights={tmp}/classes.pt"], "got weights for 5 classes, expected 2"),
    "foreign file": (["run={run}", "weights={tmp}/foreign.pt"], "foreign.pt: cannot be read"),
    "missing list": (["run={run}", "data.val=nowhere.txt"], "nowhere.txt: no such list"),
    "unknown option": (["run={run}", "clip.crops=3"], "crops"),
    "unwritable report": (["run={tmp}/blocked"], "cannot be written"),
    "bad crops": (["run={run}", "protocol.crops=2"], "protocol.crops: got 2, expected full, 1 or 3"),
    "bad placement": (
        ["run={run}", "protocol.placement=random"],
        "protocol.placement: got random, expected released, even",
    ),
    "unknown protocol": (["run={run}", "protocol=30x1"], "30x1"),
    "views too small": (["run={run}", "protocol.short_side=2"], "protocol.short_side: got 2: a clip of 8"),
    "frames without times": (["run={run}", "protocol.fps=0"], "protocol.fps: got 0, expected more than 0"),
    "video twice": (["run={run}", "data.val={tmp}/twice.txt"], "twice.txt:2: got videos/val_0000.mp4 again"),
    "labels for some": (["run={run}", "data.val={tmp}/some.txt"], "some.txt:2: got 'videos/val_0001.mp4', expected a"),
    "no decodable video": (
        ["run={run}", "data.root={tmp}", "data.val={tmp}/broken.txt"],
        "none of 1 videos could be tested: ",
    ),
}


@pytest.mark.parametrize("case", BAD_TESTING)
def test_bad_input_to_testing_gives_one_clear_message(
    case: str, run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(run / "checkpoints/step_00000004.pt", weights_only=True)
    fc = {"fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}
    torch.save({**content, "model": {**content["model"], **fc}}, tmp_path / "classes.pt")
    torch.save(
        {**content, "model": {k: v for k, v in content["model"].items() if "res5" not in k}}, tmp_path / "other.pt"
    )
    (tmp_path / "foreign.pt").write_text("foreign")
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(400))))
    (tmp_path / "twice.txt").write_text("videos/val_0000.mp4,0\nvideos/val_0000.mp4,0\n")
    (tmp_path / "some.txt").write_text("videos/val_0000.mp4,0\nvideos/val_0001.mp4\n")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "broken.txt").write_text("broken.mp4,0\n")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished/config.yaml").write_text((run / "config.yaml").read_text())
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/config.yaml").write_text((run / "config.yaml").read_text())
    (tmp_path / "blocked/checkpoints").mkdir()
    os.link(run / "checkpoints/step_00000004.pt", tmp_path / "blocked/checkpoints/step_00000004.pt")
    (tmp_path / "blocked/test").write_text("a file")
    overrides, message = BAD_TESTING[case]
    paths = {"tmp": tmp_path, "run": run, "root": miniature, "val": miniature / "relation_val.txt"}
    filled = [override.format(**paths) for override in overrides]
    assert message in error_of(capsys, "test.py", "runtime.workers=0", *filled)


def test_file_of_weights_alone_is_tested_as_its_run_is(run: Path, miniature: Path, tmp_path: Path) -> None:
    report = evaluate(run)
    videos = [f"data.root={miniature}", f"data.val={miniature}/relation_val.txt"]
    runtime = [f"runtime.runs={tmp_path}", "runtime.workers=0", "runtime.threads=1"]
    tool("test.py", f"weights={run}/model.safetensors", *videos, THREE, *runtime)
    folder = tmp_path / "model/test/relation_val-full_10-num_clips_3"
    assert (folder / "predictions.jsonl").exists(), list(tmp_path.rglob("*"))
    alone = json.loads((folder / "report.json").read_text())
    assert (alone["step"], alone["network"]) == (None, "nl_i3d_small_8x2")
    assert alone["top1"] == report["top1"]
    predictions = [{line["video"]: line["scores"] for line in tested(path)} for path in (folder, run / "test/three")]
    assert predictions[0] == predictions[1]
    names = (miniature / "relation_classes.txt").read_text().splitlines()
    assert tested(folder)[0]["predicted"] in names, "as the file of weights tells them"


def test_fine_tuning_takes_a_file_of_weights(
    run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(miniature, tmp_path, "experiment=miniature/nl_i3d", "name=tuned", f"init.weights={run}/model.safetensors")
    out = capsys.readouterr().out
    assert "fresh classifier: 2 classes" in out
    assert "fresh non-local blocks" not in out
    assert "note:" not in out
    weights = f"init.weights={run}/model.safetensors"
    train(miniature, tmp_path, "experiment=miniature/nl_i3d", "name=other", weights, "model.subsample=after")
    assert "note: model.subsample is after, but before in" in capsys.readouterr().out


def test_report_tool_prints_the_table_of_tested_runs(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (run / "test/three/report.json").exists():
        evaluate(run)
    capsys.readouterr()
    tool("report.py", "--rows", "choices.model", str(run / "test/three"), "--out", str(tmp_path))
    assert "| nl_i3d_small |" in capsys.readouterr().out
