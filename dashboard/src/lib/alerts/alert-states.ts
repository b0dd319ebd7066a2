/** How workflows and rules stand with alerts, in words and in an order. Pure. */
import type { Delivery, Incident, Rule, RuleState } from '../api/alerts';
import type { Row } from '../metrics/types';

/** The worst first: what a rule says of a workflow. `none`: no rule looks at it. */
export const STATES = [
  'firing',
  'flapping',
  'no_data',
  'silenced',
  'recovering',
  'pending',
  'insufficient',
  'ok',
  'none',
] as const;
export type AlertState = (typeof STATES)[number];

export const WORDS: Record<AlertState, string> = {
  firing: 'Firing',
  flapping: 'Flapping',
  no_data: 'No runs',
  silenced: 'Silenced',
  recovering: 'Recovering',
  pending: 'Pending',
  insufficient: 'Too few runs',
  ok: 'OK',
  none: 'No rule',
};

export const MEANINGS: Record<AlertState, string> = {
  firing: 'an incident is open',
  flapping: 'an incident opens and closes again and again',
  no_data: 'no run has finished for too long',
  silenced: 'an incident is open, its notices are kept back',
  recovering: 'an incident is open, the last runs are good',
  pending: 'beyond the threshold, but it may be chance',
  insufficient: 'fewer runs than the rule asks for',
  ok: 'no rule is broken',
  none: 'no rule looks at it',
};

/** How bad: higher is worse. */
export function rank(state: AlertState): number {
  return STATES.length - STATES.indexOf(state);
}

export function worst(states: readonly AlertState[]): AlertState {
  return states.reduce((a, b) => (rank(b) > rank(a) ? b : a), 'none');
}

/** Whether a rule looks at a workflow by itself. */
export function concerns(rule: Rule, projectId: string, slug: string): boolean {
  return (
    rule.project_id === projectId &&
    rule.scope === 'workflow' &&
    (rule.workflow_slug === null || rule.workflow_slug === slug)
  );
}

/** `project/slug` → the worst that a rule in force says of it. Of the rest see `ofWorkflow`. */
export function byWorkflow(rules: readonly Rule[]): Map<string, AlertState> {
  const found = new Map<string, AlertState>();
  for (const rule of rules) {
    if (!rule.enabled || rule.scope !== 'workflow') continue;
    for (const standing of rule.states) {
      const key = `${rule.project_id}/${standing.workflow_slug}`;
      found.set(key, worst([found.get(key) ?? 'none', standing.state]));
    }
  }
  return found;
}

/** How a workflow stands: with a rule that has not seen a run of it, there are too few. */
export function ofWorkflow(
  standings: ReadonlyMap<string, AlertState>,
  rules: readonly Rule[],
  projectId: string,
  slug: string,
): AlertState {
  const found = standings.get(`${projectId}/${slug}`);
  if (found) return found;
  const watched = rules.some((rule) => rule.enabled && concerns(rule, projectId, slug));
  return watched ? 'insufficient' : 'none';
}

const dressed = new WeakMap<Row, Row>();

/** The row with how it stands: the same object as long as neither changes. */
export function withAlert(row: Row, alert: AlertState): Row {
  let found = dressed.get(row);
  if (found?.alert !== alert) dressed.set(row, (found = { ...row, alert }));
  return found;
}

/** How a rule stands with all of its workflows together. */
export function ofRule(rule: Rule): { state: AlertState; standings: readonly RuleState[] } {
  const state = worst(rule.states.map((one) => one.state));
  return { state: state === 'none' ? 'insufficient' : state, standings: rule.states };
}

export function silenced(rule: Rule, now: number): boolean {
  return rule.silenced_until !== null && Date.parse(rule.silenced_until) > now;
}

const CAUSES: Record<string, string> = {
  rate: 'the rate is beyond the threshold',
  count: 'the count is beyond the threshold',
  consecutive: 'failures in a row',
  no_data: 'no finished runs',
  overdue: 'runs are overdue',
  open: 'a run is open for too long',
};

export function causeOf(cause: string): string {
  return CAUSES[cause] ?? cause;
}

const SEVERITIES = ['critical', 'warning', 'info'];

/** The most severe first, then the newest. */
export function bySeverity(incidents: readonly Incident[]): Incident[] {
  const place = (one: Incident) => SEVERITIES.indexOf(one.severity);
  return [...incidents].sort(
    (a, b) => place(a) - place(b) || Date.parse(b.opened_at) - Date.parse(a.opened_at),
  );
}

/** Whether some of these are still to be sent. */
export function underWay(deliveries: readonly Delivery[]): boolean {
  return deliveries.some((one) => one.status === 'pending' || one.status === 'sending');
}
