import { describe, expect, test } from 'vitest';
import type { Catalogue } from '../src/lib/api/metrics';
import { defaults, type Filters } from '../src/lib/metrics/filters';
import { lacksVersions, scopeOf } from '../src/lib/metrics/scope';
import { PROJECT } from './fixtures';

const OTHER = '00000000-0000-4000-8000-00000000000b';
const version = (project_id: string, slug: string, number: number) => ({
  workflow_id: `${slug}-${number}`,
  project_id,
  slug,
  version: number,
  name: slug,
  created_at: null,
});
const CATALOGUE: Catalogue = {
  complete: true,
  projects: [
    {
      project_id: PROJECT,
      name: 'Shop',
      versions: [2, 10, 9].map((n) => version(PROJECT, 'orders', n)),
    },
    { project_id: OTHER, name: 'Mail', versions: [version(OTHER, 'mails', 1)] },
  ],
};

/** The versions that the filters include, of the catalogue and one that it lacks. */
function included(part: Partial<Filters>): string[] {
  const scope = scopeOf({ ...defaults('UTC'), ...part }, CATALOGUE);
  const all = [
    ...CATALOGUE.projects.flatMap((one) => one.versions),
    version(PROJECT, 'orders', 11),
  ];
  return all
    .filter((one) => scope.includes(one.project_id, one.slug, one.workflow_id))
    .map((one) => one.workflow_id);
}

describe('the filters include broadcasts of', () => {
  test('all projects, or one', () => {
    expect(included({})).toHaveLength(5);
    expect(included({ project: OTHER })).toEqual(['mails-1']);
  });

  test('all versions of a selected workflow', () => {
    const all = ['orders-2', 'orders-10', 'orders-9', 'orders-11'];
    expect(included({ workflows: ['orders-9'] })).toEqual(all);
    expect(included({ workflows: ['orders-9'], versions: 'apart' })).toEqual(all);
  });

  test('only the selected versions, and all of them without a selection', () => {
    expect(included({ workflows: ['orders-9'], versions: 'chosen' })).toEqual(['orders-9']);
    expect(included({ versions: 'chosen' })).toHaveLength(5);
  });

  test('only the newest versions, and unknown ones, which may be the newest', () => {
    expect(included({ versions: 'newest' })).toEqual(['orders-10', 'mails-1', 'orders-11']);
    expect(included({ versions: 'newest', workflows: ['orders-2'] })).toEqual([
      'orders-10',
      'orders-11',
    ]);
  });
});

test('the catalogue is outdated if it lacks a version', () => {
  expect(lacksVersions(CATALOGUE, { 'orders-2': 1, 'mails-1': 1 })).toBe(false);
  expect(lacksVersions(CATALOGUE, { 'orders-11': 1 })).toBe(true);
});
