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
