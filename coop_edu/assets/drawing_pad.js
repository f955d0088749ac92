// A white page to draw on with mouse, pen or finger. `strokes` are lists of points (x, y), from 0 to 1.
const SIDE = 256, PEN = 16, EVERY = 150; // pixels; milliseconds between two looks at a stroke under way

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.style.cssText = "border: 1px solid #767676; cursor: crosshair; touch-action: none";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Page to draw on; the buttons beside it put ready-made drawings here");
  const context = canvas.getContext("2d");
  let stroke = null, sent = 0;

  function draw() {
    context.fillStyle = "white";
    context.fillRect(0, 0, SIDE, SIDE);
    Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    for (const points of stroke ? [...model.get("strokes"), stroke] : model.get("strokes")) {
      context.beginPath();
      for (const [x, y] of points) context.lineTo(x * SIDE, y * SIDE);
      if (points.length === 1) context.lineTo(points[0][0] * SIDE, points[0][1] * SIDE + 0.01); // a dot
      context.stroke();
    }
  }
  function add(event) {
    const box = canvas.getBoundingClientRect();
    stroke.push([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    draw();
  }
  function send(name, value) {
    model.set(name, value);
    model.save_changes();
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    stroke = [];
    add(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    add(event);
    if (event.timeStamp - sent < EVERY) return;
    sent = event.timeStamp;
    send("under_way", [...stroke]);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      if (!stroke) return;
      const strokes = [...model.get("strokes"), stroke];
      stroke = null;
      model.set("under_way", []);
      send("strokes", strokes);
    });
  model.on("change:strokes", draw);
  draw();
  el.append(canvas);
}

export default { render };
