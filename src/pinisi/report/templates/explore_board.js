// One timeline on its canvas.
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
