"""The files of labeling tools, damaged, all of their images opened and all of their annotations used."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_damage import encoded, spoil_bytes, spoil_json, spoil_text
from fuzz_formats_annotations import IMAGES, SIZE, TRAIN, _format, _image
from PIL import Image

Rng = np.random.Generator
TASKS = ("detect", "segment", "classify", "keypoints")
TRIANGLE = [[2, 3], [20, 4.5], [9, 18]]


def _png(mode: str = "1") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.array([[0, 1, 1], [1, 1, 0]], dtype=np.uint8) * 255).convert(mode).save(stream, format="PNG")
    return stream.getvalue()


def _spoil_json_files(rng: Rng, folder: Path) -> None:
    """One of the JSON files or the bytes of all, and seldom the picture or the packed data of a mask in it."""
    files = sorted(folder.rglob("*.json"))
    if len(files) > 1 and rng.integers(5) == 0:
        for file in files:
            file.write_bytes(spoil_bytes(rng, file.read_bytes()))
        return
    file = files[int(rng.integers(len(files)))]
    document = json.loads(file.read_text())
    if rng.integers(6) == 0:
        _spoil_mask(rng, document)
        file.write_text(json.dumps(document))
    else:
        file.write_bytes(spoil_json(rng, document))


def _spoil_mask(rng: Rng, document: Any) -> None:
    """Damages masks in a document: pictures in base64, packed or not, and lists of bytes."""
    for key, value in list(document.items()) if isinstance(document, dict) else enumerate(list(document)):
        if isinstance(value, (dict, list)) and key != "rle":
            _spoil_mask(rng, value)
        elif key == "rle":
            document[key] = list(spoil_bytes(rng, bytes(value)))
        elif key == "mask" and value:
            document[key] = base64.b64encode(spoil_bytes(rng, base64.b64decode(value))).decode()
        elif key == "data" and isinstance(value, str):
            content = zlib.decompress(base64.b64decode(value))
            bomb = b"\x00" * 10**8 if rng.integers(3) == 0 else spoil_bytes(rng, content)
            document[key] = base64.b64encode(zlib.compress(bomb)).decode()


def _write_labelme(folder: Path) -> Path:
    mask = base64.b64encode(_png()).decode()
    for number in range(IMAGES):
        _image(folder / f"{number}.png", number)
        shapes = [
            {"label": "cat", "points": TRIANGLE, "group_id": 1, "shape_type": "polygon", "flags": {"wet": True}},
            {"label": "dog", "points": [[2, 3], [9, 14]], "group_id": 2, "shape_type": "rectangle", "mask": None},
            {"label": "nose", "points": [[4, 5]], "group_id": 2, "shape_type": "point"},
            {"label": "cat", "points": [[12, 10], [15, 14]], "group_id": None, "shape_type": "circle"},
            {"label": "cat", "points": [[5, 6], [7, 7]], "group_id": 1, "shape_type": "mask", "mask": mask},
        ]
        fields = {"version": "5.5.0", "flags": {"indoor": True}, "shapes": shapes, "imagePath": f"{number}.png"}
        fields |= {"imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (folder / f"{number}.json").write_text(json.dumps(fields))
    return folder


def _write_label_studio(folder: Path) -> Path:
    tasks = []
    rle = (
        "00000000000000000000110000000000" + "00111" + "0010001101111111"
    )  # 3072 values of 8 bits, lengths of 3, 4, 8, 16
    rle += "1" + "11" + f"{1000 - 1:016b}" + "11111111" + "1" + "11" + f"{2072 - 1:016b}" + "00000000"
    rle += "0" * (-len(rle) % 8)
    packed = [int(rle[at : at + 8], 2) for at in range(0, len(rle), 8)]
    for number in range(IMAGES):
        _image(folder / f"{number}.png", number)
        base = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
        box = {"x": 10.5, "y": 20, "width": 30, "height": 40, "rotation": 0}
        results = [
            base | {"id": "a", "type": "rectanglelabels", "value": box | {"rectanglelabels": ["dog"]}},
            base | {"id": "b", "type": "rectanglelabels", "value": box | {"rotation": 30, "rectanglelabels": ["cat"]}},
            base | {"id": "c", "type": "polygonlabels", "value": {"points": TRIANGLE, "polygonlabels": ["cat"]}},
            base
            | {"id": "d", "type": "brushlabels", "value": {"format": "rle", "rle": packed, "brushlabels": ["cat"]}},
            base | {"id": "e", "parentID": "a", "value": {"x": 15, "y": 25, "keypointlabels": ["nose"]}},
            {"id": "f", "type": "choices", "value": {"choices": ["indoor"]}},
        ]
        annotation = {"id": number, "was_cancelled": False, "completed_by": 1, "result": results}
        data = {"image": f"/data/upload/1/0a1b2c3d-{number}.png"}
        tasks.append({"id": number, "annotations": [annotation], "predictions": [], "data": data})
    (folder / "project.json").write_text(json.dumps(tasks))
    return folder


def _write_supervisely(folder: Path) -> Path:
    nodes = {"n1": {"label": "nose", "loc": [1, 1]}, "n2": {"label": "tail", "loc": [2, 2]}}
    config = {"nodes": nodes, "edges": [{"src": "n1", "dst": "n2"}]}
    classes = [{"title": "cat", "shape": "any"}, {"title": "mouse", "shape": "graph", "geometry_config": config}]
    (folder / "meta.json").write_text(json.dumps({"classes": classes, "tags": [{"name": "wet", "value_type": "none"}]}))
    data = base64.b64encode(zlib.compress(_png("P"))).decode()
    for number in range(IMAGES):
        split = "train" if number < TRAIN else "val"
        _image(folder / split / "img" / f"{number}.png", number)
        hole = {"exterior": [[1, 1], [20, 1], [20, 20]], "interior": [[[12, 3], [16, 3], [16, 8]]]}
        objects = [
            {
                "classTitle": "cat",
                "geometryType": "rectangle",
                "points": {"exterior": [[2, 3], [9, 8]], "interior": []},
            },
            {"classTitle": "cat", "geometryType": "polygon", "points": hole, "tags": [{"name": "wet", "value": None}]},
            {"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [4, 5]}},
            {"classTitle": "mouse", "geometryType": "graph", "nodes": {"n1": {"loc": [5, 6]}, "n2": {"loc": [7, 8]}}},
        ]
        content = {"tags": [{"name": "wet"}], "size": {"height": SIZE[0], "width": SIZE[1]}, "objects": objects}
        file = folder / split / "ann" / f"{number}.png.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def _write_via(folder: Path, *, table: bool) -> Path:
    shapes = [
        {"name": "rect", "x": 2, "y": 3, "width": 9, "height": 8},
        {"name": "polygon", "all_points_x": [2, 20, 9], "all_points_y": [3, 4, 18]},
        {"name": "ellipse", "cx": 12, "cy": 10, "rx": 6, "ry": 3, "theta": 0.5},
    ]
    rows = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    entries = {}
    for number in range(IMAGES):
        name = f"{number}.png"
        _image(folder / name, number)
        regions = [{"shape_attributes": shape, "region_attributes": {"class": "dog"}} for shape in shapes]
        entries[f"{name}9"] = {"filename": name, "size": 9, "regions": regions, "file_attributes": {"class": "wet"}}
        for index, shape in enumerate(shapes):
            cells = [json.dumps(one).replace('"', '""') for one in ({"class": "wet"}, shape, {"class": "dog"})]
            rows.append(f'{name},9,"{cells[0]}",3,{index},"{cells[1]}","{cells[2]}"')
    if table:
        (folder / "via.csv").write_text("\n".join(rows) + "\n")
    else:
        options = {"region": {"class": {"type": "dropdown", "options": {"dog": "Dog"}}}}
        content = {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": options}
        (folder / "via.json").write_text(json.dumps(content))
    return folder


def _write_via3(folder: Path) -> Path:
    shapes = [[2, 2, 3, 9, 8], [7, 2, 3, 20, 4, 9, 18], [4, 12, 10, 6, 3], [8, 2, 5, 8, 3, 11, 6, 9, 10], []]
    metadata = {
        f"{number}_{index}": {"vid": str(number), "flg": 0, "z": [], "xy": shape, "av": {"1": "0", "2": "0,1"}}
        for number in range(IMAGES)
        for index, shape in enumerate(shapes)
    }
    for number in range(IMAGES):
        _image(folder / f"{number}.png", number)
    files = {str(n): {"fid": n, "fname": f"{n}.png", "type": 2, "loc": 1, "src": ""} for n in range(IMAGES)}
    options = {"0": "dog", "1": "cat"}
    attributes = {
        "1": {"aname": "class", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": options},
        "2": {"aname": "kind", "anchor_id": "FILE1_Z0_XY0", "type": 2, "options": options},
    }
    views = {str(n): {"fid_list": [n]} for n in range(IMAGES)}
    content = {"project": {"vid_list": []}, "config": {}, "attribute": attributes, "file": files, "view": views}
    (folder / "via3.json").write_text(json.dumps({**content, "metadata": metadata}))
    return folder


def _write_createml(folder: Path) -> Path:
    entries = []
    for number in range(IMAGES):
        _image(folder / f"{number}.png", number)
        boxes = [{"label": name, "coordinates": {"x": 9, "y": 8.5, "width": 6, "height": 5}} for name in ("cat", "dog")]
        entries.append({"image": f"{number}.png", "annotations": boxes})
    (folder / "_annotations.createml.json").write_text(json.dumps(entries))
    return folder


def _write_dota(folder: Path) -> Path:
    for name in ("images", "labelTxt"):
        (folder / name).mkdir()
    for number in range(IMAGES):
        _image(folder / "images" / f"{number}.png", number)
        lines = "1 2.5 9 4 8 9 0.5 8 small-vehicle 0\n3 3 9 3 9 9 3 9 ship 1\n"
        (folder / "labelTxt" / f"{number}.txt").write_text(f"imagesource:drawn\ngsd:0.1\n{lines}")
    return folder


CVAT_META = (
    "<meta><task><size>3</size><start_frame>0</start_frame><stop_frame>2</stop_frame>\n<original_size><width>32</width>"
    "<height>24</height></original_size><labels>\n<label><name>dog</name></label>\n<label><name>mouse</name></label>"
    "<label><name>nose</name><parent>mouse</parent></label></labels></task></meta>\n"
)


def _write_cvat_images(folder: Path) -> Path:
    parts = []
    for number in range(IMAGES):
        _image(folder / "images" / f"{number}.png", number)
        parts.append(
            f'<image id="{number}" name="{number}.png" width="32" height="24">\n'
            '<box label="dog" occluded="0" xtl="2" ytl="3" xbr="9" ybr="8" z_order="0">\n<attribute name="a">1</attribute></box>\n'
            '<polygon label="dog" occluded="0" points="2,3;20,4;9,18" group_id="1"></polygon>\n'
            '<mask label="dog" occluded="0" rle="1, 2, 2, 1" left="4" top="5" width="3" height="2" group_id="1"></mask>\n'
            '<ellipse label="dog" occluded="0" cx="12" cy="10" rx="6" ry="3" rotation="20"></ellipse>\n'
            '<skeleton label="mouse"><points label="nose" outside="0" occluded="1" points="5,6"></points></skeleton>\n'
            '<tag label="wet"></tag>\n</image>\n'
        )
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n{CVAT_META}{"".join(parts)}</annotations>\n'
    (folder / "annotations.xml").write_text(text)
    return folder


def _write_cvat_video(folder: Path) -> Path:
    for number in range(IMAGES):
        _image(folder / "images" / f"frame_{number:06}.png", number)
    tracks = (
        '<track id="0" label="dog">\n<box frame="0" outside="0" keyframe="1" xtl="2" ytl="3" xbr="9" ybr="8"></box>\n'
        '<box frame="2" outside="1" keyframe="1" xtl="6" ytl="3" xbr="13" ybr="8"></box>\n</track>\n'
        '<track id="1" label="dog">\n<polygon frame="0" outside="0" keyframe="1" points="2,3;20,4;9,18"></polygon>\n'
        '<polygon frame="2" outside="0" keyframe="1" points="4,3;20,4;22,9;9,18"></polygon>\n</track>\n'
        '<track id="2" label="mouse">\n<skeleton frame="0" keyframe="1"><points label="nose" points="5,6"></points></skeleton>\n'
        '<skeleton frame="2" keyframe="1"><points label="nose" points="9,9"></points></skeleton>\n</track>\n'
    )
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n{CVAT_META}{tracks}</annotations>\n'
    (folder / "annotations.xml").write_text(text)
    return folder


def _spoil_text_file(rng: Rng, folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(encoded(rng, spoil_text(rng, file.read_text())))
    if rng.integers(40) == 0 and name.endswith(".xml"):
        file.write_text(f"<annotations><meta/>{'<image>' * 100_000}{'</image>' * 100_000}</annotations>")


def _tool(write: Callable[[Path], Path], name: str = "", tasks: tuple[str, ...] = TASKS) -> Any:
    spoil = partial(_spoil_text_file, name=name) if name else _spoil_json_files
    return _format(write, spoil, tasks)


FORMATS = {
    "labelme": _tool(_write_labelme),
    "label_studio": _tool(_write_label_studio),
    "supervisely": _tool(_write_supervisely),
    "via_json": _tool(partial(_write_via, table=False), tasks=TASKS[:3]),
    "via_3": _tool(_write_via3, tasks=TASKS[:3]),
    "via_csv": _tool(partial(_write_via, table=True), "via.csv", TASKS[:3]),
    "createml": _tool(_write_createml, tasks=("detect", "classify")),
    "dota": _tool(_write_dota, "labelTxt/0.txt", tasks=("detect", "rotated_boxes")),
    "cvat_images": _tool(_write_cvat_images, "annotations.xml"),
    "cvat_video": _tool(_write_cvat_video, "annotations.xml"),
}
