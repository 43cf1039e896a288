"""How many of the wrong labels of a classification set are listed: the labels that a report doubts, beside cleanlab's.

python -m benchmarks.wrong_labels --data FOLDER [FOLDER ...] --weights FILE [--cleanlab PYTHON] [--repeats N] [--out FILE]

A part of the labels is exchanged at random. A linear probe on the frozen MobileNetV2 predicts each image from the others, in five
folds, with the exchanged labels. The recall at 50 % precision is the largest part of the exchanged labels that a head of the list
holds of which at least half are exchanged. cleanlab gets the same probabilities; it is under the AGPL and no dependency: give the
Python of an environment that has it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import vertebra
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.preprocess.images import read_image, resize
from vertebra.tasks.classify.wrong_labels import wrong_classes

SHARES = (0.05, 0.1)
FOLDS = 5
SIDE = 224
BATCH = 16
DECAY = 1e-3  # of the probe's weights
CLEANLAB = """
import json, sys
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

rankings = []
for case in json.load(sys.stdin):
    labels, probabilities = np.array(case["labels"]), np.array(case["probabilities"])
    ranking = {}
    for method in ("self_confidence", "normalized_margin"):
        listed = find_label_issues(labels, probabilities, return_indices_ranked_by=method, n_jobs=1)
        scores = get_label_quality_scores(labels, probabilities, method=method)
        ranking[f"cleanlab, listed by {method}"] = listed.tolist()
        ranking[f"cleanlab, all images by {method}"] = np.argsort(scores).tolist()
    rankings.append(ranking)
json.dump(rankings, sys.stdout)
"""


def read(folder: Path, weights: Path | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Embeddings (N, D), labels (N,) and class names of all images in class folders, of any splits above these.

    Args:
        folder: has the class folders, or splits with them.
        weights: of the backbone; None: random ones.
    """
    files = sorted(path for path in folder.rglob("*.jpg"))
    names = sorted({path.parent.name for path in files})
    backbone = {"name": "mobilenetv2_100", "pretrained": str(weights) if weights else False}
    model = vertebra.create_model(backbone, decoder="linear", classes=names).eval()
    rows = []
    for start in range(0, len(files), BATCH):
        images = np.stack([resize(read_image(path), (SIDE, SIDE)) for path in files[start : start + BATCH]])
        with torch.inference_mode():
            tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
            features = model.backbone(tensor, torch.tensor([[SIDE, SIDE]] * len(tensor)))
        assert features.embedding is not None
        rows.append(features.embedding.numpy())
    return np.concatenate(rows), np.array([names.index(path.parent.name) for path in files]), names


