"""How the page looks: light or dark as its reader's machine is, and as wide as a phone."""

STYLE = """
:root { color-scheme: light dark;
  --back: light-dark(#f5f6f8, #0c0f14); --card: light-dark(#fff, #14181f); --text: light-dark(#14181f, #e9ecf1);
  --soft: light-dark(#586271, #98a3b1); --line: light-dark(#e3e6eb, #262d37); --accent: light-dark(#2f5fde, #6f9bff);
  --good: light-dark(#18733a, #4cc272); --bad: light-dark(#bf2330, #ff7b75); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif;
  -webkit-text-size-adjust: 100%; }
main { max-width: 70rem; margin: auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin: 0 0 .3rem; } h3 { font-size: .95rem; margin: 1rem 0 .3rem; }
small, .soft, footer { color: var(--soft); font-weight: 400; }
p, ul { margin: .3rem 0; } ul { padding-left: 1.2rem; } a { color: var(--accent); }
section, .wide { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
section { margin: 1rem 0; padding: .9rem; } .wide { margin: .6rem 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
tbody tr:last-child td { border-bottom: 0; } th, td { overflow-wrap: normal; }
details summary { overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .3rem 0; } footer { margin-top: 1.5rem; font-size: .87rem; }
.dot { display: inline-block; width: .7em; height: .7em; margin-right: .5em; border-radius: 50%; }
.good { background: var(--good); } .bad { background: var(--bad); }
@media (max-width: 30rem) { main { padding: .7rem; } th, td { padding: .3rem .4rem; } }
@media print { details > * { display: block; } }
"""
