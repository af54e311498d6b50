from pathlib import Path

import pytest

from nonlocal_video.data.census.usable import split_missing
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.types import Entry

ID, OTHER = "-3B32lodo2M", "_dbcJuKJQNs"
CLIP = f"{ID}_000059_000069"
NOT_CAT = "petting animal (not cat)"  # 212 in the released classids.json, line 213 of mmaction2's label_map_k400.txt.


def listed(path: Path, content: str, root: Path, *, name: str = "train.csv", **options: object) -> list[Entry]:
    """The entries of an official list with this content."""
    (path / name).write_bytes(content.encode())
    options = {"num_classes": 400, **options}
    return read_list(str(path / name), root=str(root), **options)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,train\n", 0),
        (f"label,youtube_id,time_start,time_end,split,is_cc\nabseiling,{ID},59,69,train,0\n", 0),
        (f"youtube_id,time_start,time_end,split\n{ID},59,69,test\n", None),
        (f"youtube_id,time_start,time_end,split,is_cc\n{ID},59,69,test,1\n", None),
        (f"class,id,start,end\nabseiling,{ID},59,69\n", 0),
        (f"video-id,start-time,end-time,label-name\n{ID},59,69,abseiling\n", 0),
        (f"split,time_end,time_start,youtube_id,label\nval,69.0,59.0,{ID},abseiling\n", 0),
        (f'\ufeff"label","youtube_id","time_start","time_end","split"\r\n"abseiling","{ID}",59,69,"train"\r\n', 0),
        (f",label,youtube_id,time_start,time_end,split\n0,abseiling,{ID},59,69,train\n", 0),
        (f'label,youtube_id,time_start,time_end,split\n"""abseiling""",{ID},59,69,train\n\n', 0),
    ],
)
def test_every_published_header_is_read(tmp_path: Path, root: Path, content: str, label: int | None) -> None:
    put(root, f"x/{CLIP}.mp4")
    for name in ("train.csv", "train.txt"):  # Kinetics-600 has the same under another name.
        (entry,) = listed(tmp_path, content, root, name=name)
        assert entry == Entry(CLIP, f"{root}/x/{CLIP}.mp4", label)


