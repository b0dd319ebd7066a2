/** What a rule would have done, asked for as one types: only the last question is answered. */
import type { AlertsClient, NewRule, Preview } from '../api/alerts';
import type { MetricsClient } from '../metrics/snapshot';
import { defaults } from '../metrics/filters';
import type { Series } from '../metrics/types';

/** Milliseconds without a change before the question is asked. */
export const PAUSE = 350;

export class Trial {
  result = $state.raw<Preview | null>(null);
  /** The rate of what the rule looks at, by day: what the incidents are drawn over. */
  series = $state.raw<Series | null>(null);
  error = $state.raw<unknown>(null);
  asking = $state(false);

  readonly #alerts: Pick<AlertsClient, 'preview'>;
  readonly #metrics: Pick<MetricsClient, 'series'>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | null = null;
  #asked = '';
  #seriesOf = '';

  constructor(alerts: Pick<AlertsClient, 'preview'>, metrics: Pick<MetricsClient, 'series'>) {
    this.#alerts = alerts;
    this.#metrics = metrics;
  }

  /** Ask soon, unless the same was asked already; null: there is nothing to ask. `workflowId`: of
   * the one workflow that the rule looks at. */
  ask(rule: NewRule | null, workflowId: string | null, tz: string) {
    // Neither changes what would have happened.
    const judged = rule && { ...rule, name: '', channel_ids: null };
    const asked = JSON.stringify([judged, workflowId, tz]);
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.stop();
    this.asking = rule !== null;
    if (rule) this.#timer = setTimeout(() => void this.#try(rule, workflowId, tz), PAUSE);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.asking = false;
  }

  async #try(rule: NewRule, workflowId: string | null, tz: string) {
    const abort = (this.#abort = new AbortController());
    const of = JSON.stringify([rule.project_id, workflowId, tz]);
    try {
      const [result, series] = await Promise.all([
        this.#alerts.preview({ ...rule, name: rule.name || 'preview' }, abort.signal),
        of === this.#seriesOf ? this.series : this.#rate(rule.project_id, workflowId, tz, abort),
      ]);
      if (abort.signal.aborted) return;
      this.result = result;
      this.series = series;
      this.#seriesOf = of;
      this.error = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.result = null;
      this.error = error;
    }
    this.asking = false;
    this.#abort = null;
  }

  #rate(project: string, workflowId: string | null, tz: string, abort: AbortController) {
    const workflows = workflowId ? [workflowId] : [];
    return this.#metrics.series(
      { ...defaults(tz), project, workflows, range: '30d' },
      abort.signal,
      'day',
    );
  }
}
