"""CVAT's XML."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

from tests.data.readers.tool_formats import load, mask, names, notes, outline, picture, points, splits
from vertebra.data.open import open_data
from vertebra.data.readers.cvat_tracks import outline_between
from vertebra.errors import DataError

SVG = (
    '<line x1="1" y1="2" x2="3" y2="4" data-type="edge" data-node-from="2" data-node-to="1"></line>'
    '<circle r="1.5" data-type="element node" data-element-id="1" data-node-id="1" data-label-name="nose"></circle>'
    '<circle r="1.5" data-type="element node" data-element-id="2" data-node-id="2" data-label-name="tail"></circle>'
)
LABELS = (
    "<label><name>dog</name><color>#ff0000</color><type>any</type><attributes></attributes></label>"
    f"<label><name>mouse</name><type>skeleton</type><svg>{SVG.replace('<', '&lt;').replace('>', '&gt;')}</svg></label>"
    "<label><name>nose</name><type>points</type><parent>mouse</parent></label>"
    "<label><name>tail</name><type>points</type><parent>mouse</parent></label>"
    "<label><name>ant</name><type>any</type></label>"
)


def element(tag: str, inner: str = "", **values: Any) -> str:
    attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in values.items())
    return f"<{tag} {attributes}>{inner}</{tag}>"


def box(label: str = "dog", sides: tuple[Any, ...] = (2, 3, 8, 9), inner: str = "", **more: Any) -> str:
    corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), sides, strict=True))
    return element("box", inner, label=label, source="manual", occluded=0, **corners, z_order=0, **more)


def write(folder: Path, *parts: str, meta: str = "", name: str = "annotations.xml", root: str = "task") -> Path:
    """A file as CVAT exports it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><{root}><labels>{LABELS}</labels>'
    file = folder / name
    file.write_text(
        f"{text}{meta}</{root}><dumped>2026</dumped></meta>{''.join(parts)}</annotations>", encoding="utf-8"
    )
    return file


def image(name: str, *shapes: str, number: int = 0, **more: Any) -> str:
    return element("image", "".join(shapes), id=number, name=name, width=32, height=24, **more)


def video(folder: Path, *tracks: str, frames: int = 5, first: int = 0, step: int = 1, images: bool = True) -> Path:
    """A video's file, and the images of its frames."""
    last = first + (frames - 1) * step
    meta = f"<size>{frames}</size><mode>interpolation</mode><start_frame>{first}</start_frame><stop_frame>{last}</stop_frame>"
    meta += f"<frame_filter>step={step}</frame_filter>" if step > 1 else "<frame_filter></frame_filter>"
    meta += "<original_size><width>32</width><height>24</height></original_size><source>film.mp4</source>"
    for number in range(first, last + 1, step) if images else ():
        picture(folder / "images" / f"frame_{number:06}.PNG")
    return write(folder, *tracks, meta=meta)


def track(*shapes: str, label: str = "dog", number: int = 0, **more: Any) -> str:
    return element("track", "".join(shapes), id=number, label=label, source="manual", **more)


def moment(frame: int, sides: tuple[Any, ...] = (2, 3, 8, 9), outside: int = 0, keyframe: int = 1, **more: Any) -> str:
    corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), sides, strict=True))
    return element("box", frame=frame, keyframe=keyframe, outside=outside, occluded=0, **corners, z_order=0, **more)