@pytest.mark.parametrize(
    "folder",
    [
        "train/petting animal (not cat)", "train/petting_animal_(not_cat)", "train/petting_animal_-not_cat-",
        "petting animal (not cat)", "petting_animal_(not_cat)", "videos_train/petting_animal_-not_cat-", "train", "",
        "k400/videos/train/petting animal (not cat)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [f"{CLIP}.mp4", f"{CLIP}.mkv", f"{ID}.webm", f"{CLIP}.MP4"])
def test_file_is_found_in_every_published_tree(tmp_path: Path, root: Path, folder: str, name: str) -> None:
    put(root, f"{folder}/{name}".lstrip("/"), "annotations/train.csv")
    content = f"label,youtube_id,time_start,time_end,split\n{NOT_CAT},{ID},59,69,train\n"
    (entry,) = listed(tmp_path, content, root)
    assert entry.path == str(root / folder / name)
    assert entry.label == 212


def test_folder_of_frames_is_found_by_its_name(tmp_path: Path, root: Path) -> None:
    put(root, f"rawframes_train/abseiling/{CLIP}/img_00001.jpg")
    (entry,) = listed(tmp_path, f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,train\n", root)
    assert entry.path == f"{root}/rawframes_train/abseiling/{CLIP}"


def test_of_several_files_that_of_split_and_class_is_taken(tmp_path: Path, root: Path) -> None:
    put(root, f"a/{CLIP}.mp4", f"train/{CLIP}.mp4", f"val/abseiling/{CLIP}.mp4", f"val/air drumming/{CLIP}.mp4")
    header = "label,youtube_id,time_start,time_end,split\n"
    (entry,) = listed(tmp_path, f"{header}air drumming,{ID},59,69,validate\n", root)
    assert entry.path == f"{root}/val/air drumming/{CLIP}.mp4"
    (entry,) = listed(tmp_path, f"{header}archery,{ID},59,69,train\n", root)
    assert entry.path == f"{root}/train/{CLIP}.mp4"
    (entry,) = listed(tmp_path, f"{header}archery,{ID},59,69,test\n", root)
    assert entry.path == f"{root}/a/{CLIP}.mp4"


def test_times_tell_clips_of_one_video_apart(tmp_path: Path, root: Path) -> None:
    put(root, f"{CLIP}.mp4", f"{ID}_000001_000011.mp4")
    rows = f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},1,11,train\narchery,{ID},59,69,train\n"
    entries = listed(tmp_path, rows, root)
    assert [Path(entry.path).name for entry in entries] == [f"{ID}_000001_000011.mp4", f"{CLIP}.mp4"]


def test_repaired_file_wins_over_every_other(tmp_path: Path, root: Path) -> None:
    repaired = "replacement/replacement_for_corrupted_k400"
    put(root, f"train/{CLIP}.mp4", f"train/abseiling/{CLIP}.mp4", f"{repaired}/{CLIP}.mp4")
    put(root, f"train/{OTHER}_000001_000011.mp4", f"{repaired}/{OTHER}_000002_000012.mp4")
    rows = f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,train\nabseiling,{OTHER},1,11,train\n"
    entries = listed(tmp_path, rows, root)
    assert entries[0].path == f"{root}/{repaired}/{CLIP}.mp4"
    assert entries[1].path == f"{root}/train/{OTHER}_000001_000011.mp4"


def test_links_are_followed_and_end(tmp_path: Path, root: Path) -> None:
    """The tree of arrange_by_classes.py: links to files; and links of folders into a circle and to nowhere."""
    put(tmp_path / "elsewhere", f"{CLIP}.mp4", f"more/{OTHER}_000001_000011.mp4")
    (root / "videos/train/abseiling").mkdir(parents=True)
    (root / f"videos/train/abseiling/{CLIP}.mp4").symlink_to(tmp_path / f"elsewhere/{CLIP}.mp4")
    (root / f"videos/train/abseiling/{OTHER}_000001_000011.mp4").symlink_to(tmp_path / "gone.mp4")
    (root / "circle").symlink_to(root)
    (root / "more").symlink_to(tmp_path / "elsewhere/more")
    rows = f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,train\nabseiling,{OTHER},1,11,train\n"
    entries = listed(tmp_path, rows, root)
    assert [entry.path.removeprefix(f"{root}/") for entry in entries] == [
        f"videos/train/abseiling/{CLIP}.mp4", f"more/{OTHER}_000001_000011.mp4",
    ]  # fmt: skip


def test_link_does_not_hide_that_a_file_is_a_repaired_one(tmp_path: Path, root: Path) -> None:
    put(root, f"replacement/deep/{CLIP}.mp4", f"train/{CLIP}.mp4")
    (root / "aaa").symlink_to(root / "replacement/deep")
    (entry,) = listed(tmp_path, f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,train\n", root)
    assert entry.path == f"{root}/replacement/deep/{CLIP}.mp4"


def test_video_that_is_nowhere_is_missing(tmp_path: Path, root: Path) -> None:
    (entry,) = listed(tmp_path, f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,train\n", root)
    assert entry == Entry(CLIP, f"{root}/{CLIP}.mp4", 0)
    assert split_missing([entry]) == ([], [entry])


def test_classes_of_ones_own_give_the_labels_however_spelt(tmp_path: Path, root: Path) -> None:
    header = "label,youtube_id,time_start,time_end,split\n"
    content = f'{header}"zoo, visiting",{ID},59,69,train\npassing American football,{OTHER},1,11,train\n'
    classes = ["passing american football", "zoo, visiting", "abseiling"]
    assert [e.label for e in listed(tmp_path, content, root, classes=classes, num_classes=3)] == [1, 0]


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (f"walking on the moon,{ID},59,69,train", {}, r"train\.csv:2: got the class 'walking on the moon'"),
        (f"abseiling,{ID},59,69,train", {"num_classes": 700}, "expected data.classes, a file of all class names"),
        (f"abseiling,{ID},59,69,train", {"classes": ["a", "b"], "num_classes": 2}, r"csv:2: .* one of data\.classes"),
        (f"abseiling,{ID},59,sixty,train", {}, r"train\.csv:2: got times '59' and 'sixty'"),
        (f"abseiling,{ID}", {}, r"train\.csv:2: got .*, expected 5 fields, as in the header"),
        ("abseiling,,59,69,train", {}, r"train\.csv:2: .* expected a YouTube id"),
        (f'"abseiling,{ID},59,69,train', {}, r"train\.csv:2: "),
        (f"abseiling,{ID},59,69,train\nabseiling,{ID},59,69,train", {}, rf"train\.csv:3: got {CLIP} again.* line 2"),
        ("", {}, "the list is empty"),
        (f",{ID},59,69,test", {"labels": "one"}, r"train\.csv:2: .* without labels"),
    ],
)  # fmt: skip
def test_bad_rows_are_named_with_the_line(tmp_path: Path, root: Path, row: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, f"label,youtube_id,time_start,time_end,split\n{row}\n", root, **options)


def test_official_list_needs_a_root(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text(f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},59,69,val\n")
    with pytest.raises(ValueError, match=r"expected data\.root"):
        read_list(str(tmp_path / "val.csv"), root=None, num_classes=400)


def test_large_list_is_read_whole(tmp_path: Path, root: Path) -> None:
    ids = [f"{i:011d}" for i in range(20_000)]
    put(root, *(f"train/{name}_000001_000011.mp4" for name in ids[::100]))
    rows = "".join(f"abseiling,{name},1,11,train\n" for name in ids)
    entries = listed(tmp_path, f"label,youtube_id,time_start,time_end,split\n{rows}", root)
    present, missing = split_missing(entries)
    assert (len(present), len(missing)) == (200, 19_800)
