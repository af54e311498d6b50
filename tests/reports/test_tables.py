import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nonlocal_video.reports.tables.sheet import (
    PageFigure,
    Report,
    Sheet,
    format_markdown,
    format_sheet,
    replace_block,
    write_files,
)

SHEET = Sheet("Acc", ["row", "top-1"], [["a|b_c", "71.0 ± 1.4"], ["<x> & 5%", "-0.3 ± 0.1"]], "A note.")
REPORT = Report(
    "t", "A < B", [SHEET], Sheet("From", ["row", "of"], []), ["1 of no row: x"],
    [{"row": "a,b", "top1": 1 / 3}, {"row": "c", "gain": None}], [PageFigure("cost", "Cost", b"\x89PNG")],
)  # fmt: skip


class Cells(HTMLParser):
    """The texts of a page's cells, and what it loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside, self.loads = False, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag in ("td", "th")
        self.loads += [str(value)[:22] for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.inside and data.strip():
            self.texts.append(data.strip())


def test_markdown_keeps_cells_apart() -> None:
    assert format_sheet(SHEET, form="markdown").splitlines() == [
        "| row      |      top-1 |",
        "|:---------|-----------:|",
        "| a\\|b_c   | 71.0 ± 1.4 |",
        "| <x> & 5% | -0.3 ± 0.1 |",
    ]
    text = format_markdown(REPORT, pictures=True)
    assert "![Cost](t_cost.png)" in text
    assert "- 1 of no row: x" in text
    assert "From" not in text, "a table without lines"


def test_latex_escapes_what_latex_reads_otherwise() -> None:
    text = format_sheet(SHEET, form="latex")
    assert "a|b\\_c & 71.0 $\\pm$ 1.4" in " ".join(text.split())
    assert "x\\ensuremath{>} \\& 5\\% & $-$0.3 $\\pm$ 0.1" in " ".join(text.split())
    assert "\\toprule" in text


def test_files_hold_the_same_and_the_page_loads_nothing(tmp_path: Path) -> None:
    written = write_files(tmp_path / "out", REPORT)
    assert [path.name for path in written] == ["t.html", "t.md", "t.tex", "t.csv", "t_cost.png"]
    page = Cells()
    page.feed((tmp_path / "out/t.html").read_text())
    assert page.texts == ["row", "top-1", "a|b_c", "71.0 ± 1.4", "<x> & 5%", "-0.3 ± 0.1"]
    assert page.loads == ["data:image/png;base64,"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/t.csv").read_text())))
    assert rows == [{"row": "a,b", "top1": str(1 / 3), "gain": ""}, {"row": "c", "top1": "", "gain": ""}]
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"):
        write_files(tmp_path / "file", REPORT)


def test_block_of_a_file_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- table -->\nold\n<!-- /table -->\nb\n")
    replace_block(path, name="table", text="new")
    replace_block(path, name="table", text="new")
    assert path.read_text() == "a\n<!-- table -->\nnew\n<!-- /table -->\nb\n"
    with pytest.raises(ValueError, match="expected the lines <!-- other -->"):
        replace_block(path, name="other", text="new")
