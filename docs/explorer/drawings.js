// A visitor's own task: three classes that they name, and their drawings of each.
//
// Every second drawing of a class is held out: the prompt is not learned from it, but judged by it.

import { dot } from "./clip.js";
import { imageFeatures } from "./image_tower.js";
import { Pad, SIDE } from "./pad.js";

export const OWN = {
  title: "Tell your own drawings apart",
  about:
    "Name three classes, draw, and keep each drawing with its class. Every second one is held out, so draw at least two " +
    "of each; more is better. Click a drawing to remove it.",
  template: "a drawing of a {}.",
};

export class Drawings {
  constructor(root) {
    this.pad = new Pad(root.querySelector("canvas"), () => {});
    root.querySelector(".undo").addEventListener("click", () => this.pad.undo());
    root.querySelector(".clear").addEventListener("click", () => this.pad.clear());
    this.classes = [...root.querySelectorAll(".learn-own-class")].map((row) => {
      const one = { name: row.querySelector("input"), kept: row.querySelector(".kept"), drawings: [] };
      row.querySelector("button").addEventListener("click", () => this.keep(one));
      return one;
    });
  }

  keep(one) {
    if (this.pad.empty) return;
    const image = document.createElement("canvas");
    image.width = image.height = SIDE;
    image.getContext("2d").drawImage(this.pad.canvas, 0, 0, SIDE, SIDE);
    const drawing = { image, pixels: this.pad.pixels() };
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Remove this drawing of “${one.name.value}”`);
    button.append(image);
    button.addEventListener("click", () => {
      one.drawings.splice(one.drawings.indexOf(drawing), 1);
      button.remove();
    });
    one.drawings.push(drawing);
    one.kept.append(button);
    this.pad.clear();
  }

  // { task, train, test }: the task as learn.json has the others, and features of its images, rows of length 1.
  // Throws an Error with a sentence for the reader where something is missing.
  async task(recipe, progress) {
    const names = this.names();
    const [training, heldOut] = [0, 1].map((part) =>
      this.classes.flatMap(({ drawings }, label) =>
        drawings.filter((_, i) => i % 2 === part).map((drawing) => ({ ...drawing, label })),
      ),
    );
    const few = names.find((_, k) => !heldOut.some(({ label }) => label === k));
    if (few) throw new Error(`Draw at least two of “${few}”, and keep them.`);
    const features = await imageFeatures([...training, ...heldOut].map(({ pixels }) => pixels), progress);
    const train = features.slice(0, training.length), test = features.slice(training.length);
    const labels = training.map(({ label }) => label);
    const shots = Math.min(...names.map((_, k) => labels.filter((label) => label === k).length));
    const task = {
      ...OWN, names, classnames: names, dataset: "drawings", python: null,
      train: labels,
      test: heldOut.map(({ label }) => label),
      shots: { all: { images: [...train.keys()], epochs: epochsOf(shots, train.length, recipe), probe: null } },
      axes: axes(names.map((_, k) => mean(train.filter((_, i) => labels[i] === k)))),
      sheet: { side: SIDE, columns: heldOut.length, address: sheet(heldOut) },
    };
    return { task, train, test };
  }

  names() {
    const names = this.classes.map(({ name }) => name.value.trim().replace(/\s+/g, " "));
    if (names.includes("")) throw new Error("Give each class a name.");
    if (new Set(names.map((name) => name.toLowerCase())).size < names.length) {
      throw new Error("Two classes have the same name. Give them different ones.");
    }
    return names;
  }
}

// As Recipe.mini(shots).for_images(n) counts them: enough epochs for the steps that so many shots take.
function epochsOf(shots, n, { epochs, min_steps, batch_size }) {
  const steps = min_steps[Math.min(shots, min_steps.length) - 1];
  return Math.max(epochs, Math.ceil(steps / Math.max(1, Math.floor(n / batch_size))));
}

// The plane in which three mean images lie, as two directions at right angles.
function axes([a, b, c]) {
  const first = unit(b.map((each, i) => each - a[i]));
  const other = c.map((each, i) => each - a[i]);
  const along = dot(other, first);
  return [first, unit(other.map((each, i) => each - along * first[i]))];
}

function unit(row) {
  const length = Math.sqrt(dot(row, row));
  return row.map((each) => each / length);
}

function mean(rows) {
  return rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
}

function sheet(drawings) {
  const whole = document.createElement("canvas");
  whole.width = SIDE * drawings.length;
  whole.height = SIDE;
  drawings.forEach(({ image }, i) => whole.getContext("2d").drawImage(image, i * SIDE, 0));
  return whole.toDataURL();
}
