// A card's answers: paths, and trees that open.

import { findParting, keptOf, tellParting } from "./answers.js";
import { bar, formatted, hidden, make, percent } from "./dom.js";

export const shown = { cards: [], looked: "" };      // the newest card first; the id of a class

const MANY = 3;       // of more pictures, the trees are closed at first
const FIRST = 3;      // children that are shown of a class at first: the most probable ones
const STEP = 20;      // by how many more

export function draw(card) {
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
  if (shown.cards.length <= MANY) drawTree();
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
export function reveal(answer, number) {
  const path = answer.tree.pathTo(number);
  path.forEach((step, depth) => {
    const level = answer.lists.get(depth ? path[depth - 1] : -1);
    level.add(level.children.indexOf(step));
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
    row.classList.toggle("is-found", answer.tree.ids[number] === shown.looked);
  }
}

/** Show what is kept at the threshold as it is now, and where two models part. */
export function mark(card) {
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
