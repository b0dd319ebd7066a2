/** What the alerts page shows. It is stored in the URL. */

export const VIEWS = ['incidents', 'rules', 'silences', 'channels', 'deliveries'] as const;
export type View = (typeof VIEWS)[number];

export interface AlertsLocation {
  readonly view: View;
  /** The id of the incident that is shown. */
  readonly incident: string | null;
  /** The id of the rule that is edited, or 'new'. */
  readonly rule: string | null;
  /** The slug of the workflow that a new rule is for. */
  readonly workflow: string | null;
  /** null: all projects. */
  readonly project: string | null;
}

export const ALERTS_HOME: AlertsLocation = {
  view: 'incidents',
  incident: null,
  rule: null,
  workflow: null,
  project: null,
};

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The location of a URL. Invalid parameters get their default. */
export function readAlertsLocation(params: Pick<URLSearchParams, 'get'>): AlertsLocation {
  const id = (name: string) => {
    const value = params.get(name);
    return value !== null && UUID.test(value) ? value : null;
  };
  const view = VIEWS.find((one) => one === params.get('view'));
  const rule = params.get('rule') === 'new' ? 'new' : id('rule');
  return {
    view: rule ? 'rules' : (view ?? 'incidents'),
    incident: id('incident'),
    rule,
    workflow: rule === 'new' ? params.get('for') : null,
    project: id('project'),
  };
}

/** The URL parameters of a location. Defaults are left out. */
export function writeAlertsLocation(location: Partial<AlertsLocation>): URLSearchParams {
  const params = new URLSearchParams();
  if (location.rule) params.set('rule', location.rule);
  else if (location.view && location.view !== ALERTS_HOME.view) params.set('view', location.view);
  if (location.incident && !location.rule) params.set('incident', location.incident);
  if (location.rule === 'new' && location.workflow) params.set('for', location.workflow);
  if (location.project) params.set('project', location.project);
  return params;
}
