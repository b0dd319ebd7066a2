/** One way to ask the REST API, and one way to be told what went wrong. */
import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

/** A parameter that was wrong, and what it takes. */
export interface Wrong {
  readonly parameter: string;
  readonly takes: string;
}

/** What went wrong, in words for whoever looks at the screen. */
export class ApiError extends Error {
  /** The HTTP status; 0 where nothing answered. */
  readonly status: number;
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter: number | null;
  readonly wrong: readonly Wrong[];

  constructor(
    status: number,
    message: string,
    retryAfter: number | null = null,
    wrong: readonly Wrong[] = [],
  ) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.retryAfter = retryAfter;
    this.wrong = wrong;
  }
}

export interface ApiOptions {
  /** Where the daemon is; '' is where this page comes from. */
  baseUrl: string;
  /** The user's Supabase access token, fresh. Null: signed out. */
  token: () => Promise<string | null>;
  fetch?: typeof globalThis.fetch;
}

const PATIENCE = 15_000;

/** The API with a token before each request. */
export function connect({ baseUrl, token, fetch }: ApiOptions): Client<paths> {
  const http = createClient<paths>({
    baseUrl: baseUrl || globalThis.location?.origin || '',
    // Repeated: workflow=a&workflow=b.
    querySerializer: { array: { style: 'form', explode: true } },
    fetch,
  });
  http.use({
    async onRequest({ request }) {
      const jwt = await token();
      if (jwt === null) throw new ApiError(401, 'You are signed out.');
      request.headers.set('Authorization', `Bearer ${jwt}`);
      return request;
    },
  });
  return http;
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer to a request, within a time. Throws ApiError; what `signal` aborts, as it comes. */
export async function ask<T>(
  signal: AbortSignal | undefined,
  request: (signal: AbortSignal) => Promise<Answer<T>>,
): Promise<T> {
  const patience = AbortSignal.timeout(PATIENCE);
  const both = signal ? AbortSignal.any([signal, patience]) : patience;
  let answer;
  try {
    answer = await request(both);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new ApiError(0, 'The server does not answer.');
  }
  const { status, headers, ok } = answer.response;
  // 204 has no data, and that is the answer.
  if (ok) return answer.data as T;
  const problem = answer.error as Partial<Schemas['ProblemDocument']> | undefined;
  const wait = Number(headers.get('retry-after') ?? NaN);
  throw new ApiError(
    status,
    problem?.detail ?? `The server answered ${status}.`,
    Number.isFinite(wait) ? wait * 1000 : null,
    problem?.errors ?? [],
  );
}
