"use strict";

// Everything that comes from a model or a file name is put in as text, never as markup.

const byId = (id) => document.getElementById(id);
const formatted = (number) => number.toLocaleString("en");

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

function percent(share) {
  if (share > 0.995 && share < 1) return ">99 %";
  if (share >= 0.0995) return `${Math.round(100 * share)} %`;
  return share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "<0.1 %";
}

function bar(share) {
  const inner = make("i");
  inner.style.width = `${100 * share}%`;
  return make("span", { className: "bar", "aria-hidden": "true" }, inner);
}

const hidden = (text) => make("span", { className: "hidden" }, text);

// ---- the server --------------------------------------------------------------------------------

const AT_ONCE = 4;      // requests under way
const TRIES = 30;       // of a picture, where the server says that it is busy

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({ error: `the server says ${response.status}.` }));
  const error = new Error(told.error);
  if (response.status === 503) error.wait = 1000 * Number(response.headers.get("Retry-After") || 1);
  throw error;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function askOften(address, options) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask(address, options);
    } catch (error) {
      if (!error.wait || tries === TRIES) throw error;
      await pause(error.wait);
    }
  }
}

let service;
const trees = new Map();      // by name of the model, a promise of its classes

function classesOf(model) {
  if (!trees.has(model)) trees.set(model, ask(`api/tree?model=${encodeURIComponent(model)}`).then(toTree));
  return trees.get(model);
}

function toTree({ ids, names, parents }) {
  const children = ids.map(() => []), roots = [], below = ids.map(() => 0);
  parents.forEach((parent, n) => (parent < 0 ? roots : children[parent]).push(n));
  const pathTo = (n) => {
    const path = [];
    for (; n >= 0; n = parents[n]) path.unshift(n);
    return path;
  };
  ids.forEach((_, n) => { for (const above of pathTo(n).slice(0, -1)) below[above] += 1; });
  return { ids, names, parents, children, roots, below, pathTo,
           numberOf: new Map(ids.map((id, n) => [id, n])) };
}

// ---- the pictures ------------------------------------------------------------------------------
// A card is {file, article, answers, error, run}: `run` counts how often it was asked, so that an answer
// to an older way of asking is dropped.

let cards = [];
const waiting = [];
let underWay = 0, total = 0, done = 0;

const chosenModels = () => [...new Set([byId("first").value, byId("second").value])].filter(Boolean);

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

function addFiles(files) {
  if (!files.length) return;
  const added = files.map(makeCard);
  cards = [...added, ...cards];
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
  const card = { file, name, url, article, content, answers: [], error: "", run: 0 };
  remove.addEventListener("click", () => { drop(card); byId("files").focus(); });
  return card;
}

function drop(card) {
  card.run = -1;
  URL.revokeObjectURL(card.url);
  card.article.remove();
  cards = cards.filter((one) => one !== card);
  byId("clear").hidden = !cards.length;
  showClass();
}

function queue(card) {
  card.run += 1;
  card.article.classList.add("waiting");
  card.article.setAttribute("aria-busy", "true");
  waiting.push([card, card.run]);
  total += 1;
  work();
}

async function work() {
  while (waiting.length && underWay < AT_ONCE) {
    const [card, run] = waiting.shift();
    underWay += 1;
    if (total > 1) say(`${done} of ${total} pictures named ...`);
    else say(`Naming ${card.name} ...`);
    name(card, run).finally(() => {
      underWay -= 1;
      done += 1;
      if (underWay || waiting.length) work();
      else finish(card);
    });
  }
}

function finish(last) {
  const failed = cards.filter((card) => card.error).length;
  if (total === 1) say(last.error || `${last.name}: ${tellAll(last)}`, Boolean(last.error));
  else say(`${total} pictures named${failed ? `, ${failed} could not be` : ""}.`, failed > 0);
  total = done = 0;
  showClass();
}

async function name(card, run) {
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
    const told = await askOften("api/predict", { method: "POST", body: form });
    answers = await Promise.all(told.images[0].answers.map(readAnswer));
  } catch (problem) {
    error = problem.message;
  }
  if (card.run !== run) return;
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

// ---- what is kept ------------------------------------------------------------------------------
// A threshold cuts one and the same path: the page does it without asking again.

function isKept(step) {
  const threshold = Number(byId("threshold").value);
  switch (byId("rule").value) {
    case "leaf": return true;
    case "official": return step.probability > threshold;
    default: return step.probability >= threshold;
  }
}

const keptOf = (answer) => answer.steps.filter(isKept);
const tell = (steps) => steps.map((step) => step.name).join(" \u203a ");

