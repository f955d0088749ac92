// Curves in SVG, drawn in the pixels of the page, so that letters keep their size on a narrow screen.

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 170, LEFT = 34, RIGHT = 10, TOP = 8, BOTTOM = 22;

// points: [[step, value]]; levels: [{ value, kind }], straight lines beside them; the axes go from 0 to `steps`, and from `lowest` to `highest`.
export function drawCurve(svg, { points, levels = [], steps, lowest = 0, highest, ticks, text }) {
  const width = svg.clientWidth;
  const x = (step) => LEFT + ((width - LEFT - RIGHT) * step) / steps;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * ((highest - Math.min(value, highest)) / (highest - lowest));
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("height", HEIGHT);
  svg.setAttribute("aria-label", text);
  svg.replaceChildren(
    ...ticks.flatMap((tick) => [
      element("path", { class: "grid", d: `M${LEFT},${y(tick)}H${width - RIGHT}` }),
      element("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, tick),
    ]),
    element("text", { x: LEFT, y: HEIGHT - 5 }, "0"),
    element("text", { x: width - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, `step ${steps}`),
    ...levels.map(({ value, kind }) => element("path", { class: kind, d: `M${LEFT},${y(value)}H${width - RIGHT}` })),
    element("polyline", { class: "learned", points: points.map(([step, value]) => `${x(step)},${y(value)}`).join(" ") }),
  );
}

export function element(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
