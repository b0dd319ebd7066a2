/** Polls with back-off for data that is not broadcast. */

// Milliseconds.
const FIRST_INTERVAL = 1000;
const MAX_INTERVAL = { changing: 5000, idle: 20_000 } as const;

/**
 * Calls `fetch` now, after a second, and then with back-off; not while the page is hidden. `fetch`
 * returns whether the data is still changing. Returns a function that stops the polling.
 */
export function poll(fetch: (signal: AbortSignal) => Promise<boolean>): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout>;
  let wait = FIRST_INTERVAL / 1.5;

  async function next() {
    let changing = true;
    if (document.visibilityState === 'visible') changing = await fetch(abort.signal);
    if (abort.signal.aborted) return;
    wait = Math.min(wait * 1.5, changing ? MAX_INTERVAL.changing : MAX_INTERVAL.idle);
    timer = setTimeout(() => void next(), wait);
  }

  void next();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}
