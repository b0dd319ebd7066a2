/** Reports when the page is shown again and when the machine wakes up or comes back online. */

/** A clock that jumps by more than this (milliseconds) means that the machine was asleep. */
const SLEEP_THRESHOLD = 10_000;

export interface PageWakeListener {
  /** Every second, with the current time in milliseconds. */
  tick(now: number): void;
  /** The machine slept or was offline: connections may be dead and data may be stale. */
  wake(): void;
  /** The page is visible again. */
  show(): void;
}

/** Calls the listener until the returned function is called. */
export function watchPageWake(listener: PageWakeListener): () => void {
  let before = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    const slept = now - before > SLEEP_THRESHOLD;
    before = now;
    listener.tick(now);
    if (slept) listener.wake();
  }, 1000);
  const wake = () => listener.wake();
  const show = () => {
    if (document.visibilityState === 'visible') listener.show();
  };
  document.addEventListener('visibilitychange', show);
  addEventListener('online', wake);
  addEventListener('pageshow', show);
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', show);
    removeEventListener('online', wake);
    removeEventListener('pageshow', show);
  };
}
