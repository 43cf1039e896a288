"""Guards: the names in the package are the field's terms, one name means one thing, and the spelling is American."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import vertebra

SOURCE = Path(vertebra.__file__).parent
ROOT = Path(__file__).parents[1]

# by the term that replaces them
REPLACED = {
    "tta, TTAView, TTAMerger": "looks Look LookMerger Together",
    "ViewTransform, render_views": "Sight sights_of",
    "ResultAssembler, ModelInput": "Gather View",
    "ModelInfo, model_info": "Face face_of",
    "RuntimeConfig, runtime_config, resolve_runtime": "Way way ways choose_way",
    "ModelSource, resolve_source": "Opening opening",
    "benchmark, benchmark_in_subprocess": "stopwatch measure_apart",
    "prefetch; FrameInfo, streams": "ahead Moment live",
    "inference_copy": "fast running_copy",
    "bn_folding, conv_prepack, conv_add_fusion, dilated_conv_split, dataflow_trace": "folding packing sums dilated watching",
    "cuda_graphs, CudaGraphRunner; malloc_trim": "recorded Recorded give_back",
    "cast_weights, autocast_context": "lower computing",
    "runtime_cache, fp16, int8, preprocess_graph, float_noise, suppress_output, torch_export": (
        "prepared half quantized pixels rounding quiet program"
    ),
    "ExportTolerances, ParityCase, parity_inputs": "Gate Case case cases",
    "similarity, to_image_coords, tile_merge, weighted_boxes_fusion, box_iou": "agreement in_image seams fusion overlap",
    "coco_ap": "precision",
    "ResizeSpec, ImageTransform, image_transform_torch, CropWindow": "Plan plan Placement placement placing Window",
    "Proposals, polygons_rle": "Regions regions",
    "out_indices, embedding, in_levels": "taps vector reads",
    "set_required_outputs, keep_levels, used_parameters, unused_parameters": "settle restrict reach unused",
    "neck_defaults": "wishes neck_options",
    "postprocess: score_threshold, nms_iou, pre_nms_topk, max_detections": "post score_floor iou candidates keep",
    "draw_threshold, filter": "shown_from above with_threshold",
    "oks_sigmas; multilabel": "falloffs exclusive",
    "ohem_fraction; min_anchors_per_object": "hardest fewest anchors_per_object",
    "ground_truth, SampleKey, ClassMapping, count_out_of_bounds": "truth Ticket Relabelling Relabeling beyond",
    "LossTerm, lr_scheduler, nonfinite_steps, monitor": "Term course unsound_steps best",
    "finetune, init_from, skip_init": "starting start_from unfilled",
    "is_tracing, positional_attention, normalizing_flow, default_channels, check_range, squeeze_excite": (
        "is_recording positioned flow width limits squeeze"
    ),
    "init_conv_, UpsampleBranch, UpBlock, DecoderBlock, mask_padding, nms_postprocess": (
        "start_conv GoingUp Doubling JoinBlock silence suppress"
    ),
    "fake_*, daily_sample, synthetic": "of_today daily made_up",
    "model_summary": "anatomy",
    "IncompatiblePartsError": "JointError",
    "MIN_..., MAX_..., MERGE_IOU, EDGE_TOLERANCE, MIN_VISIBLE_FRACTION": "LEAST MOST SAME NEAR SEEN",
    "path, row, branch_targets, matches, detections": "place own found given placed moved others thing",
    "emit, os_errors_as_run_errors": "say os_errors_told",
    "minimum, maximum; max_boxes, max_locations, min_quality": "least most least_quality least_side least_assignment",
    "ModelInput.transforms; DEFAULT_POSTPROCESS": "sights DEFAULT_POST",
}
OLD_NAMES = {name: term for term, names in REPLACED.items() for name in names.split()}

# (file or folder, or "" for any; name): the other thing that the name rightly means there
ALLOWED = {
    ("", "precision"): "the precision that a model computes in: fp32, bf16, fp16",
    ("", "width"): "of an image or box in pixels, or of a layer in channels",
    ("", "overlap"): "of neighboring tiles, as a part of their side",
    ("matching/iou.py", "iou"): "matching by the intersection over union",
    ("tasks/box_iou.py", "iou"): "the intersection over union of boxes",
    ("", "candidates"): "those from which some are selected, in functions; the option is pre_nms_topk",
    ("geometry/heatmaps.py", "reach"): "how far a Gaussian extends, in cells",
    (
        "backbones/torchvision_mobilenet.py",
        "dilated",
    ): "torchvision's option: the last stage's convolutions are dilated",
    ("inference/io", "pixels"): "the decoded array of an image or video frame",
    ("training/selection.py", "best"): "the best score so far, as checkpoints and run.json name it",
    ("export/", "agreement"): "of predictions with PyTorch's, as --agreement and the report of an export name it",
}


class Definition(NamedTuple):
    """A name that the package defines: of a file, class, function, field, constant or keyword option."""

    path: str
    line: int
    name: str


def definitions() -> Iterator[Definition]:
    """All names that the package defines, without leading underscores."""
    for path in sorted(SOURCE.rglob("*.py")):
        inner = path.relative_to(SOURCE)
        yield Definition(str(inner), 0, (inner.parent.name if path.stem == "__init__" else path.stem).lstrip("_"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for line, name in defined(node):
                yield Definition(str(inner), line, name.lstrip("_"))


def defined(node: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that one node of a syntax tree defines, with their lines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.lineno, node.name
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from ((argument.lineno, argument.arg) for argument in node.args.kwonlyargs)
    if isinstance(node, ast.ClassDef | ast.Module):
        for statement in node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            yield from ((target.lineno, target.id) for target in targets if isinstance(target, ast.Name))


def allowed(path: str, name: str) -> bool:
    return any(name == other and path.startswith(where) for where, other in ALLOWED)


def test_no_name_of_the_glossarys_left_column_is_defined() -> None:
    wrong = [
        f"{path}:{line}: '{name}'; the term is one of: {OLD_NAMES[name]}"
        for path, line, name in definitions()
        if name in OLD_NAMES and not allowed(path, name)
    ]
    assert not wrong, "\n".join(wrong)


def test_test_data_is_called_fake() -> None:
    wrong = [f"{path}:{line}: '{name}'" for path, line, name in definitions() if name.startswith("made_")]
    assert not wrong, "name them fake_*:\n" + "\n".join(wrong)


def test_what_is_allowed_is_still_there() -> None:
    there = [(path, name) for path, _, name in definitions()]
    unneeded = [
        f"{where or 'anywhere'}: '{name}'"
        for where, name in ALLOWED
        if not any(name == other and path.startswith(where) for path, other in there)
    ]
    assert not unneeded, "take out of ALLOWED:\n" + "\n".join(unneeded)


MAX_VAGUE_NAMES = 10  # 1452 when they were first counted


def test_vague_names_are_few() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):  # tokenize skips f-strings before 3.12
            for field in ("id", "attr", "arg", "name", "asname"):
                name = getattr(node, field, None)
                if name in ("place", "own", "found"):
                    counts[str(path.relative_to(SOURCE)), name] += 1
    listed = "\n".join(f"{path}: '{name}' {count} times" for (path, name), count in counts.most_common())
    assert counts.total() < MAX_VAGUE_NAMES, f"name them by what they are:\n{listed}"


BRITISH = re.compile(
    r"(?i)\w*(?:colour|centre(?!d'|s?_)|normalis|labell|\bgrey|neighbour|optimis(?!t|m)|behaviour|initialis|organis(?!m)|"
    r"serialis|recognis|minimis|maximis|analys(?:e[ds]?\b)|favour|licence|modell)\w*"
)
BRITISH_ALLOWED: set[str] = set()


def test_the_spelling_is_american() -> None:
    pages = [
        *SOURCE.rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("README*.md"),
        ROOT / "CONTRIBUTING.md",
    ]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path in pages
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for word in BRITISH.findall(line)
        if word.lower() not in BRITISH_ALLOWED
    ]
    assert not wrong, "\n".join(wrong)
