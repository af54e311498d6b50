"""What is said of a file of weights that is not there, or has to be brought in first."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from nonlocal_video.models.weights.given import check_network, how_to_bring_in
from nonlocal_video.runs.weights import check_given
from nonlocal_video.settings import TestConfig
from tests.runs.test_main_job import tool

WHENCE = ["runs/NAME/model.safetensors", "tools/import_weights.py --published", "tools/import_weights.py --help"]


def refusal(check: object, *arguments: object) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  The callers look at the message.
        check(*arguments)  # type: ignore[operator]
    return str(caught.value)


@pytest.mark.parametrize(
    "config", [TestConfig(), TestConfig(weights="/gone/x.safetensors"), TestConfig(run="r", weights="/gone/x.pt")]
)
def test_absent_weights_are_answered_with_where_they_come_from(config: TestConfig) -> None:
    message = refusal(check_given, config)
    assert all(place in message for place in WHENCE)
    assert message.startswith("these settings need a value: run=" if config.weights is None else "weights: got /gone/x")


def test_checkpoint_of_a_run_needs_its_run(tmp_path: Path) -> None:
    path = tmp_path / "runs/a/checkpoints/step_00000004.pt"
    assert f"run={tmp_path}/runs/a" in refusal(check_given, TestConfig(weights=str(path)))
    assert f"{tmp_path}/runs/a/model.safetensors, which training writes" in refusal(check_network, path)


def pyslowfast(path: Path, *, depth: int = 50, conv1: tuple[int, ...] = (64, 3, 5, 7, 7), blocks: bool = True) -> Path:
    names = ["s4.pathway0_res22.branch2.a.weight"] if depth == 101 else []
    names += ["s3.pathway0_nonlocal1.conv_theta.weight"] if blocks else []
    state = {"s1.pathway0_stem.conv.weight": torch.zeros(conv1), **{name: torch.zeros(1) for name in names}}
    torch.save({"model_state": state, "epoch": 196}, path)
    return path


@pytest.mark.parametrize(
    ("name", "made", "network"),
    [
        ("x y=1.pyth", {}, "nl_i3d_r50_CLIP"),
        ("I3D_NLN_8x8_R50.pyth", {}, "nl_i3d_r50_8x8"),
        ("c2d_32x2.pth", {"depth": 101, "conv1": (64, 3, 1, 7, 7), "blocks": False}, "c2d_r101_32x2"),
    ],
)
def test_checkpoint_of_another_code_base_is_answered_with_the_line_that_brings_it_in(
    name: str, made: dict, network: str, tmp_path: Path
) -> None:
    path = pyslowfast(tmp_path / name, **made)
    expected = ["python", "tools/import_weights.py", "pyslowfast", network, str(path), f"{path.stem}.safetensors"]
    message = refusal(check_network, path)
    (line,) = re.findall(r"bring it in by: (.*?)(?:, with the frames|$)", message)
    assert shlex.split(line) == expected
    assert ("for CLIP, such as 8x8" in message) == ("CLIP" in network)


def test_published_file_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "i3d_nonlocal_32x2_IN_pretrain_400k.pkl"
    path.write_bytes(b"")
    assert how_to_bring_in(path).endswith(f"--published caffe2_nl_i3d_r50_32x2 {path}")


def test_junk_is_answered_with_the_form_of_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("junk")
    message = refusal(check_network, tmp_path / "a.pth")
    assert f"is brought in by: python tools/import_weights.py FORMAT NETWORK {tmp_path}/a.pth a.safetensors" in message


@pytest.mark.parametrize("words", [["--help"], ["--published", "--help"]])
def test_help_of_the_import_shows_both_ways(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool("import_weights.py", *words)
    usage = capsys.readouterr().out.partition("\n\n")[0]
    assert "FORMAT MODEL SOURCE OUT" in usage
    assert "--published [NAME] [FILE] [--download]" in usage
