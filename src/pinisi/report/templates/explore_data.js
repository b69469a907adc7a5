// The data of the page of timelines, and words for them. Times are eighths of a microsecond throughout.
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
