/** Which broadcasts match the filters. Pure. */
import type { Catalogue } from '../api/metrics';
import type { Filters } from './filters';
import type { Scope } from './apply-broadcast';

type Version = Catalogue['projects'][number]['versions'][number];

const workflowOf = (version: Version) => `${version.project_id}/${version.slug}`;

/** The scope of the filters, with the versions that the catalogue lists. */
export function scopeOf(filters: Filters | null, catalogue: Catalogue | null): Scope {
  const versions = (catalogue?.projects ?? []).flatMap((project) => project.versions);
  const chosen = new Set(filters?.workflows);
  const workflows = new Set(versions.filter((one) => chosen.has(one.workflow_id)).map(workflowOf));
  const newest = filters?.versions === 'newest' ? newestOf(versions) : null;
  const known = new Set(newest && versions.map((one) => one.workflow_id));

  function isChosen(projectId: string, slug: string, id: string): boolean {
    if (chosen.size === 0) return true;
    return filters?.versions === 'chosen' ? chosen.has(id) : workflows.has(`${projectId}/${slug}`);
  }

  const ids = new Map<string, string[]>();
  for (const one of versions) {
    const known = ids.get(workflowOf(one));
    if (known) known.push(one.workflow_id);
    else ids.set(workflowOf(one), [one.workflow_id]);
  }

  return {
    open: filters?.range !== 'custom',
    includes: (projectId, slug, id) =>
      (!filters?.project || filters.project === projectId) &&
      isChosen(projectId, slug, id) &&
      // A version that the catalogue lacks may be the newest one.
      (newest === null || newest.has(id) || !known.has(id)),
    versionsOf: (projectId, slug) => ids.get(`${projectId}/${slug}`) ?? [],
  };
}

/** The ids of the newest version of each workflow. */
function newestOf(versions: readonly Version[]): Set<string> {
  const newest = new Map<string, Version>();
  for (const one of versions) {
    const other = newest.get(workflowOf(one));
    if (!other || one.version > other.version) newest.set(workflowOf(one), one);
  }
  return new Set([...newest.values()].map((one) => one.workflow_id));
}

/** Whether the numbers include versions that the catalogue lacks. */
export function lacksVersions(
  catalogue: Catalogue,
  counters: Readonly<Record<string, unknown>>,
): boolean {
  const known = new Set(
    catalogue.projects.flatMap((project) => project.versions.map((one) => one.workflow_id)),
  );
  return Object.keys(counters).some((id) => !known.has(id));
}
