/** Definitions of terms about open runs. */
export const OPEN = 'Running or paused now.';
export const OVERDUE =
  'Open past the deadline. By default, the deadline is 3\u00a0×\u00a0the 99th percentile of run durations, at least 15 minutes.';
export const ABANDONED =
  'A step failed and the run stopped. Counts as a failure unless the run continues.';
