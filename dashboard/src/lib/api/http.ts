/** Sends requests to the REST API and turns failures into `ApiError`. */
import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
/** The query parameters of a GET operation. */
export type Query<Path extends keyof paths> = paths[Path] extends {
  get: { parameters: { query?: infer Q } };
}
  ? NonNullable<Q>
  : never;

type Problem = Schemas['ProblemDocument'];
/** An invalid parameter, and what it accepts. */
export type ParameterError = Pick<Schemas['WrongParameter'], 'parameter' | 'takes'>;

/** A failed request. The message is meant for the user. */
export class ApiError extends Error {
  /** The HTTP status; 0 if there was no response. */
  readonly status: number;
  /** Milliseconds after which the server allows a retry. */
  readonly retryAfter: number | null;
  readonly parameters: readonly ParameterError[];

  constructor(
    status: number,
    message: string,
    retryAfter: number | null = null,
    parameters: readonly ParameterError[] = [],
  ) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.retryAfter = retryAfter;
    this.parameters = parameters;
  }
}

export interface ApiOptions {
  /** The daemon's URL; '' is the origin of this page. */
  baseUrl: string;
  /** Returns a valid Supabase access token, or null if the user is signed out. */
  token: () => Promise<string | null>;
  fetch?: typeof globalThis.fetch;
}

const TIMEOUT = 15_000;

/** A client that sends a token with each request. */
export function connect({ baseUrl, token, fetch }: ApiOptions): Client<paths> {
  const http = createClient<paths>({
    baseUrl: baseUrl || globalThis.location?.origin || '',
    // Repeated parameters: workflow=a&workflow=b.
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

type Answer<T> =
  | { data: T; error?: undefined; response: Response }
  | { data?: undefined; error: Problem; response: Response };

/**
 * Resolves with the body of a successful response. Throws ApiError on a timeout, a network error or
 * an error status; an abort through `signal` rejects with the abort reason.
 */
export async function request<T>(
  signal: AbortSignal | undefined,
  send: (signal: AbortSignal) => Promise<Answer<T>>,
): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT);
  let answer;
  try {
    answer = await send(signal ? AbortSignal.any([signal, timeout]) : timeout);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new ApiError(0, 'The server does not respond.');
  }
  const { status, headers, ok } = answer.response;
  if (ok && answer.error === undefined) return answer.data;
  // Without a problem document the response comes from a proxy: `error` is text or undefined then.
  const wait = Number(headers.get('retry-after') ?? NaN);
  throw new ApiError(
    status,
    answer.error?.detail ?? `The server responded with status ${status}.`,
    Number.isFinite(wait) ? wait * 1000 : null,
    answer.error?.errors ?? [],
  );
}
