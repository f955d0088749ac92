// The explorer on the first page: choose a drawing or draw one, type a wording, slide the temperature, and read the
// probabilities.
//
// The table always has the same number of rows, and the sentence above it the same height, so that nothing moves while
// one types. Its last row is the true class, where that is not among the first ones. MiniCLIP is loaded when somebody
// goes to the field of the wording; what the page shows before comes with it. The address holds wording and drawing, so
// that they can be sent to somebody.
//
// Leaves out: how a wording becomes probabilities (clip.js).

import { LoadingError, loadClip } from "./clip.js";
import { Pad } from "./pad.js";

const ROWS = 8;
const STEP = 0.02; // of the temperature's logarithm, to the base 10
const LOWEST = -3, HIGHEST = 1; // about where the slider ends; CLIP's own temperature is one of its steps
const PAUSE = 150; // milliseconds after a letter, before the wording is read

const find = (selector) => document.querySelector(`#explorer ${selector}`);
const template = find("#explorer-template");
const slider = find("#explorer-temperature");
const answer = find("#explorer-answer");
const table = find("table");
const rows = Array.from({ length: ROWS }, emptyRow);

let image = 0;
let working = true; // until MiniCLIP is there
let changed = false;


export const clip = await loadClip(showProgress).catch((error) => {
  answer.textContent = failure(error);
  throw error;
});
export const data = clip.data;
const own = { classname: null, features: null }; // what is drawn here
data.images.push(own);
export const pad = new Pad(find("canvas"), refresh);
fromAddress();
layOut();
working = false;
await refresh();
template.addEventListener("focus", () => clip.load().catch(() => {})); // a failure is told with the next wording
template.addEventListener("input", soon());
template.addEventListener("input", toAddress);
slider.addEventListener("input", refresh);

// #w=the {}&i=3
function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  template.value = wanted.get("w") ?? template.value;
  if (data.images[wanted.get("i")]?.classname) image = Number(wanted.get("i"));
}

function toAddress() {
  const drawn = data.images[image] === own; // that is not in the address
  history.replaceState(null, "", `#${new URLSearchParams({ w: template.value, ...(drawn ? {} : { i: image }) })}`);
}

function layOut() {
  for (const [i, { file, classname }] of data.images.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", i === image);
    if (classname) {
      const drawing = new Image(64, 64);
      drawing.src = new URL(file, import.meta.url);
      drawing.alt = classname;
      button.append(drawing);
    } else {
      button.textContent = "Draw";
    }
    button.addEventListener("click", () => choose(i));
    find(".explorer-images").append(button);
  }
  find(".undo").addEventListener("click", () => pad.undo());
  find(".clear").addEventListener("click", () => pad.clear());
  const middle = Math.log10(data.temperature);
  slider.min = Math.floor((LOWEST - middle) / STEP);
  slider.max = Math.ceil((HIGHEST - middle) / STEP);
  slider.value = 0;
}

function showProgress(loaded, expected) {
  if (!working) return; // nobody waits for it
  const bar = Object.assign(document.createElement("progress"), { max: expected, value: loaded });
  answer.replaceChildren(`Loading MiniCLIP, ${Math.round(expected / 1e6)} MB … `, bar);
}

function emptyRow() {
  const row = find("tbody").insertRow();
  for (const name of ["rank", "name", "bar", "percent"]) row.insertCell().className = name;
  row.cells[2].append(document.createElement("div"));
  return row;
}

function choose(i) {
  image = i;
  for (const [j, button] of [...find(".explorer-images").children].entries()) {
    button.setAttribute("aria-pressed", j === image);
  }
  find(".explorer-pad").hidden = data.images[i] !== own;
  toAddress();
  refresh();
}

function soon() {
  let waiting;
  return () => {
    table.setAttribute("aria-busy", "true");
    clearTimeout(waiting);
    waiting = setTimeout(refresh, PAUSE);
  };
}

// Compute from the controls and show what comes out; once more if they have changed meanwhile.
async function refresh() {
  changed = true;
  if (working) return;
  working = true;
  table.setAttribute("aria-busy", "true");
  while (changed) {
    changed = false;
    await show();
  }
  table.setAttribute("aria-busy", "false");
  working = false;
}

async function show() {
  const temperature = data.temperature * 10 ** (STEP * slider.value);
  const shown = Number(temperature.toPrecision(2));
  find("output").textContent = slider.value === "0" ? `${shown}, CLIP's own` : shown;
  slider.setAttribute("aria-valuetext", find("output").textContent);
  try {
    if (data.images[image] === own) {
      if (pad.empty) throw new Error("Draw with a mouse, a pen or a finger. MiniCLIP answers while you draw.");
      own.features = await clip.see(pad.pixels());
    }
    const p = await clip.probabilities(template.value, image, temperature);
    const order = [...p.keys()].sort((a, b) => p[b] - p[a]);
    const sentence = template.value.replace("{}", () => data.classnames[order[0]]);
    answer.replaceChildren(`Of ${p.length} sentences, one for each class, this one fits best: `, strong(sentence));
    template.removeAttribute("aria-invalid");
    fillTable(p, order);
  } catch (error) {
    answer.textContent = error instanceof LoadingError ? failure(error) : error.message;
    if (!(data.images[image] === own && pad.empty)) template.setAttribute("aria-invalid", "true");
    for (const row of rows) fillRow(row, "", "", null, false);
  }
}

function fillTable(p, order) {
  const truth = data.classnames.indexOf(data.images[image].classname);
  const shown = order.slice(0, ROWS);
  if (truth >= 0 && !shown.includes(truth)) shown[ROWS - 1] = truth;
  for (const [i, label] of shown.entries()) {
    fillRow(rows[i], order.indexOf(label) + 1, data.classnames[label], p[label], label === truth);
  }
}

function fillRow(row, rank, name, p, isTrue) {
  row.classList.toggle("true", isTrue);
  row.cells[0].textContent = rank;
  row.cells[1].textContent = name;
  if (isTrue) row.cells[1].append(Object.assign(document.createElement("span"), { textContent: " ✓ true class" }));
  row.cells[2].firstChild.style.width = `${100 * (p ?? 0)}%`;
  row.cells[3].textContent = p === null ? "" : `${(100 * p).toFixed(1)} %`;
}

function strong(text) {
  const element = document.createElement("strong");
  element.textContent = `“${text}”`;
  return element;
}

function failure(error) {
  return `MiniCLIP could not be loaded (${error.message}). Load the page again; a browser older than 2023 is too old.`;
}
