/** Asks again and again for what no broadcast tells of. */

const SOON = 1000;
/** While something is under way, and while nothing is. */
const LONGEST = { moving: 5000, still: 20_000 } as const;

/**
 * Look now, a second later, and then ever less often. `look` answers whether something is under way;
 * nobody who does not look at the page is asked for. Returns how to end.
 */
export function watch(look: (signal: AbortSignal) => Promise<boolean>): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout>;
  let wait = SOON / 1.5;

  async function again() {
    let moving = true;
    if (document.visibilityState === 'visible') moving = await look(abort.signal);
    if (abort.signal.aborted) return;
    wait = Math.min(wait * 1.5, moving ? LONGEST.moving : LONGEST.still);
    timer = setTimeout(() => void again(), wait);
  }

  void again();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}
