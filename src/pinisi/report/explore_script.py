"""The script and style of the page that `explore` writes. Times are eighths of a microsecond throughout."""

EXPLORE_STYLE = """
:root{--lane:#edebe6;--curve:#1f6cb0}
@media (prefers-color-scheme:dark){:root{--lane:#262a32;--curve:#5fa8e6}}
header,main{max-width:1640px}
#tools{position:sticky;top:0;z-index:5;background:var(--page);padding:10px 0 2px;
border-bottom:1px solid var(--rule)}
#tools div{display:flex;flex-wrap:wrap;gap:6px 8px;align-items:center;margin-bottom:8px}
#tools label{font-size:13px;margin-left:8px;white-space:nowrap}
#tools span{color:var(--quiet);font-size:13px;margin-left:8px}
#tools .legend{margin-bottom:6px}
.way{scroll-margin-top:92px;padding:16px 20px 14px}
.way .lead{margin-bottom:8px;max-width:none}
canvas{display:block;width:100%;touch-action:pan-y;cursor:grab;border-radius:4px}
canvas:active{cursor:grabbing}
canvas:focus{outline:none}
canvas:focus-visible{outline:2px solid var(--c1);outline-offset:4px}
#ways a{color:inherit}
#ways tbody tr:hover{background:var(--page)}
@media (max-width:900px){#tools{position:static}}
"""