function tellOne(answer) {
  const kept = keptOf(answer);
  if (kept.length) return `${tell(kept)}, ${percent(kept.at(-1).probability)}`;
  const first = answer.steps[0];
  return first ? `unsure of all, perhaps ${first.name}, ${percent(first.probability)}` : "unsure of all";
}

const tellAll = (card) => card.answers.length === 1 ? tellOne(card.answers[0])
  : card.answers.map((answer) => `${answer.model}: ${tellOne(answer)}`).join("; ");

/** Return where two answers part: the first place where they keep different classes; -1 if nowhere. */
function findParting([one, other]) {
  const ours = keptOf(one), theirs = keptOf(other);
  for (let place = 0; place < Math.max(ours.length, theirs.length); place++) {
    if (ours[place]?.id !== theirs[place]?.id) return place;
  }
  return -1;
}

function tellParting(answers, place) {
  const kept = answers.map(keptOf);
  if (place < 0) return kept[0].length ? `Both say ${tell(kept[0])}.` : "Both are unsure of all.";
  const says = answers.map((answer, n) =>
    `${answer.model} ${kept[n][place] ? `says ${kept[n][place].name}` : place ? "stops there" : "is unsure of all"}`);
  const agreed = place ? `Both say ${tell(kept[0].slice(0, place))}; then ` : "";
  return `${agreed}${says.join(", ")}.`;
}

// ---- drawing -----------------------------------------------------------------------------------

const MANY = 3;       // of more pictures, the trees are closed at first
const FIRST = 3;      // children that are shown of a class at first: the most probable ones
const STEP = 20;      // by how many more

function draw(card) {
  card.content.className = `answers${card.answers.length > 1 ? " two" : ""}`;
  if (card.error) {
    card.content.replaceChildren(make("p", { className: "error" }, card.error));
    return;
  }
  card.content.replaceChildren(...card.answers.map((answer) => drawAnswer(answer, card.answers.length > 1)));
  mark(card);
}

function drawAnswer(answer, hasTitle) {
  answer.rows = new Map();      // by number of the class, what shows it
  answer.lists = new Map();     // by number of the class (-1: the roots), what shows its children
  answer.place = make("ol", { className: "path", "aria-label": "Labels" });
  const tree = make("div", { className: "tree" });
  const section = make("section", { "aria-label": answer.model }, answer.place, tree);
  if (hasTitle) section.prepend(make("h3", {}, answer.model));
  const drawTree = () => {
    if (!tree.childElementCount) tree.append(drawList(answer, -1));
    openPath(answer);
  };
  if (cards.length <= MANY) drawTree();
  else {
    const button = make("button", { type: "button", className: "more" }, "Show the tree");
    button.addEventListener("click", () => {
      button.remove();
      drawTree();
      markRows(answer);
      tree.querySelector("summary")?.focus();
    });
    section.append(button);
    answer.drawTree = () => { if (button.isConnected) { button.remove(); drawTree(); } };
  }
  return section;
}

/** List the children of a class: the most probable first, a few at a time. */
function drawList(answer, number) {
  const { tree, shares } = answer;
  const children = [...(number < 0 ? tree.roots : tree.children[number])].sort((a, b) => shares[b] - shares[a]);
  const label = number < 0 ? `The tree, by ${answer.model}` : `Kinds of ${tree.names[number]}`;
  const list = make("ul", { "aria-label": label });
  const more = make("button", { type: "button", className: "more" });
  const tail = make("li", {}, more);
  const drawn = [];      // {place, node}, the most probable first; a class that was looked up may be far down
  const add = (place) => {
    const next = drawn.findIndex((one) => one.place >= place);
    if (next >= 0 && drawn[next].place === place) return;
    const node = drawNode(answer, children[place]);
    list.insertBefore(node, next < 0 ? tail : drawn[next].node);
    drawn.splice(next < 0 ? drawn.length : next, 0, { place, node });
    more.textContent = `${formatted(children.length - drawn.length)} more`;
    if (drawn.length === children.length) tail.remove();
  };
  const show = (count) => {
    const seen = new Set(drawn.map((one) => one.place));
    const fresh = [...children.keys()].filter((place) => !seen.has(place)).slice(0, count);
    fresh.forEach(add);
    return fresh;
  };
  more.addEventListener("click", () => {
    const [first] = show(STEP);
    markRows(answer);
    const row = drawn.find((one) => one.place === first).node.querySelector(".row");
    if (row.tagName !== "SUMMARY") row.tabIndex = -1;
    row.focus();
  });
  answer.lists.set(number, { children, add });
  list.append(tail);
  // A single class more takes no more room than the button that would show it.
  show(children.length <= FIRST + 1 ? children.length : FIRST);
  return list;
}

