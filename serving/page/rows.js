// The body of a table, kept row by row: what has not changed is not touched, so nothing flickers, a selection stays,
// and a screen reader keeps its place.

export class Rows {
  #body;
  #rows = new Map();

  constructor(body) {
    this.#body = body;
  }

  // items: [{key, cells: [text, …], aside, share, state}]. The first cell is the row's header; `aside` stands small
  // beside it, `share` (0 to 1) draws a bar below it, `state` is for the style sheet.
  show(items) {
    const gone = new Set(this.#rows.keys());
    let before = this.#body.firstElementChild;
    for (const item of items) {
      gone.delete(item.key);
      let row = this.#rows.get(item.key);
      if (row === undefined) {
        row = build(item);
        this.#rows.set(item.key, row);
      }
      fill(row, item);
      if (row === before) before = row.nextElementSibling;
      else this.#body.insertBefore(row, before);
    }
    for (const key of gone) {
      this.#rows.get(key).remove();
      this.#rows.delete(key);
    }
  }
}

function build(item) {
  const row = document.createElement("tr");
  item.cells.forEach((_, n) => {
    const cell = document.createElement(n === 0 ? "th" : "td");
    if (n === 0) {
      cell.scope = "row";
      cell.append(part("label"), " ", part("aside"));
    }
    row.append(cell);
  });
  return row;
}

function part(name) {
  const node = document.createElement("span");
  node.className = name;
  return node;
}

function fill(row, { cells, aside = "", share, state = "" }) {
  const [head, ...others] = row.children;
  setText(head.children[0], cells[0]);
  setText(head.children[1], aside);
  let bar = head.children[2];
  if (share === undefined) {
    bar?.remove();
  } else {
    if (bar === undefined) head.append(bar = part("bar"));
    bar.style.setProperty("--share", Number.isFinite(share) ? Math.max(0, Math.min(1, share)) : 0);
  }
  others.forEach((cell, n) => setText(cell, cells[n + 1]));
  if (row.dataset.state !== state) row.dataset.state = state;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Everything on the page that is named so.
export function put(name, text) {
  for (const node of document.querySelectorAll(`[data-value="${name}"]`)) setText(node, text);
}