def test_shapes_of_images(tmp_path: Path) -> None:
    spots = "1.50,2.00;9.00,3.00;4.00,8.00"
    skeleton = element("points", label="tail", outside=0, occluded=1, points="5.00,6.00")
    skeleton += element("points", label="nose", outside=1, occluded=0, points="7.00,8.00")
    attribute = '<attribute name="color">brown</attribute>'
    shapes = [
        box(inner=attribute).replace('occluded="0"', 'occluded="1"'),
        box(sides=(10, 10, 14, 12), rotation="90.00"),
        element("polygon", label="cat", occluded=0, points=spots, z_order=0),
        element("ellipse", label="dog", occluded=0, cx=16, cy=12, rx=6, ry=3, rotation=90, z_order=0),
        element("mask", label="dog", occluded=0, rle="1, 2, 2, 1", left=4, top=5, width=3, height=2, z_order=0),
        element("skeleton", skeleton, label="mouse", z_order=0),
        element("polyline", label="dog", occluded=0, points=spots, z_order=0),
        element("points", label="dog", occluded=0, points=spots, z_order=0),
        element("tag", label="indoor", source="manual"),
    ]
    write(tmp_path, image("a.png", *shapes), image("b.png", number=1))
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    read = load(tmp_path, "cvat")
    assert read.category_names == ("dog", "mouse", "ant", "cat", "indoor")
    assert names(read) == ["dog", "dog", "cat", "dog", "dog", "mouse"]
    assert read.objects.boxes[0].tolist() == [2, 3, 8, 9] and not read.objects.has_box[1:].any()
    assert read.objects.attributes is not None and read.objects.attributes[0] == {"color": "brown", "occluded": True}
    np.testing.assert_allclose(outline(read, 1), [[13, 9, 13, 13, 11, 13, 11, 9]])
    assert outline(read, 2) == [[1.5, 2, 9, 3, 4, 8]]
    ellipse = np.array(outline(read, 3)[0]).reshape(-1, 2)
    np.testing.assert_allclose([*ellipse.min(axis=0), *ellipse.max(axis=0)], [13, 6, 19, 18])
    assert np.argwhere(mask(read, 4)).tolist() == [[5, 5], [5, 6], [6, 6]]
    assert read.categories[1].points == ("nose", "tail") and read.categories[1].skeleton == ((1, 0),)
    assert points(read, 5) == [[7, 8, 0], [5, 6, 1]]
    assert read.labels.tolist() == [[0, 4]] and read.sizes.tolist() == [[24, 32]] * 2 and read.image_ids == (0, 1)
    assert notes(read) == [
        "1 turned box was read as an outline of four corners: a.png",
        "1 shape drawn as polyline, without a box or an area, was left out: a.png",
        "1 shape drawn as points, without a box or an area, was left out: a.png",
    ]


def test_polygons_and_masks_of_a_group_are_one_object(tmp_path: Path) -> None:
    parts = [element("polygon", label="dog", occluded=0, points=f"{x},2;{x + 3},2;{x},6", group_id=1) for x in (1, 11)]
    parts += [element("mask", label="dog", occluded=0, rle="0, 1", left=20, top=5, width=1, height=1, group_id=1)]
    write(tmp_path, image("a.png", *parts, box(group_id=1), box(group_id=1)))
    picture(tmp_path / "a.png")
    read = load(tmp_path, "cvat")
    assert len(read.objects) == 3 and mask(read, 0)[3, 1] and mask(read, 0)[3, 11] and mask(read, 0)[5, 20]


def test_subsets_are_splits(tmp_path: Path) -> None:
    subsets = {"Train": ["a.png", "b.png"], "Validation": ["a.png"]}
    entries = [
        image(name, box("cat" if subset == "Train" else "dog"), subset=subset)
        for subset in subsets
        for name in subsets[subset]
    ]
    for subset, files in subsets.items():
        for name in files:
            picture(tmp_path / "images" / subset / name)
    write(tmp_path, *entries, root="project")
    assert splits(tmp_path, "cvat") == ("train", "val")
    read = load(tmp_path, "cvat", "val")
    assert [read.path(0)] == [tmp_path / "images" / "Validation" / "a.png"] and names(read) == ["dog"]
    whole = load(tmp_path, "cvat")
    assert whole.splits is not None and whole.splits.tolist() == [0, 0, 1]
    assert len(open_data(tmp_path, "detect", "val", format="cvat")) == 1


def test_a_track_without_a_sound_shape_and_frames_without_an_image(tmp_path: Path) -> None:
    file = video(tmp_path, track(moment(0)), track(moment(1, (2, 3, "x", 9)), number=1), frames=4)
    (tmp_path / "images" / "frame_000003.PNG").unlink()
    read = load(tmp_path, "cvat")
    assert read.objects.rows.tolist() == [0, 1, 2], file
    assert notes(read) == [
        "1 frame of the task without an image was left out",
        "1 annotation without a frame or finite coordinates was dropped: annotations.xml",
    ]


