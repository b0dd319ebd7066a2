import { fireEvent, render, screen, within } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import type { Catalogue } from '../src/lib/api/metrics';
import {
  choicesOf,
  isSelected,
  toggled,
  versionChoicesOf,
} from '../src/lib/metrics/workflow-choices';
import {
  defaults,
  queryKey,
  readFilters,
  VERSIONS,
  writeFilters,
} from '../src/lib/metrics/filters';
import FilterBar from '../src/lib/ui/overview/FilterBar.svelte';

const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
const version = (n: number, project: number, slug: string, number: number, name: string) => ({
  workflow_id: id(n),
  project_id: id(project),
  slug,
  version: number,
  name,
  created_at: null,
});
const CATALOGUE: Catalogue = {
  complete: true,
  projects: [
    {
      project_id: id(8),
      name: 'Shop',
      versions: [
        version(1, 8, 'orders', 1, 'Order sync'),
        version(3, 8, 'orders', 3, 'Order sync, new'),
        version(2, 8, 'orders', 2, 'Order sync'),
        version(4, 8, 'refunds', 1, 'Refunds'),
      ],
    },
    { project_id: id(9), name: 'Mail', versions: [version(5, 9, 'orders', 1, 'Order mails')] },
  ],
};

describe('a choice', () => {
  test('is a workflow with the name of its newest version, and its project if there are several', () => {
    const names = (project: string | null) =>
      choicesOf(CATALOGUE, project).map((one) => [one.name, one.project]);
    expect(names(null)).toEqual([
      ['Order mails', 'Mail'],
      ['Order sync, new', 'Shop'],
      ['Refunds', 'Shop'],
    ]);
    expect(names(id(8))).toEqual([
      ['Order sync, new', null],
      ['Refunds', null],
    ]);
    expect(choicesOf(null, null)).toEqual([]);
  });

  test('is one version if versions are selected, the newest of a workflow first', () => {
    const names = versionChoicesOf(CATALOGUE, id(8)).map((one) => one.name);
    expect(names).toEqual(['Order sync, new v3', 'Order sync v2', 'Order sync v1', 'Refunds v1']);
    const [, second] = versionChoicesOf(CATALOGUE, null).filter((one) => one.slug === 'orders');
    if (!second) throw new Error('no choice');
    expect([second.name, second.project]).toEqual(['Order sync, new v3', 'Shop']);
    expect(toggled(second, [id(1)])).toEqual([id(1), id(3)]);
    expect(toggled(second, [id(1), id(3)])).toEqual([id(1)]);
  });

  test('is selected by any of its versions, and deselected as a whole', () => {
    const orders = choicesOf(CATALOGUE, id(8))[0];
    if (!orders) throw new Error('no choice');
    expect(isSelected(orders, [id(1)])).toBe(true);
    expect(toggled(orders, [id(1), id(4)])).toEqual([id(4)]);
    expect(toggled(orders, [id(4)])).toEqual([id(4), id(3)]);
  });
});

test('the versions filter survives the URL', () => {
  for (const versions of VERSIONS) {
    const params = writeFilters({ ...defaults('UTC'), versions }, 'UTC');
    expect(params.get('versions')).toBe(versions === 'together' ? null : versions);
    expect(readFilters(params, 'UTC').versions).toBe(versions);
  }
  expect(readFilters(new URLSearchParams('versions=x'), 'UTC').versions).toBe('together');
});

test('other versions need other numbers, and a search does not', () => {
  const filters = defaults('UTC');
  const questions = VERSIONS.map((versions) => queryKey({ ...filters, versions }));
  expect(new Set(questions).size).toBe(VERSIONS.length);
  expect(queryKey({ ...filters, search: 'a', failing: true, minRuns: 9 })).toBe(queryKey(filters));
});

describe('the list of workflows', () => {
  async function opened(workflows: string[] = []) {
    const chosen: unknown[] = [];
    const { rerender } = render(FilterBar, {
      filters: { ...defaults('UTC'), workflows },
      choices: choicesOf(CATALOGUE, null),
      change: (part) => chosen.push(part),
    });
    await fireEvent.click(screen.getByRole('button', { name: /Select workflows/ }));
    return { chosen, rerender, field: screen.getByRole('combobox', { name: /Search workflows/ }) };
  }
  const press = (field: HTMLElement, key: string) => fireEvent.keyDown(field, { key });
  const active = (field: HTMLElement) =>
    document.getElementById(field.getAttribute('aria-activedescendant') ?? '')?.textContent?.trim();

  test('takes the focus, and is operated with the keyboard', async () => {
    const { chosen, field } = await opened();
    expect(document.activeElement).toBe(field);
    expect(active(field)).toContain('Order mails');
    await press(field, 'ArrowDown');
    await press(field, 'Enter');
    await press(field, 'ArrowUp');
    await press(field, 'ArrowUp');
    expect(active(field)).toContain('Refunds');
    await press(field, 'Enter');
    expect(chosen).toEqual([{ workflows: [id(3)] }, { workflows: [id(4)] }]);
  });

  test('is filtered by the search', async () => {
    const { chosen, field } = await opened([id(5)]);
    await fireEvent.input(field, { target: { value: 'REF' } });
    const options = within(screen.getByRole('listbox')).getAllByRole('option');
    expect(options.map((one) => one.textContent?.trim())).toEqual(['Refunds, Shop']);
    await press(field, 'Enter');
    expect(chosen).toEqual([{ workflows: [id(5), id(4)] }]);
    await fireEvent.input(field, { target: { value: 'nothing' } });
    expect(screen.getByText('No matching workflows.')).toBeTruthy();
    await press(field, 'Enter');
    expect(chosen).toHaveLength(1);
  });

  test('shows the selection, and Escape returns to its button', async () => {
    const { field } = await opened([id(1), id(5)]);
    const list = within(screen.getByRole('listbox'));
    const ticked = list.getAllByRole('option', { selected: true });
    expect(ticked.map((one) => one.textContent)).toHaveLength(2);
    await press(field, 'Escape');
    expect(screen.queryByRole('listbox')).toBeNull();
    const opener = screen.getByRole('button', { name: /Select workflows: 2 workflows/ });
    expect(document.activeElement).toBe(opener);
  });
});
