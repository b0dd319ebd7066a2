import { fireEvent, render, screen, within } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import type { Catalogue } from '../src/lib/metrics/snapshot';
import {
  choicesOf,
  isChosen,
  toggled,
  versionChoicesOf,
} from '../src/lib/metrics/workflow-choices';
import {
  defaults,
  question,
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

describe('what can be chosen', () => {
  test('is a workflow, by the name of its newest version, with its project where there are two', () => {
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

  test('is one version, where those are chosen, the newest of a workflow first', () => {
    const names = versionChoicesOf(CATALOGUE, id(8)).map((one) => one.name);
    expect(names).toEqual(['Order sync, new v3', 'Order sync v2', 'Order sync v1', 'Refunds v1']);
    const [, second] = versionChoicesOf(CATALOGUE, null).filter((one) => one.slug === 'orders');
    if (!second) throw new Error('no choice');
    expect([second.name, second.project]).toEqual(['Order sync, new v3', 'Shop']);
    expect(toggled(second, [id(1)])).toEqual([id(1), id(3)]);
    expect(toggled(second, [id(1), id(3)])).toEqual([id(1)]);
  });

  test('is chosen by any of its versions, and taken back whole', () => {
    const orders = choicesOf(CATALOGUE, id(8))[0];
    if (!orders) throw new Error('no choice');
    expect(isChosen(orders, [id(1)])).toBe(true);
    expect(toggled(orders, [id(1), id(4)])).toEqual([id(4)]);
    expect(toggled(orders, [id(4)])).toEqual([id(4), id(3)]);
  });
});

test('versions are together, apart, the newest or chosen ones, and the address keeps it', () => {
  for (const versions of VERSIONS) {
    const params = writeFilters({ ...defaults('UTC'), versions }, 'UTC');
    expect(params.get('versions')).toBe(versions === 'together' ? null : versions);
    expect(readFilters(params, 'UTC').versions).toBe(versions);
  }
  expect(readFilters(new URLSearchParams('versions=x'), 'UTC').versions).toBe('together');
});

test('other versions are another question, and words are not', () => {
  const usual = defaults('UTC');
  const questions = VERSIONS.map((versions) => question({ ...usual, versions }));
  expect(new Set(questions).size).toBe(VERSIONS.length);
  expect(question({ ...usual, search: 'a', failing: true, minRuns: 9 })).toBe(question(usual));
});

describe('the list of workflows', () => {
  async function opened(workflows: string[] = []) {
    const chosen: unknown[] = [];
    const { rerender } = render(FilterBar, {
      filters: { ...defaults('UTC'), workflows },
      choices: choicesOf(CATALOGUE, null),
      change: (part) => chosen.push(part),
    });
    await fireEvent.click(screen.getByRole('button', { name: /Choose workflows/ }));
    return { chosen, rerender, field: screen.getByRole('combobox', { name: /Find a workflow/ }) };
  }
  const press = (field: HTMLElement, key: string) => fireEvent.keyDown(field, { key });
  const active = (field: HTMLElement) =>
    document.getElementById(field.getAttribute('aria-activedescendant') ?? '')?.textContent?.trim();

  test('takes the focus, and is walked and ticked with keys', async () => {
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

  test('is narrowed by what is typed', async () => {
    const { chosen, field } = await opened([id(5)]);
    await fireEvent.input(field, { target: { value: 'REF' } });
    const options = within(screen.getByRole('listbox')).getAllByRole('option');
    expect(options.map((one) => one.textContent?.trim())).toEqual(['Refunds, Shop']);
    await press(field, 'Enter');
    expect(chosen).toEqual([{ workflows: [id(5), id(4)] }]);
    await fireEvent.input(field, { target: { value: 'nothing' } });
    expect(screen.getByText('No workflow is called that.')).toBeTruthy();
    await press(field, 'Enter');
    expect(chosen).toHaveLength(1);
  });

  test('says what is chosen, and Escape leads back to its button', async () => {
    const { field } = await opened([id(1), id(5)]);
    const list = within(screen.getByRole('listbox'));
    const ticked = list.getAllByRole('option', { selected: true });
    expect(ticked.map((one) => one.textContent)).toHaveLength(2);
    await press(field, 'Escape');
    expect(screen.queryByRole('listbox')).toBeNull();
    const opener = screen.getByRole('button', { name: /Choose workflows: 2 workflows/ });
    expect(document.activeElement).toBe(opener);
  });
});
