"""The settings of a table of the paper."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from nonlocal_video.settings.values import CHECKED


@dataclass(config=CHECKED, kw_only=True)
class RowConfig:
    """A row of a table."""

    run: str | None = None
    """Its experiment, below configs/experiment; null for a number of other people."""
    change: list[str] = field(default_factory=list)
    """What the row changes of it, as on the command line."""
    start: str | None = None
    """The one of `parents` whose weights it begins with."""
    paper: list[float] | None = None
    """What it should reach, of each of the table's `metrics`."""
    label: str | None = None
    """What readers call it; its name if null."""
    baseline: str | None = None
    """The row that it is compared with; the table's if null."""
    ceiling: float | None = None
    """The accuracy in percent that its network can reach at all; the table's if null."""


@dataclass(config=CHECKED, kw_only=True)
class TableConfig:
    """A table of the paper: a sweep over its rows."""

    title: str
    baseline: str | None = None
    """The row that the others are compared with."""
    ceiling: float = 100.0
    metrics: list[str] = field(default_factory=lambda: ["top1", "top5"])
    """What the numbers of the paper are, by their names in report.json."""
    parents: dict[str, RowConfig] = field(default_factory=dict)
    """Runs that rows begin with: trained first, and not shown."""
    rows: dict[str, RowConfig] = field(default_factory=dict)
