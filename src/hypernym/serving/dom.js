// What is shown, and what was chosen.
// Everything that comes from a model or a file name is put in as text, never as markup.

export const byId = (id) => document.getElementById(id);
export const formatted = (number) => number.toLocaleString("en");

export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function percent(share) {
  if (share > 0.995 && share < 1) return ">99 %";
  if (share >= 0.0995) return `${Math.round(100 * share)} %`;
  return share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "<0.1 %";
}

export function bar(share) {
  const inner = make("i");
  inner.style.width = `${100 * share}%`;
  return make("span", { className: "bar", "aria-hidden": "true" }, inner);
}

export const hidden = (text) => make("span", { className: "hidden" }, text);

export const chosenModels = () => [...new Set([byId("first").value, byId("second").value])].filter(Boolean);

export function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}
