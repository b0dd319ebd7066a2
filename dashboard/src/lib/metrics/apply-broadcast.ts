/**
 * Applies broadcasts to the snapshot on the screen. Pure: returns a new snapshot.
 *
 * The API reads the table and the series in separate transactions, so each has its own revisions: one
 * may already include a change that the other does not.
 */
import type { Change, Delta, OpenMessage, RatesMessage } from '../live/message';
import { addOpen, NO_OPEN, toOpenRuns } from './open-runs';
import { add, type Counts } from './rates';
import {
  pointAt,
  rowKey,
  type Counters,
  type CountersByVersion,
  type Outcome,
  type Period,
  type Series,
  type Table,
} from './types';

/** Which changes a screen shows. */
export interface Scope {
  /** Whether the period extends into the future. */
  readonly open: boolean;
  includes(projectId: string, slug: string, workflowId: string): boolean;
  /** The ids of all known versions of a workflow. */
  versionsOf(projectId: string, slug: string): readonly string[];
}

export interface Applied<T> {
  readonly view: T;
  readonly changed: boolean;
  /** A change is missing: fetch the numbers again. */
  readonly behind: boolean;
}

/** The deltas that a change adds to numbers with the counters `known`: null if they already include
 * it, 'behind' if they lack an earlier change. */
export function newDeltas(
  known: Counters | undefined,
  change: Change,
): readonly Delta[] | null | 'behind' {
  if (known === undefined) return 'behind';
  if (change.revision <= known.revision) return null;
  if (change.base_revision === known.revision) return change.deltas;
  if (change.base_revision > known.revision) return 'behind';
  return remainingDeltas(known.counts, change);
}

/**
 * The part of a change that the numbers do not include yet: the server batches changes, so numbers may
 * be fetched in the middle of one. The counters say exactly how many runs are new. We assign them to
 * the latest minutes until the numbers are fetched again.
 */
function remainingDeltas(known: Counts, change: Change): readonly Delta[] | 'behind' {
  const left = {
    success: change.success_count - known.success,
    failure: change.failure_count - known.failure,
    canceled: change.canceled_count - known.canceled,
  };
  const found: Delta[] = [];
  for (const delta of change.deltas.toReversed()) {
    const part = { minute: delta.minute, success: 0, failure: 0, canceled: 0 };
    for (const outcome of ['success', 'failure', 'canceled'] as const) {
      if (left[outcome] < 0 || delta[outcome] < 0) return 'behind';
      part[outcome] = Math.min(left[outcome], delta[outcome]);
      left[outcome] -= part[outcome];
    }
    found.unshift(part);
  }
  return left.success || left.failure || left.canceled ? 'behind' : found;
}

/** The table after a broadcast. */
export function applyToTable(table: Table, message: RatesMessage, scope: Scope): Applied<Table> {
  const found = selectChanges(table.counters, message, scope);
  if (found.changes.length === 0) return { view: table, changed: false, behind: found.behind };
  const rows = [...table.rows];
  const indexes = new Map(rows.map((row, index) => [row.key, index]));
  let behind = found.behind;
  for (const { change, deltas } of found.changes) {
    const key = rowKey(
      message.project_id,
      change.slug,
      table.apart ? change.workflow_id : undefined,
    );
    const index = indexes.get(key);
    const row = index === undefined ? undefined : rows[index];
    if (row === undefined || index === undefined) {
      behind = true;
      continue;
    }
    const inside = deltas.filter((delta) => within(delta, table.period, scope.open));
    rows[index] = {
      ...row,
      counts: sum(row.counts, inside),
      lastSuccessAt: later(row.lastSuccessAt, change.last_success_at),
      lastFailureAt: later(row.lastFailureAt, change.last_failure_at),
      recent: withRecent(row.recent, deltas),
    };
  }
  return { view: { ...table, rows, counters: found.counters }, changed: true, behind };
}

/** The series after a broadcast. */
export function applyToSeries(
  series: Series,
  message: RatesMessage,
  scope: Scope,
): Applied<Series> {
  const found = selectChanges(series.counters, message, scope);
  if (found.changes.length === 0) return { view: series, changed: false, behind: found.behind };
  const points = [...series.points];
  let { counts } = series;
  let behind = found.behind;
  for (const { deltas } of found.changes) {
    for (const delta of deltas) {
      if (!within(delta, series.period, scope.open)) continue;
      counts = add(counts, delta);
      const at = Date.parse(delta.minute);
      let index = pointAt(points, at);
      if (index < 0) {
        // A new bucket has begun: count into the newest one until the numbers are fetched again.
        index = points.length - 1;
        behind = true;
      }
      const point = points[index];
      if (point) points[index] = { ...point, counts: add(point.counts, delta) };
    }
  }
  return { view: { ...series, points, counts, counters: found.counters }, changed: true, behind };
}