function drawNode(answer, number) {
  const { tree, shares } = answer;
  const isInner = tree.children[number].length > 0;
  const row = make(isInner ? "summary" : "div", { className: "row", title: tree.ids[number] },
    make("span", { className: "name" }, tree.names[number]), bar(shares[number]),
    make("span", { className: "share" }, percent(shares[number])));
  answer.rows.set(number, row);
  if (!isInner) return make("li", {}, row);
  const details = make("details", {}, row);
  details.addEventListener("toggle", () => { if (details.open) fill(answer, number); });
  return make("li", {}, details);
}

function fill(answer, number) {
  if (answer.lists.has(number)) return;
  answer.rows.get(number).parentElement.append(drawList(answer, number));
  markRows(answer);
}

/** Open the branches down to a class, and show it. */
function reveal(answer, number) {
  const path = answer.tree.pathTo(number);
  path.forEach((step, depth) => {
    const shown = answer.lists.get(depth ? path[depth - 1] : -1);
    shown.add(shown.children.indexOf(step));
    const details = answer.rows.get(step).parentElement;
    if (depth < path.length - 1) {
      fill(answer, step);
      details.open = true;
    }
  });
}

function openPath(answer) {
  for (const step of answer.steps) reveal(answer, answer.tree.numberOf.get(step.id));
}

function markRows(answer) {
  const kept = new Set(keptOf(answer).map((step) => step.id));
  for (const [number, row] of answer.rows) {
    row.classList.toggle("is-kept", kept.has(answer.tree.ids[number]));
    row.classList.toggle("is-found", answer.tree.ids[number] === looked);
  }
}

/** Show what is kept at the threshold as it is now, and where two models part. */
function mark(card) {
  const parting = card.answers.length > 1 ? findParting(card.answers) : -1;
  for (const answer of card.answers) {
    const kept = new Set(keptOf(answer).map((step) => step.id));
    let told = 0;
    answer.place.replaceChildren(...answer.steps.map((step) => {
      const isSure = kept.has(step.id), isParted = isSure && told++ === parting;
      return make("li", { className: `${isSure ? "kept" : "doubt"}${isParted ? " parted" : ""}` },
        make("span", { className: "step", title: step.id },
          ...(isSure || !kept.size ? [] : [hidden("perhaps ")]), step.name, make("small", {}, percent(step.probability)),
          ...(isParted ? [hidden(" (the models part here)")] : [])));
    }));
    if (!kept.size) answer.place.prepend(make("li", { className: "unsure quiet" }, "Unsure. Perhaps"));
    markRows(answer);
  }
  card.content.querySelector(".verdict")?.remove();
  if (card.answers.length > 1) {
    card.content.prepend(make("p", { className: `verdict${parting < 0 ? "" : " parted"}` }, tellParting(card.answers, parting)));
  }
}

// ---- finding a class ---------------------------------------------------------------------------

const LISTED = 40;
let listed = [], marked = 0, looked = "";

async function search() {
  const query = byId("query"), text = query.value.trim().toLowerCase();
  const found = new Map();
  let count = 0;
  for (const model of text ? chosenModels() : []) {
    const tree = await classesOf(model);
    tree.ids.forEach((id, n) => {
      if (!found.has(id) && (tree.names[n].toLowerCase().includes(text) || id.toLowerCase().includes(text))) {
        found.set(id, { id, name: tree.names[n], path: tree.pathTo(n).slice(0, -1).map((above) => tree.names[above]) });
      }
    });
  }
  if (text !== query.value.trim().toLowerCase()) return;      // more was typed meanwhile
  count = found.size;
  const rank = ({ name }) => name.toLowerCase() === text ? 0 : name.toLowerCase().startsWith(text) ? 1 : 2;
  listed = [...found.values()].sort((a, b) => rank(a) - rank(b)).slice(0, LISTED);
  byId("matches").replaceChildren(...listed.map((match, n) => {
    const item = make("li", { id: `match${n}`, role: "option" }, match.name,
      make("small", {}, match.path.join(" \u203a ") || match.id));
    item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(n); });
    return item;
  }));
  if (text && count !== listed.length || text && !count) {
    const rest = count ? `and ${formatted(count - LISTED)} more` : "no class has this in name or id";
    byId("matches").append(make("li", { className: "none", role: "option", "aria-disabled": "true" }, rest));
  }
  query.setAttribute("aria-expanded", String(byId("matches").childElementCount > 0));
  markMatch(0);
}

