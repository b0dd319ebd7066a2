/** Previews a rule while the user types: waits for a pause, and aborts obsolete requests. */
import type { AlertsClient, NewRule, Preview } from '../api/alerts';
import { defaults, type Filters } from '../metrics/filters';
import type { Series } from '../metrics/types';

/** Milliseconds without a change before the preview is requested. */
export const DEBOUNCE = 350;

/** Fetches the daily success rate that the incidents are drawn over. */
type FetchRates = (filters: Filters, signal: AbortSignal) => Promise<Series>;

export class RulePreview {
  result = $state.raw<Preview | null>(null);
  /** The daily success rate of the rule's scope. */
  series = $state.raw<Series | null>(null);
  error = $state.raw<unknown>(null);
  loading = $state(false);

  readonly #alerts: Pick<AlertsClient, 'preview'>;
  readonly #fetchRates: FetchRates;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | null = null;
  #requestKey = '';
  #seriesKey = '';

  constructor(alerts: Pick<AlertsClient, 'preview'>, fetchRates: FetchRates) {
    this.#alerts = alerts;
    this.#fetchRates = fetchRates;
  }

  /** Requests a preview after a pause, unless it is the current one. null: the rule is incomplete.
   * `workflowId`: set if the rule covers one workflow. */
  update(rule: NewRule | null, workflowId: string | null, tz: string) {
    // Name and channels do not change the result.
    const relevant = rule && { ...rule, name: '', channel_ids: null };
    const key = JSON.stringify([relevant, workflowId, tz]);
    if (key === this.#requestKey) return;
    this.#requestKey = key;
    this.stop();
    this.loading = rule !== null;
    if (rule) this.#timer = setTimeout(() => void this.#fetch(rule, workflowId, tz), DEBOUNCE);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.loading = false;
  }

  async #fetch(rule: NewRule, workflowId: string | null, tz: string) {
    const abort = (this.#abort = new AbortController());
    const seriesKey = JSON.stringify([rule.project_id, workflowId, tz]);
    const workflows = workflowId ? [workflowId] : [];
    const filters: Filters = {
      ...defaults(tz),
      project: rule.project_id,
      workflows,
      range: '30d',
    };
    try {
      const [result, series] = await Promise.all([
        this.#alerts.preview({ ...rule, name: rule.name || 'preview' }, abort.signal),
        seriesKey === this.#seriesKey ? this.series : this.#fetchRates(filters, abort.signal),
      ]);
      if (abort.signal.aborted) return;
      this.result = result;
      this.series = series;
      this.#seriesKey = seriesKey;
      this.error = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.result = null;
      this.error = error;
    }
    this.loading = false;
    this.#abort = null;
  }
}