EXPLORE_SCRIPT = r"""
const data = JSON.parse(document.getElementById('data').textContent);
const LEFT = 148, AXIS = 20, FONT = '12px system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';

// ---- words
function seconds(eighths) { return eighths / 8e6; }
function three(value) { return Number(value.toPrecision(4)).toLocaleString('en', {maximumFractionDigits: 9}); }
function duration(eighths) {
  const s = Math.abs(seconds(eighths));
  if (s === 0) return '0';
  if (s >= 1) return three(s) + ' s';
  return s >= 1e-3 ? three(s * 1e3) + ' ms' : three(s * 1e6) + ' µs';
}
function bytes(value) {
  for (const [power, unit] of [[4, 'TiB'], [3, 'GiB'], [2, 'MiB'], [1, 'KiB']]) {
    if (value >= 1024 ** power) return (value / 1024 ** power).toFixed(2) + ' ' + unit;
  }
  return Math.round(value) + ' B';
}
function rgb(hex) {
  const full = hex.trim().replace(/^#(.)(.)(.)$/, '#$1$1$2$2$3$3');
  return [1, 3, 5].map(at => parseInt(full.slice(at, at + 2), 16));
}
function theme() {
  const style = getComputedStyle(document.documentElement);
  const names = ['card', 'ink', 'quiet', 'rule', 'lane', 'curve', 'c2'];
  return Object.fromEntries(names.map(name => [name, style.getPropertyValue('--' + name).trim()]));
}
let colours = theme();
// A kind's colour, darker for each later chunk.
const shades = data.kinds.map(kind => [0, 1, 2, 3].map(chunk => rgb(kind[2]).map(x => Math.round(x * (1 - 0.14 * chunk)))));

// ---- the passes of an entry, as arrays
function unpack(entry) {
  let count = 0;
  const ranks = entry.passes.map((flat, rank) => {
    const n = flat.length / 5, row = {n, base: count, idle: entry.idle[rank]};
    for (const name of ['start', 'end']) row[name] = new Float64Array(n);
    for (const name of ['kind', 'part', 'microbatch', 'chunk']) row[name] = new Int32Array(n);
    for (let i = 0, now = 0; i < n; i++) {
      [row.kind[i], row.part[i], row.microbatch[i]] = flat.slice(5 * i, 5 * i + 3);
      row.start[i] = now + flat[5 * i + 3];
      now = row.end[i] = row.start[i] + flat[5 * i + 4];
      const sharded = 'ESTG'.includes(data.kinds[row.kind[i]][0]);
      row.chunk[i] = sharded ? 0 : Math.min(3, Math.max(0, entry.stages[rank].indexOf(row.part[i])));
    }
    row.needs = [];
    for (let at = 0, flatNeeds = entry.needs[rank]; row.needs.length < n;) {
      const pairs = [];
      for (let left = flatNeeds[at++]; left > 0; left--, at += 2) pairs.push([flatNeeds[at], flatNeeds[at + 1]]);
      row.needs.push(pairs);
    }
    count += n;
    return row;
  });
  const memory = entry.memory && entry.memory.map(flat => {
    const n = flat.length / 2, time = new Float64Array(n), size = new Float64Array(n);
    for (let i = 0, now = 0; i < n; i++) {
      now = time[i] = now + flat[2 * i];
      size[i] = flat[2 * i + 1];
    }
    return {time, size, peak: size.reduce((a, b) => Math.max(a, b), 0), least: size.reduce((a, b) => Math.min(a, b), Infinity)};
  });
  const last = Math.max(1, ...ranks.map(row => row.n ? row.end[row.n - 1] : 0));
  return {title: entry.title, stages: entry.stages, ranks, memory, last};
}
const entries = data.entries.map(unpack);
const longest = Math.max(1, ...entries.map(entry => entry.last));
const peak = Math.max(1, ...entries.flatMap(entry => entry.memory ? entry.memory.map(curve => curve.peak) : []));
const lowest = 0.98 * Math.min(peak, ...entries.flatMap(entry => entry.memory ? entry.memory.map(curve => curve.least) : []));
// The limit sets the scale too, unless it is so far off that the curves would be flat.
const ceiling = data.limit && data.limit > peak && data.limit < 2.5 * peak ? data.limit * 1.04 : peak * 1.04;

// The first index whose value is above x.
function above(array, x) {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] > x) high = middle; else low = middle + 1;
  }
  return low;
}
function name(row, i) { return row.part[i] + data.kinds[row.kind[i]][0] + row.microbatch[i]; }

// ---- one timeline on its canvas
class Board {
  constructor(entry, section) {
    this.entry = entry;
    this.canvas = section.querySelector('canvas');
    this.context = this.canvas.getContext('2d');
    this.strip = document.createElement('canvas');
    this.view = shared;
    this.visible = true;
    this.hovered = null;
    this.sizes();
  }
  sizes() {
    const p = this.entry.ranks.length, shown = this.entry.memory && memoryShown;
    this.lane = p > 16 ? 15 : p > 8 ? 20 : 26;
    this.curve = shown ? (p > 16 ? 13 : p > 8 ? 20 : 34) : 0;
    this.gap = p > 16 ? 3 : 5;
    this.row = this.lane + this.curve + (this.curve ? 1 : 0) + this.gap;
    this.height = 2 * AXIS + p * this.row;
    this.canvas.style.height = this.height + 'px';
  }
  get width() { return Math.max(50, this.canvas.clientWidth - LEFT - 26); }
  x(time) { return LEFT + (time - this.view.from) * this.width / (this.view.to - this.view.from); }
  time(x) { return this.view.from + (x - LEFT) * (this.view.to - this.view.from) / this.width; }

  draw() {
    const ratio = window.devicePixelRatio || 1, c = this.context, wide = this.canvas.clientWidth;
    if (this.canvas.width !== Math.round(wide * ratio) || this.canvas.height !== Math.round(this.height * ratio)) {
      this.canvas.width = Math.round(wide * ratio);
      this.canvas.height = Math.round(this.height * ratio);
    }
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = colours.card;
    c.fillRect(0, 0, wide, this.height);
    c.font = FONT;
    c.textBaseline = 'middle';
    this.grid();
    this.entry.ranks.forEach((row, rank) => this.drawRank(row, rank));
    if (this.hovered) this.outline();
  }
  grid() {
    const c = this.context, {from, to} = this.view, rough = (to - from) / Math.max(2, this.width / 130);
    const unit = 8e6, roughSeconds = rough / unit, base = 10 ** Math.floor(Math.log10(roughSeconds));
    const step = [1, 2, 5, 10].map(f => f * base).find(s => s >= roughSeconds * 0.999) * unit;  // of seconds
    c.textAlign = 'center';
    c.lineWidth = 1;
    for (let tick = Math.ceil(from / step); tick * step <= to; tick++) {
      const x = Math.round(this.x(tick * step)) + 0.5;
      c.strokeStyle = colours.rule;
      c.beginPath(); c.moveTo(x, AXIS - 4); c.lineTo(x, this.height - AXIS + 2); c.stroke();
      c.fillStyle = colours.quiet;
      c.fillText(tick ? duration(tick * step) : '0', x, AXIS / 2 - 2);
      c.fillText(tick ? duration(tick * step) : '0', x, this.height - AXIS / 2 + 3);
    }
  }
  top(rank) { return AXIS + rank * this.row; }
  drawRank(row, rank) {
    const c = this.context, y = this.top(rank), curve = this.entry.memory && this.entry.memory[rank];
    c.textAlign = 'left';
    c.fillStyle = colours.ink;
    c.fillText('rank ' + rank, 0, y + this.lane / 2 + 1);
    c.textAlign = 'right';
    c.fillStyle = colours.quiet;
    c.fillText((100 * row.idle).toFixed(1) + ' % idle', LEFT - 10, y + this.lane / 2 + 1);
    c.save();
    c.beginPath(); c.rect(LEFT, y, this.width, this.row); c.clip();
    c.fillStyle = colours.lane;
    const from = Math.max(LEFT, this.x(0)), to = Math.min(LEFT + this.width, this.x(this.entry.last));
    c.fillRect(from, y, to - from, this.lane);
    const first = above(row.end, this.view.from), stop = above(row.start, this.view.to);
    if ((stop - first) * 4 > this.width) this.blend(row, first, stop, y);
    else this.boxes(row, first, stop, y);
    if (this.curve) this.drawMemory(curve, y + this.lane + 1);
    c.restore();
    if (this.curve) {
      c.textAlign = 'right';
      c.fillStyle = data.limit && curve.peak > data.limit ? colours.c2 : colours.quiet;
      c.fillText(bytes(curve.peak), LEFT - 10, y + this.lane + this.curve / 2 + 1);
    }
  }
  boxes(row, first, stop, y) {
    const c = this.context;
    c.textAlign = 'center';
    for (let i = first; i < stop; i++) {
      const x = this.x(row.start[i]), wide = this.x(row.end[i]) - x, edge = wide > 3 ? 0.75 : 0;
      c.fillStyle = 'rgb(' + shades[row.kind[i]][row.chunk[i]] + ')';
      c.fillRect(x, y, Math.max(wide - edge, 0.5), this.lane);
      const whole = name(row, i), number = String(row.microbatch[i]);
      const left = Math.max(x, LEFT), room = Math.min(x + wide, LEFT + this.width) - left;
      const text = room > 8 * whole.length + 8 ? whole : room > 7 * number.length + 3 ? number : '';
      if (!text) continue;
      c.fillStyle = '#1a1a1a';
      c.fillText(text, left + room / 2, y + this.lane / 2 + 1);
    }
  }
  // Where passes are narrower than a few pixels: each pixel takes the mean colour of what it covers.
  blend(row, first, stop, y) {
    const ratio = window.devicePixelRatio || 1, n = Math.ceil(this.width * ratio);
    const {from, to} = this.view, scale = n / (to - from), sum = new Float32Array(4 * n);
    for (let i = first; i < stop; i++) {
      const a = Math.max(0, (row.start[i] - from) * scale), b = Math.min(n, (row.end[i] - from) * scale);
      const [red, green, blue] = shades[row.kind[i]][row.chunk[i]];
      for (let at = Math.floor(a); at < b; at++) {
        const part = Math.min(b, at + 1) - Math.max(a, at);
        sum[4 * at] += part * red;
        sum[4 * at + 1] += part * green;
        sum[4 * at + 2] += part * blue;
        sum[4 * at + 3] += part;
      }
    }
    if (this.strip.width !== n) { this.strip.width = n; this.strip.height = 1; }
    const pen = this.strip.getContext('2d'), image = pen.createImageData(n, 1);
    for (let at = 0; at < n; at++) {
      const part = sum[4 * at + 3];
      if (!part) continue;
      for (let k = 0; k < 3; k++) image.data[4 * at + k] = sum[4 * at + k] / part;
      image.data[4 * at + 3] = 255 * Math.min(1, part);
    }
    pen.putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(this.strip, LEFT, y, this.width, this.lane);
  }
  drawMemory(curve, y) {
    const low = fromZero ? 0 : lowest, floor = y + this.curve;
    const c = this.context, high = size => floor - this.curve * (size - low) / (ceiling - low);
    if (curve.time.length) {
      const first = Math.max(0, above(curve.time, this.view.from) - 1), stop = above(curve.time, this.view.to);
      const line = new Path2D();
      let x = this.x(curve.time[first]), top = high(curve.size[first]);
      const begin = x;
      line.moveTo(x, top);
      for (let i = first + 1; i < stop; i++) {
        x = this.x(curve.time[i]);
        line.lineTo(x, top);
        top = high(curve.size[i]);
        line.lineTo(x, top);
      }
      const end = Math.max(x, Math.min(LEFT + this.width, this.x(this.entry.last)));
      line.lineTo(end, top);
      const area = new Path2D(line);
      area.lineTo(end, floor);
      area.lineTo(begin, floor);
      c.globalAlpha = 0.18;
      c.fillStyle = c.strokeStyle = colours.curve;
      c.fill(area);
      c.globalAlpha = 1;
      c.lineWidth = 1;
      c.stroke(line);
    }
    if (data.limit && ceiling >= data.limit) {
      c.strokeStyle = colours.c2;
      c.setLineDash([4, 3]);
      const at = Math.round(high(data.limit)) + 0.5;
      c.beginPath(); c.moveTo(LEFT, at); c.lineTo(LEFT + this.width, at); c.stroke();
      c.setLineDash([]);
    }
  }
  find(number) {
    const ranks = this.entry.ranks;
    const rank = ranks.findIndex(row => number < row.base + row.n);
    return [rank, number - ranks[rank].base];
  }
  box(rank, i) {
    const row = this.entry.ranks[rank], x = this.x(row.start[i]), y = this.top(rank);
    return [x, y, Math.max(2, this.x(row.end[i]) - x), this.lane];
  }
  // The pass under the pointer, and lines from what it waits for.
  outline() {
    const c = this.context, {rank, i} = this.hovered, [x, y, wide, high] = this.box(rank, i);
    c.save();
    c.beginPath(); c.rect(LEFT, 0, this.width, this.height); c.clip();
    c.strokeStyle = colours.ink;
    c.lineWidth = 2;
    c.strokeRect(x, y, wide, high);
    c.lineWidth = 1.5;
    for (const [, number] of this.entry.ranks[rank].needs[i]) {
      const [from, at] = this.find(number), [sx, sy, sw, sh] = this.box(from, at);
      c.strokeRect(sx, sy, sw, sh);
      c.beginPath(); c.moveTo(sx + sw, sy + sh / 2); c.lineTo(x, y + high / 2); c.stroke();
    }
    c.restore();
  }
  // What is at a place of the canvas: {rank, i, idle}, {rank, memory} or null.
  at(x, y) {
    const rank = Math.floor((y - AXIS) / this.row), ranks = this.entry.ranks, time = this.time(x);
    if (x < LEFT || x > LEFT + this.width || rank < 0 || rank >= ranks.length) return null;
    const inside = y - this.top(rank), row = ranks[rank];
    if (inside > this.lane) return this.curve && inside <= this.row - this.gap + 1 ? {rank, memory: true, time} : null;
    const i = above(row.end, time);
    return i < row.n ? {rank, i, idle: row.start[i] > time, time} : null;
  }
  words(found) {
    const {rank, i} = found, row = this.entry.ranks[rank];
    if (found.memory) {
      const curve = this.entry.memory[rank], k = above(curve.time, found.time) - 1;
      return 'rank ' + rank + ': ' + bytes(curve.size[k] || 0) + ' at ' + duration(found.time) + '\nat most ' + bytes(curve.peak);
    }
    const before = i ? row.end[i - 1] : 0, kind = data.kinds[row.kind[i]];
    const of = 'ESTG'.includes(kind[0]) ? '' : ', stage ' + row.part[i];
    const lines = found.idle
      ? ['rank ' + rank + ' idle for ' + duration(row.start[i] - before) + ', then ' + name(row, i)]
      : [name(row, i) + '  ' + kind[1] + ' of microbatch ' + row.microbatch[i] + of + ', rank ' + rank,
         'starts at ' + duration(row.start[i]) + ', takes ' + duration(row.end[i] - row.start[i])
         + (row.start[i] > before ? ', after ' + duration(row.start[i] - before) + ' idle' : '')];
    if (!row.needs[i].length) lines.push('needs nothing');
    for (const [via, number] of row.needs[i]) {
      const [from, at] = this.find(number), source = this.entry.ranks[from];
      const ago = row.start[i] - source.end[at];
      lines.push('needs ' + name(source, at) + ' (' + data.vias[via] + (from === rank ? '' : ', rank ' + from) + '), '
        + (ago > 0 ? 'ended ' + duration(ago) + ' before' : 'just ended'));
    }
    return lines.join('\n');
  }
}

// ---- what is seen
const shared = {from: 0, to: longest};
let memoryShown = true, fromZero = true, asked = false;
const boards = entries.map((entry, at) => new Board(entry, document.getElementById('way-' + at)));
let active = boards[0];
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(drawAll);
}
function drawAll() {
  asked = false;
  for (const board of boards) if (board.visible) board.draw();
}
function look(view, from, to) {
  const wide = Math.min(Math.max(to - from, longest / 50000, 16), longest * 1.02);
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(middle - wide / 2, -0.01 * longest), Math.max(0, longest * 1.01 - wide));
  view.to = view.from + wide;
  redraw();
}
function zoom(board, factor, x) {
  const view = board.view, held = board.time(x === undefined ? LEFT + board.width / 2 : x);
  look(view, held - (held - view.from) / factor, held + (view.to - held) / factor);
}
function pan(board, part) {
  const {from, to} = board.view, by = part * (to - from);
  look(board.view, from + by, to + by);
}
function fit(board) {
  board.view.from = 0;
  board.view.to = board.view === shared ? longest : board.entry.last;
  redraw();
}

for (const board of boards) {
  const canvas = board.canvas;
  canvas.addEventListener('wheel', event => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (!event.ctrlKey && !sideways && document.activeElement !== canvas) return;
    event.preventDefault();
    active = board;
    if (sideways) pan(board, (event.deltaX || event.deltaY) / board.width);
    else zoom(board, Math.exp(-event.deltaY / 300), event.offsetX);
  }, {passive: false});
  let held = null;
  canvas.addEventListener('pointerdown', event => {
    held = {x: event.offsetX, from: board.view.from, to: board.view.to};
    active = board;
    try { canvas.setPointerCapture(event.pointerId); } catch (error) { /* a made-up pointer */ }
  });
  canvas.addEventListener('pointerup', () => { held = null; });
  canvas.addEventListener('dblclick', () => fit(board));
  canvas.addEventListener('pointermove', event => {
    if (held) {
      const by = (held.x - event.offsetX) * (held.to - held.from) / board.width;
      hide();
      look(board.view, held.from + by, held.to + by);
      return;
    }
    const found = board.at(event.offsetX, event.offsetY), was = board.hovered;
    board.hovered = found && !found.memory ? found : null;
    active = board;
    if (found) show(event, board.words(found)); else hide();
    if ((was && was.rank * 1e9 + was.i) !== (board.hovered && board.hovered.rank * 1e9 + board.hovered.i)) redraw();
  });
  canvas.addEventListener('pointerleave', () => { board.hovered = null; hide(); redraw(); });
}
addEventListener('keydown', event => {
  if (!active || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === 'INPUT') return;
  const does = {
    ArrowLeft: () => pan(active, -0.15), a: () => pan(active, -0.15),
    ArrowRight: () => pan(active, 0.15), d: () => pan(active, 0.15),
    '+': () => zoom(active, 1.5), '=': () => zoom(active, 1.5), w: () => zoom(active, 1.5),
    '-': () => zoom(active, 1 / 1.5), s: () => zoom(active, 1 / 1.5), '0': () => fit(active),
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});
function click(id, does) {
  const button = document.getElementById(id);
  if (button) button.addEventListener(button.type === 'checkbox' ? 'change' : 'click', () => does(button));
}
click('in', () => zoom(active, 2));
click('out', () => zoom(active, 0.5));
click('fit', () => boards.forEach(fit));
click('linked', box => {
  if (box.checked) Object.assign(shared, active.view);
  for (const board of boards) board.view = box.checked ? shared : {...shared};
  redraw();
});
click('memory-shown', box => {
  memoryShown = box.checked;
  for (const board of boards) board.sizes();
  redraw();
});
click('from-zero', box => { fromZero = box.checked; redraw(); });

// ---- the trace: Chrome's trace-event format, as pinisi.report.trace writes it
function trace() {
  const events = [], meta = (what, pid, tid, args) => events.push({name: what, ph: 'M', pid, tid, args});
  entries.forEach((entry, at) => {
    const pid = at + 1;
    meta('process_name', pid, 0, {name: entry.title});
    meta('process_sort_index', pid, 0, {sort_index: pid});
    entry.ranks.forEach((row, tid) => {
      meta('thread_name', pid, tid, {name: 'rank ' + tid + ' (stages ' + entry.stages[tid].join(', ') + ')'});
      meta('thread_sort_index', pid, tid, {sort_index: tid});
      for (let i = 0; i < row.n; i++) {
        const [cat, words, , cname] = data.kinds[row.kind[i]];
        events.push({name: words, cat, ph: 'X', ts: row.start[i] / 8, dur: (row.end[i] - row.start[i]) / 8, pid, tid,
          cname, args: {pass: name(row, i), microbatch: row.microbatch[i], part: row.part[i]}});
      }
    });
    (entry.memory || []).forEach((curve, tid) => curve.time.forEach((time, i) =>
      events.push({name: 'memory of rank ' + tid, ph: 'C', ts: time / 8, pid, tid, args: {bytes: curve.size[i]}})));
  });
  return {displayTimeUnit: 'ms', traceEvents: events};
}
click('trace', () => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([JSON.stringify(trace())], {type: 'application/json'}));
  link.download = data.title.replace(/[^\p{L}\p{N}]+/gu, '-') + '-trace.json';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});

const seen = new IntersectionObserver(changes => {
  for (const change of changes) boards.find(board => board.canvas === change.target).visible = change.isIntersecting;
  redraw();
}, {rootMargin: '200px'});
for (const board of boards) seen.observe(board.canvas);
addEventListener('resize', redraw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { colours = theme(); redraw(); });
drawAll();
"""