function markMatch(n) {
  marked = Math.max(0, Math.min(listed.length - 1, n));
  listed.forEach((_, at) => byId(`match${at}`).setAttribute("aria-selected", String(at === marked)));
  if (listed.length) {
    byId("query").setAttribute("aria-activedescendant", `match${marked}`);
    byId(`match${marked}`).scrollIntoView({ block: "nearest" });
  } else {
    byId("query").removeAttribute("aria-activedescendant");
  }
}

function hideMatches() {
  byId("matches").replaceChildren();
  listed = [];
  byId("query").removeAttribute("aria-activedescendant");
  byId("query").setAttribute("aria-expanded", "false");
}

function take(n) {
  const match = listed[n];
  if (!match) return;
  hideMatches();
  byId("query").value = match.name;
  looked = match.id;
  for (const card of cards) {
    for (const answer of card.answers) {
      const number = answer.tree.numberOf.get(looked);
      if (number === undefined) continue;
      answer.drawTree?.();
      reveal(answer, number);
    }
  }
  showClass();
}

/** Tell where the class stands that was looked up, and how probable it is for each picture. */
async function showClass() {
  const panel = byId("class");
  cards.forEach((card) => { if (card.answers.length) mark(card); });
  if (!looked) { panel.hidden = true; return; }
  const known = (await Promise.all(chosenModels().map(classesOf))).filter((tree) => tree.numberOf.has(looked));
  panel.hidden = !known.length;
  if (!known.length) return;
  const tree = known[0], number = tree.numberOf.get(looked);
  const close = make("button", { type: "button", "aria-label": "Close the class" }, "Close");
  close.addEventListener("click", () => { looked = ""; byId("query").value = ""; showClass(); byId("query").focus(); });
  const facts = [`id ${looked}`, tree.below[number] ? `${formatted(tree.below[number])} classes below it` : "no class below it"];
  const body = make("tbody");
  for (const card of cards) {
    for (const answer of card.answers) {
      const at = answer.tree.numberOf.get(looked);
      const title = card.answers.length > 1 ? `${card.name}, ${answer.model}` : card.name;
      const share = at === undefined ? null : answer.shares[at];
      body.append(make("tr", {}, make("th", { scope: "row" }, title),
        make("td", { className: "track" }, ...(share === null ? [] : [bar(share)])),
        make("td", { className: "share" }, share === null ? "unknown to it" : percent(share))));
    }
  }
  panel.replaceChildren(
    make("div", { className: "top" }, make("h2", {}, tree.pathTo(number).map((n) => tree.names[n]).join(" \u203a ")), close),
    make("p", { className: "quiet" }, facts.join(", ")),
    ...(body.childElementCount ? [make("table", {}, make("caption", { className: "hidden" }, "How probable it is"), body)] : []));
}

// ---- what a person does ------------------------------------------------------------------------

function showThreshold() {
  const slider = byId("threshold");
  slider.disabled = byId("rule").value === "leaf";
  const shown = slider.disabled ? "none" : percent(Number(slider.value)).replace("<0.1", "0");
  byId("threshold-shown").textContent = shown;
  slider.setAttribute("aria-valuetext", shown);
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
    cards.forEach((card) => { if (card.answers.length) mark(card); });
  });
  for (const id of ["rule", "first", "second"]) {
    byId(id).addEventListener("change", () => { showThreshold(); tellModels(); [...cards].forEach(queue); });
  }
  byId("clear").addEventListener("click", () => {
    [...cards].forEach(drop);
    say("All pictures are removed.");
    byId("files").focus();
  });
  const query = byId("query");
  query.addEventListener("input", search);
  query.addEventListener("blur", hideMatches);
  query.addEventListener("keydown", (event) => {
    const actions = {
      ArrowDown: () => markMatch(marked + 1), ArrowUp: () => markMatch(marked - 1), Enter: () => take(marked),
      Escape: () => { query.value = ""; hideMatches(); },
    };
    if (event.key in actions) { event.preventDefault(); actions[event.key](); }
  });
}

function tellModels() {
  const shown = service.models.filter((model) => chosenModels().includes(model.name));
  byId("models").textContent = shown.map((model) =>
    `${model.name}: ${formatted(model.classes)} classes in ${model.depths} depths, ${model.size} px`).join(" \u00b7 ");
  document.title = `${shown.map((model) => model.name).join(", ")} \u2013 hypernym`;
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
