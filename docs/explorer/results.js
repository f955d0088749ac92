// What a training shows while it goes: the curves of accuracy and loss, and the map with a slider through the steps.

import { drawCurve } from "./curves.js";
import { IdeaMap } from "./idea_map.js";

export class Results {
  constructor(root) {
    this.root = root;
    this.slider = this.find("#learn-step");
    this.chosen = this.find("#learn-class");
    this.slider.addEventListener("input", () => this.drawMap());
    this.chosen.addEventListener("change", () => this.drawMap());
    addEventListener("resize", () => this.run && this.draw());
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // run: { steps, shots, sentence, records }, to which records are added; task: of learn.json; places: of its images
  begin(run, task, places) {
    Object.assign(this, { run, task });
    this.root.hidden = false;
    this.chosen.replaceChildren(new Option("all", ""), ...task.names.map((name, k) => new Option(name, k)));
    this.map = new IdeaMap(this.find(".learn-map"), task.names, task.test, places, task.sheet);
    this.map.onChoose = (k) => {
      this.chosen.value = k;
      this.drawMap();
    };
  }

  draw() {
    this.drawAccuracy();
    this.drawLoss();
    this.slider.max = this.run.records.length - 1;
    this.slider.value = this.slider.max;
    this.drawMap();
  }

  drawAccuracy() {
    const { records, sentence, shots, steps } = this.run;
    const levels = [
      { kind: "learned", name: "learned prompt", value: records.at(-1).accuracy },
      { kind: "sentence", name: "your sentence", value: sentence.accuracy },
      { kind: "probe", name: "linear probe on the same images", value: this.task.shots[shots].probe },
    ].filter(({ value }) => value !== null); // of a visitor's own drawings there is no probe
    const points = records.map(({ step, accuracy }) => [step, accuracy]);
    const least = Math.min(...points.map(([, value]) => value), ...levels.map(({ value }) => value));
    const lowest = Math.min(75, 25 * Math.floor(least / 25)), apart = lowest < 50 ? 25 : (100 - lowest) / 5;
    const said = levels.map(({ name, value }) => `${name}: ${percent(value)}`);
    this.find(".learn-legend").replaceChildren(
      ...levels.map(({ kind }, i) =>
        Object.assign(document.createElement("li"), { className: kind, textContent: said[i] }),
      ),
    );
    drawCurve(this.find("svg.accuracy"), {
      points, levels: levels.slice(1), steps, lowest, highest: 100,
      ticks: Array.from({ length: (100 - lowest) / apart + 1 }, (_, i) => lowest + i * apart),
      text: said.join(", "),
    });
  }

  drawLoss() {
    const points = this.run.records.slice(1).map(({ step, loss }) => [step, loss]);
    const highest = Math.ceil(Math.max(1, ...points.map(([, loss]) => loss)));
    const [first, last] = [points[0], points.at(-1)].map((point) => point?.[1].toFixed(2));
    drawCurve(this.find("svg.loss"), {
      points, steps: this.run.steps, highest, ticks: [0, highest / 2, highest],
      text: points.length ? `from ${first} to ${last}` : "not yet",
    });
  }

  drawMap() {
    const { records, steps } = this.run, { value } = this.chosen;
    this.map.classLabel = value === "" ? null : Number(value);
    this.map.draw(records, Number(this.slider.value));
    this.slider.setAttribute("aria-valuetext", `${records[this.slider.value].step} of ${steps}`);
  }
}

export function percent(value) {
  return `${value.toFixed(1)} %`;
}
