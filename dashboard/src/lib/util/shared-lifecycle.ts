/**
 * Starts with the first user and stops after the last one, for example when a page starts before the
 * one that it replaces has stopped. Returns a start function that returns a stop function.
 */
export function shared(start: () => void, stop: () => void): () => () => void {
  let users = 0;
  return () => {
    users += 1;
    if (users === 1) start();
    let stopped = false;
    return () => {
      if (stopped) return;
      stopped = true;
      users -= 1;
      if (users === 0) stop();
    };
  };
}
