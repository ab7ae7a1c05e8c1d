// The scores of the last minute on a canvas: one lane a label, with its threshold and the events that were found.

const LANE = 60, AXIS = 20, NAMES = 64, FOUND = 5, HIGHEST = 1.1;

// The colour of a label, by its place in the bundle.
export function colour(place) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--label-${place % 5}`).trim();
}

// labels: {name: threshold}. sound: [{start, end, step, scores}] and events: [{label, onset, offset}], times in ms.
export function draw(canvas, { labels, sound, events, end, span }) {
  const names = Object.keys(labels);
  const width = canvas.clientWidth, height = names.length * LANE + AXIS;
  if (!width || !names.length) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "12px system-ui, sans-serif";
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(`--${name}`).trim();
  const x = (time) => NAMES + (time - (end - span)) / span * (width - NAMES);

  names.forEach((name, place) => {
    const top = place * LANE + 4, floor = (place + 1) * LANE - 4 - FOUND;
    const y = (score) => floor - score / HIGHEST * (floor - top);
    pen.fillStyle = ink("gap");
    pen.fillRect(NAMES, top, width - NAMES, floor - top);
    pen.save();
    pen.beginPath();
    pen.rect(NAMES, top, width - NAMES, floor + FOUND - top);
    pen.clip();
    for (const piece of sound) {
      pen.fillStyle = ink("card");
      pen.fillRect(x(piece.start), top, x(piece.end) - x(piece.start) + .5, floor - top);
    }
    pen.fillStyle = colour(place);
    for (const piece of sound) {
      piece.scores.forEach((scores, step) => {
        const from = piece.start + step * piece.step, to = Math.min(from + piece.step, piece.end);
        pen.fillRect(x(from), y(scores[place]), x(to) - x(from) + .5, floor - y(scores[place]));
      });
    }
    pen.fillStyle = ink("text");
    for (const event of events.filter((one) => one.label === name)) {
      pen.fillRect(x(event.onset), floor + 1, Math.max(2, x(event.offset) - x(event.onset)), FOUND - 1);
    }
    pen.strokeStyle = ink("soft");
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(NAMES, y(labels[name]));
    pen.lineTo(width, y(labels[name]));
    pen.stroke();
    pen.restore();
    pen.fillStyle = colour(place);
    pen.fillText(name, 0, (top + floor) / 2 + 4, NAMES - 8);
    pen.strokeStyle = ink("line");
    pen.strokeRect(NAMES + .5, top + .5, width - NAMES - 1, floor - top - 1);
  });

  pen.fillStyle = ink("soft");
  for (let ago = 0; ago <= span / 1000; ago += 10) {
    const text = ago ? `${ago} s ago` : "now", wide = pen.measureText(text).width;
    const at = Math.min(width - wide, Math.max(NAMES, x(end - ago * 1000) - wide / 2));
    if (width > 560 || ago % 30 === 0) pen.fillText(text, at, height - 5);
  }
}
