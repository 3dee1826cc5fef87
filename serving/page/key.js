// The reader's API key, remembered by the tab for all its pages. Where storage is refused it holds for this page.

const NAME = "dataflow-key";
let here = null; // what storage did not take

export const key = {
  get() {
    try {
      return sessionStorage.getItem(NAME) ?? here;
    } catch {
      return here;
    }
  },
  set(text) {
    here = text;
    try {
      sessionStorage.setItem(NAME, text);
    } catch {
      // it is in `here`
    }
  },
  forget() {
    here = null;
    try {
      sessionStorage.removeItem(NAME);
    } catch {
      // it was in `here` only
    }
  },
};

// What a request must carry.
export function authorization() {
  const text = key.get();
  return text === null ? {} : { Authorization: `Bearer ${asBytes(text)}` };
}

// A header takes bytes, one a character: those of the text in UTF-8, as the service reads them.
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));
