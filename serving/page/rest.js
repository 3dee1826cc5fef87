// Questions to the service, and elements made of what it answers: always as text, never as HTML.

// The answer's document, within `seconds`. Throws an Error as `refusal` makes it.
export async function ask(path, headers, { seconds = 30, ...options } = {}) {
  let answer, body;
  try {
    const signal = AbortSignal.timeout(1_000 * seconds);
    answer = await fetch(path, { cache: "no-store", signal, ...options, headers: { ...headers, ...options.headers } });
    body = await answer.json();
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? `the service has not answered for ${seconds} s` : "the service cannot be reached");
  }
  if (!answer.ok) throw refusal(answer.status, body);
  return body;
}

// What a problem document says: an Error whose message is for people, with its `status` and `kind`.
export function refusal(status, problem) {
  const kind = String(problem?.type ?? "").split("/").pop();
  return Object.assign(new Error(`${status} ${problem?.detail ?? ""}`), { status, kind });
}

// Whether another key would help: not where the name or the site is refused under which the page was opened.
export const wantsKey = ({ status, kind }) => status === 401 || (status === 403 && kind === "forbidden");

export function element(name, text = "") {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}

export const cell = (text) => element("td", text);
