/** The REST API of alerts, typed by its OpenAPI document. */
import { connect, request, type ApiOptions, type Schemas } from './http';

export type Rule = Schemas['Rule'];
export type RuleBody = Omit<Schemas['NewRule'], 'project_id'>;
export type NewRule = Schemas['NewRule'];
export type RuleChange = Schemas['RuleChange'];
export type RuleState = Schemas['RuleState'];
export type RuleFailure = Schemas['RuleFailure'];
export type Incident = Schemas['Incident'];
export type IncidentHistory = Schemas['IncidentHistory'];
export type Channel = Schemas['Channel'];
export type ChannelSecret = Schemas['ChannelSecret'];
export type NewChannel = Schemas['NewChannel'];
export type ChannelChange = Schemas['ChannelChange'];
export type Delivery = Schemas['Delivery'];
export type Preview = Schemas['Preview'];
export type Severity = Incident['severity'];
export type Cause = Incident['cause'];
export type Metric = Rule['metric'];
export type WouldOpen = Schemas['WouldOpen'];

export interface Page<T> {
  readonly rows: readonly T[];
  /** The cursor (`after`) of the next page; null on the last page. */
  readonly next: string | null;
}

export interface IncidentsQuery {
  project_id?: string | null;
  state?: 'open' | 'closed';
  workflow?: string;
  rule_id?: string;
  /** Only incidents opened before this moment, in milliseconds. */
  before?: number;
  limit?: number;
  after?: string | null;
}

export interface DeliveriesQuery {
  project_id?: string | null;
  status?: Delivery['status'] | null;
  incident_id?: string;
  limit?: number;
  after?: string | null;
}

export class AlertsClient {
  readonly #http: ReturnType<typeof connect>;

  constructor(options: ApiOptions) {
    this.#http = connect(options);
  }

  rules(project_id: string | null, signal?: AbortSignal): Promise<Rule[]> {
    const params = { query: { project_id } };
    return request(signal, (signal) => this.#http.GET('/api/alerts/rules', { params, signal }));
  }

  /** The projects whose rules cannot be evaluated. */
  ruleFailures(signal?: AbortSignal): Promise<RuleFailure[]> {
    return request(signal, (signal) => this.#http.GET('/api/alerts/rule-failures', { signal }));
  }

  addRule(body: NewRule): Promise<Rule> {
    return request(undefined, (signal) => this.#http.POST('/api/alerts/rules', { body, signal }));
  }

  changeRule(rule_id: string, body: RuleChange): Promise<Rule> {
    const params = { path: { rule_id } };
    return request(undefined, (signal) =>
      this.#http.PATCH('/api/alerts/rules/{rule_id}', { params, body, signal }),
    );
  }

  removeRule(rule_id: string): Promise<unknown> {
    const params = { path: { rule_id } };
    return request(undefined, (signal) =>
      this.#http.DELETE('/api/alerts/rules/{rule_id}', { params, signal }),
    );
  }

  preview(body: NewRule, signal?: AbortSignal): Promise<Preview> {
    return request(signal, (signal) =>
      this.#http.POST('/api/alerts/rules/preview', { body, signal }),
    );
  }

  /** Until a moment in milliseconds; null ends the silence. */
  silence(rule_id: string, until: number | null, reason: string | null): Promise<Rule> {
    const params = { path: { rule_id } };
    const body = { until: until === null ? null : new Date(until).toISOString(), reason };
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/rules/{rule_id}/silence', { params, body, signal }),
    );
  }

  async incidents(filter: IncidentsQuery, signal?: AbortSignal): Promise<Page<Incident>> {
    const { before, ...rest } = filter;
    const to = before === undefined ? undefined : new Date(before).toISOString();
    const params = { query: { ...rest, to } };
    const answer = await request(signal, (signal) =>
      this.#http.GET('/api/alerts/incidents', { params, signal }),
    );
    return { rows: answer.incidents, next: answer.next };
  }

  incident(incident_id: string, signal?: AbortSignal): Promise<IncidentHistory> {
    const params = { path: { incident_id } };
    return request(signal, (signal) =>
      this.#http.GET('/api/alerts/incidents/{incident_id}', { params, signal }),
    );
  }

  acknowledge(incident_id: string, note: string | null): Promise<Incident> {
    const params = { path: { incident_id } };
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/incidents/{incident_id}/acknowledge', {
        params,
        body: { note },
        signal,
      }),
    );
  }

  channels(project_id: string | null, signal?: AbortSignal): Promise<Channel[]> {
    const params = { query: { project_id } };
    return request(signal, (signal) => this.#http.GET('/api/alerts/channels', { params, signal }));
  }

  addChannel(body: NewChannel): Promise<ChannelSecret> {
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/channels', { body, signal }),
    );
  }

  changeChannel(channel_id: string, body: ChannelChange): Promise<Channel> {
    const params = { path: { channel_id } };
    return request(undefined, (signal) =>
      this.#http.PATCH('/api/alerts/channels/{channel_id}', { params, body, signal }),
    );
  }

  removeChannel(channel_id: string): Promise<unknown> {
    const params = { path: { channel_id } };
    return request(undefined, (signal) =>
      this.#http.DELETE('/api/alerts/channels/{channel_id}', { params, signal }),
    );
  }

  test(channel_id: string): Promise<Delivery> {
    const params = { path: { channel_id } };
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/channels/{channel_id}/test', { params, signal }),
    );
  }

  askForConfirmation(channel_id: string): Promise<Delivery> {
    const params = { path: { channel_id } };
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/channels/{channel_id}/confirmation', { params, signal }),
    );
  }

  rotate(channel_id: string): Promise<ChannelSecret> {
    const params = { path: { channel_id } };
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/channels/{channel_id}/rotate-secret', { params, signal }),
    );
  }

  async deliveries(query: DeliveriesQuery, signal?: AbortSignal): Promise<Page<Delivery>> {
    const params = { query };
    const answer = await request(signal, (signal) =>
      this.#http.GET('/api/alerts/deliveries', { params, signal }),
    );
    return { rows: answer.deliveries, next: answer.next };
  }

  replay(delivery_id: string): Promise<Delivery> {
    const params = { path: { delivery_id } };
    return request(undefined, (signal) =>
      this.#http.POST('/api/alerts/deliveries/{delivery_id}/replay', { params, signal }),
    );
  }
}
