"""Tables as Markdown, LaTeX, HTML and CSV, and the files of a report over many runs."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.reports.texts import csv_text, table
from nonlocal_video.system.files import whole_file

STYLE = """
body {font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222}
table {border-collapse: collapse; margin: .5rem 0 1rem; display: block; overflow-x: auto}
th, td {padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top}
th:first-child, td:first-child {text-align: left} thead th {border-bottom: 2px solid #888}
img {max-width: 100%} p.note {color: #555; max-width: 60rem}
"""
FORMS = {"markdown": "pipe", "latex": "latex_booktabs", "html": "html"}
SHOWN = ("validation", "classes")
"""The plots that a page about several tables shows."""


@dataclass(frozen=True)
class Sheet:
    """A table: its title, the names of its columns, its lines, and what is to be known of it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


class PageFigure(NamedTuple):
    """A plot, as a PNG."""

    name: str
    title: str
    png: bytes


@dataclass(frozen=True)
class Report:
    """Everything that is told of many runs."""

    name: str
    """The beginning of the names of its files."""
    title: str
    sheets: Sequence[Sheet]
    origin: Sheet
    notes: Sequence[str]
    """The runs that are left out, and why."""
    records: Sequence[dict[str, Any]]
    """The lines of the table for programs, with all digits."""
    pictures: Sequence[PageFigure]

    @property
    def all_sheets(self) -> list[Sheet]:
        """The sheets that have lines."""
        return [sheet for sheet in (*self.sheets, self.origin) if sheet.rows]

    def file_of(self, picture: PageFigure) -> str:
        return f"{self.name}_{picture.name}.png"


def format_sheet(sheet: Sheet, *, form: str) -> str:
    """A table as `markdown`, `latex` (with booktabs) or `html`; texts are escaped."""
    text = table(sheet.header, sheet.rows, form=FORMS[form])
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", text).replace("±", "$\\pm$") if form == "latex" else text


def format_markdown(report: Report, *, pictures: bool) -> str:
    """The report for people; its pictures are shown from the files beside."""
    parts = [f"# {report.title}"]
    for sheet in report.all_sheets:
        parts += [f"## {sheet.title}", format_sheet(sheet, form="markdown"), *([sheet.note] if sheet.note else [])]
    if report.notes:
        parts += ["## Left out", "\n".join(f"- {note}" for note in report.notes)]
    for picture in report.pictures if pictures else ():
        parts += [f"## {picture.title}", f"![{picture.title}]({report.file_of(picture)})"]
    return "\n\n".join(parts) + "\n"


def _format_html(report: Report) -> str:
    """One page that holds everything, its pictures too."""
    title = html.escape(report.title)
    parts = [f"<h1>{title}</h1>"]
    for sheet in report.all_sheets:
        note = f'<p class="note">{html.escape(sheet.note)}</p>' if sheet.note else ""
        parts += [f"<h2>{html.escape(sheet.title)}</h2>", format_sheet(sheet, form="html"), note]
    for picture in report.pictures:
        data, words = base64.b64encode(picture.png).decode(), html.escape(picture.title)
        parts.append(f'<h2>{words}</h2>\n<img alt="{words}" src="data:image/png;base64,{data}">')
    if report.notes:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in report.notes)
        parts.append(f"<h2>Left out</h2>\n<ul>{notes}</ul>")
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def write_files(folder: Path, report: Report) -> list[Path]:
    """Writes the page that people open first, NAME.html, then .md, .tex, .csv and the pictures; returns their paths."""
    columns = list(dict.fromkeys(key for record in report.records for key in record))
    latex = [f"% {report.title}: {sheet.title}\n{format_sheet(sheet, form='latex')}\n" for sheet in report.all_sheets]
    texts = {
        ".html": _format_html(report),
        ".md": format_markdown(report, pictures=True),
        ".tex": "\n".join(["% needs \\usepackage{booktabs}\n", *latex]),
        ".csv": csv_text(columns, ([record.get(column) for column in columns] for record in report.records)),
    }
    contents = {folder / f"{report.name}{end}": text.encode("utf-8", "surrogateescape") for end, text in texts.items()}
    contents |= {folder / report.file_of(picture): picture.png for picture in report.pictures}
    for path, content in contents.items():
        _write(path, content)
    return list(contents)


def write_into(path: Path, reports: Sequence[Report], *, block: str, first: str = "") -> None:
    """Puts tables into a Markdown file, below `first`, between the lines that `block` names.

    Several tables have headings, and plots in a folder of the file's name beside it. Raises ValueError where the file
    has no such lines, or the folder cannot be written.
    """
    parts = [first] if first else []
    if len(reports) == 1:
        parts += [format_sheet(sheet, form="markdown") for sheet in reports[0].sheets]
    else:
        for report in reports:
            parts.append(f"## {report.title}")
            for sheet in report.all_sheets:
                parts += [f"**{sheet.title}**", format_sheet(sheet, form="markdown")]
            for picture in report.pictures:
                if picture.name in SHOWN:
                    _write(path.with_suffix("") / report.file_of(picture), picture.png)
                    parts.append(f"![{picture.title}]({path.stem}/{report.file_of(picture)})")
        notes = (sheet.note for report in reports for sheet in report.all_sheets if sheet.note)
        parts += [f"*{note}*" for note in dict.fromkeys(notes)]
    replace_block(path, name=block, text="\n\n".join(parts))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error}") from error


def replace_block(path: Path, *, name: str, text: str) -> None:
    """Puts text between the lines `<!-- name -->` and `<!-- /name -->` of a file. Raises ValueError if it has none."""
    content = path.read_text()
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in content or end not in content:
        raise ValueError(f"{path}: expected the lines {start.strip()} and {end}")
    before, rest = content.split(start, 1)
    path.write_text(before + start + text + "\n" + end + rest.split(end, 1)[1])