def test_every_frame_of_a_track(tmp_path: Path) -> None:
    video(tmp_path, track(moment(1), moment(2, (4, 3, 10, 9), keyframe=0), moment(3, (4, 3, 10, 9), outside=1)))
    read = load(tmp_path, "cvat")
    assert read.objects.rows.tolist() == [1, 2] and read.objects.boxes.tolist() == [[2, 3, 8, 9], [4, 3, 10, 9]]
    assert [read.path(row).name for row in range(5)] == [f"frame_{number:06}.PNG" for number in range(5)]
    assert read.groups is not None and read.groups.tolist() == [0] * 5 and read.sizes.tolist() == [[24, 32]] * 5
    assert read.objects.attributes == ({"track_id": 0, "occluded": False},) * 2 and not notes(read)


def test_keyframes_alone_are_interpolated(tmp_path: Path) -> None:
    ellipse = {"cx": 10, "cy": 10, "rx": 4, "ry": 2, "keyframe": 1, "outside": 0, "occluded": 0}
    video(
        tmp_path,
        track(moment(0, (0, 0, 4, 4)), moment(4, (8, 4, 12, 12))),
        track(moment(0, (8, 8, 12, 10), rotation=350), moment(2, (8, 8, 12, 10), rotation=10), moment(3, outside=1)),
        track(element("ellipse", frame=1, **ellipse), element("ellipse", frame=3, **ellipse | {"cx": 14})),
    )
    read = load(tmp_path, "cvat")
    rows = {number: read.objects.take(read.objects.rows == number) for number in range(5)}
    assert [len(rows[number]) for number in range(5)] == [2, 3, 3, 2, 2]
    assert [rows[number].boxes[0].tolist() for number in (1, 2, 4)] == [[2, 1, 6, 6], [4, 2, 8, 8], [8, 4, 12, 12]]
    middle = np.flatnonzero(read.objects.rows == 1)
    assert read.objects.boxes[middle[1]].tolist() == [8, 8, 12, 10]  # turned by 0 degrees, between 350 and 10
    shifted = int(np.flatnonzero(read.objects.rows == 2)[2])
    np.testing.assert_allclose(np.array(outline(read, shifted)[0])[0], 16)


def test_skeletons_and_outlines_are_interpolated(tmp_path: Path) -> None:
    def skeleton(frame: int, x: float, hidden: int = 0) -> str:
        inner = element("points", label="nose", keyframe=1, outside=0, occluded=hidden, points=f"{x},2.00")
        return element("skeleton", inner, frame=frame, keyframe=1, z_order=0)

    def polygon(frame: int, spots: str) -> str:
        return element("polygon", frame=frame, keyframe=1, outside=0, occluded=0, points=spots, z_order=0)

    square = polygon(0, "0,0;4,0;4,4;0,4") + polygon(2, "10,0;14,0;14,4;10,4") + moment(3, outside=1)
    video(tmp_path, track(skeleton(0, 1, 1) + skeleton(2, 5), label="mouse"), track(square), frames=4)
    read = load(tmp_path, "cvat")
    middle = np.flatnonzero(read.objects.rows == 1).tolist()
    assert points(read, middle[0]) == [[3, 2, 1], [0, 0, 0]]
    assert outline(read, middle[1]) == [[5, 0, 9, 0, 9, 4, 5, 4]]
    assert read.objects.rows.tolist().count(3) == 1  # the skeleton lasts until the end


def test_outlines_with_other_numbers_of_vertices() -> None:
    triangle, square = np.array([0.0, 0, 8, 0, 0, 8]), np.array([0.0, 0, 8, 0, 8, 8, 0, 8])
    between = outline_between(triangle, square, 0.5, closed=True).reshape(-1, 2)
    assert between.tolist() == [[0, 0], [8, 0], [4, 8], [0, 8]]
    assert outline_between(triangle, triangle, 0.3, closed=True).tolist() == triangle.tolist()
    still = np.array([3.0, 3, 3, 3])
    assert set(outline_between(still, still, 0.5, closed=False).tolist()) == {3}


