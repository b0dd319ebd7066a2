/** What the last notice of an incident says was measured. */
import type { Incident } from '../api/alerts';
import { number, percent } from '../util/format';
import type { Metric } from './rule-draft';

interface Notice {
  readonly workflow?: { readonly slug: string; readonly name: string | null } | null;
  readonly rule?: {
    readonly metric: Metric;
    readonly comparison: string;
    readonly threshold: number;
  };
  readonly measured?: {
    readonly from: string | null;
    readonly success_count: number;
    readonly failure_count: number;
    readonly success_rate: number | null;
    readonly success_rate_low: number | null;
    readonly success_rate_high: number | null;
    readonly last_finished_at: string | null;
  };
  /** Of rules on open runs. */
  readonly open?: {
    readonly open: number;
    readonly overdue: number;
    readonly oldest_open_at: string | null;
  } | null;
  readonly previous?: { readonly success_rate: number | null };
  readonly began_with?: { readonly workflow_id: string; readonly version: number } | null;
  readonly failed_runs?: readonly { readonly run_id: string; readonly finished_at: string }[];
}

export function noticeOf(incident: Incident): Notice {
  return incident.notice as Notice;
}

/** What an incident is about. */
export function subject(incident: Incident): string {
  if (incident.workflow_slug === '') return 'All workflows together';
  return noticeOf(incident).workflow?.name || incident.workflow_slug;
}

/** "3 of 20 runs failed: 85.0 % succeeded (64.0 % to 94.8 %)". Empty: there is nothing to say. */
export function measured(incident: Incident): string {
  const { measured: found, open } = noticeOf(incident);
  if (open) return `${number(open.open)} open runs, ${number(open.overdue)} overdue`;
  if (!found || incident.cause === 'no_data') return '';
  const runs = found.success_count + found.failure_count;
  const text = `${number(found.failure_count)} of ${number(runs)} runs failed`;
  if (found.success_rate === null) return text;
  const interval = `${percent(found.success_rate_low)} to ${percent(found.success_rate_high)}`;
  return `${text}: ${percent(found.success_rate)} succeeded (${interval})`;
}
