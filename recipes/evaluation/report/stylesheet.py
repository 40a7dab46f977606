"""Style sheet of the report: one column, readable at 390 pixels, light and dark, no scripts."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f5f2; --ink: #1d1d1f; --faint: #5d5d63; --line: #dddbd5;
  --accent: #b34700; --accent-soft: #fdf0e6; --good: #00664a; --bad: #a8071a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161618; --panel: #212124; --ink: #ededed; --faint: #a9a9b2; --line: #3a3a40;
    --accent: #ff9a52; --accent-soft: #33241a; --good: #4fd1a5; --bad: #ff8f8f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
header, main, footer { max-width: 960px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 48px; }
.eyebrow {
  margin: 0; color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: 0.08em;
  text-transform: uppercase;
}
h1 { margin: 4px 0 12px; font-size: clamp(26px, 5vw, 38px); line-height: 1.15; }
h2 {
  margin: 56px 0 8px; padding-top: 16px; border-top: 1px solid var(--line); font-size: 22px;
  line-height: 1.3;
}
h3 { margin: 0 0 2px; font-size: 17px; }
h4 { margin: 0; font-size: 14px; font-weight: 600; }
p { margin: 8px 0; max-width: 70ch; }
.lead { font-size: 18px; }
.faint { color: var(--faint); font-size: 14px; }
nav ul {
  display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 16px 0 0; padding: 0; list-style: none;
}
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.facts {
  display: flex; flex-wrap: wrap; gap: 1px;
  margin: 20px 0; padding: 0; border: 1px solid var(--line); border-radius: 10px; overflow: hidden;
  background: var(--line);
}
.facts div { flex: 1 1 clamp(140px, 26vw, 240px); padding: 12px 16px; background: var(--panel); }
.facts dt { color: var(--faint); font-size: 13px; }
.facts dd { margin: 0; font-size: 17px; font-weight: 600; overflow-wrap: break-word; }
.utterance {
  margin: 20px 0; padding: 18px; border: 1px solid var(--line); border-radius: 12px;
  background: var(--panel);
}
.said { margin: 0 0 12px; font-size: 17px; }
.players {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(270px, 100%), 1fr)); gap: 12px;
}
.player {
  padding: 12px; border: 1px solid var(--line); border-radius: 10px; background: var(--paper);
}
.ours { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.player h4 { display: flex; justify-content: space-between; gap: 8px; }
.player h4 span { color: var(--faint); font-weight: 400; white-space: nowrap; }
audio { display: block; width: 100%; height: 40px; margin: 8px 0; }
.heard { margin: 0; font-size: 14px; }
.heard mark {
  background: none; color: var(--bad); text-decoration: underline wavy; text-underline-offset: 3px;
}
.scroll { overflow-x: auto; }
.cue { display: none; margin: 8px 0 0; color: var(--accent); font-size: 13px; }
.warning {
  margin: 12px 0; padding: 12px 16px; border-left: 4px solid var(--bad); border-radius: 4px;
  background: var(--panel); color: var(--bad); font-weight: 600;
}
table {
  width: 100%; margin: 12px 0; border-collapse: collapse; font-variant-numeric: tabular-nums;
}
caption { padding: 4px 0 8px; color: var(--faint); font-size: 14px; text-align: left; }
th, td { padding: 8px; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--faint); font-size: 13px; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; white-space: nowrap; }
tr.ours-row { background: var(--accent-soft); }
tr.ours-row th, tr.ours-row td { font-weight: 600; }
td small { display: block; color: var(--faint); font-size: 12px; font-weight: 400; }
.files td { text-align: left; }
.pass { color: var(--good); font-weight: 600; }
.fail { color: var(--bad); font-weight: 600; }
figure { margin: 20px 0; }
figure img {
  display: block; width: 100%; height: auto; padding: 10px; border: 1px solid var(--line);
  border-radius: 10px; background: #ffffff;
}
figcaption { margin-top: 6px; color: var(--faint); font-size: 14px; }
pre {
  margin: 4px 0 16px; padding: 12px 16px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--panel); overflow-x: auto;
  font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", monospace;
}
footer { margin-top: 56px; padding-bottom: 40px; color: var(--faint); font-size: 14px; }
@media (max-width: 700px) {
  .cue { display: block; }
  .scroll { border-right: 3px dotted var(--accent); }
  figure img { width: 660px; max-width: none; }
  table { min-width: 660px; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
@media (max-width: 480px) {
  header { padding-top: 28px; }
  .utterance { padding: 12px; }
}
@media print { audio { display: none; } .utterance, figure { break-inside: avoid; } }
"""
