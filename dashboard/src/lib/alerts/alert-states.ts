/** Alert states of rules and workflows: labels, order and aggregation. Pure. */
import type { Cause, Delivery, Incident, Rule, RuleState, Severity } from '../api/alerts';

/** From the worst to the best. `none`: no rule covers the workflow. */
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
] as const satisfies readonly (RuleState['state'] | 'none')[];
export type AlertState = RuleState['state'] | 'none';

export const STATE_LABELS: Record<AlertState, string> = {
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

export const STATE_DESCRIPTIONS: Record<AlertState, string> = {
  firing: 'An incident is open',
  flapping: 'An incident opens and closes repeatedly',
  no_data: 'No run has finished for too long',
  silenced: 'An incident is open; its notifications are silenced',
  recovering: 'An incident is open; the latest runs succeeded',
  pending: 'Beyond the threshold, but this may be chance',
  insufficient: 'Fewer runs than the rule requires',
  ok: 'No alert rule is violated',
  none: 'No alert rules for this workflow',
};

/** Higher is worse. */
export function rank(state: AlertState): number {
  return STATES.length - STATES.indexOf(state);
}

export function worst(states: readonly AlertState[]): AlertState {
  return states.reduce((a, b) => (rank(b) > rank(a) ? b : a), 'none');
}

/** Whether a rule evaluates a workflow on its own, not together with the rest of the project. */
export function covers(rule: Rule, projectId: string, slug: string): boolean {
  return (
    rule.project_id === projectId &&
    rule.scope === 'workflow' &&
    (rule.workflow_slug === null || rule.workflow_slug === slug)
  );
}

/** The worst state that an enabled rule has for each workflow, by `project/slug`. */
export function statesByWorkflow(rules: readonly Rule[]): Map<string, AlertState> {
  const states = new Map<string, AlertState>();
  for (const rule of rules) {
    if (!rule.enabled || rule.scope !== 'workflow') continue;
    for (const { workflow_slug, state } of rule.states) {
      const key = `${rule.project_id}/${workflow_slug}`;
      states.set(key, worst([states.get(key) ?? 'none', state]));
    }
  }
  return states;
}

/** With how many workflows a rule has a state. */
export function stateTotal(rule: Rule): number {
  return Object.values(rule.state_counts).reduce((sum, count) => sum + count, 0);
}

/** What a state that is not listed is: a long list ends with the workflows that are ok. */
export function unlistedState(rule: Rule): AlertState {
  return rule.states.length < stateTotal(rule) ? 'ok' : 'insufficient';
}

/** The state of a workflow. A rule that has not evaluated it yet has too few runs. */
export function workflowState(
  states: ReadonlyMap<string, AlertState>,
  rules: readonly Rule[],
  projectId: string,
  slug: string,
): AlertState {
  const state = states.get(`${projectId}/${slug}`);
  if (state) return state;
  const covering = rules.filter((rule) => rule.enabled && covers(rule, projectId, slug));
  return worst(covering.map(unlistedState));
}

/** The worst state of a rule over all of its workflows. */
export function ruleState(rule: Rule): AlertState {
  const state = worst(Object.keys(rule.state_counts) as AlertState[]);
  return state === 'none' ? 'insufficient' : state;
}

export function isSilenced(rule: Rule, now: number): boolean {
  return rule.silenced_until !== null && Date.parse(rule.silenced_until) > now;
}

export const CAUSES: Record<Cause, string> = {
  rate: 'the rate is beyond the threshold',
  count: 'the count is beyond the threshold',
  consecutive: 'consecutive failures',
  no_data: 'no finished runs',
  overdue: 'runs are overdue',
  open: 'a run has been open for too long',
};

const SEVERITIES: readonly Severity[] = ['critical', 'warning', 'info'];

/** The most severe first, then the newest. */
export function bySeverity(incidents: readonly Incident[]): Incident[] {
  const position = (incident: Incident) => SEVERITIES.indexOf(incident.severity);
  return [...incidents].sort(
    (a, b) => position(a) - position(b) || Date.parse(b.opened_at) - Date.parse(a.opened_at),
  );
}

/** Whether some of these deliveries are still to be sent. */
export function inProgress(deliveries: readonly Delivery[]): boolean {
  return deliveries.some((one) => one.status === 'pending' || one.status === 'sending');
}
