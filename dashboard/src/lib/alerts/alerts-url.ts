/** Where one is on the alerts page. All of it is in the address. */

export const VIEWS = ['incidents', 'rules', 'silences', 'channels', 'deliveries'] as const;
export type View = (typeof VIEWS)[number];

export interface Place {
  readonly view: View;
  /** The incident that is looked at. */
  readonly incident: string | null;
  /** The rule that is edited; 'new' is one to be made. */
  readonly rule: string | null;
  /** Of a new rule: the slug of the workflow that it is to look at. */
  readonly workflow: string | null;
  /** Only this project's; null: all. */
  readonly project: string | null;
}

export const START: Place = {
  view: 'incidents',
  incident: null,
  rule: null,
  workflow: null,
  project: null,
};

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The place of an address. What it says wrongly is taken for what is usual. */
export function readPlace(params: Pick<URLSearchParams, 'get'>): Place {
  const id = (name: string) => {
    const given = params.get(name);
    return given !== null && UUID.test(given) ? given : null;
  };
  const view = params.get('view') as View | null;
  const rule = params.get('rule') === 'new' ? 'new' : id('rule');
  const incident = id('incident');
  return {
    view: rule ? 'rules' : view !== null && VIEWS.includes(view) ? view : 'incidents',
    incident,
    rule,
    workflow: rule === 'new' ? params.get('for') : null,
    project: id('project'),
  };
}

/** The address of a place, without what is usual. */
export function writePlace(place: Partial<Place>): URLSearchParams {
  const params = new URLSearchParams();
  if (place.rule) params.set('rule', place.rule);
  else if (place.view && place.view !== START.view) params.set('view', place.view);
  if (place.incident && !place.rule) params.set('incident', place.incident);
  if (place.rule === 'new' && place.workflow) params.set('for', place.workflow);
  if (place.project) params.set('project', place.project);
  return params;
}
