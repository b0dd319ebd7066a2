/** The state of the page in the URL: filters, and the location on the alerts page. */
import { goto } from '$app/navigation';
import { page } from '$app/state';
import {
  ALERTS_HOME,
  readAlertsLocation,
  writeAlertsLocation,
  type AlertsLocation,
} from '../lib/alerts/alerts-url';
import { readFilters, writeFilters, type Filters } from '../lib/metrics/filters';

const DEVICE_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

export function urlState() {
  const filters = $derived(readFilters(page.url.searchParams, DEVICE_ZONE));

  /** The filters of a navigation in progress, so that further changes build on it. */
  let pending: Filters | null = null;

  function query(filters: Filters): string {
    const text = writeFilters(filters, DEVICE_ZONE).toString();
    return text && `?${text}`;
  }

  return {
    get filters() {
      return filters;
    },
    /** Changes filters. `typing`: replace the history entry instead of adding one per keystroke. */
    change(part: Partial<Filters>, typing = false) {
      const next = (pending = { ...(pending ?? filters), ...part });
      const url = page.url.pathname + query(next);
      void goto(url, { replace: typing, reset: false }).finally(() => {
        if (pending === next) pending = null;
      });
    },
    /** The location on the alerts page. An incident has its own path. */
    get alertsLocation(): AlertsLocation {
      const incident = page.params['incident'] ?? null;
      return { ...readAlertsLocation(page.url.searchParams), ...(incident && { incident }) };
    },
    /** The URL of a location on the alerts page, with the current filters. */
    alertsUrl(location: Partial<AlertsLocation>): string {
      const { incident, ...rest } = { ...ALERTS_HOME, ...location };
      const path = incident ? `/alerts/incidents/${incident}` : '/alerts';
      const params = writeFilters({ ...filters, project: rest.project }, DEVICE_ZONE);
      for (const [name, value] of writeAlertsLocation(rest)) params.set(name, value);
      const text = params.toString();
      return path + (text && `?${text}`);
    },
    /** The URL of another page, with the current filters. */
    pageUrl(path: string): string {
      return path + query(filters);
    },
  };
}
