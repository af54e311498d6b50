"""From a file like a published one to the report of a test; tests/models/test_published.py has those of all formats."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from nonlocal_video.data.lists.classes import KINETICS400
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import load_model
from nonlocal_video.models.weights.published import Published
from tests.models.standins import random_clips, stand_in
from tests.small_runs import ROOT, tool
from tests.small_runs import tested as tested_lines

MODELS: dict[str, Published] = runpy.run_path(str(ROOT / "tools" / "import_weights.py"))["published_models"]()
NAMES = ["caffe2_c2d_r50_8x8", "pytorchvideo_c2d_r50_8x8"]
"""Of one and of two published digits."""
LABELS = (0, 123, 399)


@pytest.fixture(scope="module")
def kinetics(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like Kinetics-400's, with videos of the miniature and labels up to 399."""
    folder = tmp_path_factory.mktemp("kinetics")
    videos = sorted((miniature / "videos").glob("val_*.mp4"))[: len(LABELS)]
    lines = [f"{video} {label}\n" for video, label in zip(videos, LABELS, strict=True)]
    (folder / "val.csv").write_text("".join(lines))
    (folder / "one.csv").write_text(lines[1])
    return folder


def tested(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[dict, str]:
    """The report, and what is printed, of the command that the import tells, in the folder of a stand-in.

    The network that the report is of gives the stand-in's logits.
    """
    model, clips = MODELS[name], random_clips(8)
    oracle = stand_in(model, folder / model.file)
    tool(
        "import_weights.py", "--published", name, str(folder / model.file), "--out", str(folder / f"{name}.safetensors")
    )
    with torch.no_grad():
        expected, got = oracle(clips), load_model(folder / f"{name}.safetensors")(clips)
    assert (got - expected).abs().max() / expected.abs().max() < 1e-5  # As in tests/models/test_weights.py.
    (command,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next:")]
    words = command.split("tools/test.py ")[1].split()
    given = [word.replace("FOLDER", str(folder)) for word in words if not word.startswith("data.root")]
    tool("test.py", *given, "runtime.workers=0", "runtime.threads=1", f"runtime.runs={folder}", "name=it", *overrides)
    return json.loads((folder / name / "test/it/report.json").read_text()), capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_published_model_goes_from_its_file_to_a_report(
    name: str, kinetics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = MODELS[name]
    report, said = tested(name, tmp_path, capsys, f"data.root={kinetics}", "protocol=1x1")
    assert report["videos"] == {"listed": 3, "missing": 0, "failed": 0, "decoded": 3}
    assert report["published"]["name"] == name
    assert (report["data"], report["protocol"]["name"]) == ("kinetics400", "1x1")
    lines = tested_lines(tmp_path / name / "test/it")
    assert [line["label"] for line in lines] == list(LABELS)
    assert all(len(line["scores"]) == 400 for line in lines)
    assert all(KINETICS400[max(range(400), key=line["scores"].__getitem__)] in json.dumps(line) for line in lines)
    assert f"published {model.top1:.{1 if model.format in ('caffe2', 'pyslowfast') else 2}f} / " in said
    assert "not compared: the protocol is 1x1" in said


@pytest.mark.slow
def test_published_protocol_is_the_default_and_compares(
    kinetics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network sees every fourth pixel of the 30 views."""
    scores = Classifier.scores
    monkeypatch.setattr(Classifier, "scores", lambda self, clips: scores(self, clips[..., ::4, ::4]))
    name = "mmaction2_c2d_r50_8x8"
    report, said = tested(name, tmp_path, capsys, f"data.root={kinetics}", f"data.val={kinetics}/one.csv")
    assert report["protocol"] == report["published"]["protocol"]
    assert (report["protocol"]["name"], report["protocol"]["short_side"]) == ("mmaction2", 224)
    top1, top5 = report["top1"], report["top5"]
    assert f"published 73.89 / 91.21 (mmaction2), measured {top1:.2f} [" in said
    assert f"difference {top1 - 73.89:+.2f} / {top5 - 91.21:+.2f}" in said
    assert "published on 19,796 videos, this list has 1" in said
