/** The workflows and versions that a user can select. The filter stores ids. */
import type { Catalogue } from '../api/metrics';

export interface Choice {
  /** Identifies a workflow (all its versions) or a version. */
  readonly key: string;
  /** The id of the newest version. */
  readonly id: string;
  readonly ids: readonly string[];
  readonly name: string;
  readonly slug: string;
  /** The project's name if there are several projects. */
  readonly project: string | null;
}

/** The workflows of a project, or of all projects, by name. */
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

/** The same, one choice per version, the newest version of a workflow first. */
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

export function isSelected(choice: Choice, workflows: readonly string[]): boolean {
  return choice.ids.some((id) => workflows.includes(id));
}

/** The selected ids after this choice is toggled. */
export function toggled(choice: Choice, workflows: readonly string[]): string[] {
  const others = workflows.filter((id) => !choice.ids.includes(id));
  return isSelected(choice, workflows) ? others : [...others, choice.id];
}

/** The choices whose name or slug contains a text. */
export function searchChoices(choices: readonly Choice[], text: string): Choice[] {
  const needle = text.trim().toLowerCase();
  return choices.filter(
    ({ name, slug }) => name.toLowerCase().includes(needle) || slug.toLowerCase().includes(needle),
  );
}
