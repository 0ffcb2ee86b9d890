/**
 * Running actions and the results of the last ones. If a call needs consent, the user is asked and the call is
 * repeated.
 */
import { type Answer, call, CallError, gone, type Path, type Progress, type Request, type Shapes } from '../api/call';
import { changed } from './ask';
import { ask } from './questions';
import { store } from './store';

export interface Act {
  id: number;
  title: string;
  progress: Progress | null;
  stop: () => void;
}

export interface Notice {
  id: number;
  tone: 'done' | 'failed';
  text: string;
  hint?: string | null;
}

export const acts = store<readonly Act[]>([]);
export const notices = store<readonly Notice[]>([]);

const NOTICE_MS = 6000;
let next = 1;

export function notify(notice: Omit<Notice, 'id'>): void {
  const id = next++;
  notices.update((known) => [...known.slice(-3), { ...notice, id }]);
  // A failure stays until the user dismisses it.
  if (notice.tone === 'done') setTimeout(() => dismiss(id), NOTICE_MS);
}

export function dismiss(id: number): void {
  notices.update((known) => known.filter((notice) => notice.id !== id));
}

type Consent = Shapes['Consent'];

interface Wanted<P extends Path> {
  title: string;
  team: string;
  done: (answer: Answer<P>) => string;
  onProgress?: (progress: Progress) => void;
}

/** Carries out a call. Returns `null` if it failed or was cancelled, and shows that in a notice. */
export async function act<P extends Path>(
  path: P,
  body: Request<P>,
  { title, team, done, onProgress }: Wanted<P>,
): Promise<Answer<P> | null> {
  try {
    const answer = await carryOut(path, body, title, team, onProgress);
    notify({ tone: 'done', text: done(answer) });
    return answer;
  } catch (error) {
    if (error instanceof Stopped) return null;
    const { told } = error instanceof CallError ? error : gone();
    notify({ tone: 'failed', text: told.message, hint: told.hint });
    return null;
  } finally {
    changed();
  }
}

/** The user said no, or stopped the action. */
export class Stopped extends Error {}

/** The same for callers that show the result themselves. */
export async function carryOut<P extends Path>(
  path: P,
  body: Request<P>,
  title: string,
  team: string,
  onProgress?: (progress: Progress) => void,
): Promise<Answer<P>> {
  for (;;) {
    try {
      return await run(path, body, title, team, onProgress);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      body = await answered(body, error);
    }
  }
}

/** The body for repeating the call, with the user's consent or choice of a version. */
async function answered<B>(body: B, error: CallError): Promise<B> {
  const { consent, ambiguity } = error.told;
  if (consent) {
    const consents = (body as { consents?: Consent[] }).consents ?? [];
    // The daemon asks again for a consent that was given: treat it as an error.
    if (consents.includes(consent)) throw error;
    if (!(await ask({ kind: 'consent', consent, message: error.told.message }))) throw new Stopped();
    return { ...body, consents: [...consents, consent] };
  }
  if (ambiguity) {
    const chosen = await ask({ kind: 'choice', message: error.told.message, choices: ambiguity.exact });
    if (typeof chosen !== 'string') throw new Stopped();
    return { ...body, reference: chosen };
  }
  throw error;
}

async function run<P extends Path>(
  path: P,
  body: Request<P>,
  title: string,
  team: string,
  onProgress?: (progress: Progress) => void,
): Promise<Answer<P>> {
  const stop = new AbortController();
  const id = next++;
  acts.update((known) => [...known, { id, title, progress: null, stop: () => stop.abort() }]);
  try {
    return await call(path, body, {
      team,
      signal: stop.signal,
      onProgress: (progress) => {
        onProgress?.(progress);
        acts.update((known) => known.map((act) => (act.id === id ? { ...act, progress } : act)));
      },
    });
  } catch (error) {
    throw stop.signal.aborted ? new Stopped() : error;
  } finally {
    acts.update((known) => known.filter((act) => act.id !== id));
  }
}
