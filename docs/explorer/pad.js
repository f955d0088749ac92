// A white page to draw on with mouse, pen or finger, and what CLIP sees of it.

export const SIDE = 64; // pixels of what CLIP sees
const PAGE = 256, PEN = 16; // pixels
const SCALE = PAGE / SIDE;

export class Pad {
  // changed: is called when the drawing is another
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = []; // lists of points [x, y], in pixels
    this.drawing = false;
    canvas.width = canvas.height = PAGE;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(this.context, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.drawing = true;
      this.strokes.push([]);
      this.add(event);
    });
    canvas.addEventListener("pointermove", (event) => this.drawing && this.add(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.drawing = false));
    this.paint();
  }

  get empty() {
    return this.strokes.length === 0;
  }

  add(event) {
    const box = this.canvas.getBoundingClientRect();
    this.strokes.at(-1).push([
      ((event.clientX - box.left) / box.width) * PAGE,
      ((event.clientY - box.top) / box.height) * PAGE,
    ]);
    this.show(this.strokes);
  }

  undo() {
    this.show(this.strokes.slice(0, -1));
  }

  clear() {
    this.show([]);
  }

  show(strokes) {
    this.strokes = strokes;
    this.paint();
    this.changed();
  }

  paint() {
    const { context } = this;
    context.fillStyle = "white";
    context.fillRect(0, 0, PAGE, PAGE);
    for (const points of this.strokes) {
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point); // of one point a dot, as the line's ends are round
      context.stroke();
    }
  }

  // SIDE x SIDE pixels from 0, black, to 1, white, made small as the library does it (Pillow's bicubic resampling).
  pixels() {
    const { data } = this.context.getImageData(0, 0, PAGE, PAGE);
    const grey = Float32Array.from({ length: PAGE * PAGE }, (_, i) => data[4 * i]);
    const narrow = shrinkRows(grey, PAGE); // PAGE rows of SIDE pixels
    const small = turned(shrinkRows(turned(narrow, SIDE), SIDE), SIDE);
    return small.map((each) => each / 255);
  }
}

// Each of `rows` rows of PAGE pixels to SIDE pixels, in whole steps of brightness.
function shrinkRows(pixels, rows) {
  const found = new Float32Array(rows * SIDE);
  for (let x = 0; x < SIDE; x++) {
    const middle = (x + 0.5) * SCALE;
    const from = Math.max(0, Math.round(middle - 2 * SCALE)), to = Math.min(PAGE, Math.round(middle + 2 * SCALE));
    const weights = Array.from({ length: to - from }, (_, i) => bicubic((from + i + 0.5 - middle) / SCALE));
    const sum = weights.reduce((a, b) => a + b);
    for (let y = 0; y < rows; y++) {
      const mixed = weights.reduce((all, weight, i) => all + weight * pixels[y * PAGE + from + i], 0) / sum;
      found[y * SIDE + x] = Math.max(0, Math.min(255, Math.round(mixed)));
    }
  }
  return found;
}

function bicubic(x) {
  const d = Math.abs(x);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}

// Rows become columns; width: of a row.
function turned(pixels, width) {
  const height = pixels.length / width;
  return Float32Array.from(pixels, (_, i) => pixels[(i % height) * width + Math.floor(i / height)]);
}
