import type { Catalogue } from '../api/client';
import type { Period } from '../state/view';
import type { Mark } from './chart/plan.svelte';

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
    }))
    .filter((mark) => mark.at >= period.from && mark.at < period.to);
  return marks.length > MOST ? [] : marks;
}
