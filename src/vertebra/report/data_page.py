"""An offline HTML page of a data set: its tables, its findings, and its images, filtered by split, class and finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path, PurePosixPath

from vertebra.data.check.report import DataReport, Finding
from vertebra.report.data_overview import Table
from vertebra.report.data_pictures import Shown
from vertebra.report.html_page import jpeg_data, table, write_html
from vertebra.strict_json import to_json

MAX_ROWS = 60
MORE_STYLE = """
.filters { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; padding: .6rem 0;
  background: var(--paper); border-bottom: 1px solid var(--line); z-index: 1 }
select { font: inherit; max-width: 22rem }
.error { border-left: 4px solid #d55e00 } .warning { border-left: 4px solid #e69f00 } .info { border-left: 4px solid #56b4e9 }
.finding { padding: .3rem .8rem; margin: .5rem 0; background: var(--soft); overflow-wrap: anywhere }
.finding small { display: block; opacity: .8 } figcaption { overflow-wrap: anywhere } figure[hidden] { display: none }
.pair { display: flex } .pair img { width: 50%; object-fit: contain; align-self: flex-start }
"""
SCRIPT = """
const filters = ["split", "class", "finding"].map(name => document.getElementById(name));
const figures = [...document.querySelectorAll("figure")];
function show() {
  let count = 0;
  for (const figure of figures) {
    const fits = filters.every(one => !one.value || JSON.parse(figure.dataset[one.id]).includes(one.value));
    figure.hidden = !fits;
    count += fits;
  }
  document.getElementById("count").textContent = count + " of " + figures.length + " images";
}
filters.forEach(one => one.addEventListener("change", show));
document.querySelectorAll("[data-kind]").forEach(one => one.addEventListener("click", () => {
  document.getElementById("finding").value = one.dataset.kind;
  show();
  document.querySelector(".filters").scrollIntoView();
}));
show();
"""


def write_data_page(path: Path, report: DataReport, tables: Sequence[Table], shown: Sequence[Shown]) -> Path:
    """Writes the page; it needs no network and no other file."""
    title = f"Data set {PurePosixPath(report.path).name}"
    tasks = ", ".join(report.tasks)
    intro = f"{report.path}: format {report.format}, {'task' if len(report.tasks) == 1 else 'tasks'} {tasks}"
    kinds_of = FindingsByImage(report.every)
    kinds = {each.name: sorted(kinds_of[each.name]) for each in shown}
    body = [
        f"<h2>{escape(each.title)}</h2>{table(each.head, each.rows, label=each.title, max_rows=MAX_ROWS)}"
        for each in tables
    ]
    body.append("<h2>Findings</h2>" + ("".join(_finding(one) for one in report.every) or "<p>no problems</p>"))
    body.append(f"<h2>Images</h2>{_filters(shown, kinds)}")
    body.append('<div class="gallery">' + "".join(_figure(each, kinds[each.name]) for each in shown) + "</div>")
    return write_html(path, title, intro, f'<main id="main">{"".join(body)}</main>', MORE_STYLE, SCRIPT)


class FindingsByImage:
    """The kinds of the findings about each image: those that name it, or an annotation file of its name.

    Args:
        findings: of a check.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._by_stem: dict[str, set[str]] = defaultdict(set)
        for one in findings:
            for file in one.files:
                self._by_name[file].add(one.kind)
                if "/" not in file:
                    self._by_stem[PurePosixPath(file).stem].add(one.kind)

    def __getitem__(self, name: str) -> set[str]:
        """The kinds for an image by its path in the data set."""
        return self._by_name.get(name, set()) | self._by_stem.get(PurePosixPath(name).stem, set())


def _finding(finding: Finding) -> str:
    where = " ".join(part for part in (finding.split, finding.task) if part)
    head = f"<b>{finding.severity}</b> {escape(where)} <a href='#' onclick='return false' data-kind='{escape(finding.kind)}'>"
    text = f"{head}{escape(finding.kind.replace('_', ' '))}</a>: {escape(finding.message)}"
    cure = f"<small>{escape(finding.cure)}</small>" if finding.cure else ""
    return f'<div class="finding {finding.severity}">{text}{cure}</div>'


def _filters(shown: Sequence[Shown], kinds: dict[str, list[str]]) -> str:
    splits = list(dict.fromkeys(each.split for each in shown))
    classes = sorted({name for each in shown for names in each.classes.values() for name in names})
    occurring = sorted({kind for each in kinds.values() for kind in each})
    selects = [_select("split", splits), _select("class", classes), _select("finding", occurring)]
    return f'<div class="filters">{"".join(selects)}<span id="count"></span></div>'


def _select(name: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(value)}">{escape(value.replace("_", " "))}</option>' for value in values)
    return f'<label>{name} <select id="{name}"><option value="">all</option>{options}</select></label>'


def _figure(shown: Shown, kinds: list[str]) -> str:
    classes = list(dict.fromkeys(name for names in shown.classes.values() for name in names))
    fields = {"split": [shown.split], "class": classes, "finding": kinds}
    data = " ".join(f'data-{name}="{escape(_json(values))}"' for name, values in fields.items())
    images = [shown.picture, *([shown.augmented] if shown.augmented is not None else [])]
    tags = "".join(f'<img loading="lazy" alt="{escape(shown.name)}" src="{jpeg_data(image)}">' for image in images)
    marks = "".join(f" · {escape(kind.replace('_', ' '))}" for kind in kinds)
    kind = ' class="pair"' if len(images) > 1 else ""
    caption = f"{escape(shown.split)} · {escape(shown.name)}{marks}"
    return f"<figure {data}><div{kind}>{tags}</div><figcaption>{caption}</figcaption></figure>"


def _json(values: Sequence[str]) -> str:
    return to_json(list(values))[0]
