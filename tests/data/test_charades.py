from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from nonlocal_video.data.clips import random_clip
from nonlocal_video.data.dataset import TrainingVideos
from nonlocal_video.data.decode import decode
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.data.transforms import training_crop
from nonlocal_video.tasks import multi_label
from nonlocal_video.types import Entry, TimedLabel
from tests.conftest import numbered_frames, numbers_in

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
        ("c001 2.0 1.0", r"list\.csv:2: got the action 'c001 2\.0 1\.0', expected an end that is not before its start"),
    ],
)
def test_bad_actions_are_named_with_the_line(tmp_path: Path, actions: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, f"{HEADER}AAAAA,,,,,,,,,{actions},9\n")


def test_frames_of_one_class_in_a_row_are_one_label(tmp_path: Path) -> None:
    """At 24 frames a second; a label ends at its last frame, and may come again."""
    assert listed(tmp_path, FRAMES, root=str(tmp_path)) == [
        Entry(
            "AAAAA",
            f"{tmp_path}/AAAAA",
            (TimedLabel(5, 1 / 24, 2 / 24), TimedLabel(92, 2 / 24, 3 / 24), TimedLabel(5, 4 / 24, 4 / 24)),
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
    with pytest.raises(ValueError, match=r"list\.csv:8: got the frame C/C\.jpg, expected one such as A/A-000001\.jpg"):
        listed(tmp_path, FRAMES + 'C 0 0 C/C.jpg "1"\n')


def test_frames_that_the_list_leaves_out_are_an_error(tmp_path: Path) -> None:
    """Labels would belong to other frames than those of the folder."""
    content = FRAMES.replace("AAAAA-000003", "AAAAA-000004").replace("AAAAA-000005", "AAAAA-000006")
    with pytest.raises(ValueError, match=r"list\.csv:4: got the frame AAAAA/AAAAA-000004\.jpg, expected .* number 3"):
        listed(tmp_path, content)


def test_actions_behind_the_end_of_the_video_are_cut_and_told(tmp_path: Path) -> None:
    """As in the released lists: 42K3H lasts for 3.5 s, one of its actions until 5 s."""
    row = "42K3H,,,,,,,,,c006 0.00 3.60;c008 0.00 5.00;c112 1.00 3.00;c113 3.90 4.00,3.5\n"
    with pytest.warns(UserWarning, match=r"3 actions last longer than their video \(the first: 42K3H\)"):
        (entry,) = listed(tmp_path, HEADER + row)
    assert entry.label == (
        TimedLabel(6, 0, 3.5), TimedLabel(8, 0, 3.5), TimedLabel(112, 1, 3), TimedLabel(113, 3.5, 3.5)
    )  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "id,subject,scene,length\nAAAAA,S,Kitchen,30.1\nBBBBB,S,Kitchen,20\n",
        "id,actions,length\nAAAAA,,30.1\nBBBBB,,20\n",
        f'{FRAMES.splitlines()[0]}\nAAAAA 0 0 AAAAA/AAAAA-000001.jpg ""\nBBBBB 1 0 BBBBB/BBBBB-000001.jpg ""\n',
    ],
    ids=["no column", "empty column", "frames"],
)
def test_the_list_of_the_hidden_test_videos_has_no_labels(content: str, tmp_path: Path) -> None:
    assert not any(entry.label for entry in listed(tmp_path, content))
    path = str(tmp_path / "list.csv")
    entries = read_list(path, root=None, num_classes=157, labels="several", required=False)
    assert [entry.label for entry in entries] == [None, None]
    with pytest.raises(ValueError, match="without labels nothing can be trained"):
        read_list(path, root=None, num_classes=157, labels="several")


def test_another_header_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("video,classes\nAAAAA,c001 1 2\n")
    with pytest.raises(ValueError, match=r"list\.csv:1: got the columns video, classes, expected id, actions, length"):
        read_list(str(tmp_path / "list.csv"), root=None, num_classes=157, form="charades")


def test_several_labels_need_a_setting(tmp_path: Path) -> None:
    for content in (HEADER + ROWS, FRAMES):
        (tmp_path / "list.csv").write_text(content)
        with pytest.raises(ValueError, match=r"list\.csv:\d: got several labels, .*data\.labels=clip"):
            read_list(str(tmp_path / "list.csv"), root=None, num_classes=157, labels="one")
        assert read_list(str(tmp_path / "list.csv"), root=None, num_classes=157, labels="several")


def test_one_label_is_several_where_these_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a.mp4 3\nb.mp4 5\n")
    entries = read_list(str(tmp_path / "list.csv"), root=None, num_classes=9, labels="several")
    assert [entry.label for entry in entries] == [(3,), (5,)]


ACTIONS = "c003 0.50 1.25;c000 0.90 2.40;c003 2.10 9.00;c005 1.99 2.01"


@pytest.fixture
def two_ways(tmp_path: Path) -> tuple[list[Entry], list[Entry]]:
    """One video of 75 frames: the official list over the file, and the list of its frames over the folder."""
    frames = numbered_frames(75)
    (tmp_path / "files").mkdir()
    write_video(tmp_path / "files/AAAAA.mp4", frames, fps=24)
    (tmp_path / "frames/AAAAA").mkdir(parents=True)
    rows = ["original_vido_id video_id frame_id path labels"]
    actions = [(int(word[1:4]), *map(float, word[5:].split())) for word in ACTIONS.split(";")]
    for index, frame in enumerate(frames):
        name = f"AAAAA/AAAAA-{index + 1:06d}.jpg"
        Image.fromarray(frame).save(tmp_path / "frames" / name, quality=95)
        shown = sorted({label for label, start, end in actions if start <= index / 24 <= end})
        rows.append(f'AAAAA 0 {index} {name} "{",".join(map(str, shown))}"')
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "Charades_v1_train.csv").write_text(f"{HEADER}AAAAA,,,,,,,,,{ACTIONS},3.125\n")
    with pytest.warns(UserWarning, match="1 actions last longer"):
        of_file = read_list(str(tmp_path / "Charades_v1_train.csv"), root=str(tmp_path / "files"), num_classes=6)
    return of_file, read_list(str(tmp_path / "train.csv"), root=str(tmp_path / "frames"), num_classes=6)


@pytest.mark.parametrize("scope", ["clip", "video"])
def test_videos_and_folders_of_frames_give_the_same_clips_and_labels(
    two_ways: tuple[list[Entry], list[Entry]], scope: str
) -> None:
    def stream(entries: list[Entry]) -> TrainingVideos:
        return TrainingVideos(
            entries,
            seed=0,
            pick=partial(random_clip, length=4, stride=4, sampling="clamped", fps=24),
            fit=partial(training_crop, jitter=(48, 60), crop=48, flip=True),
            target=multi_label(6, scope=scope).target,
            decode=partial(decode, frame_rate=24),
        )

    of_file, of_frames = map(stream, two_ways)
    seen = set()
    for index in range(40):
        one, other = (videos.get(index, lost={}, started=lambda _: None) for videos in (of_file, of_frames))
        assert numbers_in(one.clip[0].permute(1, 2, 3, 0).numpy()) == numbers_in(
            other.clip[0].permute(1, 2, 3, 0).numpy()
        )
        assert one.target.tolist() == other.target.tolist()
        seen.add(tuple(one.target.tolist()))
    assert len(seen) == (1 if scope == "video" else 5)
