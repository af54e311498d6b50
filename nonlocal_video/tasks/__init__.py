"""Tasks: the targets, losses and metrics of networks."""

from nonlocal_video.settings import DataConfig
from nonlocal_video.tasks.clips import ClipTask
from nonlocal_video.tasks.multi_label import multi_label
from nonlocal_video.tasks.single_label import single_label


def task_of(data: DataConfig) -> ClipTask:
    """The task for videos with such labels."""
    assert data.num_classes is not None, "it is counted where settings are composed"
    return single_label(data.num_classes) if data.labels == "one" else multi_label(data.num_classes, scope=data.labels)
