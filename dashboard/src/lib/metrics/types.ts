/** What a screen shows: a snapshot of its numbers. */
import type { History } from '../api/metrics';
import type { Counts } from './rates';

export type Outcome = 'success' | 'failure' | 'canceled';

/** The all-time counters of a workflow version that are included in the numbers. */
export interface Counters {
  readonly revision: number;
  readonly counts: Counts;
}

/** Counters by workflow version. */
export type CountersByVersion = Readonly<Record<string, Counters>>;

/** Runs that have not finished: absolute numbers of the last count. */
export interface OpenRuns {
  readonly open: number;
  readonly overdue: number;
  /** Start of the oldest open run. */
  readonly oldestAt: number | null;
  readonly abandoned: number;
}

export interface Row {
  /** Identifies the row across updates. */
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
  /** `abandoned`: how many of the period's failures. */
  readonly open: OpenRuns;
  /** The last outcomes, the newest last. */
  readonly recent: readonly Outcome[];
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
  readonly counters: CountersByVersion;
  readonly period: Period;
  /** Whether each row is one version; otherwise a row adds up all versions of a workflow. */
  readonly apart: boolean;
  readonly rows: readonly Row[];
  /** Open runs by workflow version; `abandoned`: at present, whatever the period. */
  readonly open: Readonly<Record<string, OpenRuns>>;
}

export interface Series {
  readonly counters: CountersByVersion;
  readonly period: Period;
  readonly bucket: History['bucket'];
  readonly tz: string;
  readonly counts: Counts;
  readonly previous: Counts;
  readonly points: readonly Point[];
}

export function rowKey(projectId: string, slug: string, versionId?: string): string {
  return versionId ?? `${projectId}/${slug}`;
}

/** The index of the point that contains a moment, or -1. */
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

/** How many consecutive failures the last outcomes end with. Canceled runs are skipped. */
export function consecutiveFailures(recent: readonly Outcome[]): number {
  let count = 0;
  for (const outcome of recent.toReversed()) {
    if (outcome === 'success') break;
    if (outcome === 'failure') count += 1;
  }
  return count;
}