/** Table and series after broadcasts, in order. Null stands for a missed broadcast. */
export function applyAll(
  table: Table,
  series: Series,
  messages: readonly (RatesMessage | null)[],
  scope: Scope,
): { table: Table; series: Series; behind: boolean } {
  let behind = false;
  for (const message of messages) {
    if (message === null) {
      behind = true;
      continue;
    }
    const inTable = applyToTable(table, message, scope);
    const inSeries = applyToSeries(series, message, scope);
    table = inTable.view;
    series = inSeries.view;
    behind ||= inTable.behind || inSeries.behind;
  }
  return { table, series, behind };
}

/** The table after an `open` event, whose absolute numbers replace the current ones. */
export function applyOpen(table: Table, message: OpenMessage, scope: Scope): Applied<Table> {
  const open = { ...table.open };
  const rows = [...table.rows];
  const indexes = new Map(rows.map((row, index) => [row.key, index]));
  let changed = false;
  let behind = false;
  for (const one of message.workflows) {
    if (!scope.includes(message.project_id, one.slug, one.workflow_id)) continue;
    const before = open[one.workflow_id];
    const index = indexes.get(
      rowKey(message.project_id, one.slug, table.apart ? one.workflow_id : undefined),
    );
    const row = index === undefined ? undefined : rows[index];
    if (!before || !row || index === undefined) {
      behind = true; // a version that the numbers do not include yet
      continue;
    }
    open[one.workflow_id] = toOpenRuns(one);
    const ids = table.apart ? [one.workflow_id] : scope.versionsOf(message.project_id, one.slug);
    const all = ids.map((id) => open[id] ?? NO_OPEN).reduce(addOpen, NO_OPEN);
    // Unlike the other numbers, this one is of the period: newly abandoned runs count if it is open.
    const more = scope.open ? one.abandoned - before.abandoned : 0;
    const abandoned = Math.min(Math.max(0, row.open.abandoned + more), row.counts.failure);
    rows[index] = { ...row, open: { ...all, abandoned } };
    changed = true;
  }
  return { view: changed ? { ...table, rows, open } : table, changed, behind };
}

const MAX_RECENT = 30;

function withRecent(recent: readonly Outcome[], deltas: readonly Delta[]): readonly Outcome[] {
  const finished: Outcome[] = [];
  for (const delta of deltas) {
    // Withdrawn runs: the deltas do not say which outcomes to remove. The next fetch knows.
    if (delta.success < 0 || delta.failure < 0 || delta.canceled < 0) return recent;
    for (const outcome of ['success', 'canceled', 'failure'] as const) {
      for (let n = 0; n < Math.min(delta[outcome], MAX_RECENT); n += 1) finished.push(outcome);
    }
  }
  return [...recent, ...finished].slice(-MAX_RECENT);
}

interface NewChange {
  readonly change: Change;
  readonly deltas: readonly Delta[];
}

/** The changes that are new to these counters, and the counters after them. */
function selectChanges(counters: CountersByVersion, message: RatesMessage, scope: Scope) {
  const after: Record<string, Counters> = { ...counters };
  const changes: NewChange[] = [];
  let behind = false;
  for (const change of message.workflows) {
    if (!scope.includes(message.project_id, change.slug, change.workflow_id)) continue;
    const deltas = newDeltas(after[change.workflow_id], change);
    if (deltas === 'behind') behind = true;
    if (deltas === null || deltas === 'behind') continue;
    changes.push({ change, deltas });
    after[change.workflow_id] = {
      revision: change.revision,
      counts: {
        success: change.success_count,
        failure: change.failure_count,
        canceled: change.canceled_count,
      },
    };
  }
  return { changes, behind, counters: after };
}

function within(delta: Delta, period: Period, open: boolean): boolean {
  const at = Date.parse(delta.minute);
  return at >= period.from && (open || at < period.to);
}

function sum(counts: Counts, deltas: readonly Delta[]): Counts {
  return deltas.reduce<Counts>((all, delta) => add(all, delta), counts);
}

function later(known: number | null, reported: string | null): number | null {
  if (reported === null) return known;
  const at = Date.parse(reported);
  return known === null || at > known ? at : known;
}
