"""The look of the report page: one style sheet with a light and a dark theme."""

PAGE_STYLE = """
:root {
  --bg: #f6f7fa; --card: #ffffff; --ink: #1c2430; --muted: #677489; --line: #dfe4ec;
  --hero: #3a63d8; --amber: #d98a1f; --slate: #8d97a8; --green: #2f9e77;
  --plum: #9156c8; --rose: #d2517d; --tint: #eef2fd; --warn: #fdf5e6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #11151c; --card: #181e28; --ink: #e8ecf3; --muted: #9aa6b8; --line: #2c3544;
    --hero: #7d9cf7; --amber: #e6a950; --slate: #8591a5; --green: #58c09b;
    --plum: #b98ae6; --rose: #e8809f; --tint: #1d2740; --warn: #2c2618;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans",
    "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 900px; margin: 0 auto; padding: 44px 20px 72px; }
.brand { margin: 0; color: var(--hero); font-weight: 700; letter-spacing: .04em; }
h1 { margin: 2px 0 10px; font-size: 33px; line-height: 1.2; letter-spacing: -.015em; }
h2 { margin: 0 0 12px; font-size: 20px; letter-spacing: -.01em; }
.lead { margin: 0 0 24px; font-size: 18px; color: var(--muted); max-width: 46em; }
.lead b { color: var(--ink); }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr));
  gap: 12px; margin-bottom: 20px;
}
.tiles div, section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
.tiles div { padding: 14px 16px; }
.tiles b {
  display: block; font-size: 25px; line-height: 1.25; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums;
}
.tiles span { color: var(--muted); font-size: 13.5px; }
section { padding: 22px 24px; margin: 20px 0; }
section > p { margin: 0 0 14px; color: var(--muted); }
.note {
  margin: 0 0 12px; padding: 10px 16px; border-radius: 10px;
  background: var(--warn); border: 1px solid var(--line); font-size: 14.5px;
}
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px; }
th {
  text-align: right; font-weight: 500; font-size: 13px; color: var(--muted);
  border-bottom: 1px solid var(--line); padding: 6px 10px;
}
td {
  text-align: right; padding: 8px 10px; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
th:first-child, td:first-child {
  text-align: left; padding-left: 8px; white-space: normal;
}
tr:last-child td { border-bottom: 0; }
tr.hero td { background: var(--tint); font-weight: 650; }
table.pairs td { text-align: left; white-space: normal; padding: 4px 8px; }
table.pairs td:first-child { color: var(--muted); width: 12em; }
.bar {
  display: inline-block; width: 180px; height: 9px; border-radius: 5px;
  background: var(--line); overflow: hidden; vertical-align: middle;
}
.bar i { display: block; height: 100%; background: var(--hero); border-radius: 5px; }
figure { margin: 22px 0 4px; }
figcaption { color: var(--muted); font-size: 14px; margin-bottom: 8px; }
figcaption b { color: var(--ink); margin-right: 4px; }
svg.figure { width: 100%; height: auto; display: block; }
svg.figure text { font-family: inherit; }
pre, code {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: 13px;
}
pre {
  margin: 0 0 12px; padding: 14px 16px; overflow-x: auto; line-height: 1.5;
  background: var(--bg); border: 1px solid var(--line); border-radius: 8px;
}
details { border-top: 1px solid var(--line); padding: 8px 0; }
summary { cursor: pointer; color: var(--muted); font-size: 14.5px; }
@media (max-width: 660px) {
  main { padding: 24px 10px 48px; }
  section { padding: 16px 12px; }
  th, td { padding: 6px; }
  svg.figure { min-width: 620px; }
}
@media print { body { background: #fff; } section, .tiles div { break-inside: avoid; } }
"""
