// The pictures on the page, and what a person does with them.

import { tellAll } from "./answers.js";
import { byId, chosenModels, formatted, make, percent, say } from "./dom.js";
import { listenToSearch, showClass } from "./search.js";
import { ask, askOften, classesOf } from "./server.js";
import { draw, mark, shown } from "./tree.js";

const AT_ONCE = 4;      // requests under way

let service;

// A card is {file, article, answers, error, asking}: `asking` aborts what it waits for, so that the server
// is not asked for an answer that nobody wants any more.

const waiting = [];
const asked = new Set(), named = new Set();      // cards, since the page had nothing to do
let underWay = 0;

function addFiles(files) {
  if (!files.length) return;
  const added = files.map(makeCard);
  shown.cards = [...added, ...shown.cards];
  byId("results").prepend(...added.map((card) => card.article));
  added.forEach(queue);
  added[0].article.scrollIntoView({ block: "nearest" });
  byId("clear").hidden = false;
}

function makeCard(file) {
  const name = file.name || "pasted picture";
  const url = URL.createObjectURL(file);
  const image = make("img", { src: url, alt: name });
  image.addEventListener("error", () => { image.hidden = true; });
  const remove = make("button", { type: "button", className: "remove", "aria-label": `Remove ${name}` }, "Remove");
  const content = make("div", { className: "answers" });
  const article = make("article", { className: "card waiting", "aria-label": name, "aria-busy": "true" },
    make("figure", {}, image, make("figcaption", {}, name), remove), content);
  const card = { file, name, url, article, content, answers: [], error: "", asking: null };
  remove.addEventListener("click", () => { drop(card); byId("files").focus(); });
  return card;
}

function drop(card) {
  card.asking.abort();
  asked.delete(card);
  named.delete(card);
  URL.revokeObjectURL(card.url);
  card.article.remove();
  shown.cards = shown.cards.filter((one) => one !== card);
  byId("clear").hidden = !shown.cards.length;
  showClass();
}

function queue(card) {
  card.asking?.abort();
  card.asking = new AbortController();
  card.article.classList.add("waiting");
  card.article.setAttribute("aria-busy", "true");
  waiting.push([card, card.asking.signal]);
  asked.add(card);
  named.delete(card);
  work();
}

function work() {
  while (waiting.length && underWay < AT_ONCE) {
    const [card, signal] = waiting.shift();
    if (signal.aborted) continue;      // it was removed, or waits again further down
    underWay += 1;
    if (asked.size > 1) say(`${named.size} of ${asked.size} pictures named ...`);
    else say(`Naming ${card.name} ...`);
    name(card, signal).finally(() => {
      underWay -= 1;
      if (!signal.aborted) named.add(card);
      work();
    });
  }
  if (!underWay) finish();
}

function finish() {
  const finished = [...asked], failed = finished.filter((card) => card.error).length;
  asked.clear();
  named.clear();
  if (!finished.length) return;      // all were removed
  const [only] = finished;
  if (finished.length === 1) say(only.error || `${only.name}: ${tellAll(only)}`, Boolean(only.error));
  else say(`${finished.length} pictures named${failed ? `, ${failed} could not be` : ""}.`, failed > 0);
  showClass();
}

async function name(card, signal) {
  const form = new FormData();
  form.append("images", card.file, card.name);
  for (const model of chosenModels()) form.append("model", model);
  form.append("rule", byId("rule").value);
  form.append("probabilities", "true");
  let answers = [], error = "";
  try {
    if (card.file.size > service.limits.max_bytes - 4096) {
      throw new Error(`${card.name} is larger than ${formatted(Math.round(service.limits.max_bytes / 2 ** 20))} MiB.`);
    }
    const told = await askOften("api/predict", { method: "POST", body: form, signal });
    answers = await Promise.all(told.images[0].answers.map(readAnswer));
  } catch (problem) {
    error = problem.message;
  }
  if (signal.aborted) return;
  Object.assign(card, { answers, error });
  card.article.classList.remove("waiting");
  card.article.setAttribute("aria-busy", "false");
  draw(card);
}

async function readAnswer({ model, path, beyond, probabilities }) {
  const tree = await classesOf(model);
  const depth = ({ id }) => tree.pathTo(tree.numberOf.get(id)).length;
  const steps = [...path, ...beyond].sort((a, b) => depth(a) - depth(b));
  return { model, tree, steps, shares: Float32Array.from(probabilities) };
}

// ---- what a person does ------------------------------------------------------------------------

function showThreshold() {
  const slider = byId("threshold");
  slider.disabled = byId("rule").value === "leaf";
  const told = slider.disabled ? "none" : percent(Number(slider.value)).replace("<0.1", "0");
  byId("threshold-shown").textContent = told;
  slider.setAttribute("aria-valuetext", told);
}

function listen() {
  byId("files").addEventListener("change", (event) => {
    addFiles([...event.target.files]);
    event.target.value = "";      // so that the same file can be chosen again
  });
  let inside = 0;
  document.addEventListener("dragenter", () => { inside += 1; document.body.classList.add("dragging"); });
  document.addEventListener("dragleave", () => {
    inside -= 1;
    if (!inside) document.body.classList.remove("dragging");
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    document.body.classList.remove("dragging");
    addFiles([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) { event.preventDefault(); addFiles(files); }
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("threshold").addEventListener("input", () => {
    showThreshold();
    shown.cards.forEach((card) => { if (card.answers.length) mark(card); });
  });
  for (const id of ["rule", "first", "second"]) {
    byId(id).addEventListener("change", () => { showThreshold(); tellModels(); [...shown.cards].forEach(queue); });
  }
  byId("clear").addEventListener("click", () => {
    [...shown.cards].forEach(drop);
    say("All pictures are removed.");
    byId("files").focus();
  });
  listenToSearch();
}

function tellModels() {
  const chosen = service.models.filter((model) => chosenModels().includes(model.name));
  byId("models").textContent = chosen.map((model) =>
    `${model.name}: ${formatted(model.classes)} classes in ${model.depths} depths, ${model.size} px`).join(" \u00b7 ");
  document.title = `${chosen.map((model) => model.name).join(", ")} \u2013 hypernym`;
}

async function showExamples() {
  const examples = await ask("api/examples");
  byId("examples").hidden = !examples.length;
  byId("examples").querySelector("ul").append(...examples.map((example) => {
    const button = make("button", { type: "button" }, make("img", { src: example.url, alt: example.name }));
    button.addEventListener("click", async () => {
      const blob = await (await fetch(example.url)).blob();
      addFiles([new File([blob], example.name, { type: blob.type })]);
    });
    return make("li", {}, button);
  }));
}

async function begin() {
  service = await ask("api/models");
  const names = service.models.map((model) => model.name);
  byId("first").append(...names.map((name) => new Option(name)));
  byId("second").append(new Option("nothing", ""), ...names.map((name) => new Option(name)));
  byId("second").value = names[1] || "";
  for (const field of document.querySelectorAll(".several")) field.hidden = names.length < 2;
  byId("threshold").value = service.defaults.threshold;
  byId("rule").value = service.defaults.rule;
  showThreshold();
  tellModels();
  listen();
  await showExamples();
  document.body.dataset.ready = "yes";
}

begin().catch((error) => say(error.message, true));
