// Readings under the pointer, and zoom of the timelines. The page is whole without.
for (const svg of document.querySelectorAll('[data-chart]')) {
  const data = JSON.parse(svg.dataset.chart), cursor = svg.querySelector('.cursor');
  const nearest = (points, x) => points.reduce((a, b) => Math.abs(a[2] - x) > Math.abs(b[2] - x) ? b : a);
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    const at = nearest(data.series.flatMap(line => line.points), x);
    const lines = data.series.map(line => {
      const point = nearest(line.points, x);
      const step = point[0] === at[0] ? '' : ' (step ' + point[0] + ')';
      return line.name + '  ' + point[1].toLocaleString('en', {maximumSignificantDigits: 5}) + step;
    });
    cursor.setAttribute('x1', at[2]);
    cursor.setAttribute('x2', at[2]);
    cursor.style.visibility = 'visible';
    show(event, ['step ' + at[0], ...lines, data.unit].join('\n'));
  });
  svg.addEventListener('pointerleave', () => { cursor.style.visibility = 'hidden'; hide(); });
}

for (const title of document.querySelectorAll('svg title')) {
  const mark = title.parentNode, text = title.textContent;
  title.remove();
  mark.setAttribute('aria-label', text);
  mark.addEventListener('pointermove', event => show(event, text));
  mark.addEventListener('pointerleave', hide);
}

// A lane fades at each edge behind which there is more of it.
function edges() {
  for (const lane of lanes) {
    lane.classList.toggle('before', lane.scrollLeft > 1);
    lane.classList.toggle('after', lane.scrollLeft + lane.clientWidth < lane.scrollWidth - 1);
  }
}
const lanes = [...document.querySelectorAll('.lanes')];
let zoom = 1;
function labels() {
  for (const lane of lanes) {
    const width = lane.firstElementChild.getBoundingClientRect().width;
    for (const text of lane.querySelectorAll('.pass text')) {
      const room = parseFloat(text.parentNode.getAttribute('width')) / 100 * width;
      text.style.display = room > text.textContent.length * 7 + 3 ? '' : 'none';
    }
  }
}
function zoomTo(next, fraction) {
  const lane = lanes[0], seen = lane.clientWidth;
  const held = (lane.scrollLeft + fraction * seen) / lane.scrollWidth;
  zoom = Math.min(64, Math.max(1, next));
  for (const each of lanes) each.firstElementChild.style.width = 100 * zoom + '%';
  for (const each of lanes) each.scrollLeft = held * each.scrollWidth - fraction * seen;
  labels();
  edges();
}
for (const lane of lanes) {
  lane.addEventListener('scroll', () => {
    for (const each of lanes) each.scrollLeft = lane.scrollLeft;
    edges();
  });
  lane.addEventListener('wheel', event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = lane.getBoundingClientRect();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), (event.clientX - box.left) / box.width);
  }, {passive: false});
  lane.addEventListener('pointerdown', event => {
    const from = event.clientX + lane.scrollLeft;
    const move = next => { lane.scrollLeft = from - next.clientX; };
    addEventListener('pointermove', move);
    addEventListener('pointerup', () => removeEventListener('pointermove', move), {once: true});
  });
}
for (const button of document.querySelectorAll('[data-zoom]')) {
  button.addEventListener('click', () => zoomTo(Number(button.dataset.zoom) * zoom || 1, 0.5));
}
function fitted() { labels(); edges(); }
if (lanes.length) { fitted(); addEventListener('resize', fitted); }
