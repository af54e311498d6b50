"""What is said of published models holds together, and a file like each format's goes through to a file of ours."""

import hashlib
import re
import runpy
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from nonlocal_video.data.lists.classes import KINETICS400
from nonlocal_video.models import build_model
from nonlocal_video.models.placement import built_places
from nonlocal_video.models.weights.file import load_model, read_model_file, save_model
from nonlocal_video.models.weights.published import Published, check_options, download
from nonlocal_video.models.weights.read import FORMATS
from nonlocal_video.models.weights.state import StoredNetwork
from nonlocal_video.reports.tables.sheet import replace_block
from nonlocal_video.reports.test.published import published_table
from nonlocal_video.runs.weights import published_of
from tests.models.standins import random_clips, stand_in
from tests.small_runs import ROOT, tool

MODELS: dict[str, Published] = runpy.run_path(str(ROOT / "tools/import_weights.py"))["published_models"]()
import_weights = partial(tool, "import_weights.py")


def error_of(*arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        import_weights(*arguments)
    return str(exit_.value.code)


# What is said


def test_models_of_all_four_code_bases_are_there() -> None:
    """15 of the released code, 3 of PySlowFast, 2 of pytorchvideo, 9 of mmaction2 (all but the heavy I3D)."""
    counts = {name: sum(model.format == name for model in MODELS.values()) for name in FORMATS}
    assert counts == {"caffe2": 15, "pyslowfast": 3, "pytorchvideo": 2, "mmaction2": 9, "torchvision": 0}
    assert len({model.url for model in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_published_model_is_consistent_and_builds_its_network(name: str) -> None:
    model = MODELS[name]
    assert name.startswith(f"{model.format}_{model.network}")
    assert model.url.startswith("https://")
    assert model.url.endswith(f"/{model.file}")
    assert (ROOT / f"configs/protocol/{model.protocol['name']}.yaml").is_file()
    assert (ROOT / f"configs/data/{model.data}.yaml").is_file()
    assert 60 < model.top1 < 80
    assert 85 < model.top5 < 95
    assert (model.checksum is not None) == (model.format == "mmaction2")
    with torch.device("meta"):
        network = build_model(model.network, num_classes=400, **model.options)
    assert len(built_places(network)) == (5 if "nl_" in name else 0)
    assert network.backbone.conv1.kernel_size[0] == (5 if "i3d" in name else 1)


def test_released_models_are_those_that_experiments_train() -> None:
    """Each released script is the recipe of an experiment; its file trains the network of that name."""
    for model in (model for model in MODELS.values() if model.format == "caffe2"):
        experiment = ROOT / f"configs/experiment/kinetics/{model.name.removeprefix('caffe2_')}.yaml"
        assert model.source.rpartition("/")[2] in experiment.read_text()
        assert model.file.split("_IN_")[0].split("_I3D_")[0] == (
            f"{'c2d' if 'c2d' in model.name else 'i3d'}_{'nonlocal' if 'nl_' in model.name else 'baseline'}_"
            f"{model.network.rpartition('_')[2]}"
        )


def test_the_page_has_the_table(tmp_path: Path) -> None:
    copy = tmp_path / "published.md"
    copy.write_text((ROOT / "docs/published.md").read_text())
    replace_block(copy, name="published", text=published_table(list(MODELS.values())))
    assert copy.read_text() == (ROOT / "docs/published.md").read_text()


def test_table_has_all_models_with_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        import_weights("--published")
    assert exit_.value.code is None
    out = re.sub(" +", " ", capsys.readouterr().out)
    for model in MODELS.values():
        (row,) = [line for line in out.splitlines() if line.startswith(f"| `{model.name}` |")]
        assert model.url in row
        shown = [float(number) for number in row.split("|")[-2].split("/")]
        assert shown == [model.top1, model.top5]
    assert "| mmaction2 short_side=224 | 73.44 / 91.00 |" in out
    assert "c2d_r50_8x8 pool2=false |" in out


# From the file of another code base to one of ours

CHAINS = [
    "caffe2_nl_i3d_r50_32x2", "pyslowfast_nl_i3d_r50_8x8", "pytorchvideo_i3d_r50_8x8",
    "mmaction2_nl_i3d_r50_32x2_embedded_gaussian", "mmaction2_c2d_r50_8x8_nopool",
]  # fmt: skip
"""The remaining kind, mmaction2's C2D with pooling, is in tests/test_published.py."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_file_like_the_published_one_becomes_its_network(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = MODELS[name], tmp_path / "new" / "model.safetensors"
    oracle = stand_in(model, tmp_path / model.file)
    import_weights("--published", name, str(tmp_path / model.file), "--out", str(out))
    said = capsys.readouterr().out
    network, content = load_model(out), read_model_file(out, with_weights=False)
    clips = random_clips(8)
    with torch.no_grad():
        expected, got = oracle(clips), network(clips)
    assert (got - expected).abs().max() / expected.abs().max() < 1e-5  # As in test_weights.py.
    assert content.classes == list(KINETICS400)
    assert content.published is not None
    protocol = content.published["protocol"]
    assert {**content.published, "protocol": model.protocol} == asdict(model)
    assert protocol.items() >= model.protocol.items()
    assert (protocol["num_clips"], protocol["crops"], protocol["combine"]) == (10, "3", "mean")
    assert protocol["short_side"] == (224 if "mmaction2_c2d" in name else 256)
    assert ("so this is another file" in said) == (model.checksum is not None)
    assert said.endswith(f"next:    python tools/test.py weights={out} data=kinetics400 data.root=FOLDER\n")


def test_files_of_before_load_and_have_nothing_published(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_model(path, build_model("c2d_small_8x2", num_classes=3, crop=48), origin="a test")
    assert read_model_file(path).published is None
    with safe_open(path, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "published"}
        save_file({name: file.get_tensor(name) for name in file.keys()}, path, metadata)  # noqa: SIM118
    assert read_model_file(path).published is None
    assert load_model(path).options.num_classes == 3


# Bad input


@pytest.mark.parametrize(
    "change",
    [
        {"num_clips": 10**9}, {"num_clips": "10"}, {"num_clips": -1}, {"short_side": 10**9}, {"crops": ["3"]},
        {"_target_": "os.system"}, {"placement": "p" * 1000},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_published_protocol_that_cannot_be_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", build_model("c2d_small_8x2", num_classes=3, crop=48)
    published = asdict(MODELS["caffe2_c2d_r50_8x8"])
    save_model(path, model, origin="a test", published=published)
    assert published_of(str(path)) == published
    protocol = {**published["protocol"], **change}
    save_model(path, model, origin="a test", published={**published, "protocol": protocol})
    with pytest.raises(
        ValueError, match=r"model\.safetensors: (published\.protocol|damaged: its published protocol)"
    ) as error:
        published_of(str(path))
    assert len(str(error.value)) < 500


def test_unknown_name_lists_those_that_are_near() -> None:
    error = error_of("--published", "caffe2_nl_i3d_r50_32x3")
    assert "got 'caffe2_nl_i3d_r50_32x3', expected a name such as caffe2_nl_i3d_r50_" in error
    assert "caffe2_nl_i3d_r50_32x2, " in error
    assert "--published list" in error
    assert "such as" not in error_of("--published", "?")


def test_model_without_a_file_says_where_it_is() -> None:
    model = MODELS["pytorchvideo_c2d_r50_8x8"]
    said = error_of("--published", model.name)
    assert {model.file, model.url} <= set(said.split())
    assert f"python tools/import_weights.py --published {model.name} FILE" in said


def test_file_of_another_network_is_refused(tmp_path: Path) -> None:
    model = MODELS["mmaction2_nl_i3d_r50_32x2_dot_product"]
    with pytest.raises(ValueError, match=r"a\.pth: is another network than .*dot_product: pairwise is gaussian, expec"):
        check_options(model, StoredNetwork({}, {"pairwise": "gaussian"}), where="a.pth")
    check_options(model, StoredNetwork({}, {"stem": "skipping"}), where="a.pth")  # What the file does not tell.
    assert "a.pth: cannot be read" in error_of("--published", model.name, str(tmp_path / "a.pth"))


def test_file_of_another_number_of_classes_needs_their_names(tmp_path: Path) -> None:
    from tests.models.standins import hub_network

    path, name = tmp_path / "model.pyth", "pytorchvideo_c2d_r50_8x8"
    torch.save({"model_state": hub_network("c2d", num_classes=7, places={}).state_dict()}, path)
    out = tmp_path / "new" / "model.safetensors"
    assert "has 7 classes, expected the 400 of kinetics400" in error_of(
        "--published", name, str(path), "--out", str(out)
    )
    assert not out.parent.exists()


# Downloads

CONTENT = bytes(range(256)) * 4096


class Released(BaseHTTPRequestHandler):
    """Serves CONTENT; under /short only half of what it announces."""

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/short" else CONTENT)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Released)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def released(host: str, path: str, checksum: str = "") -> Published:
    model = MODELS["mmaction2_i3d_r50_32x2"]
    return replace(model, url=f"{host}/{path}", file=f"model_20220812-{checksum}.pth" if checksum else "model.pkl")


def test_download_is_whole_and_has_the_checksum_of_its_name(host: str, tmp_path: Path) -> None:
    checksum, path, told = hashlib.sha256(CONTENT).hexdigest()[:8], tmp_path / "model.pth", []
    download(released(host, "model", checksum), path, progress=lambda *x: told.append(x))
    assert path.read_bytes() == CONTENT
    assert told[-1][2] == len(CONTENT)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.parametrize(
    ("path", "checksum", "error", "message"),
    [
        ("model", "01234567", ValueError, r"got a file whose SHA-256 begins with \w{8}, expected 01234567"),
        ("short", "", OSError, "got only"),
        ("none", "", OSError, "404"),
    ],
)
def test_download_that_fails_leaves_nothing(
    path: str, checksum: str, error: type[Exception], message: str, host: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        download(released(host, path, checksum), tmp_path / "model.pth", progress=lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_command_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlretrieve", refuse)
    name, path = "caffe2_c2d_r50_8x8", tmp_path / "new" / "model.pkl"
    error = error_of("--published", name, str(path), "--download")
    assert f"cannot be downloaded to {path}: no network; get it where there is a network" in error
    assert f"python tools/import_weights.py --published {name} FILE" in error
    path.write_bytes(b"is there")
    assert "cannot be read as a Caffe2 pickle" in error_of("--published", name, str(path), "--download")
