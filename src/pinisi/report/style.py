"""The page's style sheet: system fonts, light and dark."""

# The eight colours c1 ... c8 keep apart for red-green and blue-yellow colour blindness (after Okabe and Ito,
# "Color Universal Design", 2008, shifted in lightness for each background); order matters more than hue.
STYLE = """
:root{color-scheme:light dark;
--page:#f7f6f3;--card:#fff;--ink:#1c1d20;--quiet:#63666d;--rule:#e3e1db;--soft:#b9bcc2;
--c1:#1f6cb0;--c2:#d9660f;--c3:#128a68;--c4:#a8468f;--c5:#c79a10;--c6:#4aa5c9;--c7:#6b5bb0;--c8:#7c8088}
@media (prefers-color-scheme:dark){:root{
--page:#131519;--card:#1b1e24;--ink:#e8e8e6;--quiet:#9ea3ac;--rule:#2d3139;--soft:#585d67;
--c1:#5fa8e6;--c2:#f0924a;--c3:#3fc19a;--c4:#d683c0;--c5:#e3bf4c;--c6:#7fcbe6;--c7:#a99bec;--c8:#a0a5ae}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",Arial,sans-serif;
font-variant-numeric:tabular-nums}
header,main{max-width:1320px;margin:0 auto;padding:0 32px}
header{padding-top:44px;padding-bottom:8px}
header p{margin:0;color:var(--quiet)}
h1{margin:2px 0 4px;font-size:34px;line-height:1.15;letter-spacing:-.02em;font-weight:650}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;
padding:22px 26px 24px;margin:18px 0;position:relative}
#headline{background:none;border:0;padding:0}
#headline h2{display:none}
h2{font-size:19px;margin:0 0 2px;letter-spacing:-.01em;font-weight:620}
h3{font-size:14px;margin:0 0 6px;font-weight:620}
.lead{margin:0 0 12px;color:var(--quiet);max-width:80ch}
.missing{margin:6px 0 0;color:var(--quiet);font-style:italic}
.warning{margin:14px 0 0;padding:10px 16px;
border-left:3px solid var(--c2);background:var(--card);border-radius:4px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(152px,1fr));gap:12px}
.card{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:14px 16px 16px;
display:flex;flex-direction:column}
.card span{color:var(--quiet);font-size:13px}
.card b{font-size:22px;white-space:nowrap;line-height:1.25;font-weight:620;letter-spacing:-.02em}
.card small{color:var(--quiet);font-size:12.5px;line-height:1.4}
.chart{display:block;width:100%;height:auto;overflow:visible}
.chart text{font-size:12.5px;fill:var(--ink)}
.chart .tick{fill:var(--quiet);font-size:12px}
.chart .value{fill:var(--quiet)}
.chart .grid{stroke:var(--rule);stroke-width:1}
.chart .dot{stroke:var(--card);stroke-width:1.5}
.chart .stem{stroke:var(--soft);stroke-width:2}
.chart .ring{fill:var(--card);stroke:var(--quiet);stroke-width:2}
.chart .hit{fill:transparent}
.chart g:hover .hit{fill:var(--rule);opacity:.5}
.chart .peak{stroke:var(--ink);stroke-width:2}
.chart .cursor{stroke:var(--quiet);stroke-width:1;visibility:hidden}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(215px,1fr));gap:14px 18px}
figure{margin:0;min-width:0}
figcaption{display:flex;justify-content:space-between;padding:0 6px 0 29px;font-size:13.5px}
figcaption span{color:var(--quiet)}
.panels .tick{font-size:12px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;padding:0;margin:0 0 10px;font-size:13.5px;
color:var(--quiet)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:7px;vertical-align:-1px}
.legend i.ring{border:2px solid var(--quiet);border-radius:50%}
.two{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:36px;align-items:start}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{font-weight:500;color:var(--quiet);text-align:left;font-size:12.5px;vertical-align:bottom;line-height:1.3}
th,td{padding:5px 12px 5px 0;border-bottom:1px solid var(--rule)}
.n{text-align:right;padding:5px 0 5px 14px}
td.n{white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
#memory .scroll{margin-top:14px}
#comparison td:first-child{white-space:nowrap}
#comparison td:nth-child(2){width:26%;min-width:120px}
.bar{display:block;height:12px;border-radius:3px;background:var(--c1)}
.groups{columns:3 320px;column-gap:36px;margin-top:10px}
.group{break-inside:avoid;padding-bottom:16px}
dl{margin:0;display:grid;grid-template-columns:minmax(130px,auto) 1fr;font-size:13.5px}
dt,dd{margin:0;padding:2px 0;border-bottom:1px solid var(--rule);overflow-wrap:anywhere}
dt{color:var(--quiet);padding-right:14px}
pre{overflow-x:auto;font-size:13px}
.zoom{display:flex;gap:6px;align-items:center;position:absolute;top:24px;right:26px}
button{font:inherit;font-size:13px;color:var(--ink);background:var(--card);border:1px solid var(--rule);
border-radius:7px;padding:2px 11px;cursor:pointer}
button:hover{border-color:var(--quiet)}
.timeline{margin-top:12px}
.timeline h3{display:flex;justify-content:space-between;gap:20px}
.timeline h3 span{font-weight:400;color:var(--quiet)}
.lanes{overflow-x:auto;overflow-y:hidden}
.board{display:flex;gap:12px}
.ranks{list-style:none;margin:0;padding:0;flex:0 0 124px;font-size:13px}
.ranks li{height:31px;line-height:26px;display:flex;justify-content:space-between}
.ranks span{color:var(--quiet);font-size:12px}
.lanes{flex:1 1 0;min-width:0;cursor:grab;touch-action:pan-y}
.lanes:active{cursor:grabbing}
.lanes .chart{max-width:none}
.pass rect{stroke:var(--card);stroke-width:1}
.pass.thin rect{stroke:none}
.chart .pass text{font-size:11px;fill:#1a1a1a;pointer-events:none}
.pass:hover rect{filter:brightness(.9)}
#tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--page);border-radius:7px;
padding:6px 11px;font-size:13px;line-height:1.45;white-space:pre;box-shadow:0 3px 14px #0004}
#tip[hidden]{display:none}
@media (max-width:900px){.two{grid-template-columns:1fr}header,main{padding-left:16px;padding-right:16px}}
@media print{section{break-inside:avoid}}
"""
