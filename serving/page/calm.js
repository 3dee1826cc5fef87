// A function that does `work` when it is called: never twice at once, at most once in `pause` ms, and once more
// afterwards if it was called meanwhile.
export function calmly(work, pause) {
  let busy = false;
  let again = false;
  return async function look() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await work();
      await new Promise((resolve) => setTimeout(resolve, pause));
    } finally {
      busy = false;
    }
    if (again) {
      again = false;
      look();
    }
  };
}
