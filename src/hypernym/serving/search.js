// Finding a class.

import { bar, byId, chosenModels, formatted, make, percent, say } from "./dom.js";
import { classesOf } from "./server.js";
import { mark, reveal, shown } from "./tree.js";

const LISTED = 40;
let listed = [], marked = 0;

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
  shown.looked = match.id;
  for (const card of shown.cards) {
    for (const answer of card.answers) {
      const number = answer.tree.numberOf.get(shown.looked);
      if (number === undefined) continue;
      answer.drawTree?.();
      reveal(answer, number);
    }
  }
  showClass();
}

/** Tell where the class stands that was looked up, and how probable it is for each picture. */
export async function showClass() {
  const panel = byId("class");
  shown.cards.forEach((card) => { if (card.answers.length) mark(card); });
  if (!shown.looked) { panel.hidden = true; return; }
  let all;
  try {
    all = await Promise.all(chosenModels().map(classesOf));
  } catch (error) {
    say(error.message, true);
    return;
  }
  const known = all.filter((tree) => tree.numberOf.has(shown.looked));
  panel.hidden = !known.length;
  if (!known.length) return;
  const tree = known[0], number = tree.numberOf.get(shown.looked);
  const close = make("button", { type: "button", "aria-label": "Close the class" }, "Close");
  close.addEventListener("click", () => { shown.looked = ""; byId("query").value = ""; showClass(); byId("query").focus(); });
  const facts = [`id ${shown.looked}`, tree.below[number] ? `${formatted(tree.below[number])} classes below it` : "no class below it"];
  const body = make("tbody");
  for (const card of shown.cards) {
    for (const answer of card.answers) {
      const at = answer.tree.numberOf.get(shown.looked);
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

export function listenToSearch() {
  const query = byId("query");
  query.addEventListener("input", () => search().catch((error) => say(error.message, true)));
  query.addEventListener("blur", hideMatches);
  query.addEventListener("keydown", (event) => {
    const actions = {
      ArrowDown: () => markMatch(marked + 1), ArrowUp: () => markMatch(marked - 1), Enter: () => take(marked),
      Escape: () => { query.value = ""; hideMatches(); },
    };
    if (event.key in actions) { event.preventDefault(); actions[event.key](); }
  });
}
