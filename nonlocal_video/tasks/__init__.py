"""What networks are taught, and what they are judged by."""

from nonlocal_video.settings import DataConfig
from nonlocal_video.tasks.clips import ClipTask
from nonlocal_video.tasks.multi_label import multi_label
from nonlocal_video.tasks.single_label import single_label


def task_of(data: DataConfig) -> ClipTask:
    """The task that videos with such labels are for."""
    assert data.num_classes is not None, "it is counted where settings are composed"
    return single_label(data.num_classes) if data.labels == "one" else multi_label(data.num_classes, taught=data.labels)
