/** How soon numbers are fetched again. Pure. */
import type { Series, Table } from './types';

/** Milliseconds between polls without a channel, ever longer as long as nothing changes. */
export const POLL = [5_000, 10_000, 20_000, 40_000, 60_000] as const;
/** With a channel: the period moves on. */
export const REFRESH = 60_000;

/** Milliseconds to wait after so many polls that brought no news. `failed`: what an answer that did not
 * come asked for, if it did. */
export function waitAfter(
  polls: number,
  joined: boolean,
  failed: { readonly retryAfter: number | null } | null,
): number {
  const step = POLL[Math.min(polls, POLL.length - 1)] ?? REFRESH;
  if (failed) return Math.max(step, failed.retryAfter ?? 0);
  return joined ? REFRESH : step;
}

export interface Numbers {
  readonly table: Table;
  readonly series: Series;
}

/** Whether there is something new in the numbers. */
export function isNews(before: Numbers | null, after: Numbers): boolean {
  if (before?.table.rows.length !== after.table.rows.length) return true;
  const { counts } = before.series;
  const { success, failure, canceled } = after.series.counts;
  return counts.success !== success || counts.failure !== failure || counts.canceled !== canceled;
}
