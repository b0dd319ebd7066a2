/** When to fetch the numbers again. Pure. */
import type { Series, Table } from './types';

/** Milliseconds between polls without live updates; they back off while nothing changes. */
export const POLL_INTERVALS = [5_000, 10_000, 20_000, 40_000, 60_000] as const;
/** With live updates: numbers still change as the period moves on. */
export const REFRESH_INTERVAL = 60_000;

/** Milliseconds until the next fetch, after `polls` polls without changes. `failed`: the error of the
 * last fetch, which may say when to retry. */
export function waitAfter(
  polls: number,
  joined: boolean,
  failed: { readonly retryAfter: number | null } | null,
): number {
  const step = POLL_INTERVALS[Math.min(polls, POLL_INTERVALS.length - 1)] ?? REFRESH_INTERVAL;
  if (failed) return Math.max(step, failed.retryAfter ?? 0);
  return joined ? REFRESH_INTERVAL : step;
}

export interface Numbers {
  readonly table: Table;
  readonly series: Series;
}

/** Whether the numbers differ. */
export function hasChanged(before: Numbers | null, after: Numbers): boolean {
  if (before?.table.rows.length !== after.table.rows.length) return true;
  const { counts } = before.series;
  const { success, failure, canceled } = after.series.counts;
  return counts.success !== success || counts.failure !== failure || counts.canceled !== canceled;
}
