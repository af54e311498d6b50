"""The lists of Something-Something v2, in small, and the rows of version 1."""

import json
from pathlib import Path

import pytest

from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.types import Entry

LABELS = {
    "Approaching something with your camera": "0",
    "Holding something next to something": "2",
    "Closing something": "1",
}
TRAIN = [
    {
        "id": "78687", "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]", "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {"id": "42326", "label": "closing a book", "template": "Closing [something]", "placeholders": ["a book"]},
]  # fmt: skip


def listed(tmp_path: Path, content: str, **options: object) -> list[Entry]:
    (tmp_path / "list").write_text(content)
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    classes = read_classes(str(tmp_path / "labels.json"), num_classes=3)
    options = {"root": str(tmp_path / "root"), "num_classes": 3, "classes": classes, **options}
    (tmp_path / "root/20bn-something-something-v2").mkdir(parents=True, exist_ok=True)
    return read_list(str(tmp_path / "list"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [json.dumps(TRAIN), json.dumps(TRAIN, indent=2), json.dumps(TRAIN, indent=None)])
def test_json_gives_the_classes_of_the_templates(tmp_path: Path, content: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "78687.webm").touch()
    (root / "20bn-something-something-v2").mkdir()
    (root / "20bn-something-something-v2/42326.webm").touch()
    assert listed(tmp_path, content, labels="one") == [
        Entry("78687", f"{root}/78687.webm", 2),
        Entry("42326", f"{root}/20bn-something-something-v2/42326.webm", 1),
    ]


def test_rows_of_ids_and_templates_do_as_well(tmp_path: Path) -> None:
    """test-answers.csv of version 2, and the lists of version 1 with their folders of frames."""
    (tmp_path / "root/7").mkdir(parents=True)
    rows = "7;Closing something\r\n1420;Holding [something] next to [something]\r\n"
    for content in (rows, "id;label\n" + rows, rows.replace(";C", ';"C').replace("ng\r\n1", 'ng"\n1')):
        assert listed(tmp_path, content, labels="one") == [
            Entry("7", f"{tmp_path}/root/7", 1), Entry("1420", f"{tmp_path}/root/1420.webm", 2),
        ]  # fmt: skip


def test_test_videos_have_no_label(tmp_path: Path) -> None:
    content = json.dumps([{"id": "1420"}, {"id": 7}])
    entries = listed(tmp_path, content, labels="one", required=False)
    assert [(entry.video, entry.label) for entry in entries] == [("1420", None), ("7", None)]
    assert [entry.label for entry in listed(tmp_path, content, classes=None)] == [None, None]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (json.dumps([{"id": "1", "template": "Eating [something]"}]), {}, "the video 1 has the template 'Eating "),
        (json.dumps(TRAIN), {"classes": None}, r"expected data\.classes, such as labels\.json"),
        (json.dumps(TRAIN), {"root": None}, r"expected data\.root"),
        (json.dumps([*TRAIN, *TRAIN[:1]]), {}, "got 78687 again"),
        (json.dumps([{"id": "../../etc/x"}]), {}, r"item 1: got the id '\.\./\.\./etc/x', expected a number"),
        (json.dumps([{"id": "a\0"}]), {}, "got the id"),
        (json.dumps([{"id": ["a"]}]), {}, "item 1 is .*, expected one such as"),
        (json.dumps([{"id": "1", "template": 3}]), {}, "item 1 is .*, expected one such as"),
        (json.dumps([*TRAIN, 5]), {}, "item 3 is 5, expected one such as"),
        (json.dumps(TRAIN)[:-1], {}, "begins as JSON, but is none"),
        ('[{"id": ' + "[" * 100_000, {}, "begins as JSON, but is none"),
        ("7;Closing something\n8\n", {}, r"list:2: got '8', expected an id and a template"),
        ("7;Closing something\n../8;Closing something\n", {}, r"list:2: got the id '\.\./8'"),
    ],
)
def test_bad_lists_are_named_with_the_row(tmp_path: Path, content: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, content, **options)


@pytest.mark.parametrize("line", ["12;a/b.mp4 3", "a;b.mp4 3", "[x]/a.mp4 3", "1;2.mp4 3"])
def test_paths_with_semicolons_and_brackets_stay_paths(tmp_path: Path, line: str) -> None:
    (entry,) = listed(tmp_path, line, num_classes=4)
    assert (entry.video, entry.label) == (line[:-2], 3)
