/** Calls of the control API, with its types. */
import type { components, paths } from './schema';
import { ended, keyOfSession } from './session';
import { readEvents } from './sse';

export type Shapes = components['schemas'];
export type Path = keyof paths;
type Post<P extends Path> = paths[P] extends { post: infer O } ? O : never;
export type Request<P extends Path> =
  Post<P> extends { requestBody: { content: { 'application/json': infer B } } } ? B : never;
export type Answer<P extends Path> =
  Post<P> extends { responses: { 200: { content: { 'application/json': infer A } } } } ? A : never;
export type Progress = Shapes['Progress'];
export type ApiError = Shapes['ApiError'];

/** The error that the daemon answered. */
export class CallError extends Error {
  constructor(readonly told: ApiError) {
    super(told.message);
  }
}

export interface Ways {
  team?: string;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export async function call<P extends Path>(path: P, body: Request<P>, ways: Ways = {}): Promise<Answer<P>> {
  const url = path.replace('{team}', encodeURIComponent(ways.team ?? '-'));
  const response = await ask(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: ways.onProgress ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(body),
    signal: ways.signal,
  });
  if (!ways.onProgress) return (await response.json()) as Answer<P>;
  for await (const event of readEvents(response)) {
    if (event.kind === 'progress') ways.onProgress(JSON.parse(event.data) as Progress);
    else if (event.kind === 'answer') return JSON.parse(event.data) as Answer<P>;
    else if (event.kind === 'error') throw new CallError(JSON.parse(event.data) as ApiError);
  }
  throw gone();
}

/** Sends a request with the session's key. Throws the daemon's error. */
export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const key = keyOfSession();
  headers.set('x-podsync-key', key);
  let response: Response;
  try {
    response = await (asked(url, init) ?? fetch(url, { ...init, headers }));
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw gone();
  }
  if (response.ok) return response;
  if (response.status === 401) {
    // A new session may have begun meanwhile, here or in another tab.
    if (keyOfSession() !== key) return ask(url, init);
    ended();
  }
  const told = await response.json().catch(() => null);
  throw new CallError(
    told ?? { code: 'internal', message: `The daemon answered ${response.status}.`, hint: 'Run podsync doctor.' },
  );
}

/** The answer that `ask.ts` asked for with the same request. It is given once. */
function asked(url: string, { body }: RequestInit): Promise<Response> | undefined {
  if (body !== '{}') return undefined;
  const early = window.podsyncAsked?.get(url);
  window.podsyncAsked?.delete(url);
  return early;
}

export function gone(): CallError {
  return new CallError({
    code: 'no_daemon',
    message: 'The daemon does not answer.',
    hint: 'Run podsync ui in a terminal: it starts the daemon and opens this page again.',
  });
}
