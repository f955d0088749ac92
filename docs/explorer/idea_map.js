// A map of held-out images and of the directions of the classes' prompts, which move while the prompt is learned.
//
// Its two axes come with the task: the directions in which the classes' mean training images differ most. They do not
// depend on what is learned.

import { element } from "./curves.js";

const MARGIN = 24;

export class IdeaMap {
  // names: of the classes; labels, places: of the held-out images; sheet: { address, side, columns } of the drawings
  constructor(root, names, labels, places, sheet) {
    Object.assign(this, { names, labels, sheet });
    this.svg = root.querySelector("svg");
    this.shown = root.querySelector(".learn-shown");
    this.images = centred(places, mean(places));
    this.image = null; // the one that is shown
    this.classLabel = null; // the one that was chosen
    this.svg.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.showImage(((this.image ?? (step > 0 ? -1 : 0)) + step + labels.length) % labels.length);
    };
  }

  // records: of the steps so far; now: the number of the one to show
  draw(records, now) {
    Object.assign(this, { first: records[0], record: records[now] });
    const width = this.svg.clientWidth, height = Math.min(width, 420);
    const reach = [0, 1].map((axis) => Math.max(...this.images.map((place) => Math.abs(place[axis]))));
    const point = ([x, y]) => [
      width / 2 + within(x / reach[0]) * (width / 2 - MARGIN),
      height / 2 - within(y / reach[1]) * (height / 2 - MARGIN),
    ];
    const start = mean(records[0].places);
    const ways = records.slice(0, now + 1).map((record) => centred(record.places, start).map(point));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.replaceChildren(
      ...this.images.map((place, i) => this.dot(i, point(place))),
      ...this.names.map((_, k) =>
        element("polyline", { class: this.kind("way", k), points: ways.map((places) => places[k].join()).join(" ") }),
      ),
      ...this.names.map((name, k) => this.mark(k, name, ways.at(-1)[k])),
    );
    this.addNames(ways.at(-1), width);
    this.tell();
  }

  dot(i, [cx, cy]) {
    const right = this.record.answers[i] === this.labels[i] ? "right" : "wrong";
    const dot = element("circle", { cx, cy, r: i === this.image ? 7 : 4, class: this.kind(right, this.labels[i]) });
    dot.addEventListener("pointerenter", () => this.showImage(i));
    dot.addEventListener("click", () => this.showImage(i));
    return dot;
  }

  mark(k, name, [x, y]) {
    const mark = element("path", { d: `M${x},${y - 6}l6,6l-6,6l-6,-6z`, class: this.kind("mark", k) });
    mark.append(element("title", {}, name));
    mark.addEventListener("click", () => this.onChoose(k));
    return mark;
  }

  // Beside each mark its name, where no other name stands; the chosen class comes first.
  addNames(places, width) {
    const taken = [];
    const order = [...this.names.keys()].sort((a, b) => (b === this.classLabel) - (a === this.classLabel));
    for (const k of order) {
      const [x, y] = places[k], left = x > width / 2;
      const name = element(
        "text",
        { x: left ? x - 9 : x + 9, y: y + 4, "text-anchor": left ? "end" : "start", class: this.kind("name", k) },
        this.names[k],
      );
      this.svg.append(name);
      const box = name.getBBox();
      if (taken.some((other) => overlap(box, other))) name.remove();
      else taken.push(box);
      name.addEventListener("click", () => this.onChoose(k));
    }
  }

  // Once a class is chosen, the others step back.
  kind(kind, k) {
    return this.classLabel === null ? kind : `${kind} ${this.classLabel === k ? "chosen" : "other"}`;
  }

  showImage(i) {
    const dots = this.svg.querySelectorAll("circle");
    dots[this.image]?.setAttribute("r", 4);
    dots[i].setAttribute("r", 7);
    this.image = i;
    this.tell();
  }

  // The image that was pointed at, or else what the chosen class has gained and lost since the start.
  tell() {
    const { image: i, classLabel: k, names, labels, first, record } = this;
    const said = [];
    if (i !== null) {
      const sentence = `This image is “${names[labels[i]]}”. The prompt says “${names[record.answers[i]]}”.`;
      said.push([sentence, [i]]);
    }
    if (k !== null) {
      const own = [...labels.keys()].filter((each) => labels[each] === k);
      const [before, after] = [first, record].map(({ answers }) => own.filter((each) => answers[each] === k));
      said.push([`Of ${own.length} images of “${names[k]}”, ${after.length} are named right.`, []]);
      const gained = after.filter((each) => !before.includes(each));
      const lost = before.filter((each) => !after.includes(each));
      said.push([`Gained since the start: ${gained.length}.`, gained], [`Lost: ${lost.length}.`, lost]);
    }
    if (!said.length) said.push(["Point at a dot to see its image, or choose a class.", []]);
    this.shown.replaceChildren(...said.map(([sentence, images]) => this.line(sentence, images)));
  }

  line(sentence, images) {
    const line = document.createElement("p");
    line.append(...images.map((i) => this.drawing(i)), sentence);
    return line;
  }

  drawing(i) {
    const { side, columns, address } = this.sheet, drawing = document.createElement("span");
    const place = [i % columns, Math.floor(i / columns)].map((at) => `${-at * side}px`);
    drawing.className = "drawing";
    drawing.setAttribute("role", "img");
    drawing.setAttribute("aria-label", this.names[this.labels[i]]);
    drawing.style.background = `url("${address}") ${place.join(" ")}`;
    return drawing;
  }
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

function within(x) {
  return Math.max(-1, Math.min(1, x));
}

function mean(places) {
  return [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
}

function centred(places, centre) {
  return places.map((place) => place.map((each, axis) => each - centre[axis]));
}
