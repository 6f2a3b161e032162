// The style of the HTML report. It must not hold '<' or '&': the page is XML too.
#include "runtime/report/report_sections.h"

namespace fmtrain {

const char* const kReportStyle = R"(:root {
  --page: #fcfcfb; --card: #ffffff; --ink: #1b1f24; --soft: #5a636e; --rule: #e1e4e8; --faint: #b4bcc6;
  --blue: 33, 96, 168; --orange: 190, 88, 20; --teal: 38, 128, 118; --grey: 128, 138, 150;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #14171b; --card: #1b1f24; --ink: #e6e9ed; --soft: #9aa4b0; --rule: #2d333b; --faint: #4f5965;
  --blue: 112, 172, 238; --orange: 236, 152, 88; --teal: 92, 190, 176; --grey: 138, 148, 160;
} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "Liberation Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
main { max-width: 1120px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 3rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--rule); letter-spacing: -.01em; }
h3 { font-size: .95rem; margin: 0 0 .75rem; font-weight: 600; }
p { margin: 0; }
.sub, .note, .what { color: var(--soft); font-size: .9rem; }
.note { margin-top: .75rem; }
.sub span { white-space: nowrap; }
.heroes, .pair, .facts { display: grid; gap: 1.5rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.heroes { margin: 1.5rem 0; gap: 1.25rem; }
.hero { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1.1rem 1.4rem .9rem; }
.big { font-size: clamp(1.7rem, 6vw, 2.6rem); line-height: 1.25; letter-spacing: -.02em; white-space: nowrap; }
.big strong { font-weight: 650; color: rgb(var(--blue)); }
.big .from, .big .arrow, .big .unit { color: var(--soft); font-size: .7em; }
.scale { display: block; margin-top: .9rem; overflow: visible; }
.scale .track { stroke: var(--rule); stroke-width: 4; stroke-linecap: round; }
.scale .interval { fill: rgba(var(--blue), .3); }
.scale .before { fill: var(--card); stroke: var(--soft); stroke-width: 2; }
.scale .after { fill: rgb(var(--blue)); stroke: var(--card); stroke-width: 2; }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); margin: 0; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.25rem; font-weight: 600; }
svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .mid, svg .x { text-anchor: middle; }
svg .end, svg .y { text-anchor: end; }
.figures { display: grid; gap: 2rem 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
figure { margin: 0; min-width: 0; }
.wide { grid-column: 1 / -1; }
.area { padding: 6px 8px 40px 54px; }
figcaption { color: var(--soft); font-size: .85rem; line-height: 1.6; }
.plot { display: block; overflow: visible; }
.grid { stroke: var(--rule); stroke-width: 1; }
polyline { fill: none; stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; vector-effect: non-scaling-stroke; }
polyline.raw { stroke: var(--faint); stroke-width: 1; }
polyline.mean { stroke: rgb(var(--blue)); }
polyline.valid { stroke: rgba(var(--orange), .6); stroke-width: 1.25; }
circle.valid { fill: rgb(var(--orange)); stroke: var(--page); stroke-width: 1.5; }
.mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; vector-effect: non-scaling-stroke; }
.key { margin-right: 1rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 1rem; height: .3rem; border-radius: 2px; margin-right: .45rem;
  vertical-align: .18em; background: var(--faint); }
.key.mean::before, .key.compute::before { background: rgb(var(--blue)); }
.key.valid::before, .key.communication::before { background: rgb(var(--orange)); }
.key.optimizer::before { background: rgb(var(--teal)); }
.key.mark::before { height: 0; border-top: 2px dashed var(--soft); background: none; border-radius: 0; }
td .key, th .key { margin: 0; }
.bar rect { stroke: var(--page); stroke-width: 1; fill: var(--faint); }
.bar .compute { fill: rgb(var(--blue)); }
.bar .communication { fill: rgb(var(--orange)); }
.bar .optimizer { fill: rgb(var(--teal)); }
.bar .data { fill: rgb(var(--grey)); }
.key.data::before { background: rgb(var(--grey)); }
svg.bar { display: block; margin-bottom: 1rem; border-radius: 6px; overflow: hidden; }
.scroll { overflow-x: auto; min-width: 0; max-width: 100%; }
.box { min-width: 0; }
.box + .box, .box + .pair { margin-top: 2rem; }
.pair .box + .box { margin-top: 0; }
table { border-collapse: collapse; width: 100%; max-width: 46rem; font-size: .9rem; overflow-wrap: normal; }
.caption { color: var(--soft); font-size: .85rem; padding-bottom: .4rem; }
th, td { padding: .32rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; }
th:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 400; }
td:last-child, th:last-child { padding-right: .2rem; }
.main th, .main td { font-weight: 650; }
.total th, .total td { color: var(--soft); border-bottom-color: transparent; }
.total.first th, .total.first td { border-top: 1px solid var(--faint); }
span.bar { display: inline-block; min-width: 5.5rem; padding: 0 .3rem; border-radius: 3px;
  background: linear-gradient(rgba(var(--blue), .22), rgba(var(--blue), .22)) left / var(--w) 100% no-repeat; }
.matrix { width: auto; font-size: .8rem; }
.matrix td { min-width: 2.6rem; padding: .28rem .4rem; text-align: center; border: 1px solid var(--rule); }
.matrix thead td { border: 0; }
.matrix th { border: 0; }
.matrix tbody th { padding-right: .7rem; position: sticky; left: 0; background: var(--page); }
.matrix thead th { vertical-align: bottom; padding: .3rem .2rem; text-align: center; }
.matrix thead span { writing-mode: vertical-rl; transform: rotate(180deg); display: inline-block; }
.hit { background: rgba(var(--blue), var(--a)); }
.miss { background: rgba(var(--orange), var(--a)); }
.facts { margin-top: 2rem; }
.facts dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: 0; font-size: .9rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; }
@media (max-width: 30rem) {
  main { padding: 1.25rem 1rem 3rem; }
  table { font-size: .82rem; }
  th, td { padding: .32rem .3rem; }
  span.bar { min-width: 3.6rem; }
}
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #ccc; --faint: #999;
    --blue: 33, 96, 168; --orange: 190, 88, 20; --teal: 38, 128, 118; --grey: 128, 138, 150; }
  main { max-width: none; padding: 0; }
  body { font-size: 12px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, tr, .hero { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
}
)";

}  // namespace fmtrain
