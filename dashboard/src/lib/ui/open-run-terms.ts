/** What the words about open runs mean. */
export const OPEN = 'Running or paused.';
export const OVERDUE =
  'Open longer than the deadline, by default 3\u00a0×\u00a0its 99th percentile, at least 15 minutes.';
export const ABANDONED =
  'A step failed and nothing followed; counts as a failure until it goes on.';
