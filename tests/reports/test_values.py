import pytest

from nonlocal_video.reports.values import found_in, labels, named_labels, ordered, shorten, spelled


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["res3.0", "res3.1"], "[res3.0,res3.1]"),
        ([300, 350], "[300,350]"),
        ([], "[]"),
        (None, "null"),
        (True, "true"),
        (0.05, "0.05"),
        ("dot_product", "dot_product"),
    ],
)
def test_values_are_spelled_as_on_the_command_line(value: object, expected: str) -> None:
    assert spelled(value) == expected


def test_lists_null_and_paths_are_shown_in_words() -> None:
    assert labels(["[res3.0,res3.1]", "null", "[]", "0.1"]) == {
        "[res3.0,res3.1]": "res3.0 + res3.1", "null": "not set", "[]": "none", "0.1": "0.1",
    }  # fmt: skip
    paths = ["/data/a/nl.safetensors", "weights/c2d.pth", "null"]
    assert list(labels(paths).values()) == ["nl.safetensors", "c2d.pth", "not set"]
    same = ["/data/a/w.pth", "/data/b/w.pth"]
    assert list(labels(same).values()) == same, "names that are not different say too little"
    assert labels(["miniature/nl_c2d"]) == {"miniature/nl_c2d": "miniature/nl_c2d"}


def test_values_that_say_nothing_alone_stand_beside_their_setting() -> None:
    assert list(named_labels("data.name", ["motion", "e5"]).values()) == ["motion", "e5"]
    assert list(named_labels("optim.lr", ["0.05", "1e-3", "null"]).values()) == ["lr 0.05", "lr 1e-3", "lr not set"]
    assert named_labels("optim.milestones", ["[3,5]"]) == {"[3,5]": "milestones 3 + 5"}


@pytest.mark.parametrize(
    "text", ["[res3.0,res3.1]", '["res3.0","res3.1"]', "['res3.0', 'res3.1']", "res3.0 + res3.1", "res3.0+res3.1"]
)
def test_a_list_is_found_however_it_is_quoted_or_copied_from_a_table(text: str) -> None:
    values = ["1", "[res3.0]", "[res3.0,res3.1]"]
    assert found_in(text, values) == ("[res3.0,res3.1]" if text != "res3.0+res3.1" else None)
    assert found_in("1", values) == "1"
    assert found_in("2", values) is None


def test_numbers_words_and_lists_have_an_order() -> None:
    values = ["[res3.1,res4.0]", "null", "10", "[res4.0]", "5", "gaussian", "5"]
    assert ordered(values) == ["5", "10", "gaussian", "null", "[res4.0]", "[res3.1,res4.0]"]


def test_long_names_keep_both_ends() -> None:
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 9) == "abc...ijk"
