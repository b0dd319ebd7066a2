/** Choosing workflows, or versions of them: the filter has ids, a person sees names. */
import type { Catalogue } from './snapshot';

export interface Choice {
  /** One for all versions of a workflow, or for a version. */
  readonly key: string;
  /** The newest version's. */
  readonly id: string;
  readonly ids: readonly string[];
  readonly name: string;
  readonly slug: string;
  /** Its project's name, where there are several to tell apart. */
  readonly project: string | null;
}

/** What can be chosen, by name: of one project, or of all. */
export function choicesOf(catalogue: Catalogue | null, project: string | null): Choice[] {
  const projects = (catalogue?.projects ?? []).filter(
    (one) => project === null || one.project_id === project,
  );
  const found = new Map<string, Choice & { version: number }>();
  for (const { project_id, name: projectName, versions } of projects) {
    for (const { workflow_id, slug, version, name } of versions) {
      const key = `${project_id}/${slug}`;
      const known = found.get(key);
      const newest = known === undefined || version > known.version;
      found.set(key, {
        key,
        ids: [...(known?.ids ?? []), workflow_id],
        slug,
        project: projects.length > 1 ? projectName : null,
        ...(newest
          ? { id: workflow_id, name, version }
          : { id: known.id, name: known.name, version: known.version }),
      });
    }
  }
  return [...found.values()].sort(
    (a, b) => a.name.localeCompare(b.name) || (a.key < b.key ? -1 : 1),
  );
}

/** The same version by version, the newest of a workflow first. */
export function versionChoicesOf(catalogue: Catalogue | null, project: string | null): Choice[] {
  const versions = new Map(
    (catalogue?.projects ?? []).flatMap((one) => one.versions).map((one) => [one.workflow_id, one]),
  );
  return choicesOf(catalogue, project).flatMap((workflow) =>
    workflow.ids
      .flatMap((id) => versions.get(id) ?? [])
      .sort((a, b) => b.version - a.version)
      .map(({ workflow_id: id, version, name }) => ({
        ...workflow,
        key: id,
        id,
        ids: [id],
        name: `${name} v${version}`,
      })),
  );
}

export function isChosen(choice: Choice, workflows: readonly string[]): boolean {
  return choice.ids.some((id) => workflows.includes(id));
}

/** The filter with this choice taken back, or made as well. */
export function toggled(choice: Choice, workflows: readonly string[]): string[] {
  const others = workflows.filter((id) => !choice.ids.includes(id));
  return isChosen(choice, workflows) ? others : [...others, choice.id];
}

/** Those whose name or slug contains these words. */
export function found(choices: readonly Choice[], words: string): Choice[] {
  const wanted = words.trim().toLowerCase();
  return choices.filter(
    ({ name, slug }) => name.toLowerCase().includes(wanted) || slug.toLowerCase().includes(wanted),
  );
}
