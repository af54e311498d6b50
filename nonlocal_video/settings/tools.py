"""The settings of each tool."""

from dataclasses import MISSING, field, fields
from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from nonlocal_video.settings import parts
from nonlocal_video.settings.detector import KINDS, Detector
from nonlocal_video.settings.images import CocoConfig, ImageConfig
from nonlocal_video.settings.network import Options
from nonlocal_video.settings.values import CHECKED, Count, File, Files, Natural, NotNegative, Positive, Share, expect


@dataclass(config=CHECKED, kw_only=True)
class RowConfig:
    """A row of a table."""

    name: str = ""
    """The row's key in the table; filled in by the table."""
    run: str | None = None
    """The row's experiment, below configs/experiment; null for a number of other people."""
    change: tuple[str, ...] = ()
    """Changes of the experiment, as on the command line."""
    start: str | None = None
    """The one of `parents` whose weights the row begins with."""
    paper: tuple[float, ...] | None = None
    """The numbers of the paper, of each of the table's `metrics`."""
    label: str = ""
    """The row's name for readers; `name` if empty."""
    baseline: str | None = None
    """The row that this one is compared with; the table's if null."""
    ceiling: float | None = None
    """The accuracy in percent that the row's network can reach at all; the table's if null."""


@dataclass(config=CHECKED, kw_only=True)
class TableConfig:
    """A table of the paper: a sweep over its rows."""

    name: str = ""
    """The table's name, as in experiment=NAME; filled in by the tool."""
    title: str
    baseline: str | None = None
    """The row that the others are compared with."""
    ceiling: float = 100.0
    metrics: tuple[str, ...] = ("top1", "top5")
    """The kinds of the paper's numbers, by their names in report.json."""
    parents: dict[str, RowConfig] = field(default_factory=dict)
    """Runs that rows begin with: trained first, and not shown."""
    rows: dict[str, RowConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fills in what rows leave to the table. Raises ValueError: a row names one that is not there."""
        for name, row in (*self.parents.items(), *self.rows.items()):
            row.name, row.label, baseline = name, row.label or name, row.baseline or self.baseline
            row.baseline = None if row.run is None or baseline == name else baseline
            fits = row.paper is None or len(row.paper) == len(self.metrics)
            expect(fits, f"{self.name}: paper of {name}", list(row.paper or ()), " and ".join(self.metrics))
        for name, row in self.rows.items():
            for what, other, known in (("start", row.start, self.parents), ("baseline", row.baseline, self.rows)):
                fits, expected = other is None or other in known, f"one of {', '.join(known)}"
                expect(fits, f"{self.name}: {what} of {name}", repr(other), expected)

    def job(self, name: str) -> RowConfig:
        """The row or the parent of a name. Raises ValueError: there is none that can be run."""
        jobs = {key: row for key, row in (*self.parents.items(), *self.rows.items()) if row.run is not None}
        expect(name in jobs, "row", repr(name), f"one of {self.name}: {', '.join(jobs)}")
        return jobs[name]


@dataclass(config=CHECKED, kw_only=True)
class RunConfig:
    """The settings of tools/train.py that do not depend on the task."""

    name: str | None = None
    """The run's folder in runtime.runs; made from the command line if null."""
    usual_test: ClassVar[str] = parts.ProtocolConfig.name
    """The protocol of tests that name no other."""
    task: str
    """The task; filled in by the tool, from the network and the labels of the data."""
    seed: Natural = 0
    machine: parts.MachineConfig = field(default_factory=parts.MachineConfig)
    model: Any
    """The options of the network."""
    data: Any
    optim: parts.OptimConfig
    init: parts.InitConfig = field(default_factory=parts.InitConfig)
    runtime: parts.RuntimeConfig = field(default_factory=parts.RuntimeConfig)
    schedule: Literal["full", "half", "quarter"] = "full"
    """full; or half or quarter: so many of the steps and milestones of `optim`."""
    test: str | None = None
    """The protocol, a file of configs/protocol, that the run is tested with as soon as it is trained."""
    dry_run: bool = False
    """Trains nothing: does all that a start does before its first step, and says how long it would take."""
    table: TableConfig | None = None
    """In the tables of configs/experiment only."""
    row: str | None = None
    """The row of the table that a job is for."""
    choices: dict[str, str] = field(default_factory=dict)
    """Which file of each config group was taken; filled in by the tool."""
    by_default: list[str] = field(default_factory=list)
    """The groups that nobody chose for these data; filled in by the tool."""


@dataclass(config=CHECKED, kw_only=True)
class TrainConfig(RunConfig):
    """The settings of a run on clips of videos."""

    task: Literal["single_label", "multi_label"] = "single_label"
    model: Options
    data: parts.DataConfig
    clip: parts.ClipConfig

    def __post_init__(self) -> None:
        """Raises ValueError: a setting that only detectors have."""
        expect(self.optim.bias_lr == 1, "optim.bias_lr", self.optim.bias_lr, "1: another one is for detectors")


@dataclass(config=CHECKED, kw_only=True)
class DetectionConfig(RunConfig):
    """The settings of a run on images with objects."""

    usual_test: ClassVar[str] = "coco"
    task: Literal["faster_rcnn", "mask_rcnn", "keypoint_rcnn"]
    model: Detector
    data: CocoConfig
    image: ImageConfig

    def __post_init__(self) -> None:
        """Raises ValueError: a setting that detectors do not have."""
        expect(
            self.test in (None, self.usual_test), "test", self.test, f"{self.usual_test}: other protocols are of videos"
        )
        expect(self.optim.precise_bn == 0, "optim.precise_bn", self.optim.precise_bn, "0 for a detector")
        expect(not self.runtime.compile, "runtime.compile", True, "false: the images of a detector have many sizes")


RUNS: dict[str, type[RunConfig]] = {
    "single_label": TrainConfig, "multi_label": TrainConfig, **dict.fromkeys(KINDS, DetectionConfig),
}  # fmt: skip
"""The settings of a run by the name of its task, whose model, data and clips have dataclasses of their own."""


@dataclass(config=CHECKED)
class FunctionConfig:
    """Code of a trained network that the project does not have, and that no file may name."""

    pairwise: Any = None
    """The pairwise function, my_package.MyFunction, where the project does not have it; as in training."""


@dataclass(config=CHECKED, kw_only=True)
class TestConfig:
    """The settings of tools/test.py."""

    run: File | None = None
    """The folder of a training run."""
    weights: File | None = None
    """A checkpoint, or best: that of the best single-clip validation; the newest if null. A .safetensors file needs no
    run: it says its network and clips."""
    detections: File | None = None
    """Anybody's file of results in COCO's format, instead of a run: it is evaluated on data.val=ANNOTATIONS.json."""
    name: str | None = None
    """The report's folder in the run's `test` folder; made from the protocol and the command line if null."""
    machine: parts.MachineConfig = field(default_factory=parts.MachineConfig)
    model: FunctionConfig = field(default_factory=FunctionConfig)
    data: dict[str, Any] = field(default_factory=dict)
    """Settings of DataConfig for other videos than those of the run; null is as in the run."""
    protocol: parts.ProtocolConfig = field(default_factory=parts.ProtocolConfig)
    save_views: bool = False
    """Whether the predictions hold the scores of every view, too."""
    runtime: parts.RuntimeConfig = field(default_factory=parts.RuntimeConfig)


FOR_IMAGES = {"draw", "min_score", "min_keypoint"}
FOR_VIDEOS = {
    "top", "every_s", "over_time", "features", "protocol", "data.classes", "data.format", "data.frame_rate",
    "data.decoder",
}  # fmt: skip
"""Settings of predictions that the others do not have."""


@dataclass(config=CHECKED, kw_only=True)
class PredictConfig:
    """The settings of tools/predict.py, for videos or for images."""

    weights: File
    """A .safetensors file, which says its network, clips and classes, or the folder of a trained run; of a detector
    also a checkpoint."""
    video: Files | None = None
    """A video, a folder (of videos, or of frames), a list, or several of these: [a.mp4,b.mp4]."""
    image: Files | None = None
    """An image, a folder, a list (of a path a line, or in COCO's format), or several of these, for a detector."""
    format: Literal["text", "jsonl", "csv", "coco"] = "text"
    """text, jsonl (a JSON object a line), csv, or of images coco (a JSON list of results in COCO's format)."""
    out: File | None = None
    """The file that predictions go to; the screen if null."""
    top: Count = 5
    """Videos: how many classes are shown."""
    every_s: Positive | None = None
    """Videos: a clip every so many seconds, from the first frame to the last, instead of the protocol's clips."""
    over_time: File | None = None
    """Videos: folder for the scores along each video: a CSV and a picture; a clip a second if every_s is null."""
    features: File | None = None
    """Videos: the .npz file that pooled features of each clip go to, instead of predictions."""
    draw: File | None = None
    """Images: folder for pictures of them with boxes, masks, keypoints, classes and scores."""
    min_score: Share = 0.5
    """Images: objects need a higher score; none has 0.05 or less."""
    min_keypoint: NotNegative = 2.0
    """Images: keypoints need this score, a logit, to be drawn; as in Detectron's pictures."""
    machine: parts.MachineConfig = field(default_factory=parts.MachineConfig)
    model: FunctionConfig = field(default_factory=FunctionConfig)
    data: parts.ReadConfig = field(default_factory=parts.ReadConfig)
    protocol: parts.ProtocolConfig = field(default_factory=parts.ProtocolConfig)
    """Videos: which clips."""
    runtime: parts.RuntimeConfig = field(default_factory=parts.RuntimeConfig)

    def __post_init__(self) -> None:
        """Raises ValueError: features beside predictions, or settings of videos for images or the other way round."""
        got = "both" if self.video else "neither"
        expect((self.video is None) != (self.image is None), "video and image", got, "one of them")
        if self.features and (self.over_time or self.out):
            raise ValueError("features=FILE is instead of predictions: give it without out and over_time")
        given = _changed(self) | {f"data.{name}" for name in _changed(self.data)}
        if strange := sorted(given & (FOR_VIDEOS if self.image else FOR_IMAGES)):
            raise ValueError(f"there is no such setting for {self.kind}s: {', '.join(strange)}")
        expect(self.format != "coco" or self.kind == "image", "format", "coco", "text, jsonl or csv for videos")

    @property
    def kind(self) -> Literal["video", "image"]:
        """The kind of input, video or image."""
        return "video" if self.image is None else "image"


def _changed(settings: Any) -> set[str]:
    """The settings of a dataclass that differ from their defaults."""
    return {
        item.name
        for item in fields(settings)
        if getattr(settings, item.name) != (item.default if item.default_factory is MISSING else item.default_factory())
    }
