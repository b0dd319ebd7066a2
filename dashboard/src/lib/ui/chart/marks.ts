import type { Incident } from '../../api/alerts';
import type { Catalogue } from '../../metrics/snapshot';
import { subject } from '../../alerts/incident-notice';
import type { Period } from '../../metrics/types';
import type { Mark } from './layout.svelte';

const MOST = 12;

/** When versions were published within a period: none if there are so many that they say nothing. */
export function publishedMarks(
  catalogue: Catalogue | null,
  period: Period,
  slugs: ReadonlySet<string>,
  named: boolean,
): Mark[] {
  const marks = (catalogue?.projects ?? [])
    .flatMap((project) => project.versions)
    .filter((version) => version.version > 1 && slugs.has(version.slug))
    .map((version) => ({
      // Where MeshHook does not say when, it is at no time, and falls out below.
      at: Date.parse(version.created_at ?? ''),
      label: named ? `${version.name} v${version.version}` : `v${version.version}`,
      kind: 'published' as const,
    }))
    .filter((mark) => mark.at >= period.from && mark.at < period.to);
  return marks.length > MOST ? [] : marks;
}

/** When incidents opened and closed; the chart leaves out what lies outside of it. `named`: of several
 * workflows. */
export function incidentMarks(
  incidents: readonly Incident[],
  concerns: (incident: Incident) => boolean,
  named: boolean,
): Mark[] {
  return incidents
    .filter(concerns)
    .flatMap((one) => {
      const label = named ? subject(one) : one.rule_name;
      const opened = [one.opened_at, ...one.reopened_at].map((at) => ({
        at: Date.parse(at),
        label,
        kind: 'opened' as const,
      }));
      const closed =
        one.closed_at === null
          ? []
          : [{ at: Date.parse(one.closed_at), label, kind: 'closed' as const }];
      return [...opened, ...closed];
    })
    .sort((a, b) => a.at - b.at);
}
