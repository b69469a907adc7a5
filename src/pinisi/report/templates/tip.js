// Words beside the pointer.
const tip = document.getElementById('tip');
function show(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const room = innerWidth - tip.offsetWidth - 12;
  tip.style.left = Math.max(4, Math.min(event.clientX + 16, room)) + 'px';
  tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 12) + 'px';
}
function hide() { tip.hidden = true; }
