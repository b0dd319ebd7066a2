/** Fetches the numbers of a screen: filters become queries, answers become tables and series. */
import type { History, MetricsClient } from '../api/metrics';
import type { Schemas } from '../api/http';
import { isApart, type Filters } from './filters';
import { toOpenRuns } from './open-runs';
import type { Counts } from './rates';
import {
  rowKey,
  type CountersByVersion,
  type Outcome,
  type Row,
  type Series,
  type Table,
} from './types';

const OUTCOMES: Record<string, Outcome> = { s: 'success', f: 'failure', c: 'canceled' };
const PAGE_SIZE = 500;
const MAX_ROWS = 5000;

/** All pages of the table, with the last outcomes of each workflow. */
export async function fetchTable(
  client: Pick<MetricsClient, 'summary' | 'outcomes'>,
  filters: Filters,
  signal?: AbortSignal,
): Promise<Table> {
  const apart = isApart(filters);
  const query = {
    ...periodQuery(filters),
    ...scopeQuery(filters),
    versions: versionsQuery(filters),
    limit: PAGE_SIZE,
    group_by: apart ? ('version' as const) : ('workflow' as const),
  };
  const [first, recent] = await Promise.all([
    client.summary({ ...query, live: true }, signal),
    fetchOutcomes(client, filters, signal),
  ]);
  const rows = [...first.rows];
  for (let cursor = first.next; cursor && rows.length < MAX_ROWS;) {
    const page = await client.summary({ ...query, live: false, cursor }, signal);
    rows.push(...page.rows);
    cursor = page.next;
  }
  return {
    counters: toCounters(first.held),
    period: { from: Date.parse(first.period.from), to: Date.parse(first.period.to) },
    apart,
    rows: rows.map((row) => toRow(row, apart, recent)),
    open: Object.fromEntries(
      Object.entries(first.held ?? {}).map(([id, counters]) => [id, toOpenRuns(counters)]),
    ),
  };
}

/** Counts over time, all selected workflows together. */
export async function fetchSeries(
  client: Pick<MetricsClient, 'history'>,
  filters: Filters,
  signal?: AbortSignal,
  bucket: 'auto' | 'hour' | 'day' = 'auto',
): Promise<Series> {
  const answer = await client.history(
    {
      ...periodQuery(filters),
      ...scopeQuery(filters),
      versions: versionsQuery(filters),
      tz: filters.tz,
      bucket,
      live: true,
    },
    signal,
  );
  return {
    counters: toCounters(answer.held),
    period: { from: Date.parse(answer.period.from), to: Date.parse(answer.period.to) },
    bucket: answer.bucket,
    tz: answer.tz,
    counts: toCounts(answer.period),
    previous: toCounts(answer.previous),
    points: answer.series.map((point) => ({
      start: Date.parse(point.start),
      end: Date.parse(point.end),
      partial: point.partial,
      counts: toCounts(point),
    })),
  };
}

async function fetchOutcomes(
  client: Pick<MetricsClient, 'outcomes'>,
  filters: Filters,
  signal?: AbortSignal,
): Promise<Map<string, Outcome[]>> {
  const answer = await client.outcomes(scopeQuery(filters), signal);
  return new Map(
    answer.workflows.map(({ project_id, slug, outcomes }) => [
      rowKey(project_id, slug),
      [...outcomes].reverse().map((letter) => OUTCOMES[letter] ?? 'canceled'),
    ]),
  );
}

function periodQuery(filters: Filters) {
  if (filters.range === 'custom' && filters.from !== null && filters.to !== null) {
    return {
      from: new Date(filters.from).toISOString(),
      to: new Date(filters.to).toISOString(),
    };
  }
  return { range: filters.range === 'custom' ? ('24h' as const) : filters.range };
}

function scopeQuery(filters: Filters) {
  return {
    project: filters.project ? [filters.project] : undefined,
    workflow: filters.workflows.length > 0 ? [...filters.workflows] : undefined,
  };
}

/** Which versions are counted, in the API's terms. */
function versionsQuery({ versions, workflows }: Filters): 'all' | 'one' | 'newest' {
  if (versions === 'newest') return 'newest';
  return versions === 'chosen' && workflows.length > 0 ? 'one' : 'all';
}

function toCounters(held: History['held']): CountersByVersion {
  return Object.fromEntries(
    Object.entries(held ?? {}).map(([id, counters]) => [
      id,
      { revision: counters.revision, counts: toCounts(counters) },
    ]),
  );
}

function toCounts(
  from: Pick<Schemas['Held'], 'success_count' | 'failure_count' | 'canceled_count'>,
): Counts {
  return {
    success: from.success_count,
    failure: from.failure_count,
    canceled: from.canceled_count,
  };
}

function toRow(
  row: Schemas['Row'],
  apart: boolean,
  recent: ReadonlyMap<string, readonly Outcome[]>,
): Row {
  return {
    key: rowKey(row.project_id, row.slug, apart ? row.workflow_id : undefined),
    workflowId: row.workflow_id,
    projectId: row.project_id,
    slug: row.slug,
    name: row.name,
    version: row.version,
    versions: row.versions,
    counts: toCounts(row),
    previous: toCounts(row.previous),
    lastSuccessAt: row.last_success_at === null ? null : Date.parse(row.last_success_at),
    lastFailureAt: row.last_failure_at === null ? null : Date.parse(row.last_failure_at),
    open: toOpenRuns(row),
    // The API has the outcomes of all versions together, none of a single version.
    recent: apart ? [] : (recent.get(rowKey(row.project_id, row.slug)) ?? []),
  };
}
