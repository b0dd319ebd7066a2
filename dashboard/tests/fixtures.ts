/** Builders of changes, rows, series, rules and incidents with default values. */
import type { Incident, Rule, RuleState } from '../src/lib/api/alerts';
import type { Change, OpenChange, OpenMessage, RatesMessage } from '../src/lib/live/message';
import type { Counts } from '../src/lib/metrics/rates';
import { NO_OPEN } from '../src/lib/metrics/open-runs';
import type { Counters, Row, Series, Table } from '../src/lib/metrics/types';
import { toTableRow, type TableRow } from '../src/lib/ui/table/table-row';

export const PROJECT = '00000000-0000-4000-8000-00000000000a';
export const FLOW = '00000000-0000-4000-8000-000000000001';
export const T0 = Date.parse('2026-11-23T12:00:00Z');

export function counts(success = 0, failure = 0, canceled = 0): Counts {
  return { success, failure, canceled };
}

export function counters(revision: number, of: Counts): Record<string, Counters> {
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

/** An `open` event of the workflow's only version. */
export function opened(part: Partial<OpenChange> = {}): OpenMessage {
  return {
    v: 1,
    project_id: PROJECT,
    sent_at: '2026-11-23T12:30:00.25Z',
    workflows: [
      {
        workflow_id: FLOW,
        slug: 'orders',
        open: 3,
        oldest_open_at: '2026-11-23T12:00:00Z',
        overdue: 1,
        abandoned: 0,
        ...part,
      },
    ],
  };
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
    open: NO_OPEN,
    ...part,
  };
}

export function tableRow(part: Partial<TableRow> = {}): TableRow {
  const { alert = null, ...rest } = part;
  return toTableRow(row(rest), alert);
}

export function table(revision: number, of: Counts, part: Partial<Table> = {}): Table {
  return {
    counters: counters(revision, of),
    period: { from: T0, to: T0 + 3_600_000 },
    apart: false,
    rows: [row({ counts: of })],
    open: { [FLOW]: NO_OPEN },
    ...part,
  };
}

/** Four buckets of 15 minutes, from 12:00. */
export function series(revision: number, of: Counts): Series {
  return {
    counters: counters(revision, of),
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

export function rule(part: Partial<Rule> = {}): Rule {
  return {
    id: '00000000-0000-4000-8000-0000000000f1',
    project_id: PROJECT,
    name: 'Orders fail',
    enabled: true,
    severity: 'warning',
    scope: 'workflow',
    workflow_slug: null,
    metric: 'success_rate',
    comparison: 'below',
    threshold: 0.95,
    window_seconds: 86_400,
    window_min_runs: 20,
    min_runs: 5,
    method: 'wilson',
    consecutive: 3,
    recovery_threshold: null,
    recovery_runs: 10,
    reopen_within_seconds: 86_400,
    repeat_every_seconds: 86_400,
    no_data_after_seconds: null,
    deadline_seconds: null,
    silenced_until: null,
    silence_reason: null,
    notify_resolved: true,
    channel_ids: null,
    created_at: '2026-11-01T00:00:00Z',
    updated_at: '2026-11-01T00:00:00Z',
    states: [],
    state_counts: countStates(part.states ?? []),
    ...part,
  };
}

function countStates(states: readonly RuleState[]): Rule['state_counts'] {
  const counts: Partial<Record<RuleState['state'], number>> = {};
  for (const { state } of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

export function ruleState(workflow_slug: string, state: RuleState['state']): RuleState {
  return {
    workflow_slug,
    state,
    since: '2026-11-23T12:00:00Z',
    incident_id: null,
    success_count: 0,
    failure_count: 0,
    window_from: null,
    evaluated_at: '2026-11-23T12:00:00Z',
  };
}

export function notice(part: Partial<Incident['notice']> = {}): Incident['notice'] {
  return {
    kind: 'opened',
    at: '2026-11-23T12:10:00Z',
    project_id: PROJECT,
    incident_id: '00000000-0000-4000-8000-0000000000e1',
    opened_at: '2026-11-23T12:10:00Z',
    seconds: 0,
    cause: 'rate',
    close_reason: null,
    rule: {
      id: '00000000-0000-4000-8000-0000000000f1',
      name: 'Orders fail',
      severity: 'warning',
      metric: 'success_rate',
      comparison: 'below',
      threshold: 0.95,
      window_seconds: 86400,
      consecutive: 3,
      no_data_after_seconds: null,
    },
    workflow: { slug: 'orders', name: 'Orders' },
    measured: {
      from: '2026-11-22T12:00:00Z',
      to: '2026-11-23T12:10:00Z',
      success_count: 17,
      failure_count: 3,
      success_rate: 0.85,
      success_rate_low: 0.64,
      success_rate_high: 0.948,
      last_finished_at: null,
    },
    open: null,
    previous: { success_count: 0, failure_count: 0, success_rate: null },
    began_with: null,
    failed_runs: [],
    ...part,
  };
}

export function incident(part: Partial<Incident> = {}): Incident {
  return {
    id: '00000000-0000-4000-8000-0000000000e1',
    project_id: PROJECT,
    rule_id: '00000000-0000-4000-8000-0000000000f1',
    workflow_slug: 'orders',
    rule_name: 'Orders fail',
    severity: 'warning',
    cause: 'rate',
    opened_at: '2026-11-23T12:10:00Z',
    closed_at: null,
    close_reason: null,
    reopened_at: [],
    flapping_since: null,
    acknowledged_at: null,
    acknowledged_by: null,
    acknowledge_note: null,
    notice: notice(),
    ...part,
  };
}
