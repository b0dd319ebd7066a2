/** Reads the last notice of an incident: what the rule measured. */
import type { Incident } from '../api/alerts';
import { number, percent } from '../util/format';

/** The parts of a notice that the pages show. The API has no schema for it: each part is checked. */
interface Notice {
  readonly workflowName: string | null;
  readonly measured: {
    readonly from: string | null;
    readonly successes: number;
    readonly failures: number;
    readonly rate: { readonly value: number; readonly low: number; readonly high: number } | null;
    readonly lastFinishedAt: string | null;
  } | null;
  /** Of rules on open runs. */
  readonly open: { readonly open: number; readonly overdue: number } | null;
  readonly previousRate: number | null;
  readonly firstVersion: { readonly workflowId: string; readonly version: number } | null;
  readonly failedRuns: readonly { readonly id: string; readonly finishedAt: string }[];
}

export function readNotice({ notice }: Pick<Incident, 'notice'>): Notice {
  const measured = objectAt(notice, 'measured');
  const open = objectAt(notice, 'open');
  const version = objectAt(notice, 'began_with');
  return {
    workflowName: textAt(objectAt(notice, 'workflow'), 'name'),
    measured: measured && {
      from: textAt(measured, 'from'),
      successes: numberAt(measured, 'success_count') ?? 0,
      failures: numberAt(measured, 'failure_count') ?? 0,
      rate: readRate(measured),
      lastFinishedAt: textAt(measured, 'last_finished_at'),
    },
    open: open && {
      open: numberAt(open, 'open') ?? 0,
      overdue: numberAt(open, 'overdue') ?? 0,
    },
    previousRate: numberAt(objectAt(notice, 'previous'), 'success_rate'),
    firstVersion: readVersion(version),
    failedRuns: listAt(notice, 'failed_runs').flatMap((run) => {
      const id = textAt(run, 'run_id');
      const finishedAt = textAt(run, 'finished_at');
      return id && finishedAt ? [{ id, finishedAt }] : [];
    }),
  };
}

function readRate(measured: Fields) {
  const value = numberAt(measured, 'success_rate');
  const low = numberAt(measured, 'success_rate_low');
  const high = numberAt(measured, 'success_rate_high');
  return value === null || low === null || high === null ? null : { value, low, high };
}

function readVersion(fields: Fields | null) {
  const workflowId = textAt(fields, 'workflow_id');
  const version = numberAt(fields, 'version');
  return workflowId === null || version === null ? null : { workflowId, version };
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectAt(fields: Fields | null, name: string): Fields | null {
  const value = fields?.[name];
  return isObject(value) ? value : null;
}

function listAt(fields: Fields, name: string): Fields[] {
  const value = fields[name];
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function textAt(fields: Fields | null, name: string): string | null {
  const value = fields?.[name];
  return typeof value === 'string' ? value : null;
}

function numberAt(fields: Fields | null, name: string): number | null {
  const value = fields?.[name];
  return typeof value === 'number' ? value : null;
}

/** The name of the workflow that an incident is about. */
export function subject(incident: Incident): string {
  if (incident.workflow_slug === '') return 'All workflows together';
  return readNotice(incident).workflowName || incident.workflow_slug;
}

/** "3 of 20 runs failed: 85.0 % succeeded (64.0 % to 94.8 %)", or '' if nothing was measured. */
export function measurement(incident: Incident): string {
  const { measured, open } = readNotice(incident);
  if (open) return `${number(open.open)} open runs, ${number(open.overdue)} overdue`;
  if (!measured || incident.cause === 'no_data') return '';
  const { successes, failures, rate } = measured;
  const text = `${number(failures)} of ${number(successes + failures)} runs failed`;
  if (!rate) return text;
  return `${text}: ${percent(rate.value)} succeeded (${percent(rate.low)} to ${percent(rate.high)})`;
}
