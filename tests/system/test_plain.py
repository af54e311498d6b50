"""What comes in files of other people is plain data."""

import os
from pathlib import Path

import pytest

from nonlocal_video.system.files import locked, whole_file
from nonlocal_video.system.plain import check_folder, read_json, read_yaml

BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True))
BAD_YAML = {
    "a bomb": (BOMB, r":1: got the anchor or alias a, expected values that are written out"),
    "an alias without an anchor": ("x: *home", "got the anchor or alias home"),
    "a tag that calls": ("x: !!python/object/apply:os.mkdir [made]", r":1: got the tag tag:yaml\.org.*names what to"),
    "a tag of a path": ("x: !!python/object/apply:pathlib.Path [/]", "got the tag"),
    "any tag": ("x: !mine 3", "got the tag !mine"),
    "an interpolation": ("x:\n  y: ${oc.env:HOME}", r":2: got '\$\{oc\.env:HOME\}', expected a plain value"),
    "an interpolation as a key": ("${oc.env:HOME}: 3", "expected a plain value"),
    "an interpolation within words": ("x: [a, 'b ${y} c']", "expected a plain value"),
    "a deep list": ("x: " + "[" * 50_000, "more than 20 deep"),
    "a deep mapping": ("".join(" " * i + "x:\n" for i in range(300)), "more than 20 deep"),
    "no YAML": ("x: [1, 2", r":1: expected ',' or '\]'"),
    "two documents": ("x: 1\n---\ny: 2", "but found another document"),
    "a date that cannot be": ("x: 2024-99-99", "expected YAML, got month must be in"),
    "no text": ("x: \0", "expected YAML, got "),
    "too much": ("x: '" + "y" * 100_000 + "'", r"more than 100,000 bytes, expected the settings of a run"),
}


@pytest.mark.parametrize("case", BAD_YAML)
def test_yaml_that_is_not_plain_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    text, message = BAD_YAML[case]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(path)
    assert str(error.value).startswith(str(path))
    assert list(tmp_path.iterdir()) == [path]


def test_plain_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: {b: [1, 2.5, true, null]}\n'c d': '$HOME {x}'\n")
    assert read_yaml(tmp_path / "config.yaml") == {"a": {"b": [1, 2.5, True, None]}, "c d": "$HOME {x}"}


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "\xff"])
def test_what_is_no_json_object_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"report\.json: expected (a )?JSON"):
        read_json(tmp_path / "report.json")


def a_link_to_a_file(inside: Path, outside: Path) -> None:
    (inside / "item").symlink_to(outside / "file")


def a_link_to_a_folder(inside: Path, outside: Path) -> None:
    (inside / "item").symlink_to(outside)


def a_link_to_nothing_yet(inside: Path, outside: Path) -> None:
    (inside / "item").symlink_to(outside / "new")


def a_link_upwards(inside: Path, outside: Path) -> None:
    (inside / "item").symlink_to("../../outside/file")


def a_link_of_links(inside: Path, outside: Path) -> None:
    (inside / "step").symlink_to(outside)
    (inside / "item").symlink_to("step/file")


def a_pipe(inside: Path, outside: Path) -> None:
    os.mkfifo(inside / "item")


@pytest.mark.parametrize(
    "made", [a_link_to_a_file, a_link_to_a_folder, a_link_to_nothing_yet, a_link_upwards, a_link_of_links, a_pipe]
)
def test_a_folder_that_leads_elsewhere_is_refused(made: object, tmp_path: Path) -> None:
    inside, outside = tmp_path / "folder/deep", tmp_path / "outside"
    inside.mkdir(parents=True)
    outside.mkdir()
    (outside / "file").touch()
    made(inside, outside)
    with pytest.raises(ValueError, match=r"deep/(item|step): is a (link to .*outside|pipe)"):
        check_folder(tmp_path / "folder")


def test_links_inside_a_folder_and_to_it_are_followed(tmp_path: Path) -> None:
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/checkpoints/step_1.pt").touch()
    (tmp_path / "run/best.pt").symlink_to("checkpoints/step_1.pt")
    (tmp_path / "run/loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("run")
    check_folder(tmp_path / "run")
    check_folder(tmp_path / "link")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """Neither by a lock, nor by what is not whole yet."""
    mine, folder = tmp_path / "mine", tmp_path / "folder"
    folder.mkdir()
    mine.write_text("of value")
    (folder / "lock").symlink_to(mine)
    with pytest.raises(ValueError, match="lock: is a link"), locked(folder):
        pass
    (folder / "report.json.tmp").symlink_to(mine)
    (folder / "report.json").symlink_to(mine)
    with whole_file(folder / "report.json") as file:
        file.write(b"{}")
    assert mine.read_text() == "of value"
    assert (folder / "report.json").read_text() == "{}"
