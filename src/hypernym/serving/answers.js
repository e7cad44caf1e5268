// What is kept of an answer, and how it is told.
// A threshold cuts one and the same path: the page does it without asking again.

import { byId, percent } from "./dom.js";

function isKept(step) {
  const threshold = Number(byId("threshold").value);
  switch (byId("rule").value) {
    case "leaf": return true;
    case "official": return step.probability > threshold;
    default: return step.probability >= threshold;
  }
}

export const keptOf = (answer) => answer.steps.filter(isKept);
const tell = (steps) => steps.map((step) => step.name).join(" \u203a ");

function tellOne(answer) {
  const kept = keptOf(answer);
  if (kept.length) return `${tell(kept)}, ${percent(kept.at(-1).probability)}`;
  const first = answer.steps[0];
  return first ? `unsure of all, perhaps ${first.name}, ${percent(first.probability)}` : "unsure of all";
}

export const tellAll = (card) => card.answers.length === 1 ? tellOne(card.answers[0])
  : card.answers.map((answer) => `${answer.model}: ${tellOne(answer)}`).join("; ");

/** Return where two answers part: the first place where they keep different classes; -1 if nowhere. */
export function findParting([one, other]) {
  const ours = keptOf(one), theirs = keptOf(other);
  for (let place = 0; place < Math.max(ours.length, theirs.length); place++) {
    if (ours[place]?.id !== theirs[place]?.id) return place;
  }
  return -1;
}

export function tellParting(answers, place) {
  const kept = answers.map(keptOf);
  if (place < 0) return kept[0].length ? `Both say ${tell(kept[0])}.` : "Both are unsure of all.";
  const says = answers.map((answer, n) =>
    `${answer.model} ${kept[n][place] ? `says ${kept[n][place].name}` : place ? "stops there" : "is unsure of all"}`);
  const agreed = place ? `Both say ${tell(kept[0].slice(0, place))}; then ` : "";
  return `${agreed}${says.join(", ")}.`;
}
