import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import { USUAL } from '../src/lib/alerts/rule-draft';
import RuleFields from '../src/lib/ui/alerts/rules/RuleFields.svelte';
import { PROJECT } from './fixtures';

function draft() {
  const draft = $state({ ...USUAL });
  return draft;
}

describe('the fields', () => {
  const some = { wrong: {}, channels: [], project: PROJECT };

  test('are those that the metric has a use for', async () => {
    render(RuleFields, { ...some, draft: draft() });
    expect(screen.getByLabelText('Threshold, %')).toBeTruthy();
    await fireEvent.change(screen.getByLabelText('What is measured'), {
      target: { value: 'no_runs' },
    });
    expect(screen.queryByLabelText(/Threshold/)).toBeNull();
    expect(screen.getByLabelText<HTMLInputElement>('No finished run for').value).toBe('1');
    await fireEvent.change(screen.getByLabelText('What is measured'), {
      target: { value: 'overdue_count' },
    });
    expect(screen.queryByLabelText('Is')).toBeNull();
    expect(screen.getByLabelText<HTMLInputElement>('More than').value).toBe('0');
    expect(screen.getByLabelText<HTMLInputElement>('Deadline of a run').value).toBe('');
    await fireEvent.change(screen.getByLabelText('What is measured'), {
      target: { value: 'open_too_long' },
    });
    expect(screen.getByLabelText<HTMLInputElement>('Longer than').value).not.toBe('');
    expect(screen.queryByLabelText('Deadline of a run')).toBeNull();
  });

  test('say what is wrong with them, unfolded', () => {
    render(RuleFields, { ...some, draft: draft(), wrong: { min_runs: 'This takes more.' } });
    const field = screen.getByLabelText('At least runs');
    expect(field.getAttribute('aria-invalid')).toBe('true');
    const told = field.getAttribute('aria-describedby')?.split(' ')[0] ?? '';
    expect(document.getElementById(told)?.textContent).toContain('This takes more.');
    expect(field.closest('details')?.open).toBe(true);
  });

  test('keep the length of time when its unit is chosen anew', async () => {
    render(RuleFields, { ...some, draft: draft() });
    const unit = screen.getByLabelText('Unit of: Within the last');
    await fireEvent.change(unit, { target: { value: '3600' } });
    expect(screen.getByLabelText<HTMLInputElement>('Within the last').value).toBe('1');
    await fireEvent.input(screen.getByLabelText('Within the last'), { target: { value: '36' } });
    expect(screen.getByLabelText<HTMLInputElement>('Within the last').value).toBe('36');
  });
});
