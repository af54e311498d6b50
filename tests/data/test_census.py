import ctypes
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nonlocal_video.data.census import survey as survey_module
from nonlocal_video.data.census.survey import VIDEOS, Depth, Record, read_records, survey
from nonlocal_video.data.census.suspicions import (
    beyond,
    compare_lists,
    count_by_class,
    cut_off,
    differ,
    duplicates,
    known_classes,
    leaks,
    misstated,
    short,
    small_classes,
)
from nonlocal_video.data.census.usable import CENSUS, Census, format_census, hash_listed, split_broken, take_census
from nonlocal_video.data.decode import DecodeError, decode
from nonlocal_video.data.decoders.examine import FOLDER, Health, examine
from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.types import Entry, TimedLabel
from tests.conftest import numbered_frames

DEPTH = Depth(limit_s=30.0, decode_all=True)


def look(path: Path, *, limit_s: float = 30, decode_all: bool = True) -> Health:
    return examine(str(path), limit_s=limit_s, decode_all=decode_all)


# One video


def test_whole_video_is_ok_with_its_facts(numbered_video: Path) -> None:
    finding = look(numbered_video)
    assert (finding.state, finding.cause) == ("ok", "")
    assert (finding.claimed, finding.frames, finding.found, finding.damaged) == (75, 75, 75, 0)
    assert (finding.width, finding.height, finding.fps, finding.duration_s) == (64, 64, 30, 2.5)
    assert (finding.codec, finding.turned, finding.size_bytes) == ("h264", False, numbered_video.stat().st_size)
    quick = look(numbered_video, decode_all=False)
    assert (quick.state, quick.frames, quick.found, quick.content) == ("opens", 75, None, finding.content)


def test_content_is_equal_for_copies_and_for_no_others(numbered_video: Path, tmp_path: Path) -> None:
    shutil.copy(numbered_video, tmp_path / "copy.mp4")
    write_video(tmp_path / "other.mp4", numbered_frames(74))
    contents = [look(path).content for path in (numbered_video, tmp_path / "copy.mp4", tmp_path / "other.mp4")]
    assert contents[0] == contents[1] != contents[2]


