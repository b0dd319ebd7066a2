/** The REST API, typed by its OpenAPI document: what it answers becomes what a screen shows. */
import { isApart, type Filters } from './filters';
import { openOf } from './open-runs';
import type { Counts } from './rates';
import { rowKey, type Holdings, type Outcome, type Row, type Series, type Table } from './types';
import { ask, connect, type ApiOptions, type Schemas } from '../api/http';

export { ApiError, type ApiOptions } from '../api/http';
export type Catalogue = Schemas['Catalogue'];
export type Standing = Schemas['Standing'];

const OUTCOMES: Record<string, Outcome> = { s: 'success', f: 'failure', c: 'canceled' };
const PAGE = 500;
const MOST_ROWS = 5000;

export class MetricsClient {
  readonly #http: ReturnType<typeof connect>;

  constructor(options: ApiOptions) {
    this.#http = connect(options);
  }

  async catalogue(signal?: AbortSignal): Promise<Catalogue> {
    return ask(signal, (signal) => this.#http.GET('/api/metrics/catalogue', { signal }));
  }

  async standing(signal?: AbortSignal): Promise<Standing> {
    return ask(signal, (signal) => this.#http.GET('/api/metrics/standing', { signal }));
  }

  /** The whole table, all pages of it, with the last outcomes of each workflow. */
  async table(filters: Filters, signal?: AbortSignal): Promise<Table> {
    const apart = isApart(filters);
    const query = {
      ...periodOf(filters),
      ...placeOf(filters),
      versions: versionsOf(filters),
      live: true,
      limit: PAGE,
      group_by: apart ? ('version' as const) : ('workflow' as const),
    };
    const [first, recent] = await Promise.all([
      ask(signal, (signal) =>
        this.#http.GET('/api/metrics/workflows/summary', { params: { query }, signal }),
      ),
      this.#recent(filters, signal),
    ]);
    const rows = [...first.rows];
    for (let next = first.next; next && rows.length < MOST_ROWS;) {
      const cursor: string = next;
      const page = await ask(signal, (signal) =>
        this.#http.GET('/api/metrics/workflows/summary', {
          params: { query: { ...query, live: false, cursor } },
          signal,
        }),
      );
      rows.push(...page.rows);
      next = page.next;
    }
    return {
      held: toHoldings(first.held),
      period: { from: Date.parse(first.period.from), to: Date.parse(first.period.to) },
      apart,
      rows: rows.map((row) => toRow(row, apart, recent)),
      open: Object.fromEntries(
        Object.entries(first.held ?? {}).map(([id, one]) => [id, openOf(one)]),
      ),
    };
  }

  async series(
    filters: Filters,
    signal?: AbortSignal,
    bucket: 'auto' | 'hour' | 'day' = 'auto',
  ): Promise<Series> {
    const query = {
      ...periodOf(filters),
      ...placeOf(filters),
      versions: versionsOf(filters),
      tz: filters.tz,
      bucket,
      live: true,
    };
    const answer = await ask(signal, (signal) =>
      this.#http.GET('/api/metrics/workflows/history', { params: { query }, signal }),
    );
    return {
      held: toHoldings(answer.held),
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

  async #recent(filters: Filters, signal?: AbortSignal): Promise<Map<string, Outcome[]>> {
    const answer = await ask(signal, (signal) =>
      this.#http.GET('/api/metrics/workflows/outcomes', {
        params: { query: placeOf(filters) },
        signal,
      }),
    );
    return new Map(
      answer.workflows.map(({ project_id, slug, outcomes }) => [
        rowKey(project_id, slug),
        [...outcomes].reverse().map((letter) => OUTCOMES[letter] ?? 'canceled'),
      ]),
    );
  }
}

function periodOf(filters: Filters) {
  if (filters.range === 'custom' && filters.from !== null && filters.to !== null) {
    return {
      from: new Date(filters.from).toISOString(),
      to: new Date(filters.to).toISOString(),
    };
  }
  return { range: filters.range === 'custom' ? ('24h' as const) : filters.range };
}

function placeOf(filters: Filters) {
  return {
    project: filters.project ? [filters.project] : undefined,
    workflow: filters.workflows.length > 0 ? [...filters.workflows] : undefined,
  };
}

/** Which versions are counted, in the API's words. */
function versionsOf({ versions, workflows }: Filters): 'all' | 'one' | 'newest' {
  if (versions === 'newest') return 'newest';
  return versions === 'chosen' && workflows.length > 0 ? 'one' : 'all';
}

function toHoldings(held: Schemas['Summary']['held']): Holdings {
  return Object.fromEntries(
    Object.entries(held ?? {}).map(([id, one]) => [
      id,
      { revision: one.revision, counts: toCounts(one) },
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
    open: openOf(row),
    // The strip is of all versions together: a single version has none.
    recent: apart ? [] : (recent.get(rowKey(row.project_id, row.slug)) ?? []),
  };
}
