/** The filters as the address has them. */
import { goto } from '$app/navigation';
import { page } from '$app/state';
import { readPlace, START, writePlace, type Place } from '../lib/alerts/alerts-url';
import { readFilters, writeFilters, type Filters } from '../lib/metrics/filters';

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
    /** Where one is on the alerts page: an incident has an address of its own. */
    get place(): Place {
      const incident = page.params['incident'] ?? null;
      return { ...readPlace(page.url.searchParams), ...(incident && { incident }) };
    },
    /** The address of a place on the alerts page, with the same filters. */
    alerts(place: Partial<Place>): string {
      const { incident, ...rest } = { ...START, ...place };
      const path = incident ? `/alerts/incidents/${incident}` : '/alerts';
      const params = writeFilters({ ...filters, project: rest.project }, HERE);
      for (const [name, value] of writePlace(rest)) params.set(name, value);
      const text = params.toString();
      return path + (text && `?${text}`);
    },
    /** Another page with the same filters. */
    to(path: string): string {
      return path + query(filters);
    },
  };
}
