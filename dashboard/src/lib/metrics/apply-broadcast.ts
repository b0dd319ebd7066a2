/**
 * How broadcasts change what a screen shows. Pure: a snapshot goes in, a new one comes out.
 *
 * The table and the series are read in transactions of their own, so each knows by itself how far
 * it is: one may hold a change already that the other does not.
 */
import type { Change, Delta, OpenMessage, RatesMessage } from '../live/message';
import { addOpen, NO_OPEN, openOf } from './open-runs';
import { add, type Counts } from './rates';
import {
  pointAt,
  rowKey,
  type Held,
  type Holdings,
  type Outcome,
  type Period,
  type Series,
  type Table,
} from './types';

/** Which changes concern a screen, and whether its period goes on into the future. */
export interface Scope {
  readonly open: boolean;
  concerns(projectId: string, slug: string, workflowId: string): boolean;
  /** The ids of all versions of a workflow that are known. */
  versionsOf(projectId: string, slug: string): readonly string[];
}

export interface Applied<T> {
  readonly view: T;
  readonly changed: boolean;
  /** Something is missing: the numbers must be fetched again. */
  readonly behind: boolean;
}

/** What a change adds to numbers that hold `known`: null if they have it already, 'behind' if they
 * miss what came before it. */
export function newIn(known: Held | undefined, change: Change): readonly Delta[] | null | 'behind' {
  if (known === undefined) return 'behind';
  if (change.revision <= known.revision) return null;
  if (change.base_revision === known.revision) return change.deltas;
  if (change.base_revision > known.revision) return 'behind';
  return rest(known.counts, change);
}

/**
 * Of a change that the numbers hold in part: changes gather before they are sent, so numbers may be
 * fetched in the middle of one. How much is new, the counters say exactly; in which minutes, is taken
 * to be the latest ones, until the numbers are fetched anew.
 */
function rest(known: Counts, change: Change): readonly Delta[] | 'behind' {
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
  const found = sort(table.held, message, scope);
  if (found.apply.length === 0) return { view: table, changed: false, behind: found.behind };
  const rows = [...table.rows];
  const places = new Map(rows.map((row, place) => [row.key, place]));
  let behind = found.behind;
  for (const { change, deltas } of found.apply) {
    const key = rowKey(
      message.project_id,
      change.slug,
      table.apart ? change.workflow_id : undefined,
    );
    const place = places.get(key);
    const row = place === undefined ? undefined : rows[place];
    if (row === undefined || place === undefined) {
      behind = true;
      continue;
    }
    const inside = deltas.filter((delta) => within(delta, table.period, scope.open));
    rows[place] = {
      ...row,
      counts: sum(row.counts, inside),
      lastSuccessAt: later(row.lastSuccessAt, change.last_success_at),
      lastFailureAt: later(row.lastFailureAt, change.last_failure_at),
      recent: withRecent(row.recent, deltas),
    };
  }
  return { view: { ...table, rows, held: found.held }, changed: true, behind };
}

/** The series after a broadcast. */
export function applyToSeries(
  series: Series,
  message: RatesMessage,
  scope: Scope,
): Applied<Series> {
  const found = sort(series.held, message, scope);
  if (found.apply.length === 0) return { view: series, changed: false, behind: found.behind };
  const points = [...series.points];
  let { counts } = series;
  let behind = found.behind;
  for (const { deltas } of found.apply) {
    for (const delta of deltas) {
      if (!within(delta, series.period, scope.open)) continue;
      counts = add(counts, delta);
      const at = Date.parse(delta.minute);
      let place = pointAt(points, at);
      if (place < 0) {
        // The time has moved on: the newest bucket takes it until the numbers come anew.
        place = points.length - 1;
        behind = true;
      }
      const point = points[place];
      if (point) points[place] = { ...point, counts: add(point.counts, delta) };
    }
  }
  return { view: { ...series, points, counts, held: found.held }, changed: true, behind };
}

/** Table and series after broadcasts, in their order. Null is one that was missed. */
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

/** The table after the event `open`: its numbers replace those there are. */
export function applyOpen(table: Table, message: OpenMessage, scope: Scope): Applied<Table> {
  const open = { ...table.open };
  const rows = [...table.rows];
  const places = new Map(rows.map((row, place) => [row.key, place]));
  let changed = false;
  let behind = false;
  for (const one of message.workflows) {
    if (!scope.concerns(message.project_id, one.slug, one.workflow_id)) continue;
    const before = open[one.workflow_id];
    const place = places.get(
      rowKey(message.project_id, one.slug, table.apart ? one.workflow_id : undefined),
    );
    const row = place === undefined ? undefined : rows[place];
    if (!before || !row || place === undefined) {
      behind = true; // a version that the numbers do not have yet
      continue;
    }
    open[one.workflow_id] = openOf(one);
    const ids = table.apart ? [one.workflow_id] : scope.versionsOf(message.project_id, one.slug);
    const all = ids.map((id) => open[id] ?? NO_OPEN).reduce(addOpen, NO_OPEN);
    // Of the period, unlike the rest: a run that was abandoned just now is in it if it goes on.
    const more = scope.open ? one.abandoned - before.abandoned : 0;
    const abandoned = Math.min(Math.max(0, row.open.abandoned + more), row.counts.failure);
    rows[place] = { ...row, open: { ...all, abandoned } };
    changed = true;
  }
  return { view: changed ? { ...table, rows, open } : table, changed, behind };
}

const MOST_RECENT = 30;

function withRecent(recent: readonly Outcome[], deltas: readonly Delta[]): readonly Outcome[] {
  const ended: Outcome[] = [];
  for (const delta of deltas) {
    // Runs that are withdrawn are found again at the next fetch; nothing is guessed.
    if (delta.success < 0 || delta.failure < 0 || delta.canceled < 0) return recent;
    for (const outcome of ['success', 'canceled', 'failure'] as const) {
      for (let n = 0; n < Math.min(delta[outcome], MOST_RECENT); n += 1) ended.push(outcome);
    }
  }
  return [...recent, ...ended].slice(-MOST_RECENT);
}

interface Found {
  readonly change: Change;
  readonly deltas: readonly Delta[];
}

function sort(held: Holdings, message: RatesMessage, scope: Scope) {
  const after: Record<string, Held> = { ...held };
  const apply: Found[] = [];
  let behind = false;
  for (const change of message.workflows) {
    if (!scope.concerns(message.project_id, change.slug, change.workflow_id)) continue;
    const deltas = newIn(after[change.workflow_id], change);
    if (deltas === 'behind') behind = true;
    if (deltas === null || deltas === 'behind') continue;
    apply.push({ change, deltas });
    after[change.workflow_id] = {
      revision: change.revision,
      counts: {
        success: change.success_count,
        failure: change.failure_count,
        canceled: change.canceled_count,
      },
    };
  }
  return { apply, behind, held: after as Holdings };
}

function within(delta: Delta, period: Period, open: boolean): boolean {
  const at = Date.parse(delta.minute);
  return at >= period.from && (open || at < period.to);
}

function sum(counts: Counts, deltas: readonly Delta[]): Counts {
  return deltas.reduce<Counts>((all, delta) => add(all, delta), counts);
}

function later(known: number | null, told: string | null): number | null {
  if (told === null) return known;
  const at = Date.parse(told);
  return known === null || at > known ? at : known;
}
