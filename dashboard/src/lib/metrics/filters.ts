/** The filters of a page. They are stored in the URL, so they survive a reload and can be shared. */

export const RANGES = ['1h', '24h', '7d', '30d', '90d', '365d'] as const;
export type Range = (typeof RANGES)[number];
export const CHARTS = ['rate', 'runs', 'failed', 'canceled'] as const;
export type ChartKind = (typeof CHARTS)[number];
export const SORTS = [
  'worst',
  'name',
  'rate',
  'change',
  'runs',
  'failed',
  'open',
  'overdue',
  'last_failure',
  'in_a_row',
  'alert',
] as const;
export type Sort = (typeof SORTS)[number];

/** One row per workflow, one per version, only the newest versions, or only the selected versions. */
export const VERSIONS = ['together', 'apart', 'newest', 'chosen'] as const;
export type Versions = (typeof VERSIONS)[number];

/** The API accepts at most this many workflows or versions. */
export const MAX_SELECTED = 200;

export interface Filters {
  /** null: all projects. */
  readonly project: string | null;
  /** 'custom' requires `from` and `to`. */
  readonly range: Range | 'custom';
  readonly from: number | null;
  readonly to: number | null;
  readonly tz: string;
  readonly compare: boolean;
  readonly chart: ChartKind;
  readonly search: string;
  /** Selected workflows, by the id of any version; with `versions: 'chosen'`, selected versions. Empty:
   * all. */
  readonly workflows: readonly string[];
  readonly failing: boolean;
  readonly minRuns: number;
  readonly versions: Versions;
  readonly sort: Sort;
  readonly descending: boolean;
}

export function defaults(tz: string): Filters {
  return {
    project: null,
    range: '24h',
    from: null,
    to: null,
    tz,
    compare: true,
    chart: 'rate',
    search: '',
    workflows: [],
    failing: false,
    minRuns: 0,
    versions: 'together',
    sort: 'worst',
    descending: true,
  };
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The filters of a URL. Invalid parameters get their default. */
export function readFilters(params: Pick<URLSearchParams, 'get' | 'getAll'>, tz: string): Filters {
  const fallback = defaults(tz);
  const oneOf = <T extends string>(values: readonly T[], text: string | null, otherwise: T): T =>
    values.find((value) => value === text) ?? otherwise;
  const from = readTime(params.get('from'));
  const to = readTime(params.get('to'));
  const custom = from !== null && to !== null && from < to;
  const project = params.get('project');
  const minRuns = Number(params.get('min') ?? 0);
  const sort = params.get('sort') ?? '';
  return {
    project: project !== null && UUID.test(project) ? project : null,
    range: custom ? 'custom' : oneOf(RANGES, params.get('range'), '24h'),
    from: custom ? from : null,
    to: custom ? to : null,
    tz: validZone(params.get('tz')) ?? fallback.tz,
    compare: params.get('compare') !== 'no',
    chart: oneOf(CHARTS, params.get('chart'), 'rate'),
    search: (params.get('search') ?? '').slice(0, 200),
    workflows: params
      .getAll('workflow')
      .filter((id) => UUID.test(id))
      .slice(0, MAX_SELECTED),
    failing: params.get('failing') === 'yes',
    minRuns: Number.isInteger(minRuns) && minRuns > 0 ? Math.min(minRuns, 1e9) : 0,
    versions: oneOf(VERSIONS, params.get('versions'), 'together'),
    sort: oneOf(SORTS, sort.replace(/^-/, ''), 'worst'),
    descending: sort === '' || sort.startsWith('-'),
  };
}

/** The URL parameters of filters. Defaults are left out. */
export function writeFilters(filters: Filters, tz: string): URLSearchParams {
  const fallback = defaults(tz);
  const params = new URLSearchParams();
  if (filters.project) params.set('project', filters.project);
  if (filters.range === 'custom' && filters.from !== null && filters.to !== null) {
    params.set('from', new Date(filters.from).toISOString());
    params.set('to', new Date(filters.to).toISOString());
  } else if (filters.range !== fallback.range) params.set('range', filters.range);
  if (filters.tz !== fallback.tz) params.set('tz', filters.tz);
  if (!filters.compare) params.set('compare', 'no');
  if (filters.chart !== fallback.chart) params.set('chart', filters.chart);
  if (filters.search) params.set('search', filters.search);
  for (const id of filters.workflows) params.append('workflow', id);
  if (filters.failing) params.set('failing', 'yes');
  if (filters.minRuns) params.set('min', String(filters.minRuns));
  if (filters.versions !== fallback.versions) params.set('versions', filters.versions);
  if (filters.sort !== 'worst' || !filters.descending) {
    params.set('sort', (filters.descending ? '-' : '') + filters.sort);
  }
  return params;
}

/** Identifies the numbers that the filters need; the other filters only rearrange rows. */
export function queryKey(filters: Filters): string {
  const { project, range, from, to, tz, workflows, versions } = filters;
  return JSON.stringify([project, range, from, to, tz, workflows, versions]);
}

/** Whether each row is one version. */
export function isApart(filters: Filters): boolean {
  return filters.versions !== 'together';
}

export function validZone(name: string | null): string | null {
  if (!name) return null;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone && name;
  } catch {
    return null;
  }
}

function readTime(text: string | null): number | null {
  const at = text === null ? NaN : Date.parse(text);
  return Number.isNaN(at) ? null : at;
}
