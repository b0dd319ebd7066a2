/**
 * What several may begin: it begins with the first, and ends when the last has ended, as where a page
 * begins before the one it replaces is gone. Returns how to begin, which returns how to end.
 */
export function shared(begin: () => void, end: () => void): () => () => void {
  let users = 0;
  return () => {
    users += 1;
    if (users === 1) begin();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      users -= 1;
      if (users === 0) end();
    };
  };
}
