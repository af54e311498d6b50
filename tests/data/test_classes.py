import json
from functools import partial
from pathlib import Path

import pytest

from nonlocal_video.data.lists.classes import KINETICS400, check_label_order, normalised, read_classes
from nonlocal_video.runs.videos import look_for_videos
from nonlocal_video.settings import DataConfig
from nonlocal_video.types import Entry, TimedLabel

NAMES = ["abseiling", "air drumming", "3 point shot", "petting animal (not cat)", "massaging person's head", "run 100"]


def entries_of(config: DataConfig, which: str) -> tuple[list[Entry], list[Entry]]:
    found = look_for_videos(config, which)
    return found.entries, found.missing


def read(tmp_path: Path, content: str, num_classes: int | None = None) -> list[str]:
    (tmp_path / "classes.txt").write_bytes(content.encode())
    return read_classes(str(tmp_path / "classes.txt"), num_classes=num_classes)


def joined(between: str, *, ids_first: bool, quote: str = "", first: int = 0) -> str:
    """The names with their ids, last id first."""
    pairs = [(str(i), f"{quote}{name}{quote}") for i, name in reversed(list(enumerate(NAMES, first)))]
    return "".join(between.join(pair if ids_first else pair[::-1]) + "\n" for pair in pairs)


NAMES_ALONE = {
    "names": "\n".join(NAMES),
    "names with Windows line ends": "\ufeff" + "\r\n".join(NAMES) + "\r\n",
    "quoted names": "".join(f'"{name}"\n' for name in NAMES),
    "charades": "".join(f"c{i:03d} {name}\n" for i, name in enumerate(NAMES)),
    "JSON list": json.dumps(NAMES),
}


def with_ids(first: int) -> dict[str, str]:
    """Forms of the names with ids, of which the lowest is `first`."""
    ids = {name: i for i, name in enumerate(NAMES, first)}
    backwards = dict(reversed(ids.items()))
    before, behind = partial(joined, first=first, ids_first=True), partial(joined, first=first, ids_first=False)
    return {
        "id name": before(" "),
        "id,name": before(","),
        "id, name": before(", "),
        "id tab name": before("\t"),
        "name id": behind(" "),
        "name,id": behind(","),
        "name,id quoted": behind(",", quote='"'),
        "id,name with header": "id,name\n" + before(","),
        "name,index with header": "name,index\r\n" + behind(",", quote='"').replace("\n", "\r\n"),
        "id name with header": "id name\n" + before(" "),
        "name id with header": "name id\n" + behind(" "),
        "label,name with header": "label,name\n" + before(","),
        "label,id with header": "label,id\n" + behind(","),
        "class_id,class_name,group with header": "class_id,class_name,group\n"
        + "".join(f'{i},"{name}",x\n' for name, i in ids.items()),
        "JSON {name: id}": json.dumps(ids),
        "JSON {name: id} with quotes in the names": json.dumps(
            {f'"{name}"' if " " in name else name: i for name, i in backwards.items()}
        ),
        "JSON {id: name}": json.dumps({str(i): name for name, i in backwards.items()}),
        "JSON {name: text id}": json.dumps({name: str(i) for name, i in ids.items()}),
    }


FORMS = NAMES_ALONE | with_ids(0)


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_gives_the_names_in_the_order_of_the_labels(tmp_path: Path, form: str) -> None:
    assert read(tmp_path, FORMS[form], len(NAMES)) == NAMES


@pytest.mark.parametrize("form", with_ids(1))
def test_ids_from_1_give_the_same_order(tmp_path: Path, form: str) -> None:
    assert read(tmp_path, with_ids(1)[form], len(NAMES)) == NAMES


