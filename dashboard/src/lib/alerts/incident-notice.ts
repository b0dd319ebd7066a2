/** Describes the last notice of an incident: what the rule measured. */
import type { Incident } from '../api/alerts';
import { number, percent } from '../util/format';

/** The name of the workflow that an incident is about. */
export function subject(incident: Incident): string {
  if (incident.workflow_slug === '') return 'All workflows together';
  return incident.notice.workflow?.name || incident.workflow_slug;
}

/** "3 of 20 runs failed: 85.0 % succeeded (64.0 % to 94.8 %)", or '' if nothing was measured. */
export function measurement(incident: Incident): string {
  const { measured, open, rule } = incident.notice;
  if (open) return `${number(open.open)} open runs, ${number(open.overdue)} overdue`;
  if (incident.cause === 'no_data') return '';
  const runs = measured.success_count + measured.failure_count;
  // A rule on consecutive failures has no window that runs could be counted in.
  if (runs === 0) return `${number(rule.consecutive)} or more consecutive failures`;
  const text = `${number(measured.failure_count)} of ${number(runs)} runs failed`;
  if (measured.success_rate === null) return text;
  const interval = `${percent(measured.success_rate_low)} to ${percent(measured.success_rate_high)}`;
  return `${text}: ${percent(measured.success_rate)} succeeded (${interval})`;
}
