// What is wrong with how a page looks, measured in the page: [what, where]. win: the window that it is in.
function faultsOf(win) {
  const LEAST = 9.99, faults = [], doc = win.document, root = doc.documentElement;
  const say = (what, where) => faults.push([what, String(where).replace(/\s+/g, ' ').trim().slice(0, 60)]);
  for (const details of doc.querySelectorAll('details')) details.open = true;
  const scrolls = style => ['auto', 'scroll'].includes(style.overflowX);
  const clips = style => style.overflowX !== 'visible';

  // The boxes of text that is drawn: where it is, what is seen of it, how large its letters are.
  const texts = [], walker = doc.createTreeWalker(doc.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest('script, style, title, #tip') || !parent.checkVisibility()) continue;
    const drawn = parent instanceof win.SVGElement, range = doc.createRange();
    range.selectNodeContents(node);
    const boxes = drawn ? [parent.getBoundingClientRect()] : [...range.getClientRects()];
    const scale = drawn ? parent.getScreenCTM().a : 1;
    const size = parseFloat(win.getComputedStyle(parent).fontSize) * scale;
    if (size < LEAST) say('letters of ' + size.toFixed(1) + ' px', node.data);
    for (const box of boxes) if (box.width > 0 && box.height > 0) texts.push({node, parent, box, seen: seenOf(parent, box, node)});
  }
  // The part of a box that its ancestors let be seen; what none of them lets be reached is a fault.
  function seenOf(parent, box, node) {
    let {left, right, top, bottom} = box, x = {left: box.left, right: box.right};
    for (let at = parent; at && at !== root; at = at.parentElement) {
      const style = win.getComputedStyle(at);
      if (!clips(style)) continue;
      const edge = at.getBoundingClientRect();
      if (scrolls(style)) {
        const start = edge.left - at.scrollLeft;
        if (x.left < start - 1 || x.right > start + at.scrollWidth + 1) say('beyond what can be scrolled to', node.data);
        x = edge;
      } else if (x.left < edge.left - 1 || x.right > edge.right + 1) say('cut', node.data);
      left = Math.max(left, edge.left);
      right = Math.min(right, edge.right);
    }
    if (x.left < -1 || x.right > root.clientWidth + 1) say('outside of the window', node.data);
    return {left, right, top, bottom};
  }

  // A line's box is higher than its letters: neighbours may touch by a quarter.
  const inner = texts.map(({seen, node}) => {
    const air = (seen.bottom - seen.top) / 4;
    return {left: seen.left + 0.5, right: seen.right - 0.5, top: seen.top + air, bottom: seen.bottom - air, node};
  }).filter(box => box.right > box.left).sort((a, b) => a.top - b.top);
  inner.forEach((a, i) => {
    for (let j = i + 1; j < inner.length && inner[j].top < a.bottom; j++) {
      const b = inner[j];
      if (a.node !== b.node && a.left < b.right && b.left < a.right) say('overlap', a.node.data + ' | ' + b.node.data);
    }
  });

  // What scrolls sideways says so: by a shadow or a fade at the edge behind which there is more.
  for (const element of doc.querySelectorAll('body *')) {
    const style = win.getComputedStyle(element);
    if (!scrolls(style) || element.scrollWidth <= element.clientWidth + 1 || element.clientWidth === 0) continue;
    const shadow = style.backgroundImage.includes('gradient') && style.backgroundAttachment.includes('local');
    const faded = style.maskImage.includes('gradient') && style.maskImage.includes('rgba(0, 0, 0, 0)');
    if (!shadow && !faded) say('scrolls without a sign', element.className || element.tagName);
  }
  for (const canvas of doc.querySelectorAll('canvas')) {
    if (Math.abs(canvas.width - canvas.clientWidth * win.devicePixelRatio) > 1) say('a canvas that is stretched', canvas.width);
    if (parseFloat(canvas.getContext('2d').font) < LEAST) say('letters of a canvas', canvas.getContext('2d').font);
  }
  if (root.scrollWidth > root.clientWidth) say('the page scrolls sideways', root.scrollWidth + ' > ' + root.clientWidth);
  return {faults, texts: texts.length, width: root.clientWidth};
}
