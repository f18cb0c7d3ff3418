"""The look of a page: one column on a phone, contents beside it where there is room, light and dark, and on paper."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --raised: #f5f6f8; --ink: #1b1f24; --quiet: #59626d; --line: #d9dde3; --link: #0b57b0;
  --error: #b3261e; --warning: #8a4b00; --note: #0b57b0; --fine: #1a6b3c; --spark: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --raised: #1e2329; --ink: #e6e9ed; --quiet: #a0a9b4; --line: #353c45; --link: #8ab8ff;
    --error: #ff8a80; --warning: #ffb866; --note: #8ab8ff; --fine: #7fd6a0; --spark: #6cb8e6;
  }
  figure img { filter: invert(0.92) hue-rotate(180deg) brightness(1.2); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
header, main, footer { max-width: 50rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 0.25rem; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.5rem; }
section { padding-top: 2.25rem; }
section > p.question { margin: 0.15rem 0 1rem; color: var(--quiet); }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
bdi, code, td, th, dd, dt, li { unicode-bidi: isolate; }
code, pre { font: 0.9em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { margin: 0; padding: 0.75rem; background: var(--raised); border-radius: 0.5rem; width: max-content;
  min-width: 100%; }
small { color: var(--quiet); font-size: 0.82rem; }
.quiet { color: var(--quiet); }
.state { margin: 0; color: var(--quiet); }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 0.6rem; margin: 1.1rem 0 0; }
.tiles div { display: flex; flex-direction: column-reverse; background: var(--raised); border-radius: 0.6rem;
  padding: 0.6rem 0.85rem; }
.tiles dt { color: var(--quiet); font-size: 0.85rem; }
.tiles dd { margin: 0; font-size: 1.45rem; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }

nav { max-width: 50rem; margin: 1.25rem auto 0; padding: 0 1rem; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; }
nav li a { display: inline-block; padding: 0.2rem 0; text-decoration: none; }
nav li a:hover { text-decoration: underline; }

.findings { list-style: none; margin: 0; padding: 0; }
.findings > li { border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.75rem 1rem; margin: 0 0 0.75rem; }
.findings p { margin: 0; }
.mark { text-transform: capitalize; margin-right: 0.35rem; }
.mark.error { color: var(--error); } .mark.warning { color: var(--warning); } .mark.note { color: var(--note); }
.findings > li:has(.mark.error) { border-left: 4px solid var(--error); }
.findings > li:has(.mark.warning) { border-left: 4px solid var(--warning); }
.findings > li:has(.mark.note) { border-left: 4px solid var(--note); }
.fine { border: 1px solid var(--line); border-left: 4px solid var(--fine); border-radius: 0.6rem;
  padding: 0.75rem 1rem; margin: 0; }
.evidence { display: flex; flex-wrap: wrap; gap: 0.1rem 1.1rem; margin: 0.45rem 0 0; font-size: 0.9rem; }
.evidence div { display: flex; gap: 0.4rem; }
.evidence dt { color: var(--quiet); }
.evidence dd { margin: 0; font-variant-numeric: tabular-nums; }
.findings .see { margin-top: 0.35rem; font-size: 0.9rem; }
.hint { background: var(--raised); border-radius: 0.6rem; padding: 0.85rem 1rem; margin: 1rem 0 0; }
.hint h3 { margin: 0 0 0.25rem; } .hint p { margin: 0; }

.facts { margin: 0; }
.facts div { display: grid; grid-template-columns: 8.5rem 1fr; gap: 1rem; padding: 0.4rem 0;
  border-bottom: 1px solid var(--line); }
.facts dt { color: var(--quiet); } .facts dd { margin: 0; }

figure { margin: 0 0 1.25rem; }
figure img { display: block; max-width: 100%; height: auto; min-width: 34rem; border-radius: 0.4rem; }
.graph img { max-width: none; min-width: 0; }
.graph { display: grid; grid-template-columns: minmax(0, max-content) minmax(12rem, 1fr); gap: 0.4rem 1.5rem; }
.graph .scroll { max-height: 60rem; }
figcaption { color: var(--quiet); font-size: 0.9rem; margin-top: 0.35rem; }
.scroll { overflow: auto; max-width: 100%; margin: 0 0 1rem; }
figure .scroll { margin: 0; }

table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; min-width: 100%;
  overflow-wrap: normal; }
caption { text-align: left; max-width: min(100vw - 2rem, 48rem); color: var(--quiet);
  padding: 0 0 0.35rem; font-size: 0.9rem; }
th, td { padding: 0.28rem 0.7rem 0.28rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 5.5rem; }
td:not(.n) { min-width: 5rem; }
td:last-child, th:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; font-size: 0.85rem; color: var(--quiet); }
.value { white-space: nowrap; }
td small, th small { display: block; font-weight: 400; }
td code + small { margin-top: 0.1rem; }
article th code { white-space: nowrap; }
article td:last-child { min-width: 14rem; }

details { margin: 0 0 1rem; }
summary { cursor: pointer; padding: 0.3rem 0; }
.panel { border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.4rem 1rem; margin-bottom: 0.75rem; }
.panel table { margin-top: 0.4rem; }
.spark, .bars { width: 7.5rem; height: 1.625rem; display: block; }
.spark polyline { fill: none; stroke: var(--spark); stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round; }
.spark circle { fill: var(--spark); }
.spark .bad { stroke: var(--error); stroke-width: 1.5; fill: none; }
.bars path { fill: var(--spark); }
.output { display: grid; grid-template-columns: 8rem 1fr 1fr; gap: 0.3rem 1.25rem; padding: 0.4rem 0; }
.output small { display: block; }
footer { color: var(--quiet); font-size: 0.9rem; padding-top: 2rem; padding-bottom: 3rem; }

@media (min-width: 72rem) {
  body { display: grid; grid-template-columns: 13rem minmax(0, 50rem); justify-content: center; column-gap: 2.5rem; }
  header, main, footer { grid-column: 2; width: 100%; margin: 0; }
  nav { grid-column: 1; grid-row: 1 / span 3; margin: 0; }
  nav ul { position: sticky; top: 1.75rem; flex-direction: column; gap: 0.1rem; }
}
@media (max-width: 36rem) {
  .facts div { grid-template-columns: 1fr; gap: 0; }
  .tiles dd { font-size: 1.2rem; }
  .graph { grid-template-columns: minmax(0, 1fr); }
  /* The rows of a panel and of an explained update take two lines rather than more width than there is. */
  .panel { padding: 0.4rem 0.75rem; }
  .panel :is(table, caption, thead, tbody), article :is(table, caption, tbody) { display: block; }
  .panel tr, article tr { display: grid; border-bottom: 1px solid var(--line); }
  .panel tr { grid-template-columns: repeat(3, 1fr); } article tr { grid-template-columns: 7.5rem 1fr; }
  .panel tr > *, article tr > * { border: 0; min-width: 0; }
  .panel tr > :first-child { grid-column: span 2; } article tr > :last-child { grid-column: 1 / -1; padding-top: 0; }
  article thead { display: none; } .panel .spark { width: 100%; }
  .output { grid-template-columns: 1fr 1fr; } .output > span { grid-column: 1 / -1; }
}
@media print {
  :root { --paper: #fff; --raised: #f5f6f8; --ink: #000; --quiet: #444; --line: #ccc; --link: #000; --spark: #0072b2;
    --error: #b3261e; --warning: #8a4b00; --note: #0b57b0; --fine: #1a6b3c; }
  figure img, .graph img { filter: none; min-width: 0; max-width: 100%; }
  nav { display: none; }
  figure, .findings > li, tr { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
  .scroll, .graph .scroll { overflow: visible; max-height: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