@pytest.mark.parametrize(
    "names",
    [
        ["3 point shot", "50 m freestyle", "abseiling"],
        ["2 hands", "3 hands", "7 hands"],
        ["run 100", "run 200", "run 400"],
        ["0", "1", "2"],
        ["class 0", "class 1", "class 2"],
        ["100m", "c000", "5, 4, 3"],
        ["0 a", "b"],
    ],
)
def test_numbers_in_names_survive(tmp_path: Path, names: list[str]) -> None:
    assert read(tmp_path, "\n".join(names)) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0,a\n1,b\n1,c\n", r"the id 1 is there 2 times \('b', 'c'\)"),
        ("0,a\n1,b\n3,c\n", "the id 2 is missing; 3 names have ids from 0 to 3, expected 0 to 2 or 1 to 3"),
        ("2,a\n3,b\n", "the id 0 is missing; 2 names have ids from 2 to 3, expected 0 to 1 or 1 to 2"),
        ("1,a\n3,b\n", "the id 0 is missing"),
        ("c001 a\nc002 b\n", "the id 0 is missing; 2 names have ids from 1 to 2, expected 0 to 1"),
        ("id,name\n0,a\n0,b\n", "the id 0 is there 2 times"),
        ('{"a": 0, "b": 2}', "the id 1 is missing"),
        ('{"a": 0, "b": 0}', "the id 0 is there 2 times"),
        ('{"0": "a", "0": "b"}', "the id 0 is there 2 times"),
        ('{"a": 0.5}', "expected a JSON list of names"),
        ("[1, 2]", "expected a JSON list of names"),
        ("[a", "got no JSON"),
        ("0 level 1\n1 level 0\n", "ids before and behind the names"),
        ("a\nb\na\n", "has the name 'a' 2 times"),
    ],
)
def test_bad_files_are_told_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.classes: .*classes\.txt.*{message}"):
        read(tmp_path, content)


def test_class_file_must_have_a_name_for_each_label(tmp_path: Path) -> None:
    assert read(tmp_path, "abseiling\nair drumming\n", 2) == ["abseiling", "air drumming"]
    with pytest.raises(ValueError, match=r"has 2 names, expected data\.num_classes=3"):
        read(tmp_path, "abseiling\nair drumming\n", 3)
    with pytest.raises(ValueError, match="no such file"):
        read_classes(str(tmp_path / "none.txt"), num_classes=2)
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt: expected text in UTF-8"):
        read_classes(str(tmp_path / "latin.txt"), num_classes=1)


def test_kinetics_400_has_its_published_order() -> None:
    """Lines of mmaction2's label_map_k400.txt, entries of the released classids.json."""
    assert len(KINETICS400) == len(set(map(normalised, KINETICS400))) == 400
    assert [KINETICS400[i] for i in (0, 19, 53, 212, 290, 399)] == [
        "abseiling", "bench pressing", "changing wheel", "petting animal (not cat)", "sharpening knives", "zumba",
    ]  # fmt: skip


def test_spellings_of_a_class_are_equal() -> None:
    spellings = [
        "petting animal (not cat)",
        "petting_animal_(not_cat)",
        "petting_animal_-not_cat-",
        '"Petting animal (not cat)"',
    ]
    assert len(set(map(normalised, spellings))) == 1
    assert normalised("passing American football (in game)") != normalised("passing American football (not in game)")


def test_labels_that_agree_with_the_folders_pass() -> None:
    spellings = ["petting animal (not cat)", "petting_animal_(not_cat)", "petting_animal_-not_cat-"]
    entries = [Entry("a", f"/data/{spelling}/a.mp4", 212) for spelling in spellings]
    check_label_order(entries, KINETICS400)
    others = [Entry("a", "/data/videos/a.mp4", 3), Entry("a", "a.mp4", 3), Entry("a", "/abseiling/x/a.mp4", 3)]
    check_label_order([*others, Entry("a", "/abseiling/a.mp4", None)], KINETICS400)
    several = Entry("a", "abseiling/a.mp4", (7, 0))
    check_label_order([several, several._replace(label=(TimedLabel(0, 0.0, 1.0),))], KINETICS400)
    check_label_order([Entry("a", "/x/C/a.mp4", 1), Entry("b", "/x/c++/b.mp4", 0)], ["C", "C++"])


