/** What the last notice of an incident says was measured. */
import type { Incident } from './client';
import { number, percent } from '../util/format';

/** What an incident is about. */
export function subject(incident: Incident): string {
  if (incident.workflow_slug === '') return 'All workflows together';
  return incident.notice.workflow?.name || incident.workflow_slug;
}

/** "3 of 20 runs failed: 85.0 % succeeded (64.0 % to 94.8 %)". Empty: there is nothing to say. */
export function measured(incident: Incident): string {
  const { measured: found, open } = incident.notice;
  if (open) return `${number(open.open)} open runs, ${number(open.overdue)} overdue`;
  if (incident.cause === 'no_data') return '';
  const runs = found.success_count + found.failure_count;
  const text = `${number(found.failure_count)} of ${number(runs)} runs failed`;
  if (found.success_rate === null) return text;
  const interval = `${percent(found.success_rate_low)} to ${percent(found.success_rate_high)}`;
  return `${text}: ${percent(found.success_rate)} succeeded (${interval})`;
}
