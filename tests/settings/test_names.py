"""Names of runs and reports: made of what matters, and never of the folders of a machine."""

import pytest

from nonlocal_video.cli.commandline import PATHS, with_quotes
from nonlocal_video.settings.identity import FILES, LONGEST, UNNAMED, run_name, within, words_of
from nonlocal_video.settings.parts import check_name

FOLDER = "/home/some body/x=y, z"
OWN = [
    "clip=8x8", "data=custom", "data.name=mine", f"data.root={FOLDER}", f"data.train={FOLDER}/mine_train.txt",
    f"data.val={FOLDER}/val.txt", f"data.classes={FOLDER}/classes.txt", "model=nl_i3d_r50", "optim=kinetics_400k",
    "optim.steps=20000", "optim.milestones=[10000,15000]", f"init.weights={FOLDER}/nl_i3d.safetensors",
]  # fmt: skip
"""README's fine-tuning, with absolute paths."""


def name(*overrides: str, **options: bool) -> str:
    return run_name(words_of(with_quotes(overrides), **options))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ""),
        (["experiment=miniature/nl_c2d", "seed=1", "runtime.devices=2", "data.root=/a b"], "miniature_nl_c2d-seed_1"),
        (["model.nonlocal_blocks=[res3.1,res3.3]", "optim.lr=1e-2"], "nonlocal_blocks_res3.1_res3.3-lr_1e-2"),
        (["seed=1", "experiment=miniature/c2d", "data.train=a.txt"], "miniature_c2d-train_a-seed_1"),
        (["data.train=my list (1), new.txt"], "train_my_list_1_new"),
        (["data.train=/x/train.csv", "data.val=/x/val.csv", "data.subset=/x/tenth.txt"], "subset_tenth"),
        (["init.weights=runs/c2d/model.safetensors"], "weights_c2d"),
        (["init.weights=null", "clip.flip=False"], "flip_false-weights_null"),
        (
            OWN,
            "mine-model_nl_i3d_r50-clip_8x8-weights_nl_i3d-milestones_10000_15000-steps_20000-optim_kinetics_400k",
        ),
    ],
)
def test_run_name_tells_the_overrides_without_paths_and_pastes_unquoted(overrides: list[str], expected: str) -> None:
    assert name(*overrides) == expected
    assert not expected or check_name(expected) == expected


def test_long_names_end_in_a_hash_that_keeps_them_apart() -> None:
    changes = [f"model.option_{k}=0.123456789" for k in range(12)]
    one, other = name(*OWN, *changes, "seed=1"), name(*OWN, *changes, "seed=2")
    assert one != other
    assert max(len(one), len(other)) <= LONGEST
    assert one.startswith("mine-model_nl_i3d_r50-clip_8x8-")
    assert check_name(one) == one


def test_reports_of_lists_with_one_name_in_two_folders_are_kept_apart() -> None:
    names = {name(f"data.val=/{folder}/val x.csv", by_folder=True) for folder in "ab"}
    assert len(names) == 2
    assert all(one.startswith("val_val_x_") and len(one) == len("val_val_x_0000") for one in names)
    assert name("data.val=three.txt", "weights=best", by_folder=True) == "val_three-weights_best"


def test_name_of_a_list_with_signs_pastes_unquoted() -> None:
    assert run_name(["my val (1)", "full_10", "", "日本"]) == "my_val_1-full_10"


def test_no_setting_that_is_a_path_goes_into_a_name_as_it_stands() -> None:
    of_predict = {"video", "image", "out", "over_time", "features", "draw"}
    assert {key for key in PATHS if not within(key, UNNAMED) and key not in FILES} == of_predict
    assert not any(
        "home" in word or "/" in word for word in words_of([f"{key}=/home/a/b" for key in PATHS - of_predict])
    )


def test_refused_name_says_which_setting_gives_another() -> None:
    with pytest.raises(ValueError, match=r"name: got 'a b', expected up to 200 .*: give one with name=NAME"):
        check_name("a b")
    assert "name" in UNNAMED
