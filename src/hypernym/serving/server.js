// What the server is asked, again where it is busy.

const TRIES = 30;       // of a picture, where the server says that it is busy

export async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("The server does not answer.");
  }
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({ error: `the server says ${response.status}.` }));
  const error = new Error(told.error);
  if (response.status === 503) error.wait = 1000 * Number(response.headers.get("Retry-After") || 1);
  throw error;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export async function askOften(address, options = {}) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask(address, options);
    } catch (error) {
      if (!error.wait || tries === TRIES) throw error;
      await pause(error.wait);
      options.signal?.throwIfAborted();
    }
  }
}

const trees = new Map();      // by name of the model, a promise of its classes

export function classesOf(model) {
  if (!trees.has(model)) {
    const asked = askOften(`api/tree?model=${encodeURIComponent(model)}`).then(toTree);
    trees.set(model, asked);
    asked.catch(() => trees.delete(model));      // whoever needs it next asks again
  }
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