def test_frames_that_are_skipped(tmp_path: Path) -> None:
    video(tmp_path, track(moment(10), moment(20, (12, 3, 18, 9))), first=10, step=5, frames=3)
    for number in (11, 12):
        picture(tmp_path / "images" / f"frame_{number:06}.png")
    read = load(tmp_path, "cvat")
    assert read.objects.boxes[:, 0].tolist() == [2, 7, 12] and read.image_ids == (10, 15, 20)
    assert notes(read) == ["2 images beside the frames of the task were left out: frame_000011.png, frame_000012.png"]


def test_frames_by_their_order(tmp_path: Path) -> None:
    video(tmp_path, track(moment(1), moment(2, outside=1)), frames=3, images=False)
    for name in ("c.png", "a.png", "b.png"):
        picture(tmp_path / "images" / name)
    read = load(tmp_path, "cvat")
    assert read.path(int(read.objects.rows[0])).name == "b.png"
    assert notes(read) == [
        "1 video whose frames have other names than CVAT's was matched in the order of names: annotations.xml"
    ]
    picture(tmp_path / "images" / "d.png")
    with pytest.raises(
        DataError, match=r"the images of its frames are not found; export of film\.mp4 with images, or write"
    ):
        load(tmp_path, "cvat")


def test_a_video_is_divided_into_runs(tmp_path: Path) -> None:
    video(tmp_path, track(moment(0)), frames=20)
    parts = {split: open_data(tmp_path, "detect", split, format="cvat") for split in ("train", "val", "test")}
    first = {split: parts[split].path(0).name for split in parts}
    assert [len(part) for part in parts.values()] == [16, 2, 2]
    assert first == {"train": "frame_000000.PNG", "val": "frame_000016.PNG", "test": "frame_000018.PNG"}


def test_videos_of_a_project_are_refused(tmp_path: Path) -> None:
    video(tmp_path, track(moment(0), task_id=1), track(moment(0), task_id=2))
    with pytest.raises(DataError, match="tracks of 2 videos in one file; export each task of the project alone"):
        load(tmp_path, "cvat")


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    wrong = [
        box(sides=("x", 3, 8, 9)),
        box(sides=("nan", 3, 8, 9)),
        box(label=""),
        element("polygon", label="dog", points="1,2;3"),
        element("polygon", label="dog", points="1,2;3,4"),
        element("mask", label="dog", rle="1, 2", left=0, top=0, width=2, height=2),
        element("mask", label="dog", rle="4", left=0, top=0, width=99999999, height=99999999),
        element("ellipse", label="dog", cx=1, cy=2, rx=0, ry=3),
    ]
    write(tmp_path, image("a.png", *wrong, box()), image("lost.png"))
    picture(tmp_path / "a.png")
    read = load(tmp_path, "cvat")
    assert len(read.objects) == 1 and read.dropped == 8
    assert notes(read) == [
        "1 image that the file names was not found and left out: lost.png",
        "8 annotations without a label or finite coordinates were dropped: a.png",
    ]


def test_damaged_files(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    file = write(tmp_path, image("a.png", box()))
    write(tmp_path, image("a.png"), name="second.xml").write_text("<annotations><meta/><image")
    read = load(tmp_path, "cvat")
    assert notes(read) == ["1 annotation file that cannot be read was left out with its image: second.xml"]
    (tmp_path / "second.xml").unlink()
    sound = file.read_text()
    file.write_text(sound[:-5])
    with pytest.raises(DataError, match=r"annotations\.xml: damaged or cut off, not XML"):
        load(tmp_path, "cvat")
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><annotations><meta>&e9;</meta></annotations>'
    for encoding in ("utf-8", "utf-16"):
        file.write_text(bomb, encoding=encoding)
        with pytest.raises(DataError, match="it declares XML entities, which are not read; remove its <!DOCTYPE"):
            load(tmp_path, "cvat")
    file.write_text(sound, encoding="utf-8-sig")
    assert len(load(tmp_path, "cvat").objects) == 1


def test_a_folder_of_voc_is_not_cvats(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    with pytest.raises(AssertionError):
        load(tmp_path, "cvat")
