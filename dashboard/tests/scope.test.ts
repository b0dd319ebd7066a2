import { describe, expect, test } from 'vitest';
import type { Catalogue } from '../src/lib/metrics/snapshot';
import { defaults, type Filters } from '../src/lib/metrics/filters';
import { scopeOf, unknownTo } from '../src/lib/metrics/scope';
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
  projects: [
    {
      project_id: PROJECT,
      name: 'Shop',
      versions: [2, 10, 9].map((n) => version(PROJECT, 'orders', n)),
    },
    { project_id: OTHER, name: 'Mail', versions: [version(OTHER, 'mails', 1)] },
  ],
};

/** Which of all versions, and of one that is not in the catalogue, these filters concern. */
function concerned(part: Partial<Filters>): string[] {
  const scope = scopeOf({ ...defaults('UTC'), ...part }, CATALOGUE);
  const all = [
    ...CATALOGUE.projects.flatMap((one) => one.versions),
    version(PROJECT, 'orders', 11),
  ];
  return all
    .filter((one) => scope.concerns(one.project_id, one.slug, one.workflow_id))
    .map((one) => one.workflow_id);
}

describe('broadcasts concern', () => {
  test('everything, or a project', () => {
    expect(concerned({})).toHaveLength(5);
    expect(concerned({ project: OTHER })).toEqual(['mails-1']);
  });

  test('all versions of what was chosen by any of them', () => {
    const all = ['orders-2', 'orders-10', 'orders-9', 'orders-11'];
    expect(concerned({ workflows: ['orders-9'] })).toEqual(all);
    expect(concerned({ workflows: ['orders-9'], versions: 'apart' })).toEqual(all);
  });

  test('only the very versions chosen, and all of them before any is', () => {
    expect(concerned({ workflows: ['orders-9'], versions: 'chosen' })).toEqual(['orders-9']);
    expect(concerned({ versions: 'chosen' })).toHaveLength(5);
  });

  test('only the newest, and one not heard of before, which may be that', () => {
    expect(concerned({ versions: 'newest' })).toEqual(['orders-10', 'mails-1', 'orders-11']);
    expect(concerned({ versions: 'newest', workflows: ['orders-2'] })).toEqual([
      'orders-10',
      'orders-11',
    ]);
  });
});

test('numbers of a version that the catalogue lacks make it old', () => {
  expect(unknownTo(CATALOGUE, { 'orders-2': 1, 'mails-1': 1 })).toBe(false);
  expect(unknownTo(CATALOGUE, { 'orders-11': 1 })).toBe(true);
});
