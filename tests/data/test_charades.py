from pathlib import Path

import pytest

from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.types import Entry, TimedLabel

HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
ROWS = (
    '46GP8,HR43,Kitchen,6,7,Yes,"A person cooks, then eats.",food;stove,"One\ntwo ""three"".",'
    "c092 11.90 21.20;c147 0.00 12.60,24.83\n"
    "N11GT,0KZ7,Stairs,,7,No,Nothing.,,Nothing.,,18.33\n"
)
FRAMES = (
    "original_vido_id video_id frame_id path labels\n"
    'AAAAA 0 0 AAAAA/AAAAA-000001.jpg ""\n'
    'AAAAA 0 1 AAAAA/AAAAA-000002.jpg "5"\n'
    'AAAAA 0 2 AAAAA/AAAAA-000003.jpg "5,92"\n'
    'AAAAA 0 3 AAAAA/AAAAA-000004.jpg "92"\n'
    'AAAAA 0 4 AAAAA/AAAAA-000005.jpg "5"\n'
    'BBBBB 1 0 BBBBB/BBBBB-000001.jpg """"\n'
)


def listed(tmp_path: Path, content: str, root: str | None = None, num_classes: int | None = 157) -> list[Entry]:
    (tmp_path / "list.csv").write_bytes(content.encode())
    return read_list(str(tmp_path / "list.csv"), root=root, num_classes=num_classes)


def test_actions_are_labels_with_their_seconds(tmp_path: Path) -> None:
    (tmp_path / "N11GT").mkdir()
    for content in (HEADER + ROWS, "\ufeff" + (HEADER + ROWS).replace("\n", "\r\n")):
        assert listed(tmp_path, content, root=str(tmp_path)) == [
            Entry("46GP8", f"{tmp_path}/46GP8.mp4", (TimedLabel(92, 11.9, 21.2), TimedLabel(147, 0.0, 12.6))),
            Entry("N11GT", f"{tmp_path}/N11GT", ()),
        ]
    assert listed(tmp_path, HEADER + ROWS)[0].path == "46GP8.mp4"


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ("c092 11.90", r"list\.csv:2: got the action 'c092 11\.90'"),
        ("92 1.0 2.0", "expected a class and its times"),
        ("c157 1.0 2.0", r"list\.csv:2: got label 157, expected 0 to 156"),
    ],
)
def test_bad_actions_are_named_with_the_line(tmp_path: Path, actions: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, f"{HEADER}AAAAA,,,,,,,,,{actions},1\n")


def test_frames_of_one_class_in_a_row_are_one_label(tmp_path: Path) -> None:
    """At 24 frames a second; a label ends with its last frame, and may come again."""
    assert listed(tmp_path, FRAMES, root=str(tmp_path)) == [
        Entry(
            "AAAAA",
            f"{tmp_path}/AAAAA",
            (TimedLabel(5, 1 / 24, 3 / 24), TimedLabel(92, 2 / 24, 4 / 24), TimedLabel(5, 4 / 24, 5 / 24)),
            5,
        ),
        Entry("BBBBB", f"{tmp_path}/BBBBB", (), 1),
    ]


def test_bad_frames_are_named_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"list\.csv:8: got 'C 0 0 C/C\.jpg', expected original_vido_id"):
        listed(tmp_path, FRAMES + "C 0 0 C/C.jpg\n")
    with pytest.raises(ValueError, match=r"list\.csv:8: got 'C 0 0 C/C\.jpg five'"):
        listed(tmp_path, FRAMES + "C 0 0 C/C.jpg five\n")
    with pytest.raises(ValueError, match=r"list\.csv:8: got a frame in 'C', expected 'BBBBB'"):
        listed(tmp_path, FRAMES + 'BBBBB 0 0 C/C.jpg "1"\n')


def test_lists_of_charades_cannot_be_trained_on_yet(tmp_path: Path) -> None:
    for content in (HEADER + ROWS, FRAMES):
        (tmp_path / "list.csv").write_text(content)
        with pytest.raises(
            ValueError, match=r"list\.csv:\d: .*multi-label lists cannot be trained with cross entropy yet"
        ):
            read_list(str(tmp_path / "list.csv"), root=None, num_classes=157, labels="one")