def test_shifted_labels_are_refused_with_the_shift() -> None:
    entries = [Entry(f"{name}/a.mp4", f"/data/{name}/a.mp4", i + 1) for i, name in enumerate(KINETICS400[:100])]
    with pytest.raises(ValueError, match=r"100 of 100 videos .*: abseiling/a\.mp4 has 1 \('air drumming'\), expected 0 "
                                         r"\('abseiling'\); all labels are shifted by \+1"):  # fmt: skip
        check_label_order(entries, KINETICS400)


def test_single_wrong_label_is_refused() -> None:
    entries = [Entry(f"{name}/a.mp4", f"/data/{name}/a.mp4", i) for i, name in enumerate(KINETICS400)]
    entries[7] = entries[7]._replace(label=9)
    with pytest.raises(ValueError, match=r"1 of 400 videos .* check that data\.classes"):
        check_label_order(entries, KINETICS400)


def test_kinetics_400_in_another_order_is_refused() -> None:
    names = [name.replace(" ", "_") for name in KINETICS400]
    check_label_order([], names)
    names[5], names[6] = names[6], names[5]
    with pytest.raises(ValueError, match=r"in another order: 5 is 'arm_wrestling', expected 'archery'"):
        check_label_order([], names)
    check_label_order([], names[:399])


def data_config(tmp_path: Path, content: str, **changes: object) -> DataConfig:
    (tmp_path / "list.txt").write_text(content)
    for video in ("abseiling/a.mp4", "air_drumming/b.mp4"):
        (tmp_path / video).parent.mkdir(exist_ok=True)
        (tmp_path / video).touch()
    options = {
        "name": "x",
        "root": str(tmp_path),
        "train": "list.txt",
        "val": str(tmp_path / "list.txt"),
        "num_classes": 400,
    }
    return DataConfig(**{**options, **changes})  # type: ignore[arg-type]


def test_run_checks_its_labels_against_the_folders(tmp_path: Path) -> None:
    entries, missing = entries_of(data_config(tmp_path, "abseiling/a.mp4 0\nair_drumming/b.mp4 1\n"), "val")
    assert ([entry.label for entry in entries], missing) == ([0, 1], [])
    shifted = "abseiling/a.mp4 1\nair_drumming/b.mp4 2\n"
    with pytest.raises(ValueError, match=r"all labels are shifted by \+1"):
        entries_of(data_config(tmp_path, shifted), "val")
    (tmp_path / "classes.txt").write_text("x\nabseiling\nair drumming\n")
    own = {"num_classes": 3, "classes": str(tmp_path / "classes.txt")}
    assert len(entries_of(data_config(tmp_path, shifted, **own), "val")[0]) == 2
    assert len(entries_of(data_config(tmp_path, shifted, num_classes=401), "val")[0]) == 2


def test_run_takes_official_lists_and_refuses_what_it_cannot_train_on(tmp_path: Path) -> None:
    header = "label,youtube_id,time_start,time_end\n"
    clip = "AAAAAAAAAAA_000001_000011"
    config = data_config(tmp_path, f"{header}abseiling,AAAAAAAAAAA,1,11\n")
    (tmp_path / f"abseiling/{clip}.mp4").touch()
    assert entries_of(config, "val")[0] == [Entry(clip, f"{tmp_path}/abseiling/{clip}.mp4", 0)]
    for content, message in {
        "a.mp4\nb.mp4\n": r"list\.txt:1: got 'a\.mp4', expected a path and a label",
        "abseiling/a.mp4 0 3\nair_drumming/b.mp4 1\n": "for several set data.labels=clip",
    }.items():
        with pytest.raises(ValueError, match=message):
            entries_of(data_config(tmp_path, content), "val")
    both_ways = "abseiling/a.mp4 3 0\nair_drumming/b.mp4 3 1\n"
    entries, _ = entries_of(data_config(tmp_path, both_ways, format="path_frames_label"), "val")
    assert [entry.num_frames for entry in entries] == [3, 3]
