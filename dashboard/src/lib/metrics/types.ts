/** What a screen shows: a snapshot of its numbers. */
import type { Counts } from './rates';
import type { AlertState } from '../alerts/alert-states';

export type Outcome = 'success' | 'failure' | 'canceled';

/** The counters of a workflow version, since ever, that the numbers hold. */
export interface Held {
  readonly revision: number;
  readonly counts: Counts;
}

/** workflow version → what the numbers hold of it. */
export type Holdings = Readonly<Record<string, Held>>;

/** Runs that have not ended: absolute numbers, as last counted. */
export interface OpenRuns {
  readonly open: number;
  readonly overdue: number;
  /** When the oldest of them started. */
  readonly oldestAt: number | null;
  readonly abandoned: number;
}

export interface Row {
  /** Names the row as long as it exists, whatever is counted in it. */
  readonly key: string;
  readonly workflowId: string;
  readonly projectId: string;
  readonly slug: string;
  readonly name: string;
  readonly version: number;
  readonly versions: number;
  readonly counts: Counts;
  readonly previous: Counts;
  readonly lastSuccessAt: number | null;
  readonly lastFailureAt: number | null;
  /** `abandoned`: of the period's failures. */
  readonly open: OpenRuns;
  /** The last outcomes, the newest last. */
  readonly recent: readonly Outcome[];
  /** How it stands with alerts, once that is known. */
  readonly alert?: AlertState;
}

export interface Point {
  readonly start: number;
  readonly end: number;
  readonly partial: boolean;
  readonly counts: Counts;
}

export interface Period {
  readonly from: number;
  readonly to: number;
}

export interface Table {
  readonly held: Holdings;
  readonly period: Period;
  /** Whether a row is one version, not all of them together. */
  readonly apart: boolean;
  readonly rows: readonly Row[];
  /** workflow version → its open runs; `abandoned`: now, whatever the period. */
  readonly open: Readonly<Record<string, OpenRuns>>;
}

export interface Series {
  readonly held: Holdings;
  readonly period: Period;
  readonly bucket: string;
  readonly tz: string;
  readonly counts: Counts;
  readonly previous: Counts;
  readonly points: readonly Point[];
}

export function rowKey(projectId: string, slug: string, versionId?: string): string {
  return versionId ?? `${projectId}/${slug}`;
}

/** The index of the point that holds a moment, or -1. */
export function pointAt(points: readonly Point[], at: number): number {
  let low = 0;
  let high = points.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const point = points[middle];
    if (!point) return -1;
    if (at < point.start) high = middle - 1;
    else if (at >= point.end) low = middle + 1;
    else return middle;
  }
  return -1;
}

/** How many failures in a row the last outcomes end with; canceled runs say nothing. */
export function failuresInARow(recent: readonly Outcome[]): number {
  let count = 0;
  for (const outcome of recent.toReversed()) {
    if (outcome === 'success') break;
    if (outcome === 'failure') count += 1;
  }
  return count;
}
