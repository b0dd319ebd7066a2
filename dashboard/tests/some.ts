/** What tests are about: changes, rows and series, with only what matters said. */
import type { Change, RatesMessage } from '../src/lib/live/message';
import type { Counts } from '../src/lib/state/rates';
import type { Held, Row, Series, Table } from '../src/lib/state/view';

export const PROJECT = '00000000-0000-4000-8000-00000000000a';
export const FLOW = '00000000-0000-4000-8000-000000000001';
export const T0 = Date.parse('2026-11-23T12:00:00Z');

export function counts(success = 0, failure = 0, canceled = 0): Counts {
  return { success, failure, canceled };
}

export function held(revision: number, of: Counts): Record<string, Held> {
  return { [FLOW]: { revision, counts: of } };
}

/** A change from one revision to another; `of` are the counters after it. */
export function change(
  base: number,
  revision: number,
  of: Counts,
  ...deltas: [minute: string, Counts][]
): Change {
  return {
    workflow_id: FLOW,
    slug: 'orders',
    base_revision: base,
    revision,
    success_count: of.success,
    failure_count: of.failure,
    canceled_count: of.canceled,
    last_success_at: null,
    last_failure_at: null,
    deltas: deltas.map(([minute, one]) => ({ minute: `2026-11-23T${minute}:00Z`, ...one })),
  };
}

export function message(...workflows: Change[]): RatesMessage {
  return { v: 1, project_id: PROJECT, sent_at: '2026-11-23T12:30:00.25Z', workflows };
}

export function row(part: Partial<Row> = {}): Row {
  return {
    key: `${PROJECT}/orders`,
    workflowId: FLOW,
    projectId: PROJECT,
    slug: 'orders',
    name: 'Orders',
    version: 1,
    versions: 1,
    counts: counts(),
    previous: counts(),
    lastSuccessAt: null,
    lastFailureAt: null,
    recent: [],
    ...part,
  };
}

export function table(revision: number, of: Counts, part: Partial<Table> = {}): Table {
  return {
    held: held(revision, of),
    period: { from: T0, to: T0 + 3_600_000 },
    apart: false,
    rows: [row({ counts: of })],
    ...part,
  };
}

/** Four quarters of an hour from 12:00 on. */
export function series(revision: number, of: Counts): Series {
  return {
    held: held(revision, of),
    period: { from: T0, to: T0 + 3_600_000 },
    bucket: 'quarter',
    tz: 'UTC',
    counts: of,
    previous: counts(),
    points: [0, 1, 2, 3].map((n) => ({
      start: T0 + n * 900_000,
      end: T0 + (n + 1) * 900_000,
      partial: false,
      counts: counts(),
    })),
  };
}
