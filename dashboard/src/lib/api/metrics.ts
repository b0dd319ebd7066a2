/** The REST API of metrics, typed by its OpenAPI document. */
import { connect, request, type ApiOptions, type Query, type Schemas } from './http';

export type Catalogue = Schemas['Catalogue'];
export type Standing = Schemas['Standing'];
export type Summary = Schemas['Summary'];
export type History = Schemas['History'];
export type Strips = Schemas['Strips'];

export class MetricsClient {
  readonly #http: ReturnType<typeof connect>;

  constructor(options: ApiOptions) {
    this.#http = connect(options);
  }

  /** All projects of the user, with the versions of their workflows. */
  catalogue(signal?: AbortSignal): Promise<Catalogue> {
    return request(signal, (signal) => this.#http.GET('/api/metrics/catalogue', { signal }));
  }

  /** How far the counts are verified. */
  standing(signal?: AbortSignal): Promise<Standing> {
    return request(signal, (signal) => this.#http.GET('/api/metrics/standing', { signal }));
  }

  /** One page of rows, with the sums of all rows. */
  summary(query: Query<'/api/metrics/workflows/summary'>, signal?: AbortSignal): Promise<Summary> {
    return request(signal, (signal) =>
      this.#http.GET('/api/metrics/workflows/summary', { params: { query }, signal }),
    );
  }

  /** Counts over time, all workflows together. */
  history(query: Query<'/api/metrics/workflows/history'>, signal?: AbortSignal): Promise<History> {
    return request(signal, (signal) =>
      this.#http.GET('/api/metrics/workflows/history', { params: { query }, signal }),
    );
  }

  /** The last outcomes of each workflow. */
  outcomes(query: Query<'/api/metrics/workflows/outcomes'>, signal?: AbortSignal): Promise<Strips> {
    return request(signal, (signal) =>
      this.#http.GET('/api/metrics/workflows/outcomes', { params: { query }, signal }),
    );
  }
}
