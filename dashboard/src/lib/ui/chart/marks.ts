import type { Incident } from '../../api/alerts';
import type { Catalogue } from '../../api/metrics';
import { subject } from '../../alerts/incident-notice';
import type { Period } from '../../metrics/types';
import type { Mark } from './layout.svelte';

const MAX_MARKS = 12;

/** The versions published in a period; none if there are too many to be useful. */
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
      // Without a date, NaN: filtered out below.
      at: Date.parse(version.created_at ?? ''),
      label: named ? `${version.name} v${version.version}` : `v${version.version}`,
      kind: 'published' as const,
    }))
    .filter((mark) => mark.at >= period.from && mark.at < period.to);
  return marks.length > MAX_MARKS ? [] : marks;
}

/** When incidents opened and closed. The chart ignores marks outside of its period. `named`: label them
 * with the workflow instead of the rule. */
export function incidentMarks(
  incidents: readonly Incident[],
  matches: (incident: Incident) => boolean,
  named: boolean,
): Mark[] {
  return incidents
    .filter(matches)
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
