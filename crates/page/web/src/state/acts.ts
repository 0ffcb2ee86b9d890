/** Acts that run, and what became of the last ones. A call that asks for consent is made again with it. */
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
  // A failure stays until somebody has read it.
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

/** Carries out a call; `null` where it failed or was given up, which is told. */
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

/** Somebody said no, or stopped it. */
export class Stopped extends Error {}

/** The same for who shows by itself what became of it. */
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

/** The call as it is to be made again: with a consent, or with one of several versions. */
async function answered<B>(body: B, error: CallError): Promise<B> {
  const { consent, ambiguity } = error.told;
  if (consent) {
    const consents = (body as { consents?: Consent[] }).consents ?? [];
    // Asked a second time for the same is no question.
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
