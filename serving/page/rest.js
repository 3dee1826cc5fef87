// Questions to the service, and elements made of what it answers: always as text, never as HTML.

// The answer's document, within `seconds`. Throws an Error whose message is for people, with the problem's `status`.
export async function ask(path, headers, { seconds = 30, ...options } = {}) {
  let answer, body;
  try {
    const signal = AbortSignal.timeout(1_000 * seconds);
    answer = await fetch(path, { cache: "no-store", signal, ...options, headers: { ...headers, ...options.headers } });
    body = await answer.json();
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? `the service has not answered for ${seconds} s` : "the service cannot be reached");
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
