"""The miniature of COCO: what it shows, and that its files are COCO's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pycocotools")

from nonlocal_video.data.coco.annotations import mirror_of, read_annotations
from nonlocal_video.data.coco.dataset import mirrored_sample, read_sample
from nonlocal_video.data.prepare.miniature_coco import (
    CATEGORIES,
    COLOURS,
    DISTANCE,
    LAMP_RADIUS,
    SIDE,
    draw_image,
    draw_scene,
    make_coco_miniature,
)
from nonlocal_video.types import ImageSample

SCENES = [draw_scene(index, seed=0) for index in range(1000)]


def test_a_lamp_is_far_from_every_shape_and_shapes_are_apart() -> None:
    for scene in SCENES:
        x, y = scene.lamp
        taken = np.zeros((SIDE, SIDE), int)
        for shape in (*scene.shapes, *scene.crowd):
            mask = shape.mask()
            taken += mask
            rows, columns = np.nonzero(mask)
            assert np.hypot(columns - x, rows - y).min() >= DISTANCE - 1
        assert taken.max(initial=0) <= 1
    assert {len(scene.shapes) for scene in SCENES} == {0, 2, 3}
    assert any(scene.crowd for scene in SCENES)


def test_colours_and_places_of_shapes_have_nothing_to_do_with_each_other() -> None:
    by_colour = [[scene for scene in SCENES if scene.colour == colour] for colour in (0, 1)]
    assert all(len(scenes) > 450 for scenes in by_colour)
    for measure in ("left", "top", "side", "grey", "is_disc"):
        means = [np.mean([getattr(shape, measure) for s in scenes for shape in s.shapes]) for scenes in by_colour]
        spread = np.std([getattr(shape, measure) for scene in SCENES for shape in scene.shapes])
        assert abs(means[0] - means[1]) < 0.2 * spread, measure


def test_a_lamp_of_another_colour_changes_the_lamp_only() -> None:
    scene = SCENES[0]
    one, other = (draw_image(scene, noise=3, colour=colour) for colour in (0, 1))
    y, x = np.nonzero((one != other).any(axis=2))
    assert np.hypot(x - scene.lamp[0], y - scene.lamp[1]).max() <= LAMP_RADIUS
    assert one[scene.lamp[1], scene.lamp[0]].tolist() == list(COLOURS[0])


def test_files_are_cocos_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_coco_miniature(tmp_path / name, num_train=30, num_val=6, seed=seed)
    names = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*") if path.is_file())
    same = [(tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names]
    assert all(same)
    assert (tmp_path / "a/train2017/000000000001.png").read_bytes() != (
        tmp_path / "c/train2017/000000000001.png"
    ).read_bytes()
    root = tmp_path / "a"
    found = read_annotations(
        str(root / "annotations/instances_train2017.json"), root=str(root / "train2017"), kind="mask_rcnn"
    )
    assert found.categories == list(CATEGORIES)
    assert len(found.pictures) == 30
    for index, picture in enumerate(found.pictures):
        scene, sample = draw_scene(index, seed=0), read_sample(picture, num_keypoints=0)
        assert isinstance(sample, ImageSample)
        assert {instance.label for instance in picture.instances} <= {scene.colour + 1}
        masks = sample.target.get("masks", np.zeros((0, SIDE, SIDE)))
        for shape, mask in zip(scene.shapes, masks, strict=True):
            assert np.array_equal(shape.mask(), np.asarray(mask, dtype=bool))
    assert len(found.left_out.get("crowds", [])) == sum(bool(draw_scene(index, seed=0).crowd) for index in range(30))
    with Image.open(root / "val2017/000000000031.png") as image:
        assert image.size == (SIDE, SIDE)


def test_the_left_corner_follows_the_lamp_also_in_a_mirror(tmp_path: Path) -> None:
    make_coco_miniature(tmp_path, num_train=20, num_val=1)
    path = tmp_path / "annotations/person_keypoints_train2017.json"
    found = read_annotations(str(path), root=str(tmp_path / "train2017"), kind="keypoint_rcnn")
    mirror = mirror_of(found.keypoints)
    assert mirror == [1, 0, 2]
    for index, picture in enumerate(found.pictures):
        sample, red = read_sample(picture, num_keypoints=3), draw_scene(index, seed=0).colour == 0
        assert isinstance(sample, ImageSample)
        for one in (sample, mirrored_sample(sample, mirror)):
            for points in one.target["keypoints"]:
                assert (points[0, 0] < points[1, 0]) == red


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="got a folder with other files"):
        make_coco_miniature(tmp_path, num_train=1, num_val=1)
