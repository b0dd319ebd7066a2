import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import { DEFAULTS } from '../src/lib/alerts/rule-draft';
import RuleFields from '../src/lib/ui/alerts/rules/RuleFields.svelte';
import { PROJECT } from './fixtures';

function draft() {
  const draft = $state({ ...DEFAULTS });
  return draft;
}

describe('the fields', () => {
  const some = { errors: {}, channels: [], project: PROJECT };

  test('are those that the metric uses', async () => {
    render(RuleFields, { ...some, draft: draft() });
    expect(screen.getByLabelText('Threshold, %')).toBeTruthy();
    await fireEvent.change(screen.getByLabelText('Metric'), {
      target: { value: 'no_runs' },
    });
    expect(screen.queryByLabelText(/Threshold/)).toBeNull();
    expect(screen.getByLabelText<HTMLInputElement>('No finished run for').value).toBe('1');
    await fireEvent.change(screen.getByLabelText('Metric'), {
      target: { value: 'overdue_count' },
    });
    expect(screen.queryByLabelText('Is')).toBeNull();
    expect(screen.getByLabelText<HTMLInputElement>('More than').value).toBe('0');
    expect(screen.getByLabelText<HTMLInputElement>('Run deadline').value).toBe('');
    await fireEvent.change(screen.getByLabelText('Metric'), {
      target: { value: 'open_too_long' },
    });
    expect(screen.getByLabelText<HTMLInputElement>('Longer than').value).not.toBe('');
    expect(screen.queryByLabelText('Run deadline')).toBeNull();
  });

  test('show their errors, and open the section they are in', () => {
    render(RuleFields, { ...some, draft: draft(), errors: { min_runs: 'Must be more.' } });
    const field = screen.getByLabelText('Minimum runs before it can open');
    expect(field.getAttribute('aria-invalid')).toBe('true');
    const errorId = field.getAttribute('aria-describedby')?.split(' ')[0] ?? '';
    expect(document.getElementById(errorId)?.textContent).toContain('Must be more.');
    expect(field.closest('details')?.open).toBe(true);
  });

  test('keep the number when the unit of a duration changes', async () => {
    render(RuleFields, { ...some, draft: draft() });
    const unit = screen.getByLabelText('Unit of: Within the last');
    await fireEvent.change(unit, { target: { value: '3600' } });
    expect(screen.getByLabelText<HTMLInputElement>('Within the last').value).toBe('1');
    await fireEvent.input(screen.getByLabelText('Within the last'), { target: { value: '36' } });
    expect(screen.getByLabelText<HTMLInputElement>('Within the last').value).toBe('36');
  });
});
