import codecs
from pathlib import Path

import pytest

from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.lists.text import open_text

KINETICS = "label,youtube_id,time_start,time_end,split\nabseiling,-3B32lodo2M,59,69,train\n"
FORMS = {
    "paths": "é 1.mp4 0\n日本/b.mp4 1\n",
    "kinetics": KINETICS,
    "charades": "id,actions,length\nAAAAA,c001 1 2,9\n",
    "charades_frames": 'original_vido_id video_id frame_id path labels\nA 0 0 A/A-000001.jpg "5"\n',
}
ENCODINGS = {
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 little": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16 big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_list_says_the_same_in_every_encoding_that_marks_itself(tmp_path: Path, form: str, encoding: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(FORMS[form].encode())
    expected = read_list(str(path), root=str(tmp_path), num_classes=400)
    for text in (FORMS[form], FORMS[form].replace("\n", "\r\n")):
        path.write_bytes(ENCODINGS[encoding](text))
        assert read_list(str(path), root=str(tmp_path), num_classes=400) == expected


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_class_file_says_the_same_in_every_encoding_that_marks_itself(tmp_path: Path, encoding: str) -> None:
    for text in ("0 café\r\n1 zoo\r\n", '["café", "zoo"]'):
        (tmp_path / "classes.txt").write_bytes(ENCODINGS[encoding](text))
        assert read_classes(str(tmp_path / "classes.txt")) == ["café", "zoo"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.mp4 0\n".encode("utf-16-le"), "not a text file in UTF-8, nor in UTF-16 with a byte order mark"),
        (codecs.BOM_UTF32_LE + "a.mp4 0\n".encode("utf-32-le"), "not a text file in UTF-8, nor in UTF-16"),
        (b"\0\0\0\x20ftypisom", "not a text file"),
        (codecs.BOM_UTF16_LE + b"a\0b", "its byte order mark says UTF-16, but it is not"),
    ],
)
def test_other_content_is_refused_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    for read in (read_list, read_classes):
        options = {"root": None, "num_classes": None} if read is read_list else {}
        with pytest.raises(ValueError, match=rf"list\.txt: {message}"):
            read(str(tmp_path / "list.txt"), **options)  # type: ignore[arg-type, operator]


def test_bytes_of_names_in_other_encodings_stay(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4 0\n")
    with open_text(str(tmp_path / "list.txt")) as file:
        assert file.read().encode("utf-8", "surrogateescape") == b"caf\xe9.mp4 0\n"
