/** The filters as the address has them. */
import { goto } from '$app/navigation';
import { page } from '$app/state';
import { readFilters, writeFilters, type Filters } from '../lib/state/filters';

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

export function address() {
  const filters = $derived(readFilters(page.url.searchParams, HERE));

  /** On its way into the address: what is changed meanwhile is changed on top of it. */
  let coming: Filters | null = null;

  function query(of: Filters): string {
    const text = writeFilters(of, HERE).toString();
    return text && `?${text}`;
  }

  return {
    get filters() {
      return filters;
    },
    /** Choices can be taken back with the browser's button; each letter of a search cannot. */
    change(part: Partial<Filters>, typing = false) {
      const wanted = (coming = { ...(coming ?? filters), ...part });
      const to = page.url.pathname + query(wanted);
      void goto(to, { replace: typing, reset: false }).finally(() => {
        if (coming === wanted) coming = null;
      });
    },
    /** Another page with the same filters. */
    to(path: string): string {
      return path + query(filters);
    },
  };
}
