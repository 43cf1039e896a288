"""The style and the script of a page: light and dark, for screens of any size, without any other file."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; --ink: #1b1f27; --dim: #59616f; --paper: #fff; --soft: #f2f4f8; --line: #d5dae3; --link: #0a5bb8;
  --heat: #0a63c9; --shade: #0003; --c0: #0072b2; --c1: #d55e00; --c2: #008f68; --c3: #b0468c; --c4: #a67c00; --c5: #2b9fd0;
  --c6: #7b5a33; --c7: #7d838d; --good: #00734f; --bad: #b3330a }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { DARK } }
:root[data-theme=dark] { DARK }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem; margin: 0 auto;
  padding: 1rem 1rem 4rem }
h1 { margin: .3rem 0; overflow-wrap: anywhere }
h2 { margin: 3rem 0 .8rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line) }
h3 { margin: 2rem 0 .5rem } h4 { margin: 0 } p { max-width: 52rem } a { color: var(--link) } ul { max-width: 52rem }
td.long { min-width: 13rem }
.skip { position: absolute; left: -99rem } .skip:focus { position: static }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: start; justify-content: space-between }
button { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line); border-radius: 6px;
  padding: .25rem .7rem;
  cursor: pointer }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .5rem 0; max-width: none }
.wide { overflow-x: auto; max-width: 100%; --back: var(--paper);  /* a shadow at an edge where columns are hidden */
  background: linear-gradient(90deg, var(--back) 40%, transparent) 0 0 / 2.5rem 100% local,
    linear-gradient(-90deg, var(--back) 40%, transparent) 100% 0 / 2.5rem 100% local,
    linear-gradient(90deg, var(--shade), transparent) 0 0 / .8rem 100%,
    linear-gradient(-90deg, var(--shade), transparent) 100% 0 / .8rem 100%;
  background-repeat: no-repeat }
.chart .wide { --back: var(--soft) }
table { border-collapse: collapse; margin: .5rem 0 } caption { text-align: left; font-weight: 600; padding: .3rem 0 }
td, th { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  font-weight: normal }
thead th { font-weight: 600; vertical-align: bottom }
th[data-number] button { text-align: right } th[data-number], td.number { text-align: right }
td.number { font-variant-numeric: tabular-nums }
th button { border: 0; background: none; padding: 0; font-weight: 600; text-align: left; overflow-wrap: normal }
th button::after { content: "\\a0\\2195"; color: var(--dim) }
th[aria-sort=ascending] button::after { content: "\\a0\\2191" } th[aria-sort=descending] button::after { content: "\\a0\\2193" }
.bar { color: var(--c0); letter-spacing: -1px; white-space: nowrap }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: 1rem;
  align-items: start; margin: 1rem 0 }
.chart { margin: 0; padding: .8rem; background: var(--soft); border-radius: 8px; min-width: 0 }
.chart h4 { overflow-wrap: anywhere }
.chart p, .chart details, figcaption p { margin: .2rem 0; font-size: .9rem; color: var(--dim) }
.chart svg, .drawing svg { display: block; width: 100%; height: auto } .chart svg text { fill: var(--ink) }
.chart svg .dim { fill: var(--dim) }
svg .axis { stroke: var(--line); fill: none } svg .flat { fill: var(--paper) } .chart svg .over { fill: var(--paper) }
svg .heat { fill: var(--heat); stroke: var(--line) } svg .empty { fill: none; stroke: var(--line) }
.c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) } .c3 { color: var(--c3) } .c4 { color: var(--c4) }
.c5 { color: var(--c5) } .c6 { color: var(--c6) } .c7 { color: var(--c7) } .c8 { color: var(--ink) }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; list-style: none; padding: 0; margin: .4rem 0 0;
  font-size: .85rem }
.legend svg { display: inline-block; width: 1.9rem; height: .7rem; margin-right: .35rem }
.legend li { overflow-wrap: anywhere }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1rem;
  align-items: start }
.gallery.sides { grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)) }
.gallery.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)) }
.gallery.small.sides { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)) }
.chart table { font-size: .85rem } .chart td, .chart th { padding: .15rem .5rem } .chart td.long { min-width: 8rem }
.gallery figure { margin: 0; background: var(--soft); border-radius: 8px; overflow: hidden }
.gallery img { width: 100%; display: block }
.side img { max-height: 18rem; object-fit: contain } .side { display: flex; gap: 2px } .side > div { flex: 1 1 0; min-width: 0 }
.side span { display: block; padding: .15rem .5rem; font-size: .8rem; color: var(--dim); overflow-wrap: anywhere }
figcaption { padding: .4rem .7rem; font-size: .9rem; overflow-wrap: anywhere }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } .facts dt { color: var(--dim) }
.facts dd { margin: 0; overflow-wrap: anywhere } .hints { padding-left: 1.1rem }
.note { border-left: 4px solid var(--c4); padding: .2rem .8rem;
  background: var(--soft) } .better { color: var(--good) } .worse { color: var(--bad) }
details { margin: .6rem 0 } summary { cursor: pointer }
pre { overflow-x: auto; background: var(--soft); padding: .8rem; border-radius: 8px;
  font-size: .85rem }
.drawing { overflow-x: auto } .drawing svg { min-width: 34rem }
@media (max-width: 40rem) { .facts { grid-template-columns: 1fr; gap: 0 } .facts dd { margin-bottom: .5rem }
td, th { padding: .25rem .5rem } td.long { min-width: 9rem } }
@media print { button, nav { display: none } }
""".replace(
    "DARK",
    "color-scheme: dark; --ink: #e6e9ef; --dim: #a3acba; --paper: #13161c; --soft: #1c2129; --line: #38404d; --link: #7cbcff;\n"
    "  --heat: #3d8ff0; --shade: #fff3; --c0: #4ba6e3; --c1: #ff8b4d; --c2: #2ccf9f; --c3: #e68cc7; --c4: #e6be48; --c5: #93dcff;\n"
    "  --c6: #c9a06f; --c7: #a9b0bb; --good: #3ddba8; --bad: #ff8f6b",
)

SCRIPT = """
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.closest("th"), column = head.cellIndex, body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") === "descending" || !head.hasAttribute("aria-sort") && !head.dataset.number;
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const order = (one, other) => one === "" || other === "" ? (one === "") - (other === "")
    : (up ? 1 : -1) * (isNaN(one) || isNaN(other) ? one.localeCompare(other) : one - other);
  [...body.rows].sort((one, other) => order(value(one), value(other))).forEach(row => body.append(row));
  head.parentElement.querySelectorAll("th").forEach(each => each.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
}));
"""