def exchange(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    """The labels, a share of them replaced by another class at random."""
    draw = np.random.default_rng(seed)
    changed = draw.choice(len(labels), round(share * len(labels)), replace=False)
    exchanged = labels.copy()
    exchanged[changed] = (labels[changed] + draw.integers(1, classes, len(changed))) % classes
    return exchanged


def out_of_sample(embeddings: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Probabilities (N, K) of each image by a linear probe that was trained without its fold."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    probabilities = np.zeros((len(labels), classes))
    for number in range(FOLDS):
        train = fold != number
        mean, std = embeddings[train].mean(axis=0), embeddings[train].std(axis=0) + 1e-6
        inputs = torch.from_numpy(((embeddings - mean) / std / np.sqrt(embeddings.shape[1])).astype(np.float32))
        probabilities[~train] = probe(inputs[train], torch.from_numpy(labels[train]), inputs[~train], classes).numpy()
    return probabilities


def probe(inputs: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, classes: int) -> torch.Tensor:
    """Probabilities of other inputs by logistic regression on these."""
    layer = torch.nn.Linear(inputs.shape[1], classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(inputs), labels) + DECAY * layer.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer(others).detach().softmax(dim=1)


def recall_at(ranking: Sequence[int], wrong: np.ndarray, min_precision: float = 0.5) -> float:
    """The largest share of the wrong labels in a head of the ranking with this precision."""
    hits = np.cumsum(wrong[np.asarray(ranking, dtype=np.int64)])
    enough = hits / np.arange(1, len(hits) + 1) >= min_precision
    return float(hits[enough].max(initial=0) / wrong.sum())


def rankings_of(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> dict[str, list[int]]:
    """Our list, the likeliest wrong first, and the images by the probability of their label."""
    given = probabilities[np.arange(len(labels)), labels]
    return {
        "ours, listed": [entry.image for entry in wrong_classes(probabilities, labels, names)],
        "ours, all images by probability of the label": np.argsort(given, kind="stable").tolist(),
    }


def ask_cleanlab(python: Path, cases: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[dict[str, list[int]]]:
    """cleanlab's rankings, by another Python.

    Args:
        python: of an environment with cleanlab.
        cases: labels and probabilities.
    """
    text = json.dumps([{"labels": labels.tolist(), "probabilities": rows.tolist()} for labels, rows in cases])
    done = subprocess.run([python, "-c", CLEANLAB], input=text, capture_output=True, text=True, check=True)
    rankings: list[dict[str, list[int]]] = json.loads(done.stdout)
    return rankings


def compare(folder: Path, weights: Path | None, cleanlab: Path | None, repeats: int) -> list[Row]:
    """A row for each share of exchanged labels and each ranking."""
    embeddings, labels, names = read(folder, weights)
    accuracy = float((out_of_sample(embeddings, labels, len(names), 0).argmax(axis=1) == labels).mean())
    rows: list[Row] = []
    for share in SHARES:
        exchanged = [exchange(labels, len(names), share, seed) for seed in range(repeats)]
        cases = [(given, out_of_sample(embeddings, given, len(names), seed)) for seed, given in enumerate(exchanged)]
        rankings = [rankings_of(*case, names) for case in cases]
        if cleanlab is not None:
            theirs = ask_cleanlab(cleanlab, cases)
            rankings = [ours | peer for ours, peer in zip(rankings, theirs, strict=True)]
        base = {"data": folder.name, "images": len(labels), "probe_accuracy": accuracy, "share": share}
        for name in rankings[0]:
            wrongs = [given != labels for given in exchanged]
            recalls = [recall_at(ranks[name], wrong) for ranks, wrong in zip(rankings, wrongs, strict=True)]
            sizes = [len(ranks[name]) for ranks in rankings]
            hits = [
                wrong[ranks[name]].mean() if ranks[name] else 0.0 for ranks, wrong in zip(rankings, wrongs, strict=True)
            ]
            rows.append(
                {**base, "name": name, "recalls": recalls, "listed": sizes, "precision": list(map(float, hits))}
            )
    return rows


COLUMNS: Columns = {
    "data": lambda row: row["data"],
    "images": lambda row: str(row["images"]),
    "probe's accuracy": lambda row: f"{row['probe_accuracy']:.3f}",
    "exchanged": lambda row: f"{row['share']:.0%}",
    "ranking": lambda row: row["name"],
    "recall at 50 % precision": lambda row: f"{statistics.mean(row['recalls']):.3f}",
    "lowest, highest": lambda row: f"{min(row['recalls']):.3f}, {max(row['recalls']):.3f}",
    "entries": lambda row: f"{statistics.mean(row['listed']):.0f}",
    "precision of all entries": lambda row: f"{statistics.mean(row['precision']):.3f}",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=10)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cleanlab", type=Path, help="Python of an environment with cleanlab")
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    rows = [row for folder in given.data for row in compare(folder, given.weights, given.cleanlab, given.repeats)]
    kept = vars(given) | {"data": [folder.name for folder in given.data], "cleanlab": given.cleanlab is not None}
    notes = (f"Each of {given.repeats} repeats exchanges other labels and divides other folds.",)
    finish("wrong_labels", rows, COLUMNS, type(given)(**kept), notes)


if __name__ == "__main__":
    main()