def test_broken_files_are_broken_with_a_cause(numbered_video: Path, tmp_path: Path) -> None:
    content = numbered_video.read_bytes()
    for name, written, cause in (
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"this is no video\n" * 50, "Invalid data"),
        ("cut.mp4", content[: len(content) // 2], "Invalid data"),
    ):
        (tmp_path / name).write_bytes(written)
        finding = look(tmp_path / name)
        assert (finding.state, finding.transient) == ("broken", False)
        assert cause in finding.cause
        assert str(tmp_path) not in finding.cause


def test_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    assert look(tmp_path / "fifo.mp4").cause == "neither a regular file nor a folder of frames"


def test_census_and_decoder_agree_on_damaged_files(numbered_video: Path, tmp_path: Path) -> None:
    content, path, states = numbered_video.read_bytes(), tmp_path / "flipped.mp4", set[bool]()
    for number in range(0, len(content), max(1, len(content) // 60)):
        spoilt = bytearray(content)
        spoilt[number] ^= 0x55
        path.write_bytes(spoilt)
        try:
            decode(str(path), lambda seconds: seconds.argsort()[None], lambda _h, _w: lambda frame: frame)
            readable = True
        except DecodeError:
            readable = False
        finding = look(path)
        assert (finding.state == "ok") == readable, (number, finding)
        states.add(readable)
    assert states == {True, False}, "the test must try both"


def test_folder_of_frames_is_counted_and_its_damaged_image_found(tmp_path: Path) -> None:

    for k in range(1, 6):
        Image.new("RGB", (48, 32), (20 * k,) * 3).save(tmp_path / f"img_{k:05d}.jpg")
    finding = look(tmp_path)
    assert (finding.state, finding.container, finding.frames, finding.found) == ("ok", FOLDER, 5, 5)
    assert (finding.width, finding.height) == (48, 32)
    image = tmp_path / "img_00003.jpg"
    image.write_bytes(image.read_bytes()[:-20])
    assert look(tmp_path).cause.startswith("4 of 5 frames can be decoded (img_00003.jpg: ")
    image.unlink()
    assert look(tmp_path).cause == "1 of 5 frames are missing, the first: 3"


def test_time_is_limited(numbered_video: Path) -> None:
    finding = look(numbered_video, limit_s=1e-9)
    assert (finding.state, finding.cause) == ("timed out", "not examined within 1e-09 s (--limit)")


# All videos


def stuck(path: str, *, limit_s: float, decode_all: bool) -> Health:
    """A library that hangs in its own code and lets no other thread run; another that crashes."""
    name = os.path.basename(path)
    if name == "stuck.mp4":
        ctypes.PyDLL(None).sleep(600)
    if name == "crash.mp4":
        os._exit(3)
    return examine(path, limit_s=limit_s, decode_all=decode_all)


def listed(root: Path, *names: str) -> list[Entry]:
    return [Entry(name, str(root / name), label) for label, name in enumerate(names)]


@pytest.fixture
def folder(tmp_path: Path, numbered_video: Path) -> Path:
    """Five small videos, v0.mp4 to v4.mp4; the first two are the same."""
    for k in range(5):
        write_video(tmp_path / f"v{k}.mp4", numbered_frames(10 + max(k, 1)))
    return tmp_path


NAMES = [f"v{k}.mp4" for k in range(5)]


def test_stuck_and_crashing_decoders_are_ended_and_the_rest_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "v0.mp4", folder / "stuck.mp4")
    shutil.copy(folder / "v0.mp4", folder / "crash.mp4")
    monkeypatch.setattr(survey_module, "GRACE_S", 0.5)
    entries = listed(folder, "stuck.mp4", "crash.mp4", *NAMES)
    records = survey(entries, folder / "out", depth=Depth(1.0, decode_all=True), jobs=2, look=stuck)
    assert [record.finding.state for record in records] == ["timed out", "broken"] + ["ok"] * 5
    assert "was ended after 1 s (--limit)" in records[0].finding.cause
    assert "exit code" in records[1].finding.cause


def test_second_survey_examines_only_what_is_new_or_changed_or_failed_by_chance(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, out = listed(folder, *NAMES, "missing.mp4"), folder / "out"
    first = survey(entries, out, depth=DEPTH, jobs=1)
    assert [record.finding.state for record in first] == ["ok"] * 5 + ["missing"]
    again: list[str] = []

    def count(paths: list[str], **_: object) -> object:
        again.extend(os.path.basename(path) for path in paths)
        return iter_of((path, examine(path, limit_s=9, decode_all=True)) for path in paths)

    monkeypatch.setattr(survey_module, "_examined", count)
    assert survey(entries, out, depth=DEPTH, jobs=1) == first
    assert again == []
    write_video(folder / "v3.mp4", numbered_frames(30))
    lines = [json.loads(line) for line in (out / VIDEOS).read_text().splitlines()]
    lines[0]["finding"].update(state="broken", transient=True)
    lines[1]["finding"].update(state="timed out")
    lines[1]["depth"]["limit_s"] = 10
    (out / VIDEOS).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"video": "cut')
    write_video(folder / "missing.mp4", numbered_frames(20))
    records = survey(entries, out, depth=DEPTH, jobs=1)
    assert sorted(again) == ["missing.mp4", "v0.mp4", "v1.mp4", "v3.mp4"]
    assert [record.finding.frames for record in records] == [11, 11, 12, 30, 14, 20]


class iter_of:  # noqa: N801
    """An iterator that can be closed."""

    def __init__(self, items: object) -> None:
        self.items = items

    def __iter__(self) -> object:
        return iter(self.items)  # type: ignore[call-overload]

    def close(self) -> None:
        pass


def test_records_keep_labels_of_every_kind(folder: Path) -> None:
    labels = [None, 3, (1, 2), (TimedLabel(4, 0.5, 2.0),), 0]
    entries = [Entry(name, str(folder / name), label) for name, label in zip(NAMES, labels, strict=True)]
    entries[0] = entries[0]._replace(num_frames=9)
    records = survey(entries, folder / "out", depth=DEPTH, jobs=1)
    assert [record.label for record in records] == labels
    assert records[0].finding.claimed == 9
    assert read_records(folder / "out") == records


def test_folders_of_others_are_left_alone(folder: Path) -> None:
    with pytest.raises(ValueError, match="a folder with other files"):
        survey(listed(folder, "v0.mp4"), folder, depth=DEPTH, jobs=1)
    survey(listed(folder, "v0.mp4"), folder / "out", depth=DEPTH, jobs=1)
    with pytest.raises(ValueError, match=r"holds the census of other videos \(such as .*v0\.mp4"):
        survey(listed(folder, "v1.mp4"), folder / "out", depth=DEPTH, jobs=1)


def test_missing_files_say_why_they_are_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "link.mp4").symlink_to("gone.mp4")
    records = survey(listed(tmp_path, "fifo.mp4", "link.mp4", "none.mp4"), tmp_path / "out", depth=DEPTH, jobs=1)
    assert {record.finding.state for record in records} == {"missing"}
    causes = ["neither a regular file nor a folder of frames", "a link that leads nowhere: gone.mp4", ""]
    assert [record.finding.cause for record in records] == causes


# What is suspicious


def record(video: str, label: int, *, content: str = "", frames: int = 100, claimed: int | None = None) -> Record:
    finding = Health("ok", content=content or video, frames=frames, claimed=claimed)
    return Record(video, f"/data/{video}", label, (1, 1), DEPTH, finding)


def gone(video: str, label: int, state: str = "missing") -> Record:
    return record(video, label)._replace(finding=Health(state))


def test_duplicates_are_usable_videos_of_the_same_content() -> None:
    records = [record("a", 0, content="x"), record("b", 1), record("c", 1, content="x"), gone("d", 0), gone("e", 0)]
    (group,) = duplicates(records)
    assert [found.video for found in group] == ["a", "c"]
    assert differ(group)
    assert not differ([records[0], records[0]])


def test_short_and_miscounted_videos() -> None:
    records = [record("a", 0, frames=63), record("b", 0, frames=64, claimed=64), record("c", 0, claimed=99)]
    folder = record("d", 0, claimed=99)
    records.append(folder._replace(finding=folder.finding._replace(container=FOLDER)))
    assert [found.video for found in short(records, 64)] == ["a"]
    assert [found.video for found in misstated(records)] == ["c", "d"]


def test_a_file_that_lost_its_end_is_suspicious(tmp_path: Path) -> None:
    """Matroska: every frame that is left can be decoded."""
    frames = [np.full((64, 64, 3), k, np.uint8) for k in range(240)]
    write_video(tmp_path / "whole.mkv", frames)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    found = [examine(str(tmp_path / name), limit_s=20, decode_all=True) for name in ("whole.mkv", "cut.mkv")]
    assert [finding.state for finding in found] == ["ok", "ok"]
    records = [record(name, 0)._replace(finding=finding) for name, finding in zip(("whole", "cut"), found, strict=True)]
    assert [found.video for found in cut_off(records)] == ["cut"]


def test_classes_are_counted_with_those_that_have_no_videos() -> None:
    records = [record(f"{label}{k}", label) for label in (0, 1, 3) for k in range(8)]
    records += [record("x", 4), gone("y", 4), gone("z", 4, "broken"), record("w", 5)]
    counts = count_by_class(records, ["zero", "one", "two", "three", "four"])
    assert [tuple(count) for count in counts[2:5]] == [
        (2, "two", 0, 0, 0, 0),
        (3, "three", 8, 0, 0, 8),
        (4, "four", 3, 1, 1, 1),
    ]
    assert [found.label for found in small_classes(counts)] == [2, 4, 5]
    assert [found.video for found in beyond(records, 5)] == ["w"]
    assert len(count_by_class([record("a", 2_000_000_000)], None)) == 1


def test_kinetics_400_is_known_by_its_labels() -> None:
    assert known_classes([record("a", 0), record("b", 399)], None)[0] == "abseiling"  # type: ignore[index]
    assert known_classes([record("a", 0), record("b", 398)], None) is None
    assert known_classes([record("a", 0)], ["own"]) == ["own"]


CLIP, SAME, OTHER = "AAAAAAAAAAA_000001_000011", "AAAAAAAAAAA_000005_000015", "BBBBBBBBBBB_000001_000011"


def test_lists_are_compared_by_youtube_ids_and_times() -> None:
    here = [(f"x/{CLIP}.mp4", 0), (f"y/{OTHER}.mp4", 1)]
    assert compare_lists(here, [(CLIP, 0), (OTHER, 2)]).relabelled == [(f"y/{OTHER}.mp4", 1, 2)]
    difference = compare_lists(here, [(SAME, 0), (OTHER, 1)])
    assert (difference.only_here, difference.only_there) == ([f"x/{CLIP}.mp4"], [SAME])
    released = compare_lists(here, [("/v/abseiling/AAAAAAAAAAA.mp4", 0), ("/v/CCCCCCCCCCC.mp4", 0)])
    assert released.shared == [(f"x/{CLIP}.mp4", "/v/abseiling/AAAAAAAAAAA.mp4")]
    assert released.only_there == ["/v/CCCCCCCCCCC.mp4"]


def test_names_that_several_videos_have_are_compared_with_their_folders() -> None:
    here = [("run/0001.mp4", 0), ("jump/0001.mp4", 1)]
    assert compare_lists(here, [("jump/0001.mp4", 1), ("sit/0001.mp4", 2)]).shared == [
        ("jump/0001.mp4", "jump/0001.mp4")
    ]


def test_leaks_are_found_by_name_and_by_content() -> None:
    records = [record("a.mp4", 0), record("b.mp4", 0, content="x"), record("c.mp4", 0)]
    others = [record("val/a.mp4", 0, content="other"), record("val/z.mp4", 0, content="x")]
    names = [(other.video, other.label) for other in others]
    assert leaks(records, names, ()) == [("a.mp4", "val/a.mp4", "name")]
    assert leaks(records, names, others) == [("a.mp4", "val/a.mp4", "name"), ("b.mp4", "val/z.mp4", "content")]


# In a run


def entries_in(root: Path) -> list[Entry]:
    return listed(root, "a.mp4", "b.mp4", "c.mp4")


def write_census(out: Path, entries: list[Entry], broken: dict[str, int]) -> None:
    out.mkdir(exist_ok=True)
    causes = {video: {"bytes": size, "cause": "1 of 9 frames can be decoded"} for video, size in broken.items()}
    content = {"format": 1, "list": "val.csv", "listed_hash": hash_listed(entries), "broken": causes,
               "census": {"checked": "frames", "listed": len(entries)}}  # fmt: skip
    (out / CENSUS).write_text(json.dumps(content))


def test_known_broken_videos_are_taken_out_unless_the_file_has_changed(tmp_path: Path) -> None:
    entries = entries_in(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"12345")
    write_census(tmp_path / "out", entries, {"a.mp4": 5, "b.mp4": 4})
    usable, broken, census = split_broken(entries[:2], entries[2:], str(tmp_path / "out"))
    assert [entry.video for entry in usable] == ["b.mp4"]
    assert broken == [(entries[0], "1 of 9 frames can be decoded")]
    assert (census.listed, census.missing, census.broken, census.checked) == (3, 1, 1, "frames")
    assert format_census(census._asdict()).endswith(": 3 listed, 1 missing, 1 broken (every video was decoded)")


@pytest.mark.parametrize(
    ("checked", "told"),
    [
        ("presence", "broken ones not looked for"),
        ("packets", "2 that do not open (none was decoded)"),
        ("frames", "2 broken (every video was decoded)"),
    ],
)
def test_line_on_a_census_says_how_it_was_looked(checked: str, told: str) -> None:
    assert format_census(Census("ab", 9, 1, 2, checked)._asdict()) == f"census ab: 9 listed, 1 missing, {told}"


def test_census_of_another_list_is_refused(tmp_path: Path) -> None:
    entries = entries_in(tmp_path)
    write_census(tmp_path / "out", [entry._replace(label=7) for entry in entries], {})
    with pytest.raises(ValueError, match=r"is the census of another list \(val\.csv, 3 videos\)"):
        split_broken([], entries, str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"nowhere: no census"):
        split_broken([], entries, "nowhere")


def test_hash_tells_what_was_used_however_it_was_looked_for(tmp_path: Path) -> None:
    a, b, c = entries_in(tmp_path)
    one = take_census([a, b], [c], [], checked="presence")
    assert one.hash == take_census([b, a], [c], [], checked="frames").hash
    moved = [entry._replace(path="/elsewhere") for entry in (a, b)]
    assert one.hash == take_census(moved, [c], [], checked="presence").hash
    others = [
        take_census([a, b, c], [], [], checked="presence"),
        take_census([a, b], [], [c], checked="presence"),
        take_census([a], [b, c], [], checked="presence"),
        take_census([a, b._replace(label=0)], [c], [], checked="presence"),
        take_census([a, b], [], [], checked="presence"),
    ]
    assert len({census.hash for census in (one, *others)}) == 6
