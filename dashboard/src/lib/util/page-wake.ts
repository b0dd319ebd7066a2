/** Whether somebody is there: the clock, and what the device says of itself. */

/** A clock that jumps by more than this: the machine was asleep. */
const ASLEEP = 10_000;

export interface Present {
  /** Another second, in milliseconds. */
  second(now: number): void;
  /** The machine slept or was offline: connections may be dead, and what is known is old. */
  woke(): void;
  /** Somebody looks at the page again. */
  looked(): void;
}

/** Tell what happens; returns how to end. */
export function watchPresence(told: Present): () => void {
  let before = Date.now();
  const tick = setInterval(() => {
    const now = Date.now();
    const slept = now - before > ASLEEP;
    before = now;
    told.second(now);
    if (slept) told.woke();
  }, 1000);
  const woke = () => told.woke();
  const looked = () => {
    if (document.visibilityState === 'visible') told.looked();
  };
  document.addEventListener('visibilitychange', looked);
  addEventListener('online', woke);
  addEventListener('pageshow', looked);
  return () => {
    clearInterval(tick);
    document.removeEventListener('visibilitychange', looked);
    removeEventListener('online', woke);
    removeEventListener('pageshow', looked);
  };
}
