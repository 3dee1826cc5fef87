// Questions to the service, and elements made of what it answers: always as text, never as HTML.

// The answer's document. Throws an Error whose message is for people, with the problem's `status`.
export async function ask(path, headers, options = {}) {
  let answer, body;
  try {
    answer = await fetch(path, { cache: "no-store", ...options, headers: { ...headers, ...options.headers } });
    body = await answer.json();
  } catch {
    throw new Error("the service cannot be reached");
  }
  if (!answer.ok) throw Object.assign(new Error(`${answer.status} ${body.detail}`), { status: answer.status });
  return body;
}

export function element(name, text = "") {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}

export const cell = (text) => element("td", text);
